//! Limits for the parts of a query that cost the planner more than their number: it goes through
//! all joins for each join, and through all windows for each window. Beyond these limits a
//! statement of a hundred kilobytes took minutes and gigabytes.

use crate::error::{SqlError, SqlState};
use crate::sql::walk::Walk;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, GroupByExpr, OrderByKind, Query, Select, SetExpr, Statement as SqlStatement,
    TableFactor, TableWithJoins, Visitor, WindowType,
};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// Relations that a query joins, subqueries of EXISTS and IN among them.
const JOINS_MAX: usize = 200;
/// Windows that differ.
const WINDOWS_MAX: usize = 300;
/// Columns of an answer, with those that it is grouped and ordered by; Postgres has the same limit.
const COLUMNS_MAX: usize = 1_664;

/// Refuses a statement whose queries have too much.
pub(super) fn check(statement: &SqlStatement) -> Result<(), SqlError> {
    let mut sizes = Sizes { open: Vec::new(), refused: None };
    // It breaks off where it refuses.
    let _finished = statement.walk(&mut sizes);
    sizes.refused.map_or(Ok(()), Err)
}

/// What a SELECT has so far.
#[derive(Default)]
struct Size {
    joins: usize,
    windows: HashSet<String>,
}

struct Sizes {
    open: Vec<Size>,
    refused: Option<SqlError>,
}

impl Visitor for Sizes {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.open.push(Size::default());
        let Some(select) = first_select(&query.body) else { return ControlFlow::Continue(()) };
        let ordered = match query.order_by.as_ref().map(|order| &order.kind) {
            Some(OrderByKind::Expressions(keys)) => keys.len(),
            _ => 0,
        };
        let grouped = match &select.group_by {
            GroupByExpr::Expressions(keys, _) => keys.len(),
            GroupByExpr::All(_) => 0,
        };
        if select.projection.len() + ordered + grouped > COLUMNS_MAX {
            let message = format!("target lists can have at most {COLUMNS_MAX} entries");
            return self.refuse(SqlState::TooManyColumns, message);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.open.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        // A union has several of them, one after the other.
        if let Some(size) = self.open.last_mut() {
            *size = Size::default();
        }
        self.join(select.from.iter().map(relations).sum())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Exists { .. } | Expr::InSubquery { .. } => self.join(1),
            Expr::Function(Function { over: Some(WindowType::WindowSpec(window)), .. }) => {
                let Some(size) = self.open.last_mut() else { return ControlFlow::Continue(()) };
                size.windows.insert(window.to_string());
                if size.windows.len() > WINDOWS_MAX {
                    let message = format!("a query can have at most {WINDOWS_MAX} windows");
                    return self.refuse(SqlState::StatementTooComplex, message);
                }
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

impl Sizes {
    fn refuse(&mut self, state: SqlState, message: String) -> ControlFlow<()> {
        self.refused = Some(SqlError::new(state, message));
        ControlFlow::Break(())
    }

    fn join(&mut self, count: usize) -> ControlFlow<()> {
        let Some(size) = self.open.last_mut() else { return ControlFlow::Continue(()) };
        size.joins += count;
        if size.joins > JOINS_MAX {
            let message = format!("a query can join at most {JOINS_MAX} relations");
            return self.refuse(SqlState::StatementTooComplex, message);
        }
        ControlFlow::Continue(())
    }
}

/// The SELECT that gives a query its columns.
fn first_select(mut body: &SetExpr) -> Option<&Select> {
    loop {
        match body {
            SetExpr::Select(select) => return Some(select),
            SetExpr::SetOperation { left, .. } => body = left,
            _ => return None,
        }
    }
}

/// The relations that an item of FROM joins; those of a subquery are its own.
fn relations(item: &TableWithJoins) -> usize {
    let of_factor = |factor: &TableFactor| match factor {
        TableFactor::NestedJoin { table_with_joins, .. } => relations(table_with_joins),
        _ => 1,
    };
    of_factor(&item.relation)
        + item.joins.iter().map(|join| of_factor(&join.relation)).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use crate::sql::statement::parse;

    fn list(count: usize, separator: &str, item: impl Fn(usize) -> String) -> String {
        (0..count).map(item).collect::<Vec<_>>().join(separator)
    }

    #[test]
    fn what_the_planner_cannot_do_in_time_is_refused() {
        let from = |count| format!("SELECT 1 FROM {}", list(count, ", ", |i| format!("t AS t{i}")));
        let exists = |count| {
            format!(
                "SELECT 1 FROM t WHERE {}",
                list(count, " AND ", |_| { "EXISTS (SELECT 1 FROM u WHERE u.x = t.x)".to_owned() })
            )
        };
        let windows = |count| {
            format!(
                "SELECT {} FROM t",
                list(count, ", ", |i| format!("sum(x) OVER (ORDER BY x + {i})"))
            )
        };
        let columns =
            |count| format!("SELECT {} FROM t", list(count, ", ", |i| format!("sum(x + {i})")));
        let ordered = |count| {
            format!("SELECT 1 FROM t ORDER BY {}", list(count, ", ", |i| format!("x + {i}")))
        };
        type Made<'a> = &'a dyn Fn(usize) -> String;
        let cases: [(Made<'_>, usize, &str); 5] = [
            (&from, 200, "54001"),
            (&exists, 199, "54001"),
            (&windows, 300, "54001"),
            (&columns, 1_664, "54011"),
            (&ordered, 1_663, "54011"),
        ];
        for (text, most, code) in cases {
            assert!(parse(&text(most)).is_ok(), "{}", &text(1));
            let error = parse(&text(most + 1)).expect_err("too many");
            assert_eq!(error.state.code(), code, "{}", error.message);
        }
        // Each of them is small.
        let union = list(2_000, " UNION ALL ", |i| format!("SELECT x FROM t WHERE x = {i}"));
        assert!(parse(&union).is_ok());
    }
}
