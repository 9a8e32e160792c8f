//! Cuts an aggregate over both sides of a join into what each side gives.

use super::*;

/// Where the result of an aggregate comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    Merged(usize),
    Computed(usize),
    /// A sum of counts, which is 0 where nothing was counted.
    Count(usize),
    Average {
        sum: usize,
        count: usize,
    },
}

/// A value as the stream's part times the table's.
#[derive(Default)]
pub(super) struct Product {
    pub(super) stream: Vec<Expr>,
    pub(super) table: Vec<Expr>,
    pub(super) divisors: Vec<Expr>,
}

/// The aggregates of a query, being taken apart.
pub(crate) struct Cutter<'a> {
    pub(super) input: &'a LogicalPlan,
    pub(super) stream: &'a LogicalPlan,
    /// Columns of the stream's rows that are grouped by.
    pub(super) used: &'a mut BTreeSet<usize>,
    pub(super) merged: Vec<Expr>,
    pub(super) weights: Vec<Expr>,
    pub(super) looked_up: Vec<Expr>,
    pub(super) computed: Vec<Expr>,
    pub(super) results: Vec<Origin>,
}

impl<'a> Cutter<'a> {
    pub(crate) fn new(
        input: &'a LogicalPlan,
        stream: &'a LogicalPlan,
        used: &'a mut BTreeSet<usize>,
    ) -> Self {
        let (merged, weights, looked_up, computed, results) = Default::default();
        Self { input, stream, used, merged, weights, looked_up, computed, results }
    }

    /// Takes the next aggregate of the query.
    pub(crate) fn cut(&mut self, expr: &Expr) -> Result<(), SqlError> {
        if let Some(own) = over_stream(expr, self.input, self.stream)? {
            self.results.push(Origin::Merged(self.merged.len()));
            self.merged.push(own);
            return Ok(());
        }
        let (expr, join) = over_join(expr, self.input)?;
        let Expr::AggregateFunction(call) = expr.clone().unalias() else {
            return refuse(format!("{expr} takes values from a table"));
        };
        let mut join = OverJoin { cutter: self, join };
        let result = match (call.func.name(), call.params.args.as_slice()) {
            _ if !call.params.order_by.is_empty() => None,
            (name, _) if sees_once(name, call.params.distinct) => Some(join.seen_once(&call)?),
            _ if call.params.distinct => None,
            ("sum", [value]) => Some(Origin::Computed(join.sum(value, &call)?)),
            ("count", [value]) => Some(Origin::Count(join.count(value, &call)?)),
            ("avg", [value]) => {
                let (sum, count) = (join.sum(value, &call)?, join.count(value, &call)?);
                Some(Origin::Average { sum, count })
            }
            _ => None,
        };
        let Some(result) = result else {
            return refuse(format!("{expr} takes values from a table")).map_err(|error| {
                error.hint(
                    "sum, avg, count, min, max and DISTINCT may; for others, aggregate the \
                            stream's columns alone",
                )
            });
        };
        self.results.push(result);
        Ok(())
    }

    /// The aggregates over the stream's rows, and the rest.
    pub(crate) fn finish(self) -> Result<(Vec<Expr>, Mixed), SqlError> {
        let mut fields = Vec::new();
        let (_, join) = over_join(&lit(true), self.input)?;
        for (number, expr) in self.looked_up.iter().enumerate() {
            let kind = expr.get_type(join.schema())?;
            fields.push(Field::new(format!("{LOOKED_UP}{number}"), kind, true));
        }
        for (number, expr) in self.weights.iter().enumerate() {
            let kind = expr.get_type(self.stream.schema())?;
            fields.push(Field::new(format!("{WEIGHT}{number}"), kind, true));
        }
        let rows = DFSchema::try_from(Schema::new(fields))?;
        let mixed = Mixed {
            merged: self.merged.len(),
            looked_up: self.looked_up,
            computed: compile_aggregates(&self.computed, &rows)?,
            rows: loose(&rows),
            results: self.results,
        };
        Ok((self.merged.into_iter().chain(self.weights).collect(), mixed))
    }
}

/// Whether an aggregate gives the same for a value that comes once and one that comes often. Not
/// all heed DISTINCT.
pub(super) fn sees_once(name: &str, distinct: bool) -> bool {
    match name {
        "min" | "max" | "bool_and" | "bool_or" | "bit_and" | "bit_or" | "approx_distinct" => true,
        "sum" | "avg" | "count" => distinct,
        _ => false,
    }
}
