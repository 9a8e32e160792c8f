//! JSON files, whose numbers are exact or refused.
//!
//! Arrow's reader cuts off what a column cannot hold: 1.5 in a column of integers becomes 1
//! (apache/arrow-rs reads it as a double first). Its inference makes doubles of integers beyond 64
//! bits. So columns of integers and decimals are read with a wider type and narrowed here, and
//! columns that look like doubles are looked at again. If nobody declared the columns of a file,
//! they have the types of its first records. A later value that does not fit is refused by name.

mod infer;
mod narrow;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{GetExt, Result, Statistics};
use datafusion::config::JsonOptions;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::file_format::json::{JsonFormat, JsonFormatFactory};
use datafusion::datasource::file_format::{FileFormat, FileFormatFactory};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    FileOpenFuture, FileOpener, FileScanConfig, FileSinkConfig, FileSource, JsonOpener, JsonSource,
};
use datafusion::datasource::projection::{ProjectionOpener, SplitProjection};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::DataFusionError;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{LexRequirement, PhysicalExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures_util::StreamExt;
use object_store::{ObjectMeta, ObjectStore};
use std::collections::HashMap;
use std::sync::Arc;

/// Rows of a batch where nobody says how many.
const BATCH_ROWS: usize = 8_192;

/// Makes [`ExactJson`] of a table's options.
#[derive(Debug, Default)]
pub(crate) struct ExactJsonFactory(JsonFormatFactory);

impl GetExt for ExactJsonFactory {
    fn get_ext(&self) -> String {
        self.0.get_ext()
    }
}

impl FileFormatFactory for ExactJsonFactory {
    fn create(
        &self,
        state: &dyn Session,
        options: &HashMap<String, String>,
    ) -> Result<Arc<dyn FileFormat>> {
        let format = self.0.create(state, options)?;
        let options = format.downcast_ref::<JsonFormat>().map(|json| json.options().clone());
        Ok(Arc::new(ExactJson::new(options.unwrap_or_default())))
    }

    fn default(&self) -> Arc<dyn FileFormat> {
        Arc::new(ExactJson::new(JsonOptions::default()))
    }
}

/// DataFusion's format, with our reading of numbers.
#[derive(Debug)]
struct ExactJson {
    json: JsonFormat,
}

impl ExactJson {
    fn new(options: JsonOptions) -> Self {
        Self { json: JsonFormat::default().with_options(options) }
    }
}

#[async_trait]
impl FileFormat for ExactJson {
    fn get_ext(&self) -> String {
        self.json.get_ext()
    }

    fn get_ext_with_compression(&self, compression: &FileCompressionType) -> Result<String> {
        self.json.get_ext_with_compression(compression)
    }

    fn compression_type(&self) -> Option<FileCompressionType> {
        self.json.compression_type()
    }

    async fn infer_schema(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        objects: &[ObjectMeta],
    ) -> Result<SchemaRef> {
        let schema = self.json.infer_schema(state, store, objects).await?;
        infer::exact(schema, self.json.options(), store, objects).await
    }

    async fn infer_stats(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        schema: SchemaRef,
        object: &ObjectMeta,
    ) -> Result<Statistics> {
        self.json.infer_stats(state, store, schema, object).await
    }

    async fn create_physical_plan(
        &self,
        state: &dyn Session,
        config: FileScanConfig,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.json.create_physical_plan(state, config).await
    }

    async fn create_writer_physical_plan(
        &self,
        input: Arc<dyn ExecutionPlan>,
        state: &dyn Session,
        config: FileSinkConfig,
        order: Option<LexRequirement>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.json.create_writer_physical_plan(input, state, config, order).await
    }

    fn file_source(&self, schema: TableSchema) -> Arc<dyn FileSource> {
        let in_lines = self.json.is_newline_delimited();
        let json = JsonSource::new(schema).with_newline_delimited(in_lines);
        Arc::new(ExactJsonSource { json, in_lines, batch_rows: BATCH_ROWS })
    }
}

/// DataFusion's source, whose files are opened here.
#[derive(Clone)]
struct ExactJsonSource {
    json: JsonSource,
    in_lines: bool,
    batch_rows: usize,
}

impl ExactJsonSource {
    fn with(&self, source: Arc<dyn FileSource>) -> Self {
        let json = source.downcast_ref::<JsonSource>().unwrap_or(&self.json).clone();
        Self { json, ..self.clone() }
    }

    fn file_schema(&self) -> &Arc<Schema> {
        self.json.table_schema().file_schema()
    }
}

impl FileSource for ExactJsonSource {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        _partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        let split = match self.json.projection() {
            Some(projection) => SplitProjection::new(self.file_schema(), projection),
            None => SplitProjection::unprojected(self.json.table_schema()),
        };
        let wanted = Arc::new(self.file_schema().project(&split.file_indices)?);
        let json = JsonOpener::new(
            config.batch_size.unwrap_or(self.batch_rows),
            narrow::wide_schema(&wanted),
            config.file_compression_type,
            store,
            self.in_lines,
        );
        let opener: Arc<dyn FileOpener> = Arc::new(Opener { json, wanted });
        ProjectionOpener::try_new(split, opener, self.file_schema())
    }

    fn table_schema(&self) -> &TableSchema {
        self.json.table_schema()
    }

    fn with_batch_size(&self, batch_rows: usize) -> Arc<dyn FileSource> {
        Arc::new(Self { batch_rows, ..self.with(self.json.with_batch_size(batch_rows)) })
    }

    fn try_pushdown_projection(
        &self,
        projection: &ProjectionExprs,
    ) -> Result<Option<Arc<dyn FileSource>>> {
        let pushed = self.json.try_pushdown_projection(projection)?;
        Ok(pushed.map(|source| Arc::new(self.with(source)) as Arc<dyn FileSource>))
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.json.projection()
    }

    fn supports_repartitioning(&self) -> bool {
        self.in_lines && self.json.supports_repartitioning()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.json.metrics()
    }

    fn file_type(&self) -> &str {
        self.json.file_type()
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.json.apply_expressions(visit)
    }
}

/// Opens files with wide columns and narrows them.
struct Opener {
    json: JsonOpener,
    wanted: SchemaRef,
}

impl FileOpener for Opener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let name = file.object_meta.location.to_string();
        let (opening, wanted) = (self.json.open(file)?, self.wanted.clone());
        Ok(Box::pin(async move {
            let batches = opening.await?;
            let narrowed = batches.map(move |batch| {
                narrow::batch(&batch?, &wanted).map_err(|mut error| {
                    error.message = format!("/{name}: {}", error.message);
                    DataFusionError::from(error)
                })
            });
            Ok(narrowed.boxed())
        }))
    }
}
