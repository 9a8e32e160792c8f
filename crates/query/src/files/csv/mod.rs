//! CSV files, read fast where they are plain.
//!
//! Most large CSV files are numbers and short texts without quotes. In such lines the beginnings of
//! fields are found first, and each value is then computed from its digits (`decode.rs`).
//!
//! Everything else is left to Arrow's reader, which knows all of CSV: columns of other types,
//! compressed files, files on other machines, and the rest of a file from the first line that is
//! not plain. Such a line has a quote, or more or fewer fields than the table has columns, or none.
//! Or it has a value that is not what its column says or is written unusually (`+5`, `1e5`), or
//! more than 4 MiB. A reader of the table sees two differences: the time, and that text which is
//! not UTF-8 goes unnoticed in columns that nobody asks for.

mod decode;
mod marks;
mod number;
mod read;
mod survey;

pub(crate) use survey::Survey;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::datasource::physical_plan::{
    CsvSource, FileOpener, FileScanConfig, FileScanConfigBuilder, FileSource,
};
use datafusion::datasource::projection::{ProjectionOpener, SplitProjection};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan};
use decode::Layout;
use object_store::ObjectStore;
use std::fmt::Formatter;
use std::sync::Arc;

/// Rows of a batch where nobody says how many.
const BATCH_ROWS: usize = 8_192;

/// Puts our reader in place of DataFusion's where it can do the work.
#[derive(Debug)]
pub(crate) struct ReadPlainCsv;

impl PhysicalOptimizerRule for ReadPlainCsv {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let replaced = node.downcast_ref::<DataSourceExec>().and_then(|scan| {
                let config = scan.data_source().downcast_ref::<FileScanConfig>()?;
                let source = PlainCsv::of(config)?;
                let config = FileScanConfigBuilder::from(config.clone()).with_source(source);
                Some(DataSourceExec::from_data_source(config.build()))
            });
            Ok(match replaced {
                Some(scan) => Transformed::yes(scan as Arc<dyn ExecutionPlan>),
                None => Transformed::no(node),
            })
        })
        .data()
    }

    fn name(&self) -> &str {
        "read_plain_csv"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// What reads CSV files of a table.
#[derive(Clone)]
struct PlainCsv {
    csv: CsvSource,
    batch_rows: usize,
}

impl PlainCsv {
    fn new(csv: &CsvSource, batch_rows: usize) -> Self {
        let sized = csv.with_batch_size(batch_rows);
        let csv = sized.downcast_ref::<CsvSource>().unwrap_or(csv).clone();
        Self { csv, batch_rows }
    }

    fn of(config: &FileScanConfig) -> Option<Arc<dyn FileSource>> {
        let csv = config.file_source().downcast_ref::<CsvSource>()?;
        let ordinary = csv.escape().is_none()
            && csv.comment().is_none()
            && csv.terminator().is_none()
            && !csv.truncate_rows()
            && !csv.newlines_in_values()
            && !config.file_compression_type.is_compressed();
        let source = Self::new(csv, config.batch_size.unwrap_or(BATCH_ROWS));
        (ordinary && source.layout(&source.split()).is_some())
            .then(|| Arc::new(source) as Arc<dyn FileSource>)
    }

    fn split(&self) -> SplitProjection {
        let schema = self.csv.table_schema();
        match self.csv.projection() {
            Some(projection) => SplitProjection::new(schema.file_schema(), projection),
            None => SplitProjection::unprojected(schema),
        }
    }

    fn file_schema(&self) -> &Arc<Schema> {
        self.csv.table_schema().file_schema()
    }

    fn layout(&self, split: &SplitProjection) -> Option<Layout> {
        Layout::new(
            self.file_schema(),
            &split.file_indices,
            (self.csv.delimiter(), self.csv.quote()),
        )
    }
}

impl FileSource for PlainCsv {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        let split = self.split();
        let Some(layout) = self.layout(&split) else {
            return self.csv.create_file_opener(store, config, partition);
        };
        let opener = read::Opener {
            csv: self.csv.clone(),
            layout,
            indices: split.file_indices.clone(),
            batch_rows: self.batch_rows,
            store,
        };
        ProjectionOpener::try_new(split, Arc::new(opener), self.file_schema())
    }

    fn table_schema(&self) -> &TableSchema {
        self.csv.table_schema()
    }

    fn with_batch_size(&self, batch_rows: usize) -> Arc<dyn FileSource> {
        Arc::new(Self::new(&self.csv, batch_rows))
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.csv.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.csv.metrics()
    }

    fn file_type(&self) -> &str {
        self.csv.file_type()
    }

    fn fmt_extra(&self, format: DisplayFormatType, out: &mut Formatter<'_>) -> std::fmt::Result {
        self.csv.fmt_extra(format, out)
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.csv.apply_expressions(visit)
    }
}
