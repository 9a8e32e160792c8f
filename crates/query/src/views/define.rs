//! Views are made, replaced, started again and paused.

use super::checkpoint::Folder;
use super::compile::{Source, compile};
use super::files;
use super::worker::Reader;
use super::{Status, View, unused};
use crate::catalog::{Definition, ViewDefinition};
use crate::database::Inner;
use crate::error::{SqlError, SqlState};
use crate::sql::statement::{CreateView, Statement, parse};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{Query, Statement as SqlStatement};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

impl Inner {
    pub(super) fn view_folder(&self, incarnation: u64) -> Option<PathBuf> {
        Some(self.settings.folder.as_ref()?.join("views").join(incarnation.to_string()))
    }

    /// Starts the views that the catalog names.
    pub(crate) fn start_views(self: &Arc<Self>) {
        self.views.inner.get_or_init(|| Arc::downgrade(self));
        let all = self.catalog.list().into_iter();
        let mut waiting: Vec<_> =
            all.filter(|(_, definition)| matches!(**definition, Definition::View(_))).collect();
        // A view over another one starts after it, whatever their names: as long as any could be
        // started, others may follow.
        loop {
            let count = waiting.len();
            waiting.retain(|(name, definition)| {
                let Definition::View(definition) = definition.as_ref() else { return false };
                match self.runtime.block_on(self.start_view(name, definition)) {
                    Ok(view) => {
                        self.views.broken.write().remove(name);
                        self.views.all.write().insert(name.clone(), view);
                        false
                    }
                    Err(error) => {
                        self.views.broken.write().insert(name.clone(), error);
                        true
                    }
                }
            });
            if waiting.is_empty() || waiting.len() == count {
                break;
            }
        }
        for (name, error) in self.views.broken.read().iter() {
            tracing::error!(view = name, %error, "a materialized view could not be started");
        }
    }

    async fn start_view(
        self: &Arc<Self>,
        name: &str,
        definition: &ViewDefinition,
    ) -> Result<Arc<View>, SqlError> {
        let compiled = Arc::new(compile(self, &query_of(&definition.query)?).await?);
        let folder = self.view_folder(definition.incarnation);
        let view = match View::new(self, name, definition, compiled.clone(), folder.clone()) {
            Ok(view) => view,
            // The state follows from the stream: a checkpoint that is damaged costs time, not data.
            Err(error) => {
                tracing::error!(view = name, %error, "a view's checkpoint cannot be read; it is \
                                                      built anew");
                if let Some(path) = &folder {
                    Folder::remove(path);
                }
                View::new(self, name, definition, compiled, folder)?
            }
        };
        let view = Arc::new(view);
        match &view.compiled.source {
            Source::Stream { .. } => Reader::start_all(self, &view)?,
            Source::View { .. } => {}
            Source::Files { .. } if matches!(*view.status.lock(), Status::Done) => {}
            Source::Files { scan, .. } => {
                self.runtime.spawn(files::read_files(self.clone(), view.clone(), scan.clone()));
            }
        }
        Ok(view)
    }

    /// CREATE [OR REPLACE] MATERIALIZED VIEW.
    pub(crate) async fn create_view(self: &Arc<Self>, create: &CreateView) -> Result<(), SqlError> {
        let old = self.catalog.get(&create.name);
        if old.is_some() && create.if_not_exists {
            return Ok(());
        }
        // Refuses what cannot be maintained before anything is written down.
        compile(self, &create.query).await?;
        let definition = ViewDefinition {
            query: create.query.to_string(),
            incarnation: self.new_incarnation(),
            batch_rows: create.batch_rows,
            batch_delay_ms: create.batch_delay_ms,
            lateness_us: create.lateness_us,
            emit: create.emit,
            changes: create.changes,
            paused: false,
        };
        match old.as_deref() {
            Some(Definition::View(_)) if create.or_replace => {
                unused(&self.views.all.read(), &create.name)?;
                self.replace_view(create, old.as_deref(), definition).await
            }
            _ => {
                self.catalog.create(&create.name, Definition::View(definition.clone()), false)?;
                let started = self.start_view(&create.name, &definition).await;
                let added = started.and_then(|view| {
                    let added = self.views.add(&create.name, view.clone());
                    if added.is_err() {
                        self.discard(view);
                    }
                    added
                });
                if added.is_err() {
                    self.catalog.drop(&create.name)?;
                }
                added
            }
        }
    }

    fn new_incarnation(&self) -> u64 {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let now = self.engine.now_ms() * 1_000;
        LAST.fetch_max(now, Ordering::SeqCst);
        LAST.fetch_add(1, Ordering::SeqCst)
    }

    /// Builds the new view beside the old one, and puts it in its place when it has caught up.
    async fn replace_view(
        self: &Arc<Self>,
        create: &CreateView,
        old: Option<&Definition>,
        definition: ViewDefinition,
    ) -> Result<(), SqlError> {
        let Some(old) = old else { return Ok(()) };
        let view = self.start_view(&create.name, &definition).await?;
        loop {
            let status = view.status.lock().clone();
            match status {
                Status::Backfill => tokio::time::sleep(Duration::from_millis(5)).await,
                Status::Failed(error) => {
                    self.discard(view);
                    return Err(error);
                }
                Status::Live | Status::Done => break,
            }
        }
        let swapped = {
            let mut all = self.views.all.write();
            // Somebody may have built on the old one while this one was built.
            unused(&all, &create.name).and_then(|()| {
                self.catalog.replace(&create.name, old, Definition::View(definition))?;
                Ok(all.insert(create.name.clone(), view.clone()))
            })
        };
        let replaced = match swapped {
            Ok(replaced) => replaced,
            Err(error) => {
                self.discard(view);
                return Err(error);
            }
        };
        if let Some(replaced) = replaced {
            self.discard(replaced);
        }
        Ok(())
    }

    fn discard(self: &Arc<Self>, view: Arc<View>) {
        let inner = self.clone();
        self.runtime.spawn_blocking(move || inner.views.remove(&view));
    }

    /// What runs incrementally in a query.
    pub(crate) async fn explain_view(
        self: &Arc<Self>,
        create: &CreateView,
    ) -> Result<Vec<String>, SqlError> {
        Ok(compile(self, &create.query).await?.describe())
    }

    /// PAUSE and RESUME.
    pub(crate) async fn set_paused(
        self: &Arc<Self>,
        name: &str,
        paused: bool,
    ) -> Result<(), SqlError> {
        let view = self.views.get(name)?;
        if let Source::View { view: below, .. } = &view.compiled.source {
            let message =
                format!("\"{name}\" takes in nothing by itself: it reads \"{}\"", below.name);
            return Err(SqlError::unsupported(message).hint(format!("pause \"{}\"", below.name)));
        }
        let Some(old) = self.catalog.get(name) else { return Ok(()) };
        if let Definition::View(definition) = old.as_ref() {
            let new = ViewDefinition { paused, ..definition.clone() };
            self.catalog.replace(name, &old, Definition::View(new))?;
        }
        view.paused.store(paused, Ordering::SeqCst);
        Ok(())
    }
}

fn query_of(text: &str) -> Result<Query, SqlError> {
    let wrong = || SqlError::new(SqlState::Internal, "a view's query is not a query");
    match parse(text)?.pop() {
        Some(Statement::Df(statement)) => match *statement {
            DfStatement::Statement(statement) => match *statement {
                SqlStatement::Query(query) => Ok(*query),
                _ => Err(wrong()),
            },
            _ => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}
