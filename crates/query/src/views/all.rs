//! All views of a database.

use super::*;

/// All views of a node.
#[derive(Default)]
pub(crate) struct Views {
    pub(super) all: RwLock<BTreeMap<String, Arc<View>>>,
    /// Views that could not be started, and why.
    pub(super) broken: RwLock<BTreeMap<String, SqlError>>,
    /// Held while changes of a view go into its stream, and while that is dropped.
    pub(super) telling: Mutex<()>,
    pub(super) inner: std::sync::OnceLock<std::sync::Weak<Inner>>,
}

impl Views {
    pub(super) fn get(&self, name: &str) -> Result<Arc<View>, SqlError> {
        if let Some(view) = self.all.read().get(name) {
            return Ok(view.clone());
        }
        match self.broken.read().get(name) {
            Some(error) => Err(error.clone()),
            None => Err(SqlError::unknown("materialized view", name)),
        }
    }

    /// The view as a table.
    pub(crate) fn table(&self, name: &str) -> Result<Arc<dyn TableProvider>, SqlError> {
        table::table(&self.get(name)?)
    }

    pub(crate) fn reports(&self) -> Vec<ViewReport> {
        let Some(inner) = self.inner.get().and_then(std::sync::Weak::upgrade) else {
            return Vec::new();
        };
        let views: Vec<Arc<View>> = self.all.read().values().cloned().collect();
        views.iter().map(|view| view.report(&inner)).collect()
    }

    /// A view that reads something.
    pub(crate) fn user_of(&self, source: &str) -> Option<String> {
        let all = self.all.read();
        all.values().find(|view| view.compiled.reads(source)).map(|view| view.name.clone())
    }

    /// Makes views wait, or go on, by the memory of all of them.
    pub(crate) fn watch_memory(&self, bytes_max: usize) {
        let views: Vec<Arc<View>> = self.all.read().values().cloned().collect();
        let bytes: usize = views.iter().map(|view| view.live.lock().state.bytes()).sum();
        let starved = bytes > bytes_max;
        for view in views {
            if view.starved.swap(starved, Ordering::SeqCst) != starved && starved {
                tracing::warn!(
                    view = view.name,
                    bytes,
                    bytes_max,
                    "the views' memory is spent; they wait until a view is dropped or the limit is \
                     raised"
                );
            }
        }
    }

    /// Stops a view and forgets what it had.
    pub(crate) fn drop(&self, name: &str) -> Result<(), SqlError> {
        self.broken.write().remove(name);
        let removed = {
            let mut all = self.all.write();
            // Somebody may have built on it since that was asked for.
            unused(&all, name)?;
            all.remove(name)
        };
        let Some(view) = removed else { return Ok(()) };
        self.remove(&view);
        Ok(())
    }

    /// Takes up a view that has just been started, if the views that it reads are still there.
    pub(super) fn add(&self, name: &str, view: Arc<View>) -> Result<(), SqlError> {
        let mut all = self.all.write();
        let is_there =
            |below: &Arc<View>| all.get(&below.name).is_some_and(|other| Arc::ptr_eq(other, below));
        if !view.compiled.views().all(is_there) {
            let message = "a view that it reads was replaced or dropped meanwhile";
            return Err(SqlError::new(SqlState::SerializationFailure, message));
        }
        all.insert(name.to_owned(), view);
        Ok(())
    }

    pub(super) fn remove(&self, view: &View) {
        view.stop();
        if let Some(path) =
            self.inner.get().and_then(|inner| inner.upgrade()?.view_folder(view.incarnation))
        {
            Folder::remove(&path);
        }
    }

    /// Stops all views without a last checkpoint.
    pub(crate) fn abandon(&self) {
        for view in self.all.read().values() {
            view.abandoned.store(true, Ordering::SeqCst);
        }
        self.close();
    }

    /// Stops all views; they go on where they are when the node starts again.
    pub(crate) fn close(&self) {
        let views: Vec<Arc<View>> = self.all.read().values().cloned().collect();
        for view in &views {
            view.stopping.store(true, Ordering::SeqCst);
        }
        for view in views {
            view.stop();
        }
    }
}

/// Refuses what would take a view from under another one.
pub(super) fn unused(all: &BTreeMap<String, Arc<View>>, name: &str) -> Result<(), SqlError> {
    match all.values().find(|view| view.compiled.reads(name)) {
        Some(user) => {
            let message = format!("materialized view \"{}\" reads \"{name}\"", user.name);
            Err(SqlError::new(SqlState::DependentObjects, message))
        }
        None => Ok(()),
    }
}
