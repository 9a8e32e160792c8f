//! Tables over files that somebody else wrote.

use crate::catalog::{ExternalDefinition, gone};
use crate::database::Inner;
use crate::error::SqlError;
use crate::files::csv::Survey;
use crate::sql::dialect::cast_to;
use crate::sql::statement::{Statement, parse};
use datafusion::arrow::csv::reader::Format as CsvFormat;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::{MemoryCatalogProviderList, TableProvider};
use datafusion::common::{Column, DataFusionError, Result as DfResult, TableReference, ToDFSchema};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::functions::core::expr_fn::nullif;
use datafusion::logical_expr::{
    CreateExternalTable, DdlStatement, Expr, LogicalPlan, LogicalPlanBuilder, lit,
};
use std::sync::Arc;

impl Inner {
    /// The table that an external definition names. Its files are looked at anew: they may have
    /// changed.
    pub(crate) async fn external(
        &self,
        definition: &ExternalDefinition,
    ) -> DfResult<Arc<dyn TableProvider>> {
        let context = self.context()?;
        let state = self.bare.get_or_init(|| {
            SessionStateBuilder::new_from_existing(context.state())
                .with_catalog_list(Arc::new(MemoryCatalogProviderList::new()))
                .build()
        });
        let mut statements = parse(&definition.statement)?;
        let Some(Statement::Df(statement)) = statements.pop() else { return Err(gone()) };
        let plan = state.statement_to_plan(*statement).await?;
        let LogicalPlan::Ddl(DdlStatement::CreateExternalTable(mut command)) = plan else {
            return Err(DataFusionError::Plan("not an external table".to_owned()));
        };
        let format = command.file_type.to_uppercase();
        let factory = state.table_factories().get(&format).ok_or_else(|| {
            SqlError::unsupported(format!("files of format {format} cannot be read"))
                .hint("CSV, JSON, PARQUET and ARROW can")
        })?;
        if format == "CSV" {
            self.look_at_csv(&mut command).await?;
        }
        let declared = take_as_text(&format, &mut command)?;
        let table = factory.create(state, &command).await?;
        match declared {
            Some(declared) => reading_texts((command.name, table), &declared),
            None => Ok(table),
        }
    }

    /// Files whose records go over several lines must be read in one piece.
    async fn look_at_csv(&self, command: &mut CreateExternalTable) -> DfResult<()> {
        let option = |name: &str| command.options.get(&format!("format.{name}")).cloned();
        let byte = |name: &str, usual: u8| {
            option(name).and_then(|text| text.bytes().next()).unwrap_or(usual)
        };
        let has_header = option("has_header").is_none_or(|value| value == "true");
        let (quote, delimiter) = (byte("quote", b'"'), byte("delimiter", b','));
        if option("newlines_in_values").is_some() || option("compression").is_some() {
            return Ok(());
        }
        let (survey, locations) = (self.csv_survey.clone(), command.locations.clone());
        let declared = !command.schema.fields().is_empty();
        let look = move || -> Result<_, SqlError> {
            if !survey.has_quoted_breaks(&locations, has_header, quote)? {
                return Ok(None);
            }
            let format = CsvFormat::default()
                .with_header(has_header)
                .with_quote(quote)
                .with_delimiter(delimiter);
            let schema = if declared { None } else { Survey::schema(&locations, &format)? };
            Ok(Some(schema))
        };
        let looked = tokio::task::spawn_blocking(look)
            .await
            .map_err(|error| DataFusionError::External(Box::new(error)))??;
        if let Some(schema) = looked {
            command.options.insert("format.newlines_in_values".to_owned(), "true".to_owned());
            if let Some(schema) = schema {
                command.schema = Arc::new(schema.to_dfschema()?);
            }
        }
        Ok(())
    }
}

/// Whether values of a type are read by our own reader, which takes what Postgres takes, and not by
/// Arrow's.
fn is_read_as_text(format: &str, kind: &DataType) -> bool {
    match kind {
        DataType::Timestamp(..) | DataType::Date32 | DataType::Time64(_) => true,
        DataType::Interval(_) => true,
        // JSON has its own of these.
        DataType::Boolean | DataType::Decimal128(..) | DataType::Decimal256(..) => format == "CSV",
        _ => false,
    }
}

/// Declares columns that our own reader reads as texts; gives the columns as they were declared, if
/// there are such.
fn take_as_text(format: &str, command: &mut CreateExternalTable) -> DfResult<Option<Arc<Schema>>> {
    let declared = command.schema.inner().clone();
    let is_text = |field: &Field| {
        matches!(format, "CSV" | "JSON")
            && is_read_as_text(format, field.data_type())
            && !command.table_partition_cols.contains(field.name())
    };
    if !declared.fields().iter().any(|field| is_text(field)) {
        return Ok(None);
    }
    let fields = declared.fields().iter().map(|field| match is_text(field) {
        true => Field::new(field.name(), DataType::Utf8View, true),
        false => field.as_ref().clone(),
    });
    command.schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()).to_dfschema()?);
    Ok(Some(declared))
}

/// A table whose texts are read as the columns that were declared.
fn reading_texts(
    (name, table): (TableReference, Arc<dyn TableProvider>),
    declared: &Schema,
) -> DfResult<Arc<dyn TableProvider>> {
    let read = table.schema();
    let columns = declared.fields().iter().map(|field| {
        let column = Expr::Column(Column::from_name(field.name()));
        let same = read.field_with_name(field.name()).is_ok_and(|read| read == field.as_ref());
        match same {
            true => column,
            // What is empty is null, as in columns of other types.
            false => cast_to(nullif(column, lit("")), field).alias(field.name()),
        }
    });
    let plan = LogicalPlanBuilder::scan(name, provider_as_source(table), None)?
        .project(columns.collect::<Vec<_>>())?
        .build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}
