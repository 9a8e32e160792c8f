//! Aggregates of a query with a join that take values from a table: `sum(quantity * price)`, where
//! the table has the price.
//!
//! A sum of products is cut in two. The factors of the stream are summed record by record, in the
//! partial groups. The other factors are looked up when the view is read, and multiply those sums.
//! If one factor uses columns of both sides, the records are grouped by their columns in it. A
//! value without a factor from the stream counts once for each record of the partial group.
//! Aggregates that give the same however often they see a value (minimum, maximum, DISTINCT) need
//! no count.

mod cutter;

use super::trace::{add_columns, over_join, over_stream};
use crate::error::SqlError;
use crate::views::accumulate::AggregatePlan;
use crate::views::compile::{compile_aggregates, loose, refuse};
use crate::views::groups::{GroupRows, Groups};
use crate::views::rows::arguments;
pub(super) use cutter::Cutter;
use cutter::{Origin, Product};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array, RecordBatch,
    RecordBatchOptions,
};
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Field, Float64Type, Int64Type, Schema,
};
use datafusion::common::{Column, DFSchema, DataFusionError, Result};
use datafusion::functions_aggregate::count::count;
use datafusion::functions_aggregate::sum::sum;
use datafusion::logical_expr::expr::{AggregateFunction, Cast};
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprFunctionExt, ExprSchemable, LogicalPlan, Operator, and, cast, lit,
};
use std::collections::BTreeSet;
use std::ops::Mul;
use std::sync::Arc;

/// Names of values on their way through the join, and of the sums that they multiply.
pub(super) const LOOKED_UP: &str = "__looked_up_";
const WEIGHT: &str = "__weight_";

/// What the aggregates of a query are when its view is read.
#[derive(Clone, Debug)]
pub(super) struct Mixed {
    /// How many aggregates over the stream's rows are the query's own; the rest are weights.
    pub(super) merged: usize,
    /// Values over the topmost join.
    pub(super) looked_up: Vec<Expr>,
    /// Aggregates over what is looked up and the weights beside it.
    pub(super) computed: Vec<AggregatePlan>,
    rows: Arc<Schema>,
    /// For each aggregate of the query, where it comes from.
    results: Vec<Origin>,
}

/// Takes apart expressions over the topmost join.
struct OverJoin<'c, 'a> {
    cutter: &'c mut Cutter<'a>,
    join: &'a LogicalPlan,
}

impl OverJoin<'_, '_> {
    /// An aggregate that may see each value as often as it likes.
    fn seen_once(&mut self, call: &AggregateFunction) -> Result<Origin, SqlError> {
        let args = call.params.args.iter().map(|arg| self.look_up(arg));
        let args = args.collect::<Result<Vec<_>, SqlError>>()?;
        let filter = call.params.filter.as_deref().map(|filter| self.look_up(filter));
        let filter = filter.transpose()?.map(Box::new);
        let (distinct, nulls) = (call.params.distinct, call.params.null_treatment);
        let call = AggregateFunction::new_udf(
            call.func.clone(),
            args,
            distinct,
            filter,
            Vec::new(),
            nulls,
        );
        Ok(Origin::Computed(self.compute(Expr::AggregateFunction(call))))
    }

    /// The sum of a value, as an aggregate over what is looked up.
    fn sum(&mut self, value: &Expr, call: &AggregateFunction) -> Result<usize, SqlError> {
        let kind = value.get_type(self.join.schema())?;
        let product = self.product(value)?;
        let is_count = product.stream.is_empty();
        // A partial group that is joined to nothing may have a sum beyond 64 bits.
        let total = |factor| match kind.is_integer() {
            true => sum(cast(factor, DECIMAL_OF_64_BITS)),
            false => sum(factor),
        };
        let (weight, filter) = self.weigh(&product, call, total)?;
        // A partial group of which the filter has left nothing has nothing to add; its count says
        // so.
        let filter = match is_count {
            true => Some(and_also(filter, weight.clone().gt(lit(0_i64)))),
            false => filter,
        };
        let mut number = as_number(weight, &kind, is_count)?;
        if let Some(factor) = product.table.into_iter().reduce(Mul::mul) {
            number = number * as_number(self.look_up(&factor)?, &kind, false)?;
        }
        if let Some(divisor) = product.divisors.into_iter().reduce(Mul::mul) {
            number = number / as_number(self.look_up(&divisor)?, &kind, false)?;
        }
        self.filtered(sum(number), filter)
    }

    /// How many records have a value.
    fn count(&mut self, value: &Expr, call: &AggregateFunction) -> Result<usize, SqlError> {
        let product = self.product(value)?;
        let (weight, mut filter) = self.weigh(&product, call, count)?;
        for factor in product.table.into_iter().chain(product.divisors) {
            filter = Some(and_also(filter, self.look_up(&factor)?.is_not_null()));
        }
        self.filtered(sum(weight), filter)
    }

    /// What the stream gives to each partial group, and the condition on what is joined to it.
    fn weigh(
        &mut self,
        product: &Product,
        call: &AggregateFunction,
        aggregate: impl Fn(Expr) -> Expr,
    ) -> Result<(Expr, Option<Expr>), SqlError> {
        let weight = match product.stream.iter().cloned().reduce(Mul::mul) {
            Some(factor) => aggregate(factor),
            None => count(lit(1_i64)),
        };
        let Some(filter) = call.params.filter.as_deref() else {
            return Ok((self.weight(weight), None));
        };
        match over_stream(filter, self.join, self.cutter.stream)? {
            Some(own) => Ok((self.weight(weight.filter(own).build()?), None)),
            None => Ok((self.weight(weight), Some(self.look_up(filter)?))),
        }
    }

    /// Cuts a value.
    fn product(&self, value: &Expr) -> Result<Product, SqlError> {
        let mut product = Product::default();
        self.factors(value, &mut product)?;
        Ok(product)
    }

    fn factors(&self, value: &Expr, product: &mut Product) -> Result<(), SqlError> {
        if let Some(own) = over_stream(value, self.join, self.cutter.stream)? {
            product.stream.push(own);
            return Ok(());
        }
        match value {
            Expr::Alias(alias) => return self.factors(&alias.expr, product),
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Multiply, right }) => {
                self.factors(left, product)?;
                return self.factors(right, product);
            }
            // Only doubles are divided without a rest.
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide, right })
                if value.get_type(self.join.schema())? == DataType::Float64 =>
            {
                product.divisors.push(right.as_ref().clone());
                return self.factors(left, product);
            }
            // An average of integers. Products of fewer bits may wrap, and are left whole.
            Expr::Cast(Cast { expr, field }) if *field.data_type() == DataType::Float64 => {
                if let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Multiply, right }) =
                    expr.as_ref()
                    && expr.get_type(self.join.schema())? == DataType::Int64
                {
                    self.factors(&cast(left.as_ref().clone(), DataType::Float64), product)?;
                    return self.factors(&cast(right.as_ref().clone(), DataType::Float64), product);
                }
            }
            _ => {}
        }
        product.table.push(value.clone());
        Ok(())
    }

    /// A value over the join, as it comes out of it.
    fn look_up(&mut self, value: &Expr) -> Result<Expr, SqlError> {
        add_columns(value, self.join, self.cutter.stream, self.cutter.used)?;
        let number = number_of(&mut self.cutter.looked_up, value.clone().unalias());
        Ok(Expr::Column(Column::new_unqualified(format!("{LOOKED_UP}{number}"))))
    }

    fn weight(&mut self, aggregate: Expr) -> Expr {
        let number = number_of(&mut self.cutter.weights, aggregate);
        Expr::Column(Column::new_unqualified(format!("{WEIGHT}{number}")))
    }

    fn filtered(&mut self, aggregate: Expr, filter: Option<Expr>) -> Result<usize, SqlError> {
        let aggregate = match filter {
            Some(filter) => aggregate.filter(filter).build()?,
            None => aggregate,
        };
        Ok(self.compute(aggregate))
    }

    fn compute(&mut self, aggregate: Expr) -> usize {
        number_of(&mut self.cutter.computed, aggregate)
    }
}

/// The place of an expression in a list; it is added where it is not there yet.
fn number_of(exprs: &mut Vec<Expr>, expr: Expr) -> usize {
    exprs.iter().position(|known| *known == expr).unwrap_or_else(|| {
        exprs.push(expr);
        exprs.len() - 1
    })
}

fn and_also(filter: Option<Expr>, more: Expr) -> Expr {
    match filter {
        Some(filter) => and(filter, more),
        None => more,
    }
}

/// The type in which integers are multiplied, so that no product overflows that the sum would not.
const DECIMAL_OF_64_BITS: DataType = DataType::Decimal128(20, 0);

/// A factor in the type in which a sum of values of some type is computed.
fn as_number(expr: Expr, kind: &DataType, is_count: bool) -> Result<Expr, SqlError> {
    match kind {
        DataType::Float64 => Ok(cast(expr, DataType::Float64)),
        DataType::Decimal128(..) if !is_count => Ok(expr),
        DataType::Decimal128(..) => Ok(cast(expr, DECIMAL_OF_64_BITS)),
        kind if kind.is_integer() => Ok(cast(expr, DECIMAL_OF_64_BITS)),
        other => refuse(format!("a sum of {other} that takes values from a table")),
    }
}

impl Mixed {
    /// What a reader of EXPLAIN is told.
    pub(super) fn describe(&self) -> Vec<String> {
        let looked_up = self.looked_up.iter().enumerate();
        let looked_up =
            looked_up.map(|(number, expr)| format!("look up {expr} as {LOOKED_UP}{number}"));
        let computed = self.computed.iter().map(|plan| format!("compute {}", plan.describe()));
        looked_up.chain(computed).collect()
    }

    /// The results of the query's aggregates, in its order, for all groups.
    pub(super) fn results(
        &self,
        merged: &[ArrayRef],
        computed: &[ArrayRef],
        kinds: &[DataType],
    ) -> Result<Vec<ArrayRef>> {
        let lost = || DataFusionError::Internal("an aggregate of a join was lost".to_owned());
        let computed = |index: usize| computed.get(index).ok_or_else(lost);
        let result = |(source, kind): (&Origin, &DataType)| match *source {
            Origin::Merged(index) => merged.get(index).cloned().ok_or_else(lost),
            Origin::Computed(index) => computed(index).cloned(),
            Origin::Count(index) => Ok(Arc::new(counts(computed(index)?)) as ArrayRef),
            Origin::Average { sum, count } => {
                average(computed(sum)?, &counts(computed(count)?), kind)
            }
        };
        self.results.iter().zip(kinds).map(result).collect()
    }

    /// Gives what was looked up, and the weights beside it, to the computed aggregates.
    pub(super) fn update(
        &self,
        groups: &mut Groups,
        keys: Vec<ArrayRef>,
        columns: Vec<ArrayRef>,
        rows: usize,
    ) -> Result<()> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.rows.clone(), columns, &options)?;
        let arguments = self.computed.iter().map(|plan| arguments(plan, &batch));
        groups.update(&GroupRows { keys, arguments: arguments.collect::<Result<_>>()?, rows })
    }
}

fn counts(sums: &ArrayRef) -> Int64Array {
    sums.as_primitive::<Int64Type>().iter().map(|count| Some(count.unwrap_or(0))).collect()
}

fn average(sums: &ArrayRef, counts: &Int64Array, kind: &DataType) -> Result<ArrayRef> {
    if let (DataType::Decimal128(_, scale), DataType::Decimal128(precision, wanted)) =
        (sums.data_type(), kind)
    {
        let finer = 10_i128.checked_pow(u32::from((wanted - scale).unsigned_abs()));
        let overflow = || DataFusionError::Execution("an average overflows its type".to_owned());
        let finer = finer.filter(|_| wanted >= scale).ok_or_else(overflow)?;
        let average = |(sum, count): (Option<i128>, Option<i64>)| match (sum, count) {
            (Some(sum), Some(count)) if count > 0 => {
                let count = i128::from(count);
                let (whole, rest) = (sum / count, sum % count);
                let whole = whole.checked_mul(finer).ok_or_else(overflow)?;
                Ok(Some(whole + rest * finer / count))
            }
            _ => Ok(None),
        };
        let sums = sums.as_primitive::<Decimal128Type>();
        let averages = sums.iter().zip(counts).map(average).collect::<Result<Decimal128Array>>()?;
        let averages = averages.with_precision_and_scale(*precision, *wanted)?;
        averages.validate_decimal_precision(*precision)?;
        return Ok(Arc::new(averages));
    }
    let sums = sums.as_primitive_opt::<Float64Type>();
    let sums = sums
        .ok_or_else(|| DataFusionError::Internal("an average of what is no number".to_owned()))?;
    let average = |(sum, count): (Option<f64>, Option<i64>)| match (sum, count) {
        (Some(sum), Some(count)) if count > 0 => Some(sum / count as f64),
        _ => None,
    };
    Ok(Arc::new(sums.iter().zip(counts).map(average).collect::<Float64Array>()))
}
