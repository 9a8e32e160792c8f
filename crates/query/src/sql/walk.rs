//! Walks over statements. The parser's own walk is generic, so the compiler makes some five hundred
//! functions for each visitor. Here the walk is compiled once, and visitors are called through a
//! table.

use datafusion::sql::sqlparser::ast::{
    Expr, ObjectName, Query, Select, Statement, TableFactor, ValueWithSpan, Visit, VisitMut,
    Visitor, VisitorMut,
};
use std::ops::ControlFlow;

/// What can be walked over and changed.
pub(crate) trait WalkMut {
    /// Shows all parts to a visitor; says whether it broke off.
    fn walk_mut(&mut self, visitor: &mut dyn VisitorMut<Break = ()>) -> ControlFlow<()>;

    /// Shows all expressions, the inner ones first.
    fn each_expr_mut(
        &mut self,
        each: &mut dyn FnMut(&mut Expr) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.walk_mut(&mut EachExpr(each))
    }

    /// Shows all expressions but those of subqueries, whose names may mean something else.
    fn each_own_expr_mut(&mut self, each: &mut dyn FnMut(&mut Expr)) {
        let _never_broken_off = self.walk_mut(&mut EachOwnExpr { each, depth: 0 });
    }
}

/// What can be walked over.
pub(crate) trait Walk {
    /// Shows all parts to a visitor; says whether it broke off.
    fn walk(&self, visitor: &mut dyn Visitor<Break = ()>) -> ControlFlow<()>;
}

impl<N: VisitMut> WalkMut for N {
    fn walk_mut(&mut self, visitor: &mut dyn VisitorMut<Break = ()>) -> ControlFlow<()> {
        self.visit(&mut ByTableMut(visitor))
    }
}

impl<N: Visit> Walk for N {
    fn walk(&self, visitor: &mut dyn Visitor<Break = ()>) -> ControlFlow<()> {
        self.visit(&mut ByTable(visitor))
    }
}

struct EachExpr<'a>(&'a mut dyn FnMut(&mut Expr) -> ControlFlow<()>);

impl VisitorMut for EachExpr<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        (self.0)(expr)
    }
}

struct EachOwnExpr<'a> {
    each: &'a mut dyn FnMut(&mut Expr),
    /// How many subqueries the walk is in.
    depth: usize,
}

impl VisitorMut for EachOwnExpr<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth == 0 {
            (self.each)(expr);
        }
        ControlFlow::Continue(())
    }
}

struct ByTableMut<'a>(&'a mut dyn VisitorMut<Break = ()>);
struct ByTable<'a>(&'a mut dyn Visitor<Break = ()>);

macro_rules! forward {
    ($walker:ident, $visitor:ident, $($method:ident $node:ty),+ $(,)?) => {
        impl $visitor for $walker<'_> {
            type Break = ();

            $(fn $method(&mut self, node: $node) -> ControlFlow<()> {
                self.0.$method(node)
            })+
        }
    };
}

forward! {
    ByTableMut, VisitorMut,
    pre_visit_query &mut Query,
    post_visit_query &mut Query,
    pre_visit_select &mut Select,
    post_visit_select &mut Select,
    pre_visit_relation &mut ObjectName,
    post_visit_relation &mut ObjectName,
    pre_visit_table_factor &mut TableFactor,
    post_visit_table_factor &mut TableFactor,
    pre_visit_expr &mut Expr,
    post_visit_expr &mut Expr,
    pre_visit_statement &mut Statement,
    post_visit_statement &mut Statement,
    pre_visit_value &mut ValueWithSpan,
    post_visit_value &mut ValueWithSpan,
}

forward! {
    ByTable, Visitor,
    pre_visit_query &Query,
    post_visit_query &Query,
    pre_visit_select &Select,
    post_visit_select &Select,
    pre_visit_relation &ObjectName,
    post_visit_relation &ObjectName,
    pre_visit_table_factor &TableFactor,
    post_visit_table_factor &TableFactor,
    pre_visit_expr &Expr,
    post_visit_expr &Expr,
    pre_visit_statement &Statement,
    post_visit_statement &Statement,
    pre_visit_value &ValueWithSpan,
    post_visit_value &ValueWithSpan,
}
