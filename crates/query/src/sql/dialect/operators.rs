//! Operators as Postgres has them, by the types of their operands: those that DataFusion computes
//! otherwise or does not have.

mod kinds;

use super::casts::cast_to;
use crate::values::pg_type;
use datafusion::arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawAggregateExpr, RawBinaryExpr, RawFieldAccessExpr,
};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, ScalarUDF, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use kinds::{
    DIGITS_MAX, Kind, digits_of, interval, is_nonzero, is_untyped, kind_of, takes_text, timestamp,
};
use std::collections::HashMap;
use std::sync::Arc;

/// Plans operators.
pub(crate) struct Operators {
    functions: HashMap<&'static str, Arc<ScalarUDF>>,
}

impl std::fmt::Debug for Operators {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Operators")
    }
}

/// What a number as it was written is computed with.
pub(super) fn computed_numeric() -> Field {
    Field::new("", DataType::Decimal256(76, 30), true)
}

/// A side as a number of any digits.
fn computed(expr: &Expr) -> Expr {
    cast_to(expr.clone(), &computed_numeric())
}

impl Operators {
    pub(crate) fn new(functions: impl Iterator<Item = Arc<ScalarUDF>>) -> Self {
        const USED: &[&str] = &[
            "array_append",
            "array_concat",
            "array_has_all",
            "array_has_any",
            "array_prepend",
            "date_plus_days",
            "date_minus_date",
            "interval_divide",
            "interval_multiply",
            "interval_order",
            "json_contains",
            "json_field",
            "json_field_text",
            "json_concat",
            "json_has_all_keys",
            "json_has_any_key",
            "json_has_key",
            "json_minus",
            "json_minus_path",
            "json_path",
            "json_path_text",
            "numeric_divide",
            "numeric_times",
            "power",
            "same_zero",
            "text_concat",
            "time_minus_time",
            "time_plus_interval",
            "timestamp_minus_timestamp",
            "timestamp_plus_interval",
            "timestamptz_plus_interval",
            "element_of",
            "json_subscript",
        ];
        let mut found = HashMap::new();
        for function in functions {
            if let Some(name) = USED.iter().find(|name| **name == function.name()) {
                found.insert(*name, function);
            }
        }
        Self { functions: found }
    }

    fn call(&self, name: &str, args: Vec<Expr>) -> Option<Expr> {
        Some(self.functions.get(name)?.call(args))
    }

    fn negated(expr: Expr) -> Expr {
        Expr::Negative(Box::new(expr))
    }

    fn plan(&self, raw: &RawBinaryExpr, schema: &DFSchema) -> Result<Option<Expr>> {
        use BinaryOperator as Op;
        let (left, right) = (&raw.left, &raw.right);
        if is_untyped(left) || is_untyped(right) {
            return Ok(match raw.op {
                Op::PGExp => self.call("power", vec![left.clone(), right.clone()]),
                _ => None,
            });
        }
        let (Ok((_, left_field)), Ok((_, right_field))) =
            (left.to_field(schema), right.to_field(schema))
        else {
            return Ok(None);
        };
        let kinds = (kind_of(left, &left_field), kind_of(right, &right_field));
        let both = || vec![left.clone(), right.clone()];
        Ok(match &raw.op {
            Op::PGExp => self.call("power", both()),
            Op::Arrow => self.call("json_field", both()),
            Op::LongArrow => self.call("json_field_text", both()),
            Op::HashArrow => self.call("json_path", both()),
            Op::HashLongArrow => self.call("json_path_text", both()),
            Op::HashMinus => self.call("json_minus_path", both()),
            Op::Question => self.call("json_has_key", both()),
            Op::QuestionAnd => self.call("json_has_all_keys", both()),
            Op::QuestionPipe => self.call("json_has_any_key", both()),
            Op::AtArrow if matches!(kinds.0, Kind::Array) => self.call("array_has_all", both()),
            Op::ArrowAt if matches!(kinds.1, Kind::Array) => {
                self.call("array_has_all", vec![right.clone(), left.clone()])
            }
            Op::AtArrow => self.call("json_contains", both()),
            Op::ArrowAt => self.call("json_contains", vec![right.clone(), left.clone()]),
            Op::PGOverlap => self.call("array_has_any", both()),
            Op::StringConcat => self.concat(left, right, kinds),
            Op::Minus if matches!(kinds.0, Kind::Json | Kind::Jsonb) => {
                self.call("json_minus", both())
            }
            Op::Plus => self.plus(left, right, kinds),
            Op::Minus => self.minus(left, right, kinds),
            Op::Multiply => self.multiply(left, right, (&left_field, &right_field), kinds),
            Op::Divide => self.divide(left, right, kinds),
            Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq => {
                self.compare(raw, (&left_field, &right_field), kinds)
            }
            Op::Modulo if matches!(kinds.0, Kind::Numeric) || matches!(kinds.1, Kind::Numeric) => {
                Some(computed(left) % computed(right))
            }
            _ => None,
        })
    }

    fn concat(&self, left: &Expr, right: &Expr, kinds: (Kind, Kind)) -> Option<Expr> {
        use Kind::{Array, Bytes, Json, Jsonb, Null, Unknown};
        let both = || vec![left.clone(), right.clone()];
        match kinds {
            (Array, Array) => self.call("array_concat", both()),
            (Array, Null) => Some(left.clone()),
            (Null, Array) => Some(right.clone()),
            (Array, Unknown) | (Unknown, Array) => self.call("array_concat", both()),
            (Array, _) => self.call("array_append", both()),
            (_, Array) => self.call("array_prepend", both()),
            (Json | Jsonb, _) | (_, Json | Jsonb)
                if !matches!(kinds, (Kind::Text, _) | (_, Kind::Text)) =>
            {
                self.call("json_concat", both())
            }
            (Bytes, Bytes) => None,
            _ => self.call("text_concat", both()),
        }
    }

    fn plus(&self, left: &Expr, right: &Expr, kinds: (Kind, Kind)) -> Option<Expr> {
        use Kind::{Date, Interval, Number, Numeric, Time, Timestamp, Timestamptz, Unknown};
        let as_time = |expr: &Expr| cast_to(expr.clone(), &timestamp());
        let as_interval = |expr: &Expr| cast_to(expr.clone(), &interval());
        let later = |time: Expr, span: Expr| self.call("timestamp_plus_interval", vec![time, span]);
        match kinds {
            (Date, Number) => self.call("date_plus_days", vec![left.clone(), right.clone()]),
            (Number, Date) => self.call("date_plus_days", vec![right.clone(), left.clone()]),
            (Date, Interval) => later(as_time(left), right.clone()),
            (Interval, Date) => later(as_time(right), left.clone()),
            (Date, Time) => later(as_time(left), as_interval(right)),
            (Time, Date) => later(as_time(right), as_interval(left)),
            (Timestamp, Interval) => later(left.clone(), right.clone()),
            (Interval, Timestamp) => later(right.clone(), left.clone()),
            (Timestamp, Unknown) => later(left.clone(), as_interval(right)),
            (Timestamptz, Interval) => {
                self.call("timestamptz_plus_interval", vec![left.clone(), right.clone()])
            }
            (Interval, Timestamptz) => {
                self.call("timestamptz_plus_interval", vec![right.clone(), left.clone()])
            }
            (Time, Interval) => self.call("time_plus_interval", vec![left.clone(), right.clone()]),
            (Interval, Time) => self.call("time_plus_interval", vec![right.clone(), left.clone()]),
            (Interval, Unknown) => Some(left.clone() + as_interval(right)),
            (Unknown, Interval) => Some(as_interval(left) + right.clone()),
            (Numeric, _) | (_, Numeric) => Some(computed(left) + computed(right)),
            _ => self.same(BinaryOperator::Plus, left, right, kinds),
        }
    }

    fn minus(&self, left: &Expr, right: &Expr, kinds: (Kind, Kind)) -> Option<Expr> {
        use Kind::{Date, Interval, Number, Numeric, Time, Timestamp, Timestamptz, Unknown};
        let as_time = |expr: &Expr| cast_to(expr.clone(), &timestamp());
        let as_interval = |expr: &Expr| cast_to(expr.clone(), &interval());
        let difference = |a: Expr, b: Expr| self.call("timestamp_minus_timestamp", vec![a, b]);
        let earlier = |plus: &'static str, time: Expr| {
            let less = Expr::Literal(ScalarValue::Int32(Some(-1)), None);
            let span = self.call("interval_multiply", vec![right.clone(), less])?;
            self.call(plus, vec![time, span])
        };
        match kinds {
            (Date, Number) => {
                self.call("date_plus_days", vec![left.clone(), Self::negated(right.clone())])
            }
            (Date, Date) => self.call("date_minus_date", vec![left.clone(), right.clone()]),
            (Date, Unknown) => {
                let date = Field::new("", DataType::Date32, true);
                self.call("date_minus_date", vec![left.clone(), cast_to(right.clone(), &date)])
            }
            (Date, Interval) => earlier("timestamp_plus_interval", as_time(left)),
            (Date, Timestamp) => difference(as_time(left), right.clone()),
            (Timestamp, Date | Unknown) => difference(left.clone(), as_time(right)),
            (Unknown, Timestamp) => difference(as_time(left), right.clone()),
            (Timestamp, Timestamp) | (Timestamptz, Timestamptz) => {
                difference(left.clone(), right.clone())
            }
            (Timestamptz, Timestamp | Date) | (Timestamp | Date, Timestamptz) => {
                let kind = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
                let zoned =
                    |expr: &Expr| cast_to(expr.clone(), &Field::new("", kind.clone(), true));
                difference(zoned(left), zoned(right))
            }
            (Timestamp, Interval) => earlier("timestamp_plus_interval", left.clone()),
            (Timestamptz, Interval) => earlier("timestamptz_plus_interval", left.clone()),
            (Time, Interval) => earlier("time_plus_interval", left.clone()),
            (Time, Time) => self.call("time_minus_time", vec![left.clone(), right.clone()]),
            (Interval, Unknown) => Some(left.clone() - as_interval(right)),
            (Unknown, Interval) => Some(as_interval(left) - right.clone()),
            (Numeric, _) | (_, Numeric) => Some(computed(left) - computed(right)),
            _ => self.same(BinaryOperator::Minus, left, right, kinds),
        }
    }

    fn multiply(
        &self,
        left: &Expr,
        right: &Expr,
        fields: (&Field, &Field),
        kinds: (Kind, Kind),
    ) -> Option<Expr> {
        use Kind::{Decimal, Double, Interval, Number, Numeric};
        match kinds {
            (Interval, Number | Double | Decimal) => {
                self.call("interval_multiply", vec![left.clone(), right.clone()])
            }
            (Number | Double | Decimal, Interval) => {
                self.call("interval_multiply", vec![right.clone(), left.clone()])
            }
            (Numeric, _) | (_, Numeric) => {
                self.call("numeric_times", vec![computed(left), computed(right)])
            }
            (Decimal, Decimal) if digits_of(fields.0) + digits_of(fields.1) > DIGITS_MAX => {
                self.call("numeric_times", vec![computed(left), computed(right)])
            }
            _ => self.same(BinaryOperator::Multiply, left, right, kinds),
        }
    }

    fn divide(&self, left: &Expr, right: &Expr, kinds: (Kind, Kind)) -> Option<Expr> {
        use Kind::{Decimal, Double, Interval, Number, Numeric};
        match kinds {
            (Interval, Number | Double | Decimal) => {
                self.call("interval_divide", vec![left.clone(), right.clone()])
            }
            (Decimal | Numeric, Decimal | Number | Numeric) | (Number, Decimal | Numeric) => {
                self.call("numeric_divide", vec![left.clone(), right.clone()])
            }
            _ => self.same(BinaryOperator::Divide, left, right, kinds),
        }
    }

    /// A text whose type is not said takes that of the other side.
    fn same(
        &self,
        op: BinaryOperator,
        left: &Expr,
        right: &Expr,
        kinds: (Kind, Kind),
    ) -> Option<Expr> {
        let number = |kind| matches!(kind, Kind::Number | Kind::Double | Kind::Decimal);
        let build = |left: Expr, right: Expr| match op {
            BinaryOperator::Plus => left + right,
            BinaryOperator::Minus => left - right,
            BinaryOperator::Multiply => left * right,
            _ => left / right,
        };
        let like = |kind| match kind {
            Kind::Double => Field::new("", DataType::Float64, true),
            Kind::Decimal => Field::new("", super::sql_types::unsized_numeric(), true),
            _ => Field::new("", DataType::Int32, true),
        };
        match kinds {
            (Kind::Unknown, other) if number(other) => {
                Some(build(cast_to(left.clone(), &like(other)), right.clone()))
            }
            (other, Kind::Unknown) if number(other) => {
                Some(build(left.clone(), cast_to(right.clone(), &like(other))))
            }
            _ => None,
        }
    }

    fn compare(
        &self,
        raw: &RawBinaryExpr,
        fields: (&Field, &Field),
        kinds: (Kind, Kind),
    ) -> Option<Expr> {
        let (left, right) = (&raw.left, &raw.right);
        let build = |left: Expr, right: Expr| match raw.op {
            BinaryOperator::Eq => left.eq(right),
            BinaryOperator::NotEq => left.not_eq(right),
            BinaryOperator::Lt => left.lt(right),
            BinaryOperator::LtEq => left.lt_eq(right),
            BinaryOperator::Gt => left.gt(right),
            _ => left.gt_eq(right),
        };
        match kinds {
            (Kind::Interval, Kind::Interval | Kind::Unknown) | (Kind::Unknown, Kind::Interval) => {
                let order = |expr: &Expr| {
                    self.call("interval_order", vec![cast_to(expr.clone(), &interval())])
                };
                Some(build(order(left)?, order(right)?))
            }
            (Kind::Numeric, _) | (_, Kind::Numeric) => Some(build(computed(left), computed(right))),
            (Kind::Double, Kind::Double) if !is_nonzero(left) && !is_nonzero(right) => {
                let same = |expr: &Expr| self.call("same_zero", vec![expr.clone()]);
                Some(build(same(left)?, same(right)?))
            }
            (Kind::Unknown, other) if takes_text(other) => {
                Some(build(cast_to(left.clone(), fields.1), right.clone()))
            }
            (other, Kind::Unknown) if takes_text(other) => {
                Some(build(left.clone(), cast_to(right.clone(), fields.0)))
            }
            _ => None,
        }
    }
}

impl ExprPlanner for Operators {
    fn plan_binary_op(
        &self,
        raw: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        Ok(match self.plan(&raw, schema)? {
            Some(expr) => PlannerResult::Planned(expr),
            None => PlannerResult::Original(raw),
        })
    }

    fn plan_field_access(
        &self,
        raw: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        // A place that is not there, zero or negative, has no element in Postgres; DataFusion
        // counts from the end.
        let key = match &raw.field_access {
            GetFieldAccess::ListIndex { key } => Some(key.as_ref().clone()),
            GetFieldAccess::NamedStructField { name } => Some(Expr::Literal(name.clone(), None)),
            GetFieldAccess::ListRange { .. } => None,
        };
        let is_place = matches!(&raw.field_access, GetFieldAccess::ListIndex { .. });
        if let Some(key) = key
            && let Ok((_, field)) = raw.expr.to_field(schema)
        {
            let name = match kind_of(&raw.expr, &field) {
                Kind::Array if is_place => "element_of",
                Kind::Json | Kind::Jsonb => "json_subscript",
                _ => return Ok(PlannerResult::Original(raw)),
            };
            let key = match pg_type::is_vector(field.data_type()) {
                true => key + lit(1),
                false => key,
            };
            if let Some(element) = self.call(name, vec![raw.expr.clone(), key]) {
                return Ok(PlannerResult::Planned(element));
            }
        }
        Ok(PlannerResult::Original(raw))
    }

    fn plan_aggregate(&self, raw: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        Ok(PlannerResult::Original(raw))
    }
}
