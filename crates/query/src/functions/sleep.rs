//! `pg_sleep`, which waits without holding a thread, so that it can be cancelled.

use async_trait::async_trait;
use datafusion::arrow::array::{Array, AsArray, StringViewArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::common::Result;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;
use std::time::Duration;

/// A year: longer is for ever.
const LONGEST_S: f64 = 31_536_000.0;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Sleep {
    signature: Signature,
}

pub(super) fn pg_sleep() -> ScalarUDF {
    let signature = Signature::any(1, Volatility::Volatile);
    AsyncScalarUDF::new(Arc::new(Sleep { signature })).into_scalar_udf()
}

impl ScalarUDFImpl for Sleep {
    fn name(&self) -> &str {
        "pg_sleep"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _kinds: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let message = "pg_sleep is not possible here";
        Err(crate::error::SqlError::unsupported(message).into())
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Sleep {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        if let Some(seconds) = args.args.first() {
            let seconds = cast(&seconds.to_array(rows)?, &DataType::Float64)?;
            for seconds in seconds.as_primitive::<Float64Type>().iter().flatten() {
                let seconds = if seconds.is_nan() { 0.0 } else { seconds.clamp(0.0, LONGEST_S) };
                tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            }
        }
        let nothing = StringViewArray::from_iter_values(std::iter::repeat_n("", rows));
        Ok(ColumnarValue::Array(Arc::new(nothing) as Arc<dyn Array>))
    }
}
