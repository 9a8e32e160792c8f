//! `coalesce` of an array and a text that is written as one: `coalesce(array_agg(x), '{}')`.
//! DataFusion's takes no text beside lists.
//!
//! DataFusion's `coalesce` becomes a CASE that names each argument twice. That is twice the work
//! for each level of nested calls, and a volatile argument has another value the second time. So
//! ours becomes a CASE only where that is cheap and means the same; a CASE does not compute
//! arguments that it does not need.

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::compute::is_not_null;
use datafusion::arrow::compute::kernels::zip::zip;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, plan_datafusion_err};
use datafusion::functions::core::coalesce as own;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use std::sync::Arc;

/// Parts of an argument that may be computed twice.
const PARTS_MAX: usize = 64;

fn is_large(arg: &Expr) -> bool {
    let mut parts = 0;
    let walked = arg.apply(|_part| {
        parts += 1;
        Ok(if parts > PARTS_MAX { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.is_err() || parts > PARTS_MAX
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Coalesce(Arc<ScalarUDF>);

/// The function to register.
pub(crate) fn coalesce() -> ScalarUDF {
    ScalarUDF::from(Coalesce(own()))
}

impl ScalarUDFImpl for Coalesce {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, kinds: &[DataType]) -> Result<DataType> {
        self.0.return_type(kinds)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.0.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut arrays = args.args.iter().rev().map(|arg| arg.to_array(args.number_rows));
        let last = arrays.next().ok_or_else(|| plan_datafusion_err!("coalesce of nothing"))??;
        let first_of = |later: ArrayRef, array: Result<ArrayRef>| -> Result<ArrayRef> {
            let array = array?;
            Ok(zip(&is_not_null(&array)?, &array, &later)?)
        };
        Ok(ColumnarValue::Array(arrays.try_fold(last, first_of)?))
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let twice = args.split_last().map_or(&[][..], |(_, first)| first);
        if args.len() > 1 && twice.iter().any(|arg| arg.is_volatile() || is_large(arg)) {
            return Ok(ExprSimplifyResult::Original(args));
        }
        self.0.simplify(args, info)
    }

    fn short_circuits(&self) -> bool {
        self.0.short_circuits()
    }

    fn conditional_arguments<'a>(
        &self,
        args: &'a [Expr],
    ) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.0.conditional_arguments(args)
    }

    fn coerce_types(&self, kinds: &[DataType]) -> Result<Vec<DataType>> {
        let mut lists = kinds.iter().filter(|kind| matches!(kind, DataType::List(_)));
        let is_text = |kind: &DataType| kind.is_string() || kind.is_null();
        let others = kinds.iter().filter(|kind| !matches!(kind, DataType::List(_)));
        match lists.next() {
            Some(list)
                if others.clone().any(DataType::is_string) && others.clone().all(is_text) =>
            {
                Ok(vec![list.clone(); kinds.len()])
            }
            _ => self.0.coerce_types(kinds),
        }
    }
}
