//! Cuts batches of large values into pieces before operators that copy values: sorts by several
//! keys, grouping, functions.
//!
//! An operator accounts for a batch after it has copied it. A batch has up to 8,192 rows, and the
//! rows of a text column may share their bytes. So a batch of a megabyte can become eight gigabytes
//! in one step. When the batch comes in pieces, an operator copies them one by one, and the memory
//! pool refuses the first piece that does not fit.
//!
//! Sorts and repartitions write batches to disk when memory is short. Before they write, they put
//! pieces together again, and then every row has its own bytes. How much such a batch would need is
//! known before; one that needs too much is refused.

use crate::error::{SqlError, SqlState};
use crate::functions::bytes_of;
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions, replace_children_if_necessary,
};
use futures_util::{StreamExt, TryStreamExt};
use std::fmt::Formatter;
use std::sync::Arc;

/// What the values of a piece take, as if they shared nothing. A piece has at least one row.
const PIECE_MAX_BYTES: usize = 16 << 20;

/// What the rows that operators put together may have in any case.
const BATCH_MIN_BYTES: usize = 256 << 20;

/// Puts [`CutLargeExec`] under operators that copy values of any size.
#[derive(Debug)]
pub(crate) struct CutLarge {
    batch_max_bytes: usize,
}

impl CutLarge {
    /// For queries that have so much memory together.
    pub(crate) fn new(memory_max_bytes: usize) -> Self {
        Self { batch_max_bytes: memory_max_bytes.max(BATCH_MIN_BYTES) }
    }
}

impl PhysicalOptimizerRule for CutLarge {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let batch_rows = config.execution.batch_size.get();
        plan.transform_up(|node| {
            let [input] = node.children()[..] else { return Ok(Transformed::no(node)) };
            let columns = columns_of_any_size(&input.schema());
            if columns.is_empty() || input.is::<CutLargeExec>() {
                return Ok(Transformed::no(node));
            }
            let spills = node.is::<SortExec>() || node.is::<RepartitionExec>();
            if !spills && !copies(&node)? {
                return Ok(Transformed::no(node));
            }
            let batch_max_bytes = if spills { self.batch_max_bytes } else { usize::MAX };
            let input = input.clone();
            let cut = CutLargeExec { input, columns: columns.into(), batch_rows, batch_max_bytes };
            Ok(Transformed::yes(replace_children_if_necessary(node, vec![Arc::new(cut)])?))
        })
        .data()
    }

    fn name(&self) -> &str {
        "cut_large"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Columns whose values may be large, and may share their bytes with other values.
fn columns_of_any_size(schema: &Schema) -> Vec<usize> {
    let kinds = schema.fields().iter().map(|field| field.data_type());
    let is_of_any_size = |kind: &DataType| {
        use DataType::*;
        kind.is_nested() || matches!(kind, Utf8View | BinaryView | Utf8 | LargeUtf8 | Binary)
    };
    kinds.enumerate().filter(|(_, kind)| is_of_any_size(kind)).map(|(at, _)| at).collect()
}

/// Whether an operator writes the values of its input out again.
fn copies(node: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    if let Some(sort) = node.downcast_ref::<SortExec>() {
        return Ok(sort.fetch().is_some() || writes_rows(sort.expr(), node)?);
    }
    if let Some(merge) = node.downcast_ref::<SortPreservingMergeExec>() {
        return writes_rows(merge.expr(), node);
    }
    if node.is::<AggregateExec>() {
        return Ok(true);
    }
    let computes = node.is::<ProjectionExec>() || node.is::<FilterExec>();
    Ok(computes && calls_functions(node)?)
}

/// Texts that are the only key are compared where they are. Several keys are written into one row
/// that is compared as bytes.
fn writes_rows(keys: &LexOrdering, node: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    let first = keys.first().expr.data_type(&node.schema())?;
    Ok(keys.len() > 1 || first.is_nested())
}

fn calls_functions(node: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    let mut calls = false;
    node.apply_expressions(&mut |root: &Arc<dyn PhysicalExpr>| {
        root.apply(|part| {
            calls |= part.is::<ScalarFunctionExpr>();
            Ok(if calls { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(calls)
}

/// Gives the rows of its input, in pieces where the batches are large.
#[derive(Debug, Clone)]
struct CutLargeExec {
    input: Arc<dyn ExecutionPlan>,
    /// The columns that are looked at.
    columns: Arc<[usize]>,
    /// Rows that operators put together, and what they may have.
    batch_rows: usize,
    batch_max_bytes: usize,
}

impl DisplayAs for CutLargeExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "CutLargeExec: max_bytes={PIECE_MAX_BYTES}")
    }
}

impl ExecutionPlan for CutLargeExec {
    fn name(&self) -> &str {
        "CutLargeExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next().unwrap_or_else(|| self.input.clone());
        Ok(Arc::new(Self { input, ..Self::clone(&self) }))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let columns = self.columns.clone();
        let batches = self.input.execute(partition, context)?;
        let mut seen = Seen::new(self.batch_rows, self.batch_max_bytes);
        let pieces = batches
            .map_ok(move |batch| Pieces { rest: vec![batch], columns: columns.clone() })
            .map_ok(|pieces| futures_util::stream::iter(pieces.map(Ok)))
            .try_flatten()
            .map(move |piece| piece.and_then(|(piece, bytes)| seen.check(piece, bytes)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), pieces.boxed())))
    }
}

/// What has come since the last full batch.
struct Seen {
    rows: usize,
    bytes: usize,
    batch_rows: usize,
    max_bytes: usize,
}

impl Seen {
    fn new(batch_rows: usize, max_bytes: usize) -> Self {
        Self { rows: 0, bytes: 0, batch_rows, max_bytes }
    }

    fn check(&mut self, piece: RecordBatch, bytes: usize) -> Result<RecordBatch> {
        self.rows += piece.num_rows();
        self.bytes += bytes;
        if self.bytes > self.max_bytes {
            let message = format!(
                "rows of {} kB each are too large to be sorted or grouped in the memory that \
                 queries have",
                self.bytes / self.rows.max(1) / 1_000
            );
            return Err(SqlError::new(SqlState::OutOfMemory, message).into());
        }
        if self.rows >= self.batch_rows {
            (self.rows, self.bytes) = (0, 0);
        }
        Ok(piece)
    }
}

/// The pieces of a batch and what they have, made as they are asked for.
struct Pieces {
    /// What is not given yet, the first rows last.
    rest: Vec<RecordBatch>,
    columns: Arc<[usize]>,
}

impl Iterator for Pieces {
    type Item = (RecordBatch, usize);

    fn next(&mut self) -> Option<(RecordBatch, usize)> {
        let mut piece = self.rest.pop()?;
        loop {
            let bytes = bytes_of_columns(&piece, &self.columns);
            if bytes <= PIECE_MAX_BYTES || piece.num_rows() <= 1 {
                return Some((piece, bytes));
            }
            let half = piece.num_rows() / 2;
            self.rest.push(piece.slice(half, piece.num_rows() - half));
            piece = piece.slice(0, half);
        }
    }
}

fn bytes_of_columns(batch: &RecordBatch, columns: &[usize]) -> usize {
    columns.iter().filter_map(|&at| batch.columns().get(at)).map(bytes_of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{AsArray, Int32Array, StringViewArray};
    use datafusion::arrow::datatypes::{Field, Int32Type};

    fn batch(rows: i32, text: &str) -> RecordBatch {
        let numbers = Int32Array::from_iter_values(0..rows);
        let mut texts = datafusion::arrow::array::StringViewBuilder::new();
        let block = texts.append_block(text.as_bytes().to_vec().into());
        for _ in 0..rows {
            texts.try_append_view(block, 0, text.len() as u32).expect("a view of the block");
        }
        let texts: StringViewArray = texts.finish();
        let fields = [("n", DataType::Int32), ("t", DataType::Utf8View)];
        let schema = Schema::new(fields.map(|(name, kind)| Field::new(name, kind, false)).to_vec());
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(numbers), Arc::new(texts)])
            .expect("columns of one length")
    }

    fn pieces(batch: RecordBatch) -> Vec<RecordBatch> {
        let columns = columns_of_any_size(&batch.schema()).into();
        Pieces { rest: vec![batch], columns }.map(|(piece, _)| piece).collect()
    }

    #[test]
    fn pieces_are_small_and_hold_all_rows_in_order() {
        let pieces = pieces(batch(8_000, &"z".repeat(100_000)));
        let mut numbers = Vec::new();
        for piece in &pieces {
            assert!(bytes_of_columns(piece, &[1]) <= PIECE_MAX_BYTES);
            numbers.extend_from_slice(piece.column(0).as_primitive::<Int32Type>().values());
        }
        assert_eq!(numbers, (0..8_000).collect::<Vec<_>>());
        assert!(pieces.len() < 100, "no more pieces than needed, but {}", pieces.len());
    }

    #[test]
    fn rows_that_do_not_fit_together_are_refused() {
        let mut seen = Seen::new(8_192, 100);
        assert!(seen.check(batch(8_000, "z"), 90).is_ok());
        assert!(
            seen.check(batch(200, "z"), 10).is_ok(),
            "they fill a batch, and the next one begins"
        );
        assert!(seen.check(batch(1, "z"), 100).is_ok());
        assert!(seen.check(batch(1, "z"), 1).is_err());
    }

    #[test]
    fn a_row_is_never_cut_and_small_batches_stay_whole() {
        assert_eq!(pieces(batch(3, &"z".repeat(PIECE_MAX_BYTES + 1))).len(), 3);
        assert_eq!(pieces(batch(8_000, "zz")).len(), 1);
        assert_eq!(pieces(batch(0, "zz")).len(), 1);
    }
}
