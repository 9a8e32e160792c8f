//! Parameters: how many a statement has, which types they have, and how their values get into its
//! plan.

use super::rewrite::visit_all;
use super::sql_types::{numbers_of_objects, unsized_numeric};
use crate::error::{SqlError, SqlState};
use crate::sql::walk::WalkMut;
use crate::values::encode::{self, Style};
use crate::values::pg_type;
use crate::values::types::ColumnType;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType as SqlType, Expr as SqlExpr, TableFactor, Value, VisitorMut,
};
use std::ops::ControlFlow;

/// Parameters that a statement may have: what the protocol can count.
const PARAMETERS_MAX: usize = 65_535;

/// The number of a parameter, from 1.
fn number_of(expr: &SqlExpr) -> Option<usize> {
    let SqlExpr::Value(value) = expr else { return None };
    let Value::Placeholder(name) = &value.value else { return None };
    name.strip_prefix('$')?.parse().ok()
}

/// How many parameters a statement has: the highest of their numbers.
pub(crate) fn count_parameters(statement: &DfStatement) -> Result<usize, SqlError> {
    let mut statement = statement.clone();
    let mut most = 0;
    visit_all(&mut statement, &mut |expr| most = most.max(number_of(expr).unwrap_or(0)));
    if most > PARAMETERS_MAX {
        let message =
            format!("there is no parameter ${most}: at most {PARAMETERS_MAX} are possible");
        return Err(SqlError::new(SqlState::UndefinedParameter, message));
    }
    Ok(most)
}

/// The types that a statement casts its parameters to.
pub(crate) fn types_of_casts(
    statement: &DfStatement,
    types: &mut [Option<Field>],
) -> Result<(), SqlError> {
    let mut statement = statement.clone();
    let mut failed = None;
    visit_all(&mut statement, &mut |expr| {
        let SqlExpr::Cast { expr: inner, data_type, .. } = expr else { return };
        let inner = match inner.as_ref() {
            SqlExpr::Nested(inner) => inner.as_ref(),
            other => other,
        };
        let Some(number) = number_of(inner) else { return };
        let Some(slot @ None) = number.checked_sub(1).and_then(|index| types.get_mut(index)) else {
            return;
        };
        if let Some(field) = numbers_of_objects(data_type) {
            *slot = Some(field);
            return;
        }
        match ColumnType::of_sql(data_type) {
            Ok(ColumnType::Varchar(_) | ColumnType::Char(_)) => {
                *slot = Some(ColumnType::Text.field("", true))
            }
            Ok(ColumnType::Decimal(..)) => *slot = Some(ColumnType::Numeric.field("", true)),
            Ok(kind) => *slot = Some(kind.field("", true)),
            // Types that are no columns' are left to the planner.
            Err(_) if data_type.to_string().to_lowercase().contains("numeric_as_written") => {
                *slot = Some(ColumnType::Numeric.field("", true));
            }
            Err(error) if error.state == SqlState::UndefinedObject => {}
            Err(error) => failed = Some(error),
        }
    });
    failed.map_or(Ok(()), Err)
}

/// The types that a plan gives the parameters that are left.
pub(crate) fn types_of_plan(
    plan: &LogicalPlan,
    types: &mut [Option<Field>],
) -> Result<(), SqlError> {
    let known = plan.get_parameter_types()?;
    let mut put = |id: &str, kind: &DataType| {
        let number = id.trim_start_matches('$').parse::<usize>().unwrap_or(0);
        let slot = number.checked_sub(1).and_then(|index| types.get_mut(index));
        if let Some(slot @ None) = slot
            && !kind.is_null()
        {
            let field = if kind.is_decimal() {
                ColumnType::Numeric.field("", true)
            } else {
                Field::new("", kind.clone(), true)
            };
            *slot = Some(field);
        }
    };
    for (id, kind) in &known {
        if let Some(kind) = kind {
            put(id, kind);
        }
    }
    plan.apply_with_subqueries(|node| {
        let schema = super::casts::schema_of(node);
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                beside(expr, &schema, &mut put);
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        if let LogicalPlan::Limit(limit) = node {
            for bound in [&limit.skip, &limit.fetch].into_iter().flatten() {
                if let Expr::Placeholder(placeholder) = bound.as_ref() {
                    put(&placeholder.id, &DataType::Int64);
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// What stands beside a parameter says what it is.
fn beside(expr: &Expr, schema: &DFSchema, put: &mut dyn FnMut(&str, &DataType)) {
    let kind = |expr: &Expr| match expr {
        // A whole number as it is written is an integer.
        Expr::Literal(ScalarValue::Int64(_), _) => Some(DataType::Int32),
        _ => expr.get_type(schema).ok().filter(|kind| !kind.is_null()),
    };
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            if let Expr::Placeholder(placeholder) = left.as_ref() {
                let bool_side = op.is_logic_operator().then_some(DataType::Boolean);
                if let Some(kind) = bool_side.or_else(|| kind(right)) {
                    put(&placeholder.id, &kind);
                }
            }
            if let Expr::Placeholder(placeholder) = right.as_ref() {
                let bool_side = op.is_logic_operator().then_some(DataType::Boolean);
                if let Some(kind) = bool_side.or_else(|| kind(left)) {
                    put(&placeholder.id, &kind);
                }
            }
        }
        Expr::ScalarFunction(call) => {
            let name = call.func.name();
            for arg in &call.args {
                let Expr::Placeholder(placeholder) = arg else { continue };
                let others = call.args.iter().filter(|other| *other != arg);
                match name {
                    "coalesce" | "nullif" | "greatest" | "least" => {
                        if let Some(kind) = others.filter_map(kind).next() {
                            put(&placeholder.id, &kind);
                        }
                    }
                    "array_has" => {
                        if let Some(kind) = others.filter_map(kind).next() {
                            put(&placeholder.id, &DataType::new_list(kind, true));
                        }
                    }
                    _ => {}
                }
            }
        }
        Expr::Case(case) => {
            for (when, _) in &case.when_then_expr {
                if let (Expr::Placeholder(placeholder), None) = (when.as_ref(), &case.expr) {
                    put(&placeholder.id, &DataType::Boolean);
                }
            }
        }
        Expr::Not(inner) | Expr::IsTrue(inner) | Expr::IsFalse(inner) => {
            if let Expr::Placeholder(placeholder) = inner.as_ref() {
                put(&placeholder.id, &DataType::Boolean);
            }
        }
        _ => {}
    }
}

/// Gives parameters their types: each stands under a cast. Numbers whose digits are known only with
/// their values are put in as they are written.
pub(crate) fn type_parameters(
    statement: &mut DfStatement,
    types: &[Option<Field>],
    values: &[ScalarValue],
) -> Result<(), SqlError> {
    if types.is_empty() {
        return Ok(());
    }
    let mut failed = None;
    if !values.is_empty() {
        in_tables(statement, &mut |expr| {
            let Some(index) = number_of(expr).and_then(|number| number.checked_sub(1)) else {
                return;
            };
            if let (Some(Some(field)), Some(value)) = (types.get(index), values.get(index)) {
                match value_as_written(value, field) {
                    Ok(Some(written)) => *expr = written,
                    Ok(None) => {}
                    Err(error) => failed = Some(error),
                }
            }
        });
    }
    visit_all(statement, &mut |expr| {
        let Some(number) = number_of(expr) else { return };
        let Some(index) = number.checked_sub(1) else { return };
        let Some(Some(field)) = types.get(index) else { return };
        let is_number = pg_type::declared(field) == Some("numeric");
        if is_number && let Some(value) = values.get(index) {
            match number_as_written(value) {
                Ok(written) => *expr = written,
                Err(error) => failed = Some(error),
            }
            return;
        }
        let Some(data_type) = sql_type_of(field) else { return };
        let inner = std::mem::replace(expr, SqlExpr::Value(Value::Null.into()));
        *expr = SqlExpr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(inner),
            data_type,
            array: false,
            format: None,
        };
    });
    failed.map_or(Ok(()), Err)
}

/// Parameters in the arguments of functions that stand where a table does: the table is made when
/// it is planned.
pub(crate) fn has_parameters_in_tables(statement: &DfStatement) -> bool {
    let mut found = false;
    in_tables(&mut statement.clone(), &mut |expr| found = found || number_of(expr).is_some());
    found
}

/// Visits the expressions in the arguments of such functions.
fn in_tables(statement: &mut DfStatement, each: &mut dyn FnMut(&mut SqlExpr)) {
    struct Tables<'a>(&'a mut dyn FnMut(&mut SqlExpr));
    impl VisitorMut for Tables<'_> {
        type Break = ();

        fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
            let mut each = |expr: &mut SqlExpr| {
                (self.0)(expr);
                ControlFlow::<()>::Continue(())
            };
            match factor {
                TableFactor::Table { args: Some(args), .. } => args.args.each_expr_mut(&mut each),
                TableFactor::Function { args, .. } => args.each_expr_mut(&mut each),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    match statement {
        DfStatement::Statement(statement) => {
            let _finished = statement.walk_mut(&mut Tables(each));
        }
        DfStatement::Explain(explain) => in_tables(&mut explain.statement, each),
        _ => {}
    }
}

/// A value as a cast of its text; nothing where its type has no name.
fn value_as_written(value: &ScalarValue, field: &Field) -> Result<Option<SqlExpr>, SqlError> {
    let Some(kind) = sql_type_of(field) else { return Ok(None) };
    let literal = if value.is_null() {
        Value::Null
    } else {
        let mut text = Vec::new();
        encode::put_text(&mut text, &value.to_array()?, 0, &Style::wire("UTC"))?;
        Value::SingleQuotedString(String::from_utf8_lossy(&text).into_owned())
    };
    super::cast_expr(SqlExpr::Value(literal.into()), &kind).map(Some)
}

fn number_as_written(value: &ScalarValue) -> Result<SqlExpr, SqlError> {
    if value.is_null() {
        return super::cast_expr(
            SqlExpr::Value(Value::Null.into()),
            &SqlType::Numeric(datafusion::sql::sqlparser::ast::ExactNumberInfo::None),
        );
    }
    let mut text = Vec::new();
    encode::put_text(&mut text, &value.to_array()?, 0, &Style::wire("UTC"))?;
    let text = String::from_utf8_lossy(&text).into_owned();
    match text.strip_prefix('-') {
        Some(digits) => super::parse_expr(&format!("(-{})", pointed(digits))),
        None => super::parse_expr(&pointed(&text)),
    }
}

/// With a point, so that it is a decimal and no integer.
fn pointed(digits: &str) -> String {
    match digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true => format!("CAST('{digits}' AS NUMERIC({}, 0))", digits.len().clamp(1, 38)),
        false => digits.to_owned(),
    }
}

/// A field's type as SQL names it.
fn sql_type_of(field: &Field) -> Option<SqlType> {
    let typed = pg_type::of_field(field);
    let kind = super::column_type(typed).ok()?;
    let text = match kind {
        ColumnType::Numeric => match unsized_numeric() {
            DataType::Decimal256(precision, scale) => format!("NUMERIC({precision}, {scale})"),
            _ => kind.name(),
        },
        kind => kind.name(),
    };
    let dialect = crate::sql::dialect::Grammar::default();
    let parser = datafusion::sql::sqlparser::parser::Parser::new(&dialect).try_with_sql(&text);
    parser.and_then(|mut parser| parser.parse_data_type()).ok()
}
