//! Every accumulator, against its own answer over the same rows in another order and other batches.

use super::*;
use datafusion::arrow::array::{Float64Array, Int64Array, StringViewArray};
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::functions_aggregate::{
    approx_distinct::approx_distinct_udaf, average::avg_udaf, count::count_udaf, min_max::max_udaf,
    min_max::min_udaf, sum::sum_udaf,
};
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::col;

fn plan(function: Arc<AggregateUDF>, column: &str, distinct: bool) -> AggregatePlan {
    let schema = Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, true),
        Field::new("x", DataType::Float64, true),
        Field::new("t", DataType::Utf8View, true),
    ]));
    let argument = col(column, &schema).expect("a column");
    let function = AggregateExprBuilder::new(function, vec![argument])
        .schema(schema.clone())
        .alias("result")
        .with_distinct(distinct)
        .build()
        .expect("an aggregate");
    AggregatePlan::new(Arc::new(function), None, &schema).expect("a plan")
}

fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

fn column(name: &str, rows: &[u64]) -> ArrayRef {
    let some = |row: &u64| (!row.is_multiple_of(11)).then_some(*row);
    match name {
        "n" => Arc::new(Int64Array::from_iter(
            rows.iter().map(|row| some(row).map(|row| row as i64 >> 20)),
        )),
        "x" => Arc::new(Float64Array::from_iter(
            rows.iter().map(|row| some(row).map(|row| (row as i64 >> 8) as f64 / 1e7)),
        )),
        _ => Arc::new(StringViewArray::from_iter(
            rows.iter().map(|row| some(row).map(|row| format!("value {}", row % 40))),
        )),
    }
}

#[test]
fn order_batches_and_merging_do_not_show() {
    let plans = [
        (plan(count_udaf(), "n", false), "n"),
        (plan(sum_udaf(), "n", false), "n"),
        (plan(sum_udaf(), "x", false), "x"),
        (plan(avg_udaf(), "x", false), "x"),
        (plan(min_udaf(), "x", false), "x"),
        (plan(max_udaf(), "n", false), "n"),
        (plan(max_udaf(), "t", false), "t"),
        (plan(count_udaf(), "t", true), "t"),
        (plan(approx_distinct_udaf(), "t", false), "t"),
    ];
    const SLOTS: usize = 7;
    let all: Vec<usize> = (0..SLOTS).collect();
    let mut seed = 77;
    let rows: Vec<u64> = (0..5_000).map(|_| random(&mut seed)).collect();
    let slot = |row: &u64| (row >> 3) as usize % SLOTS;
    for (plan, name) in plans {
        let mut whole = plan.create();
        whole.grow(SLOTS);
        let slots: Vec<usize> = rows.iter().map(slot).collect();
        whole.update(&[column(name, &rows)], &slots).expect("update");
        let expected = whole.evaluate(&all).expect("evaluate");
        assert_eq!(&whole.evaluate(&all).expect("again"), &expected, "reading changes nothing");

        let mut shuffled = rows.clone();
        for index in (1..shuffled.len()).rev() {
            shuffled.swap(index, random(&mut seed) as usize % (index + 1));
        }
        let mut merged = plan.create();
        merged.grow(SLOTS);
        for chunk in shuffled.chunks(613) {
            let mut part = plan.create();
            part.grow(SLOTS);
            for piece in chunk.chunks(100) {
                let slots: Vec<usize> = piece.iter().map(slot).collect();
                part.update(&[column(name, piece)], &slots).expect("update");
            }
            let state = part.state(&all).expect("state");
            merged.merge(&state, &all).expect("merge");
        }
        let result = merged.evaluate(&all).expect("evaluate");
        assert_eq!(&result, &expected, "{}", plan.describe());
        merged.reset(3);
        let fields = plan.state_fields().expect("fields");
        let state = merged.state(&[3]).expect("state");
        assert_eq!(fields.len(), state.len());
        for (field, column) in fields.iter().zip(&state) {
            assert_eq!(field.data_type(), column.data_type(), "{}", plan.describe());
        }
    }
}

#[test]
fn a_sum_that_does_not_fit_is_an_error_and_not_a_wrong_number() {
    let plan = plan(sum_udaf(), "n", false);
    let mut sum = plan.create();
    sum.grow(1);
    let values: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, 1, -2]));
    sum.update(&[values.slice(0, 2)], &[0, 0]).expect("update");
    assert!(sum.evaluate(&[0]).is_err());
    sum.update(&[values.slice(2, 1)], &[0]).expect("update");
    assert!(sum.evaluate(&[0]).is_ok(), "it fits again");
}
