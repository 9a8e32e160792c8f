//! LATERAL relations that read more than the row beside them. Each is read once for each different
//! row beside it. Its rows come as one list, which is then taken apart again.

use super::*;
use crate::functions::bytes_of;
use datafusion::arrow::array::{ListArray, StructArray};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{Field, Fields, Schema};
use datafusion::common::{JoinType, RecursionUnnestOption, UnnestOptions};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::logical_plan::{Join, SubqueryAlias, Unnest};

/// Begins the names that nobody sees.
const NAME: &str = "\u{2}applied";

/// Whether DataFusion joins a LATERAL relation rightly: rows of relations, with equalities between
/// their columns and the row beside.
pub(in crate::sql::dialect) fn is_joined(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Subquery(subquery) => is_joined(&subquery.subquery),
        LogicalPlan::SubqueryAlias(alias) => is_joined(&alias.input),
        LogicalPlan::Filter(filter) => {
            let parts = split_conjunction(&filter.predicate);
            let mut outside = parts.into_iter().filter(|part| part.contains_outer());
            outside.all(is_equality)
                && !filter.predicate.exists(|part| Ok(has_subquery(part))).unwrap_or(true)
                && is_joined(&filter.input)
        }
        LogicalPlan::Projection(projection) => {
            !mentions_outside(plan) && is_joined(&projection.input)
        }
        _ => !contains_outside(plan),
    }
}

/// Puts a join with such a relation as a function and a list; the join itself where it is of a kind
/// that cannot be LATERAL.
pub(in crate::sql::dialect) fn apply_join(
    inner: &Weak<Inner>,
    join: Join,
    number: &mut usize,
) -> Result<Transformed<LogicalPlan>> {
    let is_outer = match join.join_type {
        JoinType::Inner => false,
        JoinType::Left => true,
        _ => return Ok(Transformed::no(LogicalPlan::Join(join))),
    };
    let shown = join.right.schema().columns();
    let relation = relation_of(&join)?;
    let fields: Fields = relation.schema().fields().iter().map(nullable).collect();
    let (columns, args) = beside(&relation, join.left.schema());
    let rows = DataType::List(Arc::new(Field::new("item", DataType::Struct(fields.clone()), true)));
    let function = Apply {
        inner: inner.clone(),
        plan: Arc::new(relation),
        columns,
        wanted: Wanted::Rows(Arc::new(Field::new("rows", rows, true))),
        signature: match args.len() {
            0 => Signature::nullary(Volatility::Volatile),
            many => Signature::any(many, Volatility::Volatile),
        },
    };
    let list = AsyncScalarUDF::new(Arc::new(function)).into_scalar_udf().call(args);
    let mut name = || {
        *number += 1;
        Column::new_unqualified(format!("{NAME}{number}"))
    };
    let (input_column, output_column) = (name(), name());
    let of_left = || join.left.schema().columns().into_iter().map(Expr::Column);
    let with_list = of_left().chain([list.alias(input_column.name.clone())]);
    let plan = LogicalPlanBuilder::from(join.left.as_ref().clone()).project(with_list)?.build()?;
    let options =
        UnnestOptions::new().with_preserve_nulls(is_outer).with_recursions(RecursionUnnestOption {
            input_column: input_column.clone(),
            output_column: output_column.clone(),
            depth: 1,
        });
    let plan = LogicalPlan::Unnest(Unnest::try_new(Arc::new(plan), vec![input_column], options)?);
    let row = || Expr::Column(output_column.clone());
    let of_right = shown.into_iter().zip(fields.iter()).map(|(column, field)| {
        get_field(row(), field.name().as_str()).alias_qualified(column.relation, column.name)
    });
    let columns: Vec<Expr> = of_left().chain(of_right).collect();
    Ok(Transformed::yes(LogicalPlanBuilder::from(plan).project(columns)?.build()?))
}

fn nullable(field: &FieldRef) -> FieldRef {
    Arc::new(field.as_ref().clone().with_nullable(true))
}

/// The relation with the condition of its join, its columns called by numbers.
fn relation_of(join: &Join) -> Result<LogicalPlan> {
    let left = join.left.schema();
    let relation = bare(&join.right)?;
    let own = relation.schema().clone();
    let outside = |expr: Expr| {
        expr.transform_up(|part| {
            let Expr::Column(column) = &part else { return Ok(Transformed::no(part)) };
            if own.has_column(column) || !left.has_column(column) {
                return Ok(Transformed::no(part));
            }
            let (_, field) = left.qualified_field_from_column(column)?;
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field.clone(), column.clone())))
        })
        .data()
    };
    let mut plan = LogicalPlanBuilder::from(relation);
    for (of_left, of_right) in &join.on {
        plan = plan.filter(outside(of_left.clone())?.eq(outside(of_right.clone())?))?;
    }
    if let Some(filter) = &join.filter {
        plan = plan.filter(outside(filter.clone())?)?;
    }
    let columns = own.columns().into_iter().enumerate();
    let columns: Vec<Expr> = columns
        .map(|(index, column)| Expr::Column(column).alias(format!("{NAME}_{index}")))
        .collect();
    plan.project(columns)?.build()
}

/// The relation without the mark that it looks at the row beside it.
fn bare(plan: &LogicalPlan) -> Result<LogicalPlan> {
    Ok(match plan {
        LogicalPlan::Subquery(subquery) => subquery.subquery.as_ref().clone(),
        LogicalPlan::SubqueryAlias(alias) => {
            let input = Arc::new(bare(&alias.input)?);
            LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(input, alias.alias.clone())?)
        }
        other => other.clone(),
    })
}

/// The columns beside a relation that it looks at, and what each is where the relation stands:
/// a column there, or one further out.
fn beside(relation: &LogicalPlan, left: &DFSchema) -> (Vec<Column>, Vec<Expr>) {
    let (mut columns, mut args) = (Vec::new(), Vec::new());
    let mut own: Vec<Column> = Vec::new();
    let mut references: Vec<(Column, Expr)> = Vec::new();
    // Errors come from the closures alone, and these make none.
    let _walked = relation.apply_with_subqueries(|node| {
        own.extend(node.schema().columns());
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                if let Expr::OuterReferenceColumn(_, column) = part {
                    references.push((column.clone(), part.clone()));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    for (column, reference) in references {
        if columns.contains(&column) || own.contains(&column) {
            continue;
        }
        args.push(match left.has_column(&column) {
            true => Expr::Column(column.clone()),
            false => reference,
        });
        columns.push(column);
    }
    (columns, args)
}

/// The rows of a relation as one list; nothing where there are none.
pub(super) async fn rows_of(
    mut stream: SendableRecordBatchStream,
    list: &DataType,
    budget: &mut Budget,
) -> Result<ScalarValue> {
    let mut batches = Vec::new();
    while let Some(batch) = stream.try_next().await? {
        budget.take(batch.columns().iter().map(bytes_of).sum())?;
        batches.push(batch);
    }
    rows_as_list(&batches, list)
}

/// Rows as one list; nothing where there are none.
fn rows_as_list(batches: &[RecordBatch], list: &DataType) -> Result<ScalarValue> {
    let DataType::List(item) = list else { return ScalarValue::try_from(list) };
    let DataType::Struct(fields) = item.data_type() else { return ScalarValue::try_from(list) };
    let Some(first) = batches.first() else { return ScalarValue::try_from(list) };
    let all = concat_batches(&first.schema(), batches)?;
    if all.num_rows() == 0 {
        return ScalarValue::try_from(list);
    }
    let columns = all.columns().iter().zip(fields.iter());
    let columns: Vec<ArrayRef> = columns
        .map(|(column, field)| retyped(column.clone(), field.data_type()))
        .collect::<Result<_>>()?;
    let schema = Arc::new(Schema::new(fields.clone()));
    let rows = match columns.is_empty() {
        true => StructArray::new_empty_fields(all.num_rows(), None),
        false => StructArray::from(RecordBatch::try_new(schema, columns)?),
    };
    let offsets = OffsetBuffer::from_lengths([all.num_rows()]);
    let list = ListArray::try_new(item.clone(), offsets, Arc::new(rows), None)?;
    Ok(ScalarValue::List(Arc::new(list)))
}
