//! What a compiled view reads, and its description.

use super::*;

/// What a view reads.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A stream, for ever.
    Stream { name: String, definition: StreamDefinition, projection: Option<Vec<usize>> },
    /// Files, to their end.
    Files { name: String, scan: LogicalPlan },
    /// Another view's groups.
    View { view: Arc<View>, projection: Option<Vec<usize>>, completes: Completes },
}

impl Source {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Stream { name, .. } | Self::Files { name, .. } => name,
            Self::View { view, .. } => &view.name,
        }
    }
}

/// What the closing of the other view's windows says about the time of a view over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completes {
    /// Rows that come later have later times than what is closed there, less this.
    Behind(i64),
    /// Nothing.
    Never,
}

/// Where a column of the groups comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyColumn {
    /// A key, by position.
    Key(usize),
    /// The bounds of the group's window.
    Start,
    End,
}

impl Compiled {
    /// The views it reads.
    pub(crate) fn views(&self) -> impl Iterator<Item = &Arc<View>> {
        let source = match &self.source {
            Source::View { view, .. } => Some(view),
            _ => None,
        };
        source.into_iter().chain(self.lookup.iter().flat_map(|lookup| &lookup.views))
    }

    /// Whether a name is that of something it reads.
    pub(crate) fn reads(&self, name: &str) -> bool {
        let tables = self.lookup.iter().flat_map(|lookup| &lookup.tables);
        self.source.name() == name || tables.into_iter().any(|table| table == name)
    }

    /// What a reader of EXPLAIN is told.
    pub(crate) fn describe(&self) -> Vec<String> {
        let mut lines = Vec::new();
        lines.push(match &self.source {
            Source::Stream { name, definition, .. } => {
                format!(
                    "read stream {name}, {} partitions, as records arrive",
                    definition.partitions
                )
            }
            Source::Files { name, .. } => format!("read files {name} once, to their end"),
            Source::View { view, .. } => format!(
                "read view {}: its closed windows once, those that may still change when this is \
                 read",
                view.name
            ),
        });
        for step in &self.steps {
            lines.push(match step {
                Step::Filter(predicate) => format!("  each record: keep where {predicate}"),
                Step::Project { exprs, .. } => {
                    let exprs: Vec<String> = exprs.iter().map(ToString::to_string).collect();
                    format!("  each record: compute {}", exprs.join(", "))
                }
                Step::Window { kind, time, .. } => format!("  each record: {kind:?} by {time}"),
            });
        }
        let keys: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
        let by_window = if self.window.is_some() { "window" } else { "no window" };
        lines.push(format!("incremental: group by {by_window}, [{}]", keys.join(", ")));
        for aggregate in &self.aggregates {
            lines.push(format!("  incremental: {}", aggregate.describe()));
        }
        if let Some(lookup) = &self.lookup {
            lines.extend(lookup.describe().into_iter().map(|line| format!("when read: {line}")));
        }
        let above = self.plan.display_indent().to_string();
        let above: Vec<&str> =
            above.lines().take_while(|line| !line.trim_start().starts_with("Aggregate")).collect();
        if above.is_empty() {
            lines.push("when read: the groups as they are".to_owned());
        }
        lines.extend(above.iter().map(|line| format!("when read: {}", line.trim_start())));
        lines
    }
}
