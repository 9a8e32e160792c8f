//! `coalesce`, where a text stands for an array: `coalesce(array_agg(x), '{}')`. The library's takes no text where the
//! other arguments are lists.

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::functions::core::coalesce as own;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use std::sync::Arc;

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
        self.0.invoke_with_args(args)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
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
