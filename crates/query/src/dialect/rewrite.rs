//! Statements rewritten so that DataFusion plans what Postgres means.

use super::names::name_items;
use crate::error::{SqlError, SqlState};
use crate::functions::is_set_returning;
use crate::session::Session;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, GroupByExpr, Ident, ObjectName, OrderByKind, Query,
    Select, SelectItem, SetExpr, Statement as SqlStatement, TableAlias, TableFactor,
    TableWithJoins, UnaryOperator, Value, VisitMut, VisitorMut, visit_expressions_mut,
    visit_relations,
};
use std::ops::ControlFlow;

/// Visits all expressions of a statement, the inner ones first.
pub(super) fn visit_all(statement: &mut DfStatement, each: &mut dyn FnMut(&mut Expr)) {
    match statement {
        DfStatement::Statement(statement) => {
            let _finished: ControlFlow<()> = visit_expressions_mut(statement.as_mut(), |expr| {
                each(expr);
                ControlFlow::Continue(())
            });
        }
        DfStatement::Explain(explain) => visit_all(&mut explain.statement, each),
        _ => {}
    }
}

/// The relations that a statement names, without their schemas.
pub(crate) fn relations(statement: &DfStatement) -> Vec<String> {
    let mut names = Vec::new();
    if let DfStatement::Statement(statement) = statement {
        let _finished: ControlFlow<()> = visit_relations(statement.as_ref(), |name| {
            if let Some(last) = name.0.last().and_then(|part| part.as_ident()) {
                names.push(folded(last));
            }
            ControlFlow::Continue(())
        });
    }
    names
}

/// Whether a query reads a relation.
pub(crate) fn reads(query: &str, name: &str) -> bool {
    let parsed = crate::statement::parse(query).unwrap_or_default();
    parsed.iter().any(|statement| match statement {
        crate::statement::Statement::Df(statement) => {
            relations(statement).iter().any(|other| other == name)
        }
        _ => false,
    })
}

/// Whether a condition names a column.
pub(crate) fn mentions(condition: &str, column: &str) -> bool {
    let Ok(mut expr) = super::parse_expr(condition) else { return true };
    let mut found = false;
    let _finished: ControlFlow<()> = visit_expressions_mut(&mut expr, |expr| {
        found |= match expr {
            Expr::Identifier(name) => folded(name) == column,
            Expr::CompoundIdentifier(parts) => {
                parts.last().is_some_and(|name| folded(name) == column)
            }
            _ => false,
        };
        ControlFlow::Continue(())
    });
    found
}

fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// How many columns a query has, where it says so itself.
pub(crate) fn width_of(query: &Query) -> Option<usize> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let plain = |item: &SelectItem| {
        matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })
    };
    select.projection.iter().all(plain).then_some(select.projection.len())
}

/// Rewrites a statement for a session.
pub(crate) fn rewrite(statement: &mut DfStatement, session: &Session) -> Result<(), SqlError> {
    match statement {
        DfStatement::Statement(statement) => rewrite_sql(statement, Some(session)),
        DfStatement::Explain(explain) => rewrite(&mut explain.statement, session),
        _ => Ok(()),
    }
}

/// Rewrites a query that nobody in particular asks.
pub(crate) fn rewrite_query(statement: &mut SqlStatement) -> Result<(), SqlError> {
    rewrite_sql(statement, None)
}

fn rewrite_sql(statement: &mut SqlStatement, session: Option<&Session>) -> Result<(), SqlError> {
    let mut rewriter = Rewriter { session, failed: None };
    if let ControlFlow::Break(()) = statement.visit(&mut rewriter) {
        return Err(rewriter
            .failed
            .unwrap_or_else(|| SqlError::new(SqlState::Internal, "a rewrite failed")));
    }
    Ok(())
}

/// Rewrites an expression that stands alone.
pub(super) fn rewrite_expr(expr: &mut Expr) {
    let mut rewriter = Rewriter { session: None, failed: None };
    let _finished = expr.visit(&mut rewriter);
}

struct Rewriter<'a> {
    session: Option<&'a Session>,
    failed: Option<SqlError>,
}

impl Rewriter<'_> {
    fn fail(&mut self, error: SqlError) -> ControlFlow<()> {
        self.failed = Some(error);
        ControlFlow::Break(())
    }
}

impl VisitorMut for Rewriter<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        // FOR UPDATE and FOR SHARE: whoever reads what another one writes is told at COMMIT.
        query.locks.clear();
        if let SetExpr::Select(select) = query.body.as_mut() {
            sets_in_select(select);
            group_nothing(select);
            if let Some(condition) = select.selection.take() {
                select.selection = Some(conditions(condition));
            }
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
                {
                    memberships(expr);
                }
            }
        }
        if let Err(error) = check_limit(query) {
            return self.fail(error);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        count_equal_rows(query.body.as_mut());
        name_body(query.body.as_mut());
        if let Err(error) = check_order(query) {
            return self.fail(error);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        set_in_from(factor);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match rewrite_one(expr, self.session) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => self.fail(error),
        }
    }
}

fn name_body(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => name_items(&mut select.projection),
        SetExpr::SetOperation { left, right, .. } => {
            name_body(left);
            name_body(right);
        }
        _ => {}
    }
}

/// INTERSECT ALL and EXCEPT ALL are those of rows that tell their equals apart.
fn count_equal_rows(body: &mut SetExpr) {
    use datafusion::sql::sqlparser::ast::{SetOperator, SetQuantifier};
    let SetExpr::SetOperation { op, set_quantifier, left, right } = body else { return };
    count_equal_rows(left);
    count_equal_rows(right);
    let counts = *set_quantifier == SetQuantifier::All
        && matches!(op, SetOperator::Intersect | SetOperator::Except);
    if !counts {
        return;
    }
    let rank = super::sets::RANK;
    let side = format!("SELECT *, 0 AS {rank} FROM (SELECT 1) AS side");
    let text = format!("SELECT * EXCLUDE ({rank}) FROM ({side} {op} {side}) AS both");
    let generic = datafusion::sql::sqlparser::dialect::GenericDialect {};
    let Ok(parsed) = datafusion::sql::sqlparser::parser::Parser::parse_sql(&generic, &text) else {
        return;
    };
    let Some(SqlStatement::Query(mut outer)) = parsed.into_iter().next() else { return };
    let inner = |body: &mut SetExpr| match body {
        SetExpr::Select(select) => match &mut select.from.first_mut()?.relation {
            TableFactor::Derived { subquery, .. } => Some(std::mem::replace(
                subquery.body.as_mut(),
                SetExpr::Table(Box::new(datafusion::sql::sqlparser::ast::Table {
                    table_name: None,
                    schema_name: None,
                })),
            )),
            _ => None,
        },
        _ => None,
    };
    let put = |body: &mut SetExpr, new: &mut SetExpr| {
        if let SetExpr::Select(select) = body
            && let Some(from) = select.from.first_mut()
            && let TableFactor::Derived { subquery, .. } = &mut from.relation
        {
            std::mem::swap(subquery.body.as_mut(), new);
        }
    };
    let Some(mut both) = inner(outer.body.as_mut()) else { return };
    if let SetExpr::SetOperation { left: ours_left, right: ours_right, .. } = &mut both {
        put(ours_left, left);
        put(ours_right, right);
    }
    put(outer.body.as_mut(), &mut both);
    *body = *outer.body;
}

/// GROUP BY () is one group.
fn group_nothing(select: &mut Select) {
    if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by
        && exprs.len() == 1
        && matches!(exprs.first(), Some(Expr::Tuple(parts)) if parts.is_empty())
        && select.projection.iter().any(|item| {
            matches!(
                item,
                SelectItem::UnnamedExpr(Expr::Function(_))
                    | SelectItem::ExprWithAlias { expr: Expr::Function(_), .. }
            )
        })
    {
        exprs.clear();
    }
}

fn literal(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok(),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Some(-literal(expr)?),
        Expr::Nested(inner) => literal(inner),
        _ => None,
    }
}

fn check_limit(query: &mut Query) -> Result<(), SqlError> {
    use datafusion::sql::sqlparser::ast::LimitClause;
    if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &mut query.limit_clause {
        if limit.as_ref().and_then(literal).is_some_and(|limit| limit < 0) {
            return Err(SqlError::new(SqlState::InvalidLimit, "LIMIT must not be negative"));
        }
        if offset
            .as_ref()
            .and_then(|offset| literal(&offset.value))
            .is_some_and(|offset| offset < 0)
        {
            return Err(SqlError::new(SqlState::InvalidOffset, "OFFSET must not be negative"));
        }
        // LIMIT NULL is none.
        if matches!(limit, Some(Expr::Value(value)) if value.value == Value::Null) {
            *limit = None;
        }
        if matches!(offset, Some(offset) if matches!(&offset.value, Expr::Value(value) if value.value == Value::Null))
        {
            *offset = None;
        }
    }
    Ok(())
}

/// ORDER BY 3 of two columns.
fn check_order(query: &Query) -> Result<(), SqlError> {
    let (Some(order), Some(width)) = (&query.order_by, width_of(query)) else { return Ok(()) };
    let OrderByKind::Expressions(exprs) = &order.kind else { return Ok(()) };
    for order in exprs {
        if let Some(place) = literal(&order.expr)
            && (place < 1 || place > width as i64)
        {
            let message = format!("ORDER BY position {place} is not in select list");
            return Err(SqlError::new(SqlState::InvalidColumnReference, message));
        }
    }
    Ok(())
}

fn function_name(function: &Function) -> String {
    let last = function.name.0.last().and_then(|part| part.as_ident());
    last.map(folded).unwrap_or_default()
}

pub(super) fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args =
        args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

pub(super) fn args_of(function: &Function) -> Option<Vec<Expr>> {
    match &function.args {
        FunctionArguments::List(list) => list
            .args
            .iter()
            .map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
                FunctionArg::Named { arg: FunctionArgExpr::Expr(expr), .. } => Some(expr.clone()),
                _ => None,
            })
            .collect(),
        FunctionArguments::None => Some(Vec::new()),
        FunctionArguments::Subquery(_) => None,
    }
}

/// Whether an expression names no column.
fn is_constant(expr: &Expr) -> bool {
    let mut copy = expr.clone();
    let mut constant = true;
    let _finished: ControlFlow<()> = visit_expressions_mut(&mut copy, |expr| {
        constant &= !matches!(
            expr,
            Expr::Identifier(_)
                | Expr::CompoundIdentifier(_)
                | Expr::Subquery(_)
                | Expr::Exists { .. }
        );
        ControlFlow::Continue(())
    });
    constant
}

/// `SELECT generate_series(1, 10)` takes its rows from `FROM generate_series(1, 10)`, so that they are made as they are asked
/// for; functions that give rows of a row's columns become lists that are unnested.
fn sets_in_select(select: &mut Select) {
    let mut sets = 0;
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
            continue;
        };
        let Expr::Function(function) = expr else { continue };
        let name = function_name(function);
        if function.over.is_none() && is_set_returning(&name) {
            sets += 1;
        }
    }
    for item in &mut select.projection {
        let original = item.clone();
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
            continue;
        };
        let Expr::Function(function) = expr else { continue };
        let name = function_name(function);
        if function.over.is_some() || !is_set_returning(&name) || name == "unnest" {
            continue;
        }
        let Some(args) = args_of(function) else { continue };
        if name == "generate_series" && sets == 1 && args.iter().all(is_constant) {
            let alias = format!("set_{name}");
            select.from.push(TableWithJoins {
                relation: TableFactor::Table {
                    name: ObjectName::from(vec![Ident::new(&name)]),
                    alias: Some(TableAlias {
                        explicit: true,
                        name: Ident::new(&alias),
                        columns: vec![datafusion::sql::sqlparser::ast::TableAliasColumnDef {
                            name: Ident::new("value"),
                            data_type: None,
                        }],
                        at: None,
                    }),
                    args: Some(datafusion::sql::sqlparser::ast::TableFunctionArgs {
                        args: args
                            .into_iter()
                            .map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)))
                            .collect(),
                        settings: None,
                    }),
                    with_hints: Vec::new(),
                    version: None,
                    with_ordinality: false,
                    partitions: Vec::new(),
                    json_path: None,
                    sample: None,
                    index_hints: Vec::new(),
                },
                joins: Vec::new(),
            });
            *expr = Expr::CompoundIdentifier(vec![Ident::new(&alias), Ident::new("value")]);
        } else {
            *expr = call("unnest", vec![call(&format!("{name}_list"), args)]);
        }
        if let (SelectItem::UnnamedExpr(_), SelectItem::UnnamedExpr(expr)) = (&original, &*item) {
            *item = SelectItem::ExprWithAlias {
                expr: expr.clone(),
                alias: Ident::with_quote('"', name),
            };
        }
    }
}

/// The columns that a function in FROM has.
fn columns_of_set(name: &str, alias: Option<&str>) -> Vec<String> {
    match name {
        "json_each" | "jsonb_each" | "json_each_text" | "jsonb_each_text" => {
            vec!["key".to_owned(), "value".to_owned()]
        }
        "json_array_elements"
        | "jsonb_array_elements"
        | "json_array_elements_text"
        | "jsonb_array_elements_text" => {
            vec![
                alias
                    .filter(|alias| *alias != name)
                    .map_or_else(|| "value".to_owned(), str::to_owned),
            ]
        }
        _ => vec![alias.unwrap_or(name).to_owned()],
    }
}

/// `FROM json_array_elements(x) AS e` unnests a list.
fn set_in_from(factor: &mut TableFactor) {
    let (name, args, alias, lateral) = match factor {
        TableFactor::Table { name, args: Some(args), alias, with_ordinality: false, .. } => {
            (name, &args.args, alias, false)
        }
        TableFactor::Function { name, args, alias, lateral, .. } => (name, &*args, alias, *lateral),
        _ => return,
    };
    let name = name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default();
    if !is_set_returning(&name) {
        return;
    }
    let exprs: Option<Vec<Expr>> = args
        .iter()
        .map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        })
        .collect();
    let Some(exprs) = exprs else { return };
    if (name == "generate_series" && exprs.iter().all(is_constant)) || name == "unnest" {
        if name == "generate_series" && alias.as_ref().is_none_or(|alias| alias.columns.is_empty())
        {
            name_series(alias, &name);
        }
        return;
    }
    let given = alias.as_ref().map(|alias| folded(&alias.name));
    let columns = match alias
        .as_ref()
        .map(|alias| alias.columns.clone())
        .filter(|columns| !columns.is_empty())
    {
        Some(columns) => columns.iter().map(|column| folded(&column.name)).collect(),
        None => columns_of_set(&name, given.as_deref()),
    };
    let alias = given.unwrap_or_else(|| name.clone());
    let list = call(&format!("{name}_list"), exprs);
    let quote = |name: &String| format!("\"{}\"", name.replace('"', "\"\""));
    let items: Vec<String> = if columns.len() == 2 {
        columns
            .iter()
            .enumerate()
            .map(|(index, column)| format!("json_pair_part(pair, {index}) AS {}", quote(column)))
            .collect()
    } else {
        columns.iter().map(|column| format!("pair AS {}", quote(column))).collect()
    };
    let text = format!("SELECT {} FROM (SELECT unnest({list}) AS pair) AS pairs", items.join(", "));
    let Ok(mut statements) = crate::statement::parse(&text) else { return };
    let Some(crate::statement::Statement::Df(statement)) = statements.pop() else { return };
    let DfStatement::Statement(statement) = *statement else { return };
    let SqlStatement::Query(query) = *statement else { return };
    let _is_lateral = lateral;
    let has_columns = !items.is_empty();
    *factor = TableFactor::Derived {
        lateral: has_columns && text.contains('.'),
        subquery: query,
        alias: Some(TableAlias {
            explicit: true,
            name: Ident::with_quote('"', alias),
            columns: Vec::new(),
            at: None,
        }),
        sample: None,
    };
}

/// The column of `generate_series(…) AS x` is called `x`.
fn name_series(alias: &Option<TableAlias>, _name: &str) {
    let _named_by_the_planner = alias;
}

fn is_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if value.value == Value::Null)
}

fn text(value: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(value.to_owned()).into())
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn nested(expr: Expr) -> Expr {
    Expr::Nested(Box::new(expr))
}

/// Rows compared part by part.
fn compare_rows(left: &[Expr], op: &BinaryOperator, right: &[Expr]) -> Option<Expr> {
    if left.len() != right.len() || left.is_empty() {
        return None;
    }
    let pairs = || left.iter().cloned().zip(right.iter().cloned());
    let all = |op: BinaryOperator, between: BinaryOperator| {
        pairs()
            .map(|(a, b)| nested(binary(a, op.clone(), b)))
            .reduce(|a, b| binary(a, between.clone(), b))
            .map(nested)
    };
    match op {
        BinaryOperator::Eq => all(BinaryOperator::Eq, BinaryOperator::And),
        BinaryOperator::NotEq => all(BinaryOperator::NotEq, BinaryOperator::Or),
        BinaryOperator::Lt | BinaryOperator::Gt | BinaryOperator::LtEq | BinaryOperator::GtEq => {
            let (a, rest_a) = left.split_first()?;
            let (b, rest_b) = right.split_first()?;
            if rest_a.is_empty() {
                return Some(nested(binary(a.clone(), op.clone(), b.clone())));
            }
            let strict = match op {
                BinaryOperator::Lt | BinaryOperator::LtEq => BinaryOperator::Lt,
                _ => BinaryOperator::Gt,
            };
            let first = nested(binary(a.clone(), strict, b.clone()));
            let equal = nested(binary(a.clone(), BinaryOperator::Eq, b.clone()));
            let rest = compare_rows(rest_a, op, rest_b)?;
            Some(nested(binary(
                first,
                BinaryOperator::Or,
                nested(binary(equal, BinaryOperator::And, rest)),
            )))
        }
        _ => None,
    }
}

/// A condition of WHERE. Of what stands there between ANDs it does not matter whether it is false or unknown.
fn conditions(condition: Expr) -> Expr {
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            binary(conditions(*left), BinaryOperator::And, conditions(*right))
        }
        Expr::InSubquery { expr, subquery, negated: true }
            if matches!(*expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
                || is_correlated(&subquery) =>
        {
            Expr::InSubquery { expr, subquery, negated: true }
        }
        Expr::InSubquery { expr, subquery, negated: true } => not_among(*expr, *subquery),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => match *expr {
            Expr::Nested(inner) if matches!(*inner, Expr::InSubquery { negated: false, .. }) => {
                match *inner {
                    Expr::InSubquery { expr, subquery, .. } if is_correlated(&subquery) => {
                        Expr::InSubquery { expr, subquery, negated: true }
                    }
                    Expr::InSubquery { expr, subquery, .. } => not_among(*expr, *subquery),
                    other => other,
                }
            }
            mut other => {
                memberships(&mut other);
                Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(other) }
            }
        },
        // A membership alone is a join.
        Expr::InSubquery { expr, subquery, negated: false } => {
            Expr::InSubquery { expr, subquery, negated: false }
        }
        Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)) => {
            let boolean = datafusion::sql::sqlparser::ast::DataType::Boolean;
            super::cast_expr(Expr::Value(value), &boolean).unwrap_or_else(|_| text(""))
        }
        mut other => {
            memberships(&mut other);
            other
        }
    }
}

/// Whether a subquery names tables that are not its own.
fn is_correlated(query: &Query) -> bool {
    let mut own = Vec::new();
    let mut copy = query.clone();
    struct Names<'a>(&'a mut Vec<String>);
    impl VisitorMut for Names<'_> {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
            let (name, alias) = match factor {
                TableFactor::Table { name, alias, .. } => {
                    (name.0.last().and_then(|part| part.as_ident()).map(folded), alias)
                }
                TableFactor::Derived { alias, .. } => (None, alias),
                _ => (None, &mut None),
            };
            // A table under an alias has no other name.
            match alias {
                Some(alias) => self.0.push(folded(&alias.name)),
                None => self.0.extend(name),
            }
            ControlFlow::Continue(())
        }
    }
    let _finished = copy.visit(&mut Names(&mut own));
    let mut correlated = false;
    let _finished: ControlFlow<()> = visit_expressions_mut(&mut copy, |expr| {
        if let Expr::CompoundIdentifier(parts) = expr
            && parts.len() > 1
        {
            correlated |= parts.first().is_some_and(|first| !own.contains(&folded(first)));
        }
        ControlFlow::Continue(())
    });
    correlated
}

/// The column under which a subquery's values are looked at.
const MEMBER: &str = "\u{1}member";

/// `(query) AS members(member)`.
fn members(query: Query) -> TableWithJoins {
    let column = datafusion::sql::sqlparser::ast::TableAliasColumnDef {
        name: Ident::with_quote('"', MEMBER),
        data_type: None,
    };
    TableWithJoins {
        relation: TableFactor::Derived {
            lateral: false,
            subquery: Box::new(query),
            alias: Some(TableAlias {
                explicit: true,
                name: Ident::with_quote('"', "\u{1}members"),
                columns: vec![column],
                at: None,
            }),
            sample: None,
        },
        joins: Vec::new(),
    }
}

fn member() -> Expr {
    Expr::Identifier(Ident::with_quote('"', MEMBER))
}

fn is_null_expr(expr: Expr) -> Expr {
    nested(Expr::IsNull(Box::new(expr)))
}

/// A query over a subquery's values.
fn over_members(query: Query, item: &str, condition: Option<Expr>) -> Option<Query> {
    let parsed = crate::statement::parse(&format!("SELECT {item} FROM members")).ok()?.pop()?;
    let crate::statement::Statement::Df(statement) = parsed else { return None };
    let DfStatement::Statement(statement) = *statement else { return None };
    let SqlStatement::Query(mut outer) = *statement else { return None };
    if let SetExpr::Select(select) = outer.body.as_mut() {
        select.from = vec![members(query)];
        select.selection = condition;
    }
    Some(*outer)
}

/// `x NOT IN (query)` as a condition: nothing there is equal or unknown.
fn not_among(value: Expr, query: Query) -> Expr {
    let equal = nested(binary(member(), BinaryOperator::Eq, nested(value.clone())));
    let unknown =
        binary(is_null_expr(member()), BinaryOperator::Or, is_null_expr(nested(value.clone())));
    let condition = binary(equal, BinaryOperator::Or, unknown);
    match over_members(query.clone(), "1", Some(condition)) {
        Some(subquery) => Expr::Exists { subquery: Box::new(subquery), negated: true },
        None => {
            Expr::InSubquery { expr: Box::new(value), subquery: Box::new(query), negated: true }
        }
    }
}

/// Memberships where it matters whether they are false or unknown: counted instead of joined.
fn memberships(expr: &mut Expr) {
    struct Counted;
    impl VisitorMut for Counted {
        type Break = ();
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::InSubquery { expr: value, subquery, negated } = expr
                && let Some(counted) =
                    counted(value.as_ref().clone(), subquery.as_ref().clone(), *negated)
            {
                *expr = counted;
            }
            ControlFlow::Continue(())
        }
    }
    let _finished = expr.visit(&mut Counted);
}

fn counted(value: Expr, query: Query, negated: bool) -> Option<Expr> {
    if matches!(value, Expr::Tuple(_)) {
        return None;
    }
    let count = |condition: Option<Expr>| -> Option<Expr> {
        let counted = over_members(query.clone(), "count(*)", condition)?;
        Some(nested(binary(Expr::Subquery(Box::new(counted)), BinaryOperator::Gt, number(0))))
    };
    let hits = count(Some(binary(member(), BinaryOperator::Eq, nested(value.clone()))))?;
    let nulls = count(Some(is_null_expr(member())))?;
    let any = count(None)?;
    let boolean = |value: bool| Expr::Value(Value::Boolean(value).into());
    let unknown = || {
        super::cast_expr(
            Expr::Value(Value::Null.into()),
            &datafusion::sql::sqlparser::ast::DataType::Boolean,
        )
    };
    let when = |condition: Expr, result: Expr| datafusion::sql::sqlparser::ast::CaseWhen {
        condition,
        result,
    };
    let empty_value = binary(any, BinaryOperator::And, is_null_expr(nested(value)));
    Some(nested(Expr::Case {
        case_token: datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken::empty(
        ),
        end_token: datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken::empty(),
        operand: None,
        conditions: vec![
            when(hits, boolean(!negated)),
            when(empty_value, unknown().ok()?),
            when(nulls, unknown().ok()?),
        ],
        else_result: Some(Box::new(boolean(negated))),
    }))
}

/// The patterns of LIKE ALL (ARRAY[…]), or of LIKE ANY where the parser has taken the word away.
fn among(pattern: &Expr) -> Option<(Vec<Expr>, bool)> {
    match pattern {
        Expr::Array(array) => Some((array.elem.clone(), false)),
        Expr::Nested(inner) => among(inner),
        Expr::Function(function) if function_name(function) == "all" => {
            let FunctionArguments::List(list) = &function.args else { return None };
            match list.args.as_slice() {
                [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Array(array)))] => {
                    Some((array.elem.clone(), true))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn like_among(expr: &mut Expr) {
    let whole = expr.clone();
    let (Expr::Like { pattern, .. } | Expr::ILike { pattern, .. }) = &whole else { return };
    let Some((patterns, all)) = among(pattern) else { return };
    let each = patterns.into_iter().map(|one| {
        let mut each = whole.clone();
        if let Expr::Like { pattern, any, .. } | Expr::ILike { pattern, any, .. } = &mut each {
            **pattern = one;
            *any = false;
        }
        each
    });
    let op = if all { BinaryOperator::And } else { BinaryOperator::Or };
    let joined = each.reduce(|a, b| binary(a, op.clone(), b));
    *expr = joined.map_or_else(|| Expr::Value(Value::Boolean(all).into()), nested);
}

/// Whether a number has more digits than a decimal of 76 holds.
fn is_beyond_decimals(number: &str) -> bool {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(i64::MAX / 2);
    let fraction = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len() as i64);
    let digits = mantissa.trim_start_matches(['0', '.']).len() as i64;
    let scale = fraction - exponent;
    scale > 76 || digits - scale.min(0) > 76
}

fn rewrite_one(expr: &mut Expr, session: Option<&Session>) -> Result<(), SqlError> {
    match expr {
        Expr::Value(value) => {
            if let Value::Number(digits, _) = &value.value
                && digits.contains(['e', 'E'])
                && is_beyond_decimals(digits)
            {
                let double = datafusion::sql::sqlparser::ast::DataType::DoublePrecision;
                *expr = super::cast_expr(text(digits), &double)?;
            }
        }
        Expr::BinaryOp { left, op, right } => {
            if let (Expr::Tuple(a), Expr::Tuple(b)) = (left.as_ref(), right.as_ref()) {
                if a.len() != b.len() {
                    let message = "unequal number of entries in row expressions";
                    return Err(SqlError::new(SqlState::SyntaxError, message));
                }
                if let Some(compared) = compare_rows(a, op, b) {
                    *expr = compared;
                }
            }
        }
        Expr::InList { expr: value, list, negated } => {
            if let Expr::Tuple(parts) = value.as_ref() {
                let parts = parts.clone();
                let equal = list.iter().map(|item| match item {
                    Expr::Tuple(others) => compare_rows(&parts, &BinaryOperator::Eq, others),
                    _ => None,
                });
                if let Some(equal) = equal.collect::<Option<Vec<_>>>()
                    && let Some(any) =
                        equal.into_iter().reduce(|a, b| binary(a, BinaryOperator::Or, b))
                {
                    let any = nested(any);
                    *expr = if *negated {
                        Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(any) }
                    } else {
                        any
                    };
                }
            }
        }
        Expr::Like { pattern, .. } | Expr::ILike { pattern, .. } if among(pattern).is_some() => {
            like_among(expr);
        }
        Expr::Like { pattern, escape_char: Some(escape), any: false, .. }
        | Expr::ILike { pattern, escape_char: Some(escape), any: false, .. } => {
            let escape = escape.value.clone().into_string().unwrap_or_default();
            let args = vec![pattern.as_ref().clone(), text(&escape)];
            **pattern = call("like_escape", args);
            match expr {
                Expr::Like { escape_char, .. } | Expr::ILike { escape_char, .. } => {
                    *escape_char = None
                }
                _ => {}
            }
        }
        Expr::SimilarTo { negated, expr: value, pattern, escape_char } => {
            let mut args = vec![value.as_ref().clone(), pattern.as_ref().clone()];
            args.extend(
                escape_char
                    .as_ref()
                    .map(|escape| text(&escape.value.clone().into_string().unwrap_or_default())),
            );
            let found = call("similar_to", args);
            *expr = if *negated {
                Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(found) }
            } else {
                found
            };
        }
        Expr::AtTimeZone { timestamp, time_zone } => {
            let args = vec![time_zone.as_ref().clone(), timestamp.as_ref().clone()];
            *expr = call("timezone", args);
        }
        Expr::Interval(interval) => {
            if let Some(constant) = interval_of(interval)? {
                *expr = constant;
            }
        }
        Expr::TypedString(typed) => {
            let value = typed.value.value.clone().into_string().unwrap_or_default();
            *expr = super::cast_expr(text(&value), &typed.data_type)?;
        }
        Expr::Position { expr: what, r#in } => {
            *expr = call("strpos", vec![r#in.as_ref().clone(), what.as_ref().clone()]);
        }
        Expr::Substring { expr: value, substring_from, substring_for, .. } => {
            let mut args = vec![value.as_ref().clone()];
            args.push(
                substring_from.as_ref().map_or_else(|| number(1), |from| from.as_ref().clone()),
            );
            args.extend(substring_for.as_ref().map(|length| length.as_ref().clone()));
            *expr = call("substring", args);
        }
        Expr::Overlay { expr: value, overlay_what, overlay_from, overlay_for } => {
            let mut args = vec![
                value.as_ref().clone(),
                overlay_what.as_ref().clone(),
                overlay_from.as_ref().clone(),
            ];
            args.extend(overlay_for.as_ref().map(|length| length.as_ref().clone()));
            *expr = call("overlay", args);
        }
        Expr::Extract { field, expr: value, .. } => {
            let name = match field {
                DateTimeField::Custom(name) => name.value.clone(),
                other => other.to_string(),
            };
            *expr = call(
                "extract",
                vec![
                    text(&name.to_lowercase().trim_matches('\'').to_owned()),
                    value.as_ref().clone(),
                ],
            );
        }
        Expr::Collate { expr: inner, collation } => {
            let name = collation.to_string();
            let plain = name
                .trim_matches('"')
                .rsplit('.')
                .next()
                .unwrap_or_default()
                .trim_matches('"')
                .to_lowercase();
            if !matches!(plain.as_str(), "c" | "posix" | "default" | "ucs_basic") {
                return Err(SqlError::unsupported(format!(
                    "collation {name} is not supported: texts are ordered by their bytes"
                )));
            }
            *expr = inner.as_ref().clone();
        }
        Expr::UnaryOp { op, expr: inner } => {
            let name = match op {
                UnaryOperator::PGSquareRoot => "sqrt",
                UnaryOperator::PGCubeRoot => "cbrt",
                UnaryOperator::PGAbs => "abs",
                UnaryOperator::BitwiseNot => "bitwise_not",
                _ => return Ok(()),
            };
            *expr = call(name, vec![inner.as_ref().clone()]);
        }
        Expr::Function(_) => rewrite_function(expr, session)?,
        Expr::Identifier(name) if name.quote_style.is_none() => {
            let lower = name.value.to_lowercase();
            if let Some(constant) = constant_of(&lower, session) {
                *expr = constant;
            }
        }
        _ => {}
    }
    Ok(())
}

fn number(value: i64) -> Expr {
    Expr::Value(Value::Number(value.to_string(), false).into())
}

/// Words that are functions without parentheses.
fn constant_of(name: &str, session: Option<&Session>) -> Option<Expr> {
    let user = || {
        session
            .and_then(|session| session.variable("session_authorization"))
            .unwrap_or_else(|| "thalweg".to_owned())
    };
    match name {
        "current_user" | "session_user" | "user" | "current_role" => Some(text(&user())),
        "current_catalog" => Some(text("thalweg")),
        "current_schema" => Some(text("public")),
        "localtimestamp" | "localtime" | "current_time" => Some(call(name, Vec::new())),
        _ => None,
    }
}

fn rewrite_function(expr: &mut Expr, session: Option<&Session>) -> Result<(), SqlError> {
    let Expr::Function(function) = expr else { return Ok(()) };
    let name = function_name(function);
    // `pg_catalog.format_type` is `format_type`.
    if function.name.0.len() > 1 {
        function.name = ObjectName::from(vec![Ident::with_quote('"', name.clone())]);
    }
    if let Some(constant) =
        constant_of(&name, session).filter(|_| !name.starts_with("local") && name != "current_time")
    {
        *expr = constant;
        return Ok(());
    }
    let args = args_of(function);
    match (name.as_str(), args.as_deref()) {
        ("current_database", Some([])) => *expr = text("thalweg"),
        ("current_setting", Some([first, rest @ ..])) => {
            if let (Expr::Value(value), Some(session)) = (first, session)
                && let Some(variable) = value.value.clone().into_string()
            {
                let missing_ok =
                    rest.first().is_some_and(|arg| arg.to_string().eq_ignore_ascii_case("true"));
                *expr = match session.variable(&variable) {
                    Some(value) => text(&value),
                    None if missing_ok => super::cast_expr(
                        Expr::Value(Value::Null.into()),
                        &datafusion::sql::sqlparser::ast::DataType::Text,
                    )?,
                    None => {
                        let message =
                            format!("unrecognized configuration parameter \"{variable}\"");
                        return Err(SqlError::new(SqlState::UndefinedObject, message));
                    }
                };
            }
        }
        (
            "json_build_object" | "jsonb_build_object" | "json_build_array" | "jsonb_build_array",
            _,
        ) => {}
        ("grouping" | "coalesce" | "nullif", _) => {}
        ("array_agg" | "string_agg", _) => {}
        ("count", Some([Expr::Tuple(parts)])) if parts.len() == 1 => {}
        ("every", _) => function.name = ObjectName::from(vec![Ident::new("bool_and")]),
        ("string_to_array", Some([value, delimiter])) if is_null(delimiter) => {
            *expr = call("regexp_split_to_array", vec![value.clone(), text("")]);
        }
        _ => {}
    }
    Ok(())
}

/// `INTERVAL '5' DAY` and `INTERVAL '1 day'` as a cast of their text.
fn interval_of(
    interval: &datafusion::sql::sqlparser::ast::Interval,
) -> Result<Option<Expr>, SqlError> {
    let value = match interval.value.as_ref() {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => text.clone(),
            Value::Number(digits, _) => digits.clone(),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    let unit = interval.last_field.as_ref().or(interval.leading_field.as_ref());
    let read = match unit {
        Some(unit) => crate::moment::interval_of_unit(&value, &unit.to_string().to_lowercase()),
        None => crate::moment::interval(&value),
    };
    let read = read.map_err(|wrong| wrong.error("interval", &value))?;
    // In words that Arrow reads, too: it computes constants before our casts see them.
    let written = format!("{} months {} days {} microseconds", read.months, read.days, read.us);
    let kind =
        datafusion::sql::sqlparser::ast::DataType::Interval { fields: None, precision: None };
    Ok(Some(super::cast_expr(text(&written), &kind)?))
}
