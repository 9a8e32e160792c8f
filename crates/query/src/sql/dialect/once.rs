//! Queries of WITH that Postgres runs once though they are named several times, for their rows are
//! different each time: they are planned by themselves.

use super::rewrite::{folded, function_name, query_of};
use super::using::with_needed;
use crate::sql::once::{Numbered, ONCE, number};
use crate::sql::walk::{Walk, WalkMut};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::Volatility;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{
    Cte, CteAsMaterialized, Expr, ObjectName, ObjectNamePart, Query, Statement as SqlStatement,
    Value, ValueWithSpan, Visitor, VisitorMut, With,
};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// Such queries that one statement may have.
const QUERIES_MAX: usize = 64;

/// Puts such queries otherwise. What is given must be kept until the statement has been planned.
pub(super) async fn resolve(
    state: &SessionState,
    statement: &mut DfStatement,
) -> Result<Vec<Numbered>> {
    let statement = match statement {
        DfStatement::Statement(statement) => statement,
        DfStatement::Explain(explain) => {
            return Box::pin(resolve(state, &mut explain.statement)).await;
        }
        _ => return Ok(Vec::new()),
    };
    let mut numbered = Vec::new();
    // Those that are left as they are.
    let mut left: HashSet<String> = HashSet::new();
    for _ in 0..QUERIES_MAX {
        let mut finding = Finding { state, ctes: Vec::new(), left: &left, found: None };
        let _finished = statement.walk_mut(&mut finding);
        let Some((name, query)) = finding.found else { break };
        let query = DfStatement::Statement(Box::new(SqlStatement::Query(Box::new(query))));
        let planned = Box::pin(state.statement_to_plan(query)).await.ok();
        let planned = planned.filter(|plan| {
            let names = plan.schema().fields().iter().map(|field| field.name());
            names.collect::<HashSet<_>>().len() == plan.schema().fields().len()
        });
        match planned.map(number) {
            Some(once) => {
                let mut putting = Putting { state, name: &name, left: &left, number: once.0 };
                let _finished = statement.walk_mut(&mut putting);
                numbered.push(once);
            }
            None => drop(left.insert(name)),
        }
    }
    Ok(numbered)
}

/// Whether a query of WITH is to be run once for all who name it.
fn is_meant(state: &SessionState, with: &With, at: usize, around: &Query) -> bool {
    let Some(cte) = with.cte_tables.get(at) else { return false };
    let name = folded(&cte.alias.name);
    let mut seen = Seen { state, name: &name, is_volatile: false, is_bound: false, named: 0 };
    let _finished = cte.query.walk(&mut seen);
    if !seen.is_volatile || seen.is_bound || seen.named > 0 {
        return false;
    }
    match cte.materialized {
        Some(CteAsMaterialized::NotMaterialized) => false,
        Some(CteAsMaterialized::Materialized) => true,
        None => {
            let _finished = around.walk(&mut seen);
            seen.named > 1
        }
    }
}

/// What a query has in it.
struct Seen<'a> {
    state: &'a SessionState,
    name: &'a str,
    is_volatile: bool,
    /// Parameters, whose values are not known yet.
    is_bound: bool,
    /// How often the name is read.
    named: usize,
}

impl Visitor for Seen<'_> {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let is_it = matches!(relation.0.as_slice(), [ObjectNamePart::Identifier(name)]
            if folded(name) == self.name);
        self.named += usize::from(is_it);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr {
            let function = self.state.scalar_functions().get(&function_name(function));
            self.is_volatile |=
                function.is_some_and(|found| found.signature().volatility == Volatility::Volatile);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
        self.is_bound |= matches!(value.value, Value::Placeholder(_));
        ControlFlow::Continue(())
    }
}

/// Looks for the first such query.
struct Finding<'a> {
    state: &'a SessionState,
    ctes: Vec<With>,
    left: &'a HashSet<String>,
    found: Option<(String, Query)>,
}

impl VisitorMut for Finding<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let Some(with) = query.with.clone() else { return ControlFlow::Continue(()) };
        for (at, cte) in with.cte_tables.iter().enumerate() {
            let name = folded(&cte.alias.name);
            if !self.left.contains(&name) && is_meant(self.state, &with, at, query) {
                let before: Vec<Cte> = with.cte_tables.iter().take(at).cloned().collect();
                self.ctes.push(With { cte_tables: before, ..with.clone() });
                let query = with_needed(cte.query.as_ref().clone(), &self.ctes);
                self.found = Some((name, query));
                return ControlFlow::Break(());
            }
        }
        self.ctes.push(with);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if query.with.is_some() {
            self.ctes.pop();
        }
        ControlFlow::Continue(())
    }
}

/// Puts the function where the query stands.
struct Putting<'a> {
    state: &'a SessionState,
    name: &'a str,
    left: &'a HashSet<String>,
    number: u64,
}

impl VisitorMut for Putting<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let Some(with) = query.with.clone() else { return ControlFlow::Continue(()) };
        for (at, cte) in with.cte_tables.iter().enumerate() {
            let name = folded(&cte.alias.name);
            if name != self.name
                || self.left.contains(&name)
                || !is_meant(self.state, &with, at, query)
            {
                continue;
            }
            let once = query_of(&format!("SELECT * FROM {ONCE}({})", self.number));
            if let Some(once) = once
                && let Some(with) = &mut query.with
                && let Some(cte) = with.cte_tables.get_mut(at)
            {
                cte.query = once;
            }
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}
