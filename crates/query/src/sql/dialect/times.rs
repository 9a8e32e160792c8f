//! Times are microseconds in everything that is computed. Nanoseconds in files become microseconds
//! when they are read. Where DataFusion would compare in nanoseconds, which end in the year 2262,
//! this rule compares in microseconds.
//!
//! DataFusion compares a date with a timestamp, and puts them into one column, as nanoseconds
//! (`type_coercion/binary.rs`, `temporal_coercion`); `tests/slt/times.slt` tells when this can go.

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Union, Values,
};
use datafusion::optimizer::AnalyzerRule;
use std::sync::Arc;

const DAY_US: i64 = 86_400_000_000;

/// Nanoseconds as microseconds; other types stay.
pub(super) fn in_microseconds(kind: &DataType) -> Option<DataType> {
    match kind {
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
        }
        _ => None,
    }
}

/// The field of a cast, of microseconds where it was of nanoseconds.
pub(super) fn cast_field(to: FieldRef) -> FieldRef {
    match in_microseconds(to.data_type()) {
        Some(kind) => Arc::new(to.as_ref().clone().with_data_type(kind)),
        None => to,
    }
}

/// The rule; it runs before types are settled.
#[derive(Debug)]
pub(crate) struct ReadMicroseconds;

impl AnalyzerRule for ReadMicroseconds {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::TableScan(_) => read(node),
            other => Ok(Transformed::no(other)),
        })?;
        let is_called = |expr: &Expr| Ok(matches!(expr, Expr::ScalarFunction(_)));
        let mut calls = false;
        plan.data.apply_with_subqueries(|node| {
            node.apply_expressions(|expr| {
                calls = calls || expr.exists(is_called)?;
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        if calls { super::casts::transform(plan.data, &of_function) } else { Ok(plan.data) }
    }

    fn name(&self) -> &str {
        "read_microseconds"
    }
}

/// What the library's functions give in nanoseconds, `now` above all.
fn of_function(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::ScalarFunction(_) = &expr else { return Ok(Transformed::no(expr)) };
    // What has no type yet is none of these.
    let kind = expr.get_type(schema).ok().and_then(|kind| in_microseconds(&kind));
    Ok(match kind {
        Some(kind) => Transformed::yes(super::cast_to(expr, &Field::new("", kind, true))),
        None => Transformed::no(expr),
    })
}

/// A node whose types were settled before they became microseconds, with what it gives now.
pub(super) fn with_schema(node: LogicalPlan) -> Result<LogicalPlan> {
    let is_settled = matches!(node, LogicalPlan::Union(_) | LogicalPlan::Values(_));
    let settled = node.schema().clone();
    if !is_settled
        || !settled.fields().iter().any(|field| in_microseconds(field.data_type()).is_some())
    {
        return Ok(node);
    }
    let now =
        settled.iter().map(|(qualifier, field)| (qualifier.cloned(), cast_field(field.clone())));
    let now = DFSchema::new_with_metadata(now.collect(), settled.metadata().clone())?;
    Ok(match node {
        LogicalPlan::Union(union) => LogicalPlan::Union(Union { schema: Arc::new(now), ..union }),
        LogicalPlan::Values(values) => {
            LogicalPlan::Values(Values { schema: Arc::new(now), ..values })
        }
        other => other,
    })
}

fn read(scan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = scan.schema().clone();
    if !schema.fields().iter().any(|field| in_microseconds(field.data_type()).is_some()) {
        return Ok(Transformed::no(scan));
    }
    let column = |(qualifier, field): (Option<&datafusion::common::TableReference>, &FieldRef)| {
        let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        match in_microseconds(field.data_type()) {
            Some(kind) => {
                let to = Field::new("", kind, true);
                super::cast_to(column, &to).alias_qualified(qualifier.cloned(), field.name())
            }
            None => column,
        }
    };
    let columns: Vec<Expr> = schema.iter().map(column).collect();
    Ok(Transformed::yes(LogicalPlanBuilder::from(scan).project(columns)?.build()?))
}

/// Where a cast from days or nanoseconds gives a time: from when, and before when. It lets
/// comparisons with a constant be made with the column itself, which files know the bounds of.
pub(super) fn preimage(from: &DataType, expr: &Expr, value: &Expr) -> Result<PreimageResult> {
    let Expr::Literal(ScalarValue::TimestampMicrosecond(Some(us), zone), _) = value else {
        return Ok(PreimageResult::None);
    };
    if matches!(*us, i64::MAX | i64::MIN) {
        return Ok(PreimageResult::None);
    }
    let bounds = match from {
        DataType::Date32 if zone.is_none() => {
            // A time within a day is no day: nothing is equal to it, and the next day is the first
            // one behind it.
            let is_midnight = us.rem_euclid(DAY_US) == 0;
            let first = us.div_euclid(DAY_US) + i64::from(!is_midnight);
            let last = first + i64::from(is_midnight);
            let day = |day: i64| i32::try_from(day).ok().map(|day| ScalarValue::Date32(Some(day)));
            day(first).zip(day(last))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, from) if from.is_some() == zone.is_some() => {
            let ns = |us: i64| us.checked_mul(1_000);
            let time = |ns: i64| ScalarValue::TimestampNanosecond(Some(ns), from.clone());
            ns(*us).zip(us.checked_add(1).and_then(ns)).map(|(from, to)| (time(from), time(to)))
        }
        _ => None,
    };
    let Some((first, last)) = bounds else { return Ok(PreimageResult::None) };
    let interval = Box::new(Interval::try_new(first, last)?);
    Ok(PreimageResult::Range { expr: expr.clone(), interval })
}
