//! stub
use crate::database::Inner;
use crate::error::SqlError;
use crate::statement::CreateView;
use datafusion::catalog::TableProvider;
use std::sync::Arc;
#[derive(Default)]
pub(crate) struct Views {}
pub(crate) struct ViewReport {
    pub name: String,
    pub source: String,
    pub state: String,
    pub rows_in: u64,
    pub groups: u64,
    pub memory_bytes: u64,
    pub lag: u64,
    pub watermark_us: Option<i64>,
    pub late: u64,
    pub misfits: u64,
    pub checkpoint_ms: u64,
    pub error: Option<String>,
    pub query: String,
}
impl Views {
    pub(crate) fn close(&self) {}
    pub(crate) fn reports(&self) -> Vec<ViewReport> {
        Vec::new()
    }
    pub(crate) fn user_of(&self, _n: &str) -> Option<String> {
        None
    }
    pub(crate) fn drop(&self, _n: &str) -> Result<(), SqlError> {
        Ok(())
    }
    pub(crate) fn table(&self, n: &str) -> Result<Arc<dyn TableProvider>, SqlError> {
        Err(SqlError::unknown("view", n))
    }
}
impl Inner {
    pub(crate) fn start_views(self: &Arc<Self>) {}
    pub(crate) async fn create_view(self: &Arc<Self>, _v: &CreateView) -> Result<(), SqlError> {
        Ok(())
    }
    pub(crate) async fn explain_view(
        self: &Arc<Self>,
        _v: &CreateView,
    ) -> Result<Vec<String>, SqlError> {
        Ok(vec![])
    }
    pub(crate) async fn set_paused(self: &Arc<Self>, _n: &str, _p: bool) -> Result<(), SqlError> {
        Ok(())
    }
}
