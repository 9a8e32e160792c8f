//! `generate_series` in FROM: batches as they are asked for.

use super::*;

/// The function, where a table stands.
#[derive(Debug)]
pub(super) struct SeriesTable;

impl TableFunctionImpl for SeriesTable {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let state = args.session();
        let wide = args.exprs().iter().any(is_wide);
        let is_parameter = |expr: &Expr| Ok(matches!(expr, Expr::Placeholder(_)));
        if args.exprs().iter().any(|expr| expr.exists(is_parameter).unwrap_or(false)) {
            let nothing = DFSchema::empty();
            let kinds = args.exprs().iter().map(|expr| expr.get_type(&nothing));
            let kinds: Vec<DataType> = kinds.collect::<Result<_>>()?;
            return Ok(Arc::new(Made { series: Series::Unbound(kind_of(&kinds, wide)) }));
        }
        let values =
            args.exprs().iter().map(|expr| constant(expr, state)).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(Made { series: Series::new(&values, wide)? }))
    }
}

/// Whether it is declared to be of 64 bits, and not only written without a type.
pub(super) fn is_wide(expr: &Expr) -> bool {
    matches!(expr, Expr::Cast(cast) if cast.field.data_type() == &DataType::Int64)
}

/// What a series of such values is of.
pub(super) fn kind_of(kinds: &[DataType], wide: bool) -> DataType {
    match kinds.iter().find(|kind| matches!(kind, DataType::Timestamp(..) | DataType::Date32)) {
        Some(DataType::Timestamp(_, Some(_))) => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        }
        Some(_) => DataType::Timestamp(TimeUnit::Microsecond, None),
        None if kinds.iter().any(|kind| kind.is_decimal() || kind.is_floating()) => {
            DataType::Decimal128(38, decimal_scale(kinds))
        }
        None if wide => DataType::Int64,
        None => DataType::Int32,
    }
}

/// The value of an argument; casts and arithmetic are computed.
pub(super) fn constant(expr: &Expr, session: &dyn Session) -> Result<ScalarValue> {
    if let Expr::Literal(value, _) = expr {
        return Ok(value.clone());
    }
    let schema = DFSchema::empty();
    let planned = crate::sql::dialect::constant_expr(expr.clone(), session)?;
    let physical = session.create_physical_expr(planned, &schema)?;
    let batch = RecordBatch::try_new_with_options(
        Arc::new(Schema::empty()),
        Vec::new(),
        &datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(1)),
    )?;
    let array = physical.evaluate(&batch)?.into_array(1)?;
    ScalarValue::try_from_array(&array, 0)
}

#[derive(Debug)]
pub(super) struct Made {
    pub(super) series: Series,
}

impl Made {
    pub(super) fn made_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("generate_series", self.series.kind(), true)]))
    }
}

#[async_trait]
impl TableProvider for Made {
    fn schema(&self) -> SchemaRef {
        self.made_schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if let Series::Unbound(_) = self.series {
            let message = "generate_series was planned without its values";
            return Err(SqlError::new(SqlState::Internal, message).into());
        }
        let schema = self.made_schema();
        let part: Arc<dyn PartitionStream> =
            Arc::new(Part { schema: schema.clone(), series: self.series.clone() });
        let exec =
            StreamingTableExec::try_new(schema, vec![part], projection, Vec::new(), false, limit)?;
        Ok(Arc::new(exec))
    }
}

#[derive(Debug)]
pub(super) struct Part {
    pub(super) schema: SchemaRef,
    pub(super) series: Series,
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = self.schema.clone();
        let batches = futures_util::stream::unfold(self.series.clone(), move |mut series| {
            let schema = schema.clone();
            async move {
                // Others get their turn between two batches.
                tokio::task::yield_now().await;
                let array = series.next(BATCH_ROWS)?;
                let batch = RecordBatch::try_new(schema, vec![array]).map_err(Into::into);
                Some((batch, series))
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), batches))
    }
}
