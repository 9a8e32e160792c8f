//! `JOIN … USING` and NATURAL joins, rewritten as joins ON a condition. In Postgres a column that
//! is joined over is one column: the left relation's, or the right one's in a RIGHT JOIN, or
//! whichever has a value in a FULL JOIN. `*` shows it once, and first. DataFusion always takes the
//! left one and calls it ambiguous in WHERE (its `plan_selection` gives the columns of the
//! condition where those of USING belong).
//!
//! The columns of a relation are found by planning a query that reads it alone, so statements
//! without such joins pay nothing. A statement whose names cannot be told apart is left as it is,
//! and DataFusion then says what is wrong with it.

mod put;
mod scope;

use super::rewrite::{folded, query_of};
use crate::sql::walk::{Walk, WalkMut};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{
    Cte, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, Query, Select, SetExpr,
    Statement as SqlStatement, TableFactor, TableWithJoins, Visitor, VisitorMut, With,
};
use std::collections::VecDeque;
use std::ops::ControlFlow;

/// SELECTs with such joins that one statement may have.
const SELECTS_MAX: usize = 64;

/// The names of the columns of each relation of a FROM, in their order.
type Names = VecDeque<Vec<String>>;

/// Puts such joins otherwise.
pub(super) async fn resolve(state: &SessionState, statement: &mut DfStatement) -> Result<()> {
    let statement = match statement {
        DfStatement::Statement(statement) => statement,
        DfStatement::Explain(explain) => {
            return Box::pin(resolve(state, &mut explain.statement)).await;
        }
        _ => return Ok(()),
    };
    for _ in 0..SELECTS_MAX {
        let mut finding = Finding::default();
        let _finished = statement.walk_mut(&mut finding);
        let Some(probes) = finding.found else { return Ok(()) };
        let mut names = Names::new();
        for probe in probes {
            let probe = DfStatement::Statement(Box::new(SqlStatement::Query(Box::new(probe))));
            let Ok(plan) = Box::pin(state.statement_to_plan(probe)).await else { return Ok(()) };
            names.push_back(plan.schema().fields().iter().map(|f| f.name().clone()).collect());
        }
        let mut putting = Putting { names: Some(names), changed: false };
        let _finished = statement.walk_mut(&mut putting);
        if !putting.changed {
            return Ok(());
        }
    }
    Ok(())
}

/// The constraint of a join that there is in Postgres.
fn constraint_of(join: &JoinOperator) -> Option<&JoinConstraint> {
    use JoinOperator::{FullOuter, Inner, Join, Left, LeftOuter, Right, RightOuter};
    match join {
        Join(on) | Inner(on) | Left(on) | LeftOuter(on) | Right(on) | RightOuter(on)
        | FullOuter(on) => Some(on),
        _ => None,
    }
}

fn has_using(from: &[TableWithJoins]) -> bool {
    from.iter().any(|item| {
        let is_using = |join: &JoinOperator| {
            matches!(constraint_of(join), Some(JoinConstraint::Using(_) | JoinConstraint::Natural))
        };
        let inside = |factor: &TableFactor| match factor {
            TableFactor::NestedJoin { table_with_joins, .. } => {
                has_using(std::slice::from_ref(table_with_joins))
            }
            _ => false,
        };
        inside(&item.relation)
            || item.joins.iter().any(|join| is_using(&join.join_operator) || inside(&join.relation))
    })
}

/// The SELECTs that a query consists of.
fn each_select<'a>(body: &'a mut SetExpr, each: &mut dyn FnMut(&'a mut Select)) {
    match body {
        SetExpr::Select(select) => each(select),
        SetExpr::SetOperation { left, right, .. } => {
            each_select(left, each);
            each_select(right, each);
        }
        _ => {}
    }
}

/// Looks for the first SELECT with such a join; those inside others come first.
#[derive(Default)]
struct Finding {
    ctes: Vec<With>,
    /// Queries that read one relation of it each.
    found: Option<Vec<Query>>,
}

impl VisitorMut for Finding {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.ctes.extend(query.with.clone());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let ctes = &self.ctes;
        let found = &mut self.found;
        each_select(&mut query.body, &mut |select| {
            if found.is_none() && has_using(&select.from) {
                let mut probes = Vec::new();
                select.from.iter().for_each(|item| probe_all(item, ctes, &mut probes));
                *found = Some(probes);
            }
        });
        if query.with.is_some() {
            self.ctes.pop();
        }
        if self.found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn probe_all(item: &TableWithJoins, ctes: &[With], probes: &mut Vec<Query>) {
    let joined = item.joins.iter().map(|join| &join.relation);
    for factor in std::iter::once(&item.relation).chain(joined) {
        match factor {
            TableFactor::NestedJoin { table_with_joins, .. } => {
                probe_all(table_with_joins, ctes, probes);
            }
            factor => probes.extend(probe(factor, ctes)),
        }
    }
}

/// `SELECT * FROM …`, with the queries of WITH that it needs.
fn probe(factor: &TableFactor, ctes: &[With]) -> Option<Query> {
    let mut query = *query_of("SELECT * FROM relation")?;
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    select.from.first_mut()?.relation = factor.clone();
    Some(with_needed(query, ctes))
}

/// A query with those of WITH around it that it reads.
pub(super) fn with_needed(mut query: Query, ctes: &[With]) -> Query {
    let mut needed: Vec<Cte> = Vec::new();
    let mut is_recursive = false;
    for with in ctes.iter().rev() {
        for cte in with.cte_tables.iter().rev() {
            let name = folded(&cte.alias.name);
            let is_named = reads(&query, &name)
                || needed.iter().any(|other| reads(other.query.as_ref(), &name));
            if is_named && !needed.iter().any(|other| folded(&other.alias.name) == name) {
                is_recursive |= with.recursive;
                needed.insert(0, cte.clone());
            }
        }
    }
    if let Some(with) = ctes.first()
        && !needed.is_empty()
    {
        // Its own ones may read these.
        needed.extend(query.with.take().into_iter().flat_map(|own| own.cte_tables));
        query.with = Some(With { recursive: is_recursive, cte_tables: needed, ..with.clone() });
    }
    query
}

/// Whether a query reads a relation that is called so.
fn reads(query: &Query, name: &str) -> bool {
    struct Reads<'a>(&'a str, bool);
    impl Visitor for Reads<'_> {
        type Break = ();

        fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
            let is_it = matches!(relation.0.as_slice(), [ObjectNamePart::Identifier(name)]
                if folded(name) == self.0);
            self.1 |= is_it;
            ControlFlow::Continue(())
        }
    }
    let mut reads = Reads(name, false);
    let _finished = query.walk(&mut reads);
    reads.1
}

/// Changes the SELECT that was found.
struct Putting {
    names: Option<Names>,
    changed: bool,
}

impl VisitorMut for Putting {
    type Break = ();

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let is_alone = matches!(query.body.as_ref(), SetExpr::Select(_));
        let mut done = None;
        let names = &mut self.names;
        each_select(&mut query.body, &mut |select| {
            if has_using(&select.from)
                && let Some(names) = names.take()
            {
                done = Some(put::put(select, names));
            }
        });
        let Some(scope) = done else { return ControlFlow::Continue(()) };
        if let Some(scope) = scope {
            self.changed = true;
            if let SetExpr::Select(select) = query.body.as_mut()
                && is_alone
            {
                put::put_order(query.order_by.as_mut(), select, &scope);
            }
        }
        ControlFlow::Break(())
    }
}
