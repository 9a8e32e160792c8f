//! Statements that are deep. A chain of twenty thousand ORs, which an ORM writes, is a tree of
//! twenty thousand levels. It is parsed on a stack that is large enough for it, and made flat
//! before anything else walks it. What is still deep after that is refused.

use crate::error::{SqlError, SqlState};
use crate::sql::dialect::call;
use crate::sql::walk::{Walk, WalkMut};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Query, SetExpr, SetOperator, Statement as SqlStatement, Value, Values,
    Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use std::ops::ControlFlow;

/// Levels that are walked by recursion.
const DEPTH_MAX: usize = 400;
/// Parentheses around tables; each doubles what the parser does.
const TABLE_PARENTHESES_MAX: usize = 16;
/// Chains from this length on are made flat.
const CHAIN_MIN: usize = 32;
/// Rows that stand one in the other: the planner names the type of each by all the types in it,
/// more than once.
const ROWS_MAX: usize = 12;
/// Stack for one level of a statement while it is parsed, walked and dropped.
const LEVEL_BYTES: usize = 4 << 10;
/// Levels that an ordinary stack has room for.
const USUAL_LEVELS: usize = 128;
/// Deeper than that is no statement that anybody writes.
const LEVELS_MAX: usize = 200_000;
/// Conditions that the planner sees one by one.
const CONDITIONS_MAX: usize = 200;
/// The name of the function that gives its argument, which is many conditions.
pub(crate) const ALL_OF: &str = "all_of_conditions";
/// The name of the function that is a long chain of operators.
pub(crate) const CHAIN: &str = "chain_of_operators";

fn too_deep() -> SqlError {
    SqlError::new(SqlState::StatementTooComplex, "stack depth limit exceeded")
        .hint("the statement is nested too deeply")
}

/// How many levels a statement may have: what stands between commas, added up over open
/// parentheses.
fn levels(tokens: &[TokenWithSpan]) -> usize {
    let mut open = vec![0usize];
    let (mut sum, mut most) = (0usize, 0usize);
    for token in tokens {
        match &token.token {
            Token::Whitespace(_) => continue,
            Token::LParen | Token::LBracket => open.push(0),
            Token::RParen | Token::RBracket => {
                if open.len() > 1 {
                    sum -= open.pop().unwrap_or(0);
                }
            }
            Token::Comma => sum -= open.last_mut().map(std::mem::take).unwrap_or(0),
            _ => {
                if let Some(count) = open.last_mut() {
                    *count += 1;
                    sum += 1;
                    most = most.max(sum);
                }
            }
        }
    }
    most
}

/// How many NOTs stand one after the other: the parser goes down a level for each, and when it is
/// too deep it says that the statement should have ended.
fn negations(tokens: &[TokenWithSpan]) -> usize {
    let (mut run, mut most) = (0usize, 0usize);
    for token in tokens {
        match &token.token {
            Token::Whitespace(_) => continue,
            Token::Word(word) if word.keyword == Keyword::NOT => run += 1,
            _ => run = 0,
        }
        most = most.max(run);
    }
    most
}

/// How many parentheses stand one after the other where a table is named: the parser looks for a
/// subquery in each of them, and when there is none it goes through all that are inside once more.
fn parentheses_of_tables(tokens: &[TokenWithSpan]) -> usize {
    let (mut run, mut most) = (None, 0usize);
    for token in tokens {
        run = match (&token.token, run) {
            (Token::Whitespace(_), run) => run,
            (Token::Word(word), _) if matches!(word.keyword, Keyword::FROM | Keyword::JOIN) => {
                Some(0)
            }
            (Token::LParen, Some(run)) => Some(run + 1),
            _ => None,
        };
        most = most.max(run.unwrap_or(0));
    }
    most
}

/// Does work on a statement on a stack that has room for it.
pub(super) fn with_stack<T>(
    tokens: &[TokenWithSpan],
    work: impl FnOnce() -> Result<T, SqlError>,
) -> Result<T, SqlError> {
    if parentheses_of_tables(tokens) > TABLE_PARENTHESES_MAX {
        return Err(too_deep());
    }
    let levels = levels(tokens);
    if levels <= USUAL_LEVELS {
        return work();
    }
    if levels > LEVELS_MAX || negations(tokens) >= super::NESTING_MAX / 2 {
        return Err(too_deep());
    }
    // Memory that is not touched costs nothing.
    stacker::grow(levels * LEVEL_BYTES + (2 << 20), work)
}

/// Makes long chains flat, and refuses what is still deep.
pub(super) fn flatten(statement: &mut DfStatement) -> Result<(), SqlError> {
    match statement {
        DfStatement::Statement(statement) => flatten_sql(statement),
        DfStatement::Explain(explain) => flatten(&mut explain.statement),
        _ => Ok(()),
    }
}

fn flatten_sql(statement: &mut SqlStatement) -> Result<(), SqlError> {
    let mut levels = Levels { depth: 0, deepest: 0, rows: 0, deepest_row: 0 };
    // It never breaks off.
    let _finished = statement.walk_mut(&mut levels);
    if levels.deepest > DEPTH_MAX || levels.deepest_row > ROWS_MAX {
        return Err(too_deep());
    }
    super::sizes::check(statement)?;
    super::expansion::check(statement)
}

struct Levels {
    depth: usize,
    deepest: usize,
    /// The same of rows alone.
    rows: usize,
    deepest_row: usize,
}

/// Whether an expression makes a row: `ROW(…)` or `(a, b)`.
fn is_row(expr: &Expr) -> bool {
    match expr {
        Expr::Tuple(_) => true,
        Expr::Function(function) => function.name.to_string().eq_ignore_ascii_case("row"),
        _ => false,
    }
}

impl VisitorMut for Levels {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        flatten_unions(&mut query.body);
        self.deepest = self.deepest.max(spine(&query.body));
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        flatten_chain(expr);
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        self.rows += usize::from(is_row(expr));
        self.deepest_row = self.deepest_row.max(self.rows);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.depth -= 1;
        self.rows -= usize::from(is_row(expr));
        ControlFlow::Continue(())
    }
}

/// How many set operations stand one in the other, on the left.
fn spine(mut body: &SetExpr) -> usize {
    let mut depth = 0;
    while let SetExpr::SetOperation { left, .. } = body {
        depth += 1;
        body = left;
    }
    depth
}

/// A long chain of UNIONs, all of one kind, as a balanced tree.
fn flatten_unions(body: &mut Box<SetExpr>) {
    let SetExpr::SetOperation { op: SetOperator::Union, set_quantifier, .. } = body.as_ref() else {
        return;
    };
    let kind = *set_quantifier;
    let belongs = |body: &SetExpr| match body {
        SetExpr::SetOperation { op: SetOperator::Union, set_quantifier, .. } => {
            *set_quantifier == kind
        }
        _ => false,
    };
    if spine(body) < CHAIN_MIN {
        return;
    }
    let nothing =
        || SetExpr::Values(Values { explicit_row: false, value_keyword: false, rows: Vec::new() });
    let mut operands = Vec::new();
    let mut rest = std::mem::replace(body.as_mut(), nothing());
    while belongs(&rest) {
        let SetExpr::SetOperation { left, right, .. } = rest else { return };
        operands.push(*right);
        rest = *left;
    }
    operands.push(rest);
    operands.reverse();
    while operands.len() > 1 {
        let mut next = Vec::with_capacity(operands.len().div_ceil(2));
        let mut pairs = operands.into_iter();
        while let Some(left) = pairs.next() {
            next.push(match pairs.next() {
                Some(right) => SetExpr::SetOperation {
                    op: SetOperator::Union,
                    set_quantifier: kind,
                    left: Box::new(left),
                    right: Box::new(right),
                },
                None => left,
            });
        }
        operands = next;
    }
    if let Some(balanced) = operands.pop() {
        **body = balanced;
    }
}

/// Whether a chain may be cut in the middle without another result.
fn is_logical(op: &BinaryOperator) -> bool {
    matches!(op, BinaryOperator::And | BinaryOperator::Or)
}

fn is_arithmetic(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::StringConcat
    )
}

fn nothing() -> Expr {
    Expr::Value(Value::Null.into())
}

fn flatten_chain(expr: &mut Expr) {
    let Expr::BinaryOp { op, .. } = &*expr else { return };
    let logical = is_logical(op);
    if !logical && !is_arithmetic(op) {
        return;
    }
    let first = op.clone();
    let belongs = |op: &BinaryOperator| if logical { *op == first } else { is_arithmetic(op) };
    let mut length = 0;
    let mut inner = &*expr;
    while let Expr::BinaryOp { left, op, .. } = inner
        && belongs(op)
    {
        length += 1;
        inner = left;
    }
    if length < CHAIN_MIN {
        return;
    }
    let mut operands = Vec::with_capacity(length + 1);
    let mut rest = std::mem::replace(expr, nothing());
    loop {
        match rest {
            Expr::BinaryOp { left, op, right } if belongs(&op) => {
                operands.push((Some(op), *right));
                rest = *left;
            }
            other => {
                operands.push((None, other));
                break;
            }
        }
    }
    operands.reverse();
    *expr = match first {
        BinaryOperator::And if operands.len() > CONDITIONS_MAX => packed(operands),
        op if logical => balanced(&op, operands),
        _ => function(operands),
    };
}

/// Many conditions, so that the planner takes most of them for one: it splits what AND connects,
/// and connects it again from the left, at a level for each. What it must see stays outside:
/// subqueries, and columns that are equal, for joins.
fn packed(operands: Vec<(Option<BinaryOperator>, Expr)>) -> Expr {
    let mut seen = 0;
    let mut is_seen = |(_, operand): &(Option<BinaryOperator>, Expr)| {
        let equates = is_equality_of_columns(operand) && seen < CONDITIONS_MAX;
        seen += usize::from(equates);
        equates || has_subquery(operand)
    };
    let (mut outside, inside): (Vec<_>, Vec<_>) = operands.into_iter().partition(&mut is_seen);
    if !inside.is_empty() {
        outside.push((None, call(ALL_OF, vec![balanced(&BinaryOperator::And, inside)])));
    }
    balanced(&BinaryOperator::And, outside)
}

fn is_equality_of_columns(expr: &Expr) -> bool {
    let is_column = |expr: &Expr| matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            is_column(left) && is_column(right)
        }
        _ => false,
    }
}

struct HasSubquery;

impl Visitor for HasSubquery {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

fn has_subquery(expr: &Expr) -> bool {
    expr.walk(&mut HasSubquery).is_break()
}

/// `a OR b OR c OR d` as `(a OR b) OR (c OR d)`.
fn balanced(op: &BinaryOperator, operands: Vec<(Option<BinaryOperator>, Expr)>) -> Expr {
    let mut level: Vec<Expr> = operands.into_iter().map(|(_, expr)| expr).collect();
    while level.len() > 1 {
        let mut next = Vec::with_capacity(level.len().div_ceil(2));
        let mut pairs = level.into_iter();
        while let Some(left) = pairs.next() {
            next.push(match pairs.next() {
                Some(right) => {
                    Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) }
                }
                None => left,
            });
        }
        level = next;
    }
    level.pop().unwrap_or_else(nothing)
}

/// A chain of arithmetic as a function of its operators and operands, which it takes from the left.
fn function(operands: Vec<(Option<BinaryOperator>, Expr)>) -> Expr {
    let letter = |op: &BinaryOperator| match op {
        BinaryOperator::Plus => '+',
        BinaryOperator::Minus => '-',
        BinaryOperator::Multiply => '*',
        _ => '|',
    };
    // The first operand has no operator before it.
    let operators: String = operands.iter().filter_map(|(op, _)| op.as_ref()).map(letter).collect();
    let operators = Expr::Value(Value::SingleQuotedString(operators).into());
    let args = std::iter::once(operators).chain(operands.into_iter().map(|(_, operand)| operand));
    call(CHAIN, args.collect())
}

#[cfg(test)]
mod tests;
