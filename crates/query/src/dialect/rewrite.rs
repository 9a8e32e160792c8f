//! Statements rewritten so that DataFusion plans what Postgres means.

mod array;
mod calls;
mod intersections;
mod literals;
mod ordered;

mod patterns;

mod bounds;

mod regclass;
mod series;
mod values;

mod membership;

use super::names::name_items;
use crate::error::{SqlError, SqlState};
use crate::functions::is_set_returning;
use crate::session::Session;
use crate::stop;
use crate::walk::{Walk, WalkMut};
use bounds::{check_limit, check_order};
use calls::{constant_of, rewrite_function};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, GroupByExpr, Ident, ObjectName, OrderByKind, Query,
    Select, SelectItem, SetExpr, Statement as SqlStatement, TableAlias, TableAliasColumnDef,
    TableFactor, TableWithJoins, UnaryOperator, Value, Visitor, VisitorMut,
};
use intersections::count_equal_rows;
use membership::{conditions, memberships};
use patterns::{among, like_among};
pub(crate) use series::quoted;
pub(super) use series::{PAIRS, is_constant, query_of};
use series::{set_in_from, sets_in_select};
use std::ops::ControlFlow;

/// The function that gives a field of a row.
pub(super) const FIELD: &str = "get_field";

/// What it costs to rewrite an expression, beside a byte of a value.
const EXPR_WORK: usize = 1_000;

/// Visits all expressions of a statement, the inner ones first.
pub(super) fn visit_all(statement: &mut DfStatement, each: &mut dyn FnMut(&mut Expr)) {
    match statement {
        DfStatement::Statement(statement) => {
            // What is not finished because nobody wants it any more is not planned either.
            let _finished: ControlFlow<()> = statement.each_expr_mut(&mut |expr| {
                each(expr);
                match stop::work(EXPR_WORK) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_stopped) => ControlFlow::Break(()),
                }
            });
        }
        DfStatement::Explain(explain) => visit_all(&mut explain.statement, each),
        _ => {}
    }
}

struct Relations<'a>(&'a mut Vec<String>);

impl Visitor for Relations<'_> {
    type Break = ();

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        self.0.extend(name.0.last().and_then(|part| part.as_ident()).map(folded));
        ControlFlow::Continue(())
    }
}

/// The relations that a statement names, without their schemas.
pub(crate) fn relations(statement: &DfStatement) -> Vec<String> {
    let mut names = Vec::new();
    if let DfStatement::Statement(statement) = statement {
        // It never breaks off.
        let _finished = statement.walk(&mut Relations(&mut names));
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
    let _finished: ControlFlow<()> = expr.each_expr_mut(&mut |expr| {
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

pub(super) fn folded(ident: &Ident) -> String {
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
    if let ControlFlow::Break(()) = statement.walk_mut(&mut rewriter) {
        return Err(rewriter
            .failed
            .unwrap_or_else(|| SqlError::new(SqlState::Internal, "a rewrite failed")));
    }
    Ok(())
}

/// Rewrites an expression that stands alone.
pub(super) fn rewrite_expr(expr: &mut Expr) {
    let mut rewriter = Rewriter { session: None, failed: None };
    let _finished = expr.walk_mut(&mut rewriter);
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
            ordered::keep_order(select);
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
        if let SetExpr::Values(rows) = query.body.as_mut() {
            values::share_types(rows);
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
        match stop::work(EXPR_WORK).and_then(|()| rewrite_one(expr, self.session)) {
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

fn function_name(function: &Function) -> String {
    let last = function.name.0.last().and_then(|part| part.as_ident());
    last.map(folded).unwrap_or_default()
}

/// The function that stands where a table does, its arguments, and what it is called.
pub(super) fn args_of_factor(
    factor: &TableFactor,
) -> Option<(String, Vec<Expr>, Option<TableAlias>)> {
    let (name, args, alias) = match factor {
        TableFactor::Table { name, args: Some(args), alias, .. } => (name, &args.args, alias),
        TableFactor::Function { name, args, alias, .. } => (name, args, alias),
        _ => return None,
    };
    let expr = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    let args = args.iter().map(expr).collect::<Option<Vec<_>>>()?;
    Some((folded(name.0.last()?.as_ident()?), args, alias.clone()))
}

/// A call of a function.
pub(crate) fn call(name: &str, args: Vec<Expr>) -> Expr {
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
    if let Some(among) = literals::any_of_text(expr) {
        *expr = among;
    }
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
            if let BinaryOperator::PGCustomBinaryOperator(parts) = op {
                *op = match parts.last().map(String::as_str) {
                    Some("~") => BinaryOperator::PGRegexMatch,
                    Some("~*") => BinaryOperator::PGRegexIMatch,
                    Some("!~") => BinaryOperator::PGRegexNotMatch,
                    Some("=") => BinaryOperator::Eq,
                    _ => op.clone(),
                };
            }
            if matches!(op, BinaryOperator::And | BinaryOperator::Or) {
                literals::condition(left)?;
                literals::condition(right)?;
            }
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
        Expr::CompoundFieldAccess { root, access_chain } => {
            let field = |access: &AccessExpr| match access {
                AccessExpr::Dot(Expr::Identifier(name)) => Some(text(&folded(name))),
                _ => None,
            };
            let fields: Option<Vec<Expr>> = access_chain.iter().map(field).collect();
            if let Some(fields) = fields {
                let root = match root.as_ref() {
                    Expr::Nested(inner) => inner.as_ref().clone(),
                    other => other.clone(),
                };
                let of = |row, field| call(FIELD, vec![row, field]);
                *expr = fields.into_iter().fold(root, of);
            }
        }
        Expr::Case { operand, conditions, .. } => literals::case(operand, conditions),
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
                vec![text(name.to_lowercase().trim_matches('\'')), value.as_ref().clone()],
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
        Expr::Cast { .. } => regclass::rewrite_regclass(expr, session)?,
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
