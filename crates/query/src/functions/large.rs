//! Large values that are the same for all rows. DataFusion copies such a value for each row of a
//! batch, eight thousand times. Here all rows share its bytes, and a function of it is computed
//! once.

use super::limits::PLANNED_MAX_BYTES;
use super::{Function, returns_same};
use crate::error::{SqlError, SqlState};
use crate::sql::statement::CHAIN;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::ScalarUDF;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{ColumnarValue, Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use std::sync::{Arc, LazyLock};

/// Aggregates that keep their values, and copy them at the end: what they get is looked at for its
/// size.
const COLLECTING: [&str; 2] = ["array_agg", "string_agg"];

/// The function that a large literal goes through.
const LARGE_CONSTANT: &str = "large_constant";

static CONSTANT: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    Function::new(LARGE_CONSTANT, returns_same, |call| call.arg(0).cloned()).udf()
});

/// Functions over windows that give one of their values to each row: it is copied as often.
const REPEATING: [&str; 7] =
    ["first_value", "last_value", "nth_value", "lag", "lead", "min", "max"];

/// The most that such copies take for one partition of a window.
const REPEATED_MAX_BYTES: usize = 512 << 20;

/// The function that looks at what is about to be copied.
static REPEATED: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    Function::new("repeated_value", returns_same, |call| {
        let values = call.arg(0)?;
        let longest = match values.data_type() {
            DataType::Utf8View => values.as_string_view().lengths().max(),
            DataType::Utf8 => {
                values.as_string::<i32>().offsets().lengths().max().map(|length| length as u32)
            }
            _ => None,
        };
        if longest.unwrap_or(0) as usize * values.len() > REPEATED_MAX_BYTES {
            let most = REPEATED_MAX_BYTES >> 20;
            let message =
                format!("requested length too large: the values of a window may have {most} MiB");
            return Err(SqlError::new(SqlState::LimitExceeded, message));
        }
        Ok(values.clone())
    })
    .volatile()
    .udf()
});

/// Whether the only value of an array is large.
pub(super) fn is_large(value: &ArrayRef) -> bool {
    value.get_array_memory_size() > PLANNED_MAX_BYTES && value.data_type() == &DataType::Utf8View
}

/// A value for many rows, which share its bytes.
pub(super) fn repeated(value: &ArrayRef, rows: usize) -> Result<ArrayRef> {
    Ok(take(value, &UInt32Array::from(vec![0; rows]), None)?)
}

/// An argument as one value, if it is the same for all rows.
pub(super) fn constant(argument: &ColumnarValue) -> Option<ColumnarValue> {
    let array = match argument {
        ColumnarValue::Scalar(_) => return Some(argument.clone()),
        ColumnarValue::Array(array) => array,
    };
    let texts = array.as_string_view_opt()?;
    let views = texts.views();
    let first = *views.first()?;
    // A view begins with the length of its text.
    let is_large = first as u32 as usize > PLANNED_MAX_BYTES;
    let is_same = is_large && texts.null_count() == 0 && views.iter().all(|view| *view == first);
    is_same.then(|| ColumnarValue::Array(array.slice(0, 1)))
}

/// Puts large literals where they are shared.
#[derive(Debug)]
pub(crate) struct HideLarge;

impl AnalyzerRule for HideLarge {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| {
            // The rows of VALUES are made once.
            if matches!(node, LogicalPlan::Values(_)) {
                return Ok(Transformed::no(node));
            }
            let names = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                let hidden = expr.transform_down(|part| Ok(hide(part)))?;
                Ok(hidden.update_data(|expr| name.restore(expr)))
            })
        })
        .data()
    }

    fn name(&self) -> &str {
        "hide_large"
    }
}

fn hide(expr: Expr) -> Transformed<Expr> {
    let (value, metadata) = match expr {
        Expr::Literal(ref value, ref metadata) => (value, metadata),
        // The operators of a chain are told by a literal.
        Expr::ScalarFunction(ref function) if function.name() == CHAIN => {
            return Transformed::new(expr, false, TreeNodeRecursion::Jump);
        }
        Expr::AggregateFunction(mut collecting) if COLLECTING.contains(&collecting.func.name()) => {
            if let Some(value) = collecting.params.args.first_mut() {
                let looked_at = |bare: Expr| {
                    Expr::ScalarFunction(ScalarFunction::new_udf(CONSTANT.clone(), vec![bare]))
                };
                // With DISTINCT both must be the same expression.
                for order in &mut collecting.params.order_by {
                    if order.expr == *value {
                        order.expr = looked_at(value.clone());
                    }
                }
                let bare = std::mem::replace(value, Expr::Literal(ScalarValue::Null, None));
                *value = looked_at(bare);
            }
            return Transformed::new(
                Expr::AggregateFunction(collecting),
                true,
                TreeNodeRecursion::Jump,
            );
        }
        Expr::WindowFunction(mut window) if REPEATING.contains(&window.fun.name()) => {
            if let Some(value) = window.params.args.first_mut()
                && !matches!(value, Expr::Literal(..))
            {
                let bare = std::mem::replace(value, Expr::Literal(ScalarValue::Null, None));
                *value =
                    Expr::ScalarFunction(ScalarFunction::new_udf(REPEATED.clone(), vec![bare]));
            }
            let window = Expr::WindowFunction(window);
            return Transformed::new(window, true, TreeNodeRecursion::Continue);
        }
        _ => return Transformed::no(expr),
    };
    let is_large = match value {
        ScalarValue::Utf8(Some(text))
        | ScalarValue::LargeUtf8(Some(text))
        | ScalarValue::Utf8View(Some(text)) => text.len() > PLANNED_MAX_BYTES,
        _ => false,
    };
    if !is_large {
        return Transformed::no(expr);
    }
    let text = value.try_as_str().flatten().map(str::to_owned);
    let literal = Expr::Literal(ScalarValue::Utf8View(text), metadata.clone());
    let hidden = ScalarFunction::new_udf(CONSTANT.clone(), vec![literal]);
    // Its argument is a large literal again.
    Transformed::new(Expr::ScalarFunction(hidden), true, TreeNodeRecursion::Jump)
}
