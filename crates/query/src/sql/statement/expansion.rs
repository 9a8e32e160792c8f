//! Statements that are short and become large. If each WITH names the one before twice, each
//! doubles what is planned. How large a statement is when its WITHs are put in their places is
//! counted before it is planned.

use crate::error::{SqlError, SqlState};
use crate::sql::walk::Walk;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{ObjectName, Query, Statement as SqlStatement, Visitor};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// Relations that a statement may have beyond those that are written down.
const EXPANSION_MAX: u64 = 1_000;
/// WITHs that read each other in turn.
const DEPTH_MAX: u64 = 1_000;
/// Steps that the plan of a view may have.
const STEPS_MAX: u64 = 10_000;

/// Refuses a statement that becomes too large.
pub(super) fn check(statement: &SqlStatement) -> Result<(), SqlError> {
    let mut count = Count { open: vec![Level::default()], written: 0 };
    let _it_never_breaks_off = statement.walk(&mut count);
    let outermost = count.open.pop().unwrap_or_default();
    if outermost.depth > DEPTH_MAX {
        return Err(SqlError::new(
            SqlState::StatementTooComplex,
            format!("at most {DEPTH_MAX} WITH queries can read each other in turn"),
        ));
    }
    let all = outermost.relations;
    if all.saturating_sub(count.written) > EXPANSION_MAX {
        return Err(SqlError::new(
            SqlState::StatementTooComplex,
            format!(
                "the statement's WITH queries stand for {all} relations when they are put in their \
                 places"
            ),
        ));
    }
    Ok(())
}

/// Refuses a view that becomes too large, since it names views that do.
pub(crate) fn check_plan(plan: &LogicalPlan) -> Result<(), SqlError> {
    let mut steps = 0;
    plan.apply_with_subqueries(|_node| {
        steps += 1;
        Ok(if steps > STEPS_MAX { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if steps > STEPS_MAX {
        let message =
            "a view stands for too many steps when the views that it names are put in their places";
        return Err(SqlError::new(SqlState::StatementTooComplex, message));
    }
    Ok(())
}

/// A query that is being walked.
#[derive(Default)]
struct Level {
    /// Its WITHs by their names, in their order, and how many of them are behind.
    names: Vec<String>,
    done: usize,
    /// The relations that each of them stands for.
    widths: HashMap<String, u64>,
    /// How many others stand below each of them, one on the other.
    depths: HashMap<String, u64>,
    relations: u64,
    depth: u64,
}

struct Count {
    open: Vec<Level>,
    written: u64,
}

impl Visitor for Count {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        let names = tables.map(|table| table.alias.name.value.to_lowercase()).collect();
        self.open.push(Level { names, ..Level::default() });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        let Some(ended) = self.open.pop() else { return ControlFlow::Continue(()) };
        let Some(around) = self.open.last_mut() else { return ControlFlow::Continue(()) };
        match around.names.get(around.done) {
            // A WITH counts where it is named.
            Some(name) => {
                around.widths.insert(name.clone(), ended.relations.max(1));
                around.depths.insert(name.clone(), ended.depth + 1);
                around.done += 1;
            }
            None => {
                around.relations = around.relations.saturating_add(ended.relations);
                around.depth = around.depth.max(ended.depth);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let name = relation.to_string().trim_matches('"').to_lowercase();
        let width = self.open.iter().rev().find_map(|level| level.widths.get(&name)).copied();
        let depth = self.open.iter().rev().find_map(|level| level.depths.get(&name)).copied();
        self.written += 1;
        if let Some(level) = self.open.last_mut() {
            level.depth = level.depth.max(depth.unwrap_or(0));
            level.relations = level.relations.saturating_add(width.unwrap_or(1));
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use crate::sql::statement::parse;

    fn doubling(levels: usize) -> String {
        let mut text = "WITH c0 AS (SELECT 1 AS x)".to_owned();
        for level in 1..=levels {
            let before = level - 1;
            text.push_str(&format!(", c{level} AS (SELECT a.x FROM c{before} a, c{before} b)"));
        }
        format!("{text} SELECT count(*) FROM c{levels}")
    }

    #[test]
    fn what_stands_too_high_is_refused() {
        let tower = |levels: usize| {
            let reads = |level: usize| format!("c{level} AS (SELECT x FROM c{})", level - 1);
            let all = (1..=levels).map(reads).collect::<Vec<_>>().join(", ");
            format!("WITH c0 AS (SELECT 1 AS x), {all} SELECT * FROM c{levels}")
        };
        assert!(parse(&tower(999)).is_ok());
        assert_eq!(parse(&tower(1_000)).expect_err("too high").state.code(), "54001");
    }

    #[test]
    fn what_doubles_is_refused_before_it_is_planned() {
        assert!(parse(&doubling(8)).is_ok());
        let error = parse(&doubling(40)).expect_err("too much");
        assert_eq!(error.state.code(), "54001");
        // Many that are written down are what they are.
        let many = vec!["(SELECT x FROM t)"; 1_600].join(", ");
        assert!(parse(&format!("SELECT {many}")).is_ok());
        let names =
            "WITH c AS (SELECT * FROM t, u) SELECT * FROM c, c AS d, (SELECT * FROM c) AS e";
        assert!(parse(names).is_ok());
    }
}
