//! Subqueries that depend on the row outside in ways that DataFusion cannot turn into a join: by a
//! comparison other than `=`, in their columns, in a LIMIT, in a union. Each is run once for each
//! different row outside, as Postgres does.

mod correlated;
mod lateral;

use super::subqueries::has_subquery;
use crate::database::Inner;
use crate::error::{SqlError, SqlState};
use crate::functions::Budget;
use crate::tables::OpenTransaction;
use correlated::{
    contains_outside, is_equality, is_joinable, mentions_outside, outside_columns, retyped,
};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, make_array, new_null_array,
};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, Operator, ReturnFieldArgs,
    ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_plan::{SendableRecordBatchStream, execute_stream};
use futures_util::TryStreamExt;
use lateral::rows_of;
pub(super) use lateral::{apply_join, is_joined};
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};

/// Puts functions where such subqueries stand.
pub(crate) struct ApplyCorrelated(pub(crate) Weak<Inner>);

impl std::fmt::Debug for ApplyCorrelated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApplyCorrelated")
    }
}

impl AnalyzerRule for ApplyCorrelated {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| {
            // Elsewhere nothing can wait for a function; and only conditions become joins of
            // whether there are rows.
            let is_condition = match &node {
                LogicalPlan::Filter(_) => true,
                LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) => false,
                _ => return Ok(Transformed::no(node)),
            };
            let names = NamePreserver::new(&node);
            let schema = super::casts::schema_of(&node);
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                let applied =
                    expr.transform_up(|part| Ok(self.apply(part, &schema, is_condition)))?;
                Ok(applied.update_data(|expr| name.restore(expr)))
            })
        })
        .data()
    }

    fn name(&self) -> &str {
        "apply_correlated"
    }
}

impl ApplyCorrelated {
    /// The rule for one expression of a node over rows of a schema. Inner subqueries have been
    /// looked at before.
    fn apply(&self, expr: Expr, schema: &DFSchema, is_condition: bool) -> Transformed<Expr> {
        let mut value = None;
        let (subquery, wanted) = match &expr {
            Expr::ScalarSubquery(subquery) => {
                let value = subquery.subquery.schema().field(0).clone();
                (subquery, Wanted::Value(Arc::new(value.as_ref().clone().with_nullable(true))))
            }
            Expr::Exists(exists) => (&exists.subquery, Wanted::Existence(exists.negated)),
            Expr::InSubquery(among) => {
                value = Some(among.expr.as_ref().clone());
                (&among.subquery, Wanted::Membership(among.negated))
            }
            _ => return Transformed::no(expr),
        };
        let is_value = matches!(wanted, Wanted::Value(_));
        let outside = outside_columns(&subquery.subquery);
        // A column of the row outside, or of one further out.
        let is_near = |column: &Column| schema.has_column(column);
        let is_joined = match is_value || is_condition {
            true => {
                outside.is_empty()
                    || outside.iter().all(|(column, _)| is_near(column))
                        && is_joinable(&subquery.subquery, is_value)
            }
            false => false,
        };
        if is_joined {
            return Transformed::no(expr);
        }
        let args = outside.iter().map(|(column, reference)| match is_near(column) {
            true => Expr::Column(column.clone()),
            false => reference.clone(),
        });
        let args: Vec<Expr> = args.chain(value.clone()).collect();
        let columns: Vec<Column> = outside.into_iter().map(|(column, _)| column).collect();
        let function = Apply {
            inner: self.0.clone(),
            plan: subquery.subquery.clone(),
            columns,
            wanted,
            // Not to be computed twice, nor elsewhere than here.
            signature: match args.len() {
                0 => Signature::nullary(Volatility::Volatile),
                many => Signature::any(many, Volatility::Volatile),
            },
        };
        let function = AsyncScalarUDF::new(Arc::new(function)).into_scalar_udf();
        Transformed::yes(function.call(args))
    }
}

/// What is asked of a subquery.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Wanted {
    /// The value of its only row.
    Value(FieldRef),
    /// Whether it has rows, or, where this is true, whether it has none.
    Existence(bool),
    /// Whether a value is among its rows, or is not.
    Membership(bool),
    /// All its rows, as a list.
    Rows(FieldRef),
}

/// A subquery as a function of the columns outside.
struct Apply {
    inner: Weak<Inner>,
    plan: Arc<LogicalPlan>,
    columns: Vec<Column>,
    wanted: Wanted,
    signature: Signature,
}

impl std::fmt::Debug for Apply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("subquery")
    }
}

impl PartialEq for Apply {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.plan, &other.plan) && self.wanted == other.wanted
    }
}
impl Eq for Apply {}
impl Hash for Apply {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.plan).hash(state);
    }
}

impl ScalarUDFImpl for Apply {
    fn name(&self) -> &str {
        "subquery"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _kinds: &[DataType]) -> Result<DataType> {
        Ok(match &self.wanted {
            Wanted::Value(field) | Wanted::Rows(field) => field.data_type().clone(),
            Wanted::Existence(_) | Wanted::Membership(_) => DataType::Boolean,
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let kinds: Vec<DataType> =
            args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(match &self.wanted {
            Wanted::Value(field) | Wanted::Rows(field) => field.clone(),
            _ => Arc::new(datafusion::arrow::datatypes::Field::new(
                self.name(),
                self.return_type(&kinds)?,
                true,
            )),
        })
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let message = "a subquery is not possible here";
        Err(SqlError::unsupported(message).into())
    }
}

#[async_trait::async_trait]
impl AsyncScalarUDFImpl for Apply {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let arrays = args.args.iter().map(|arg| arg.to_array(rows));
        let arrays: Vec<ArrayRef> = arrays.collect::<Result<_>>()?;
        let mut known: HashMap<Vec<ScalarValue>, ScalarValue> = HashMap::new();
        let mut values = Vec::with_capacity(rows);
        let mut budget = Budget::default();
        for row in 0..rows {
            let outside = arrays.iter().map(|array| ScalarValue::try_from_array(array, row));
            let outside: Vec<ScalarValue> = outside.collect::<Result<_>>()?;
            let value = match known.get(&outside) {
                Some(value) => value.clone(),
                None => {
                    let value = self.run(&outside, &args.config_options, &mut budget).await?;
                    known.insert(outside, value.clone());
                    value
                }
            };
            values.push(value);
        }
        let array = match (values.is_empty(), &self.wanted) {
            (true, Wanted::Value(field) | Wanted::Rows(field)) => {
                new_null_array(field.data_type(), 0)
            }
            (true, _) => Arc::new(BooleanArray::from(Vec::<bool>::new())),
            (false, Wanted::Value(field) | Wanted::Rows(field)) => {
                retyped(ScalarValue::iter_to_array(values)?, field.data_type())?
            }
            (false, _) => ScalarValue::iter_to_array(values)?,
        };
        Ok(ColumnarValue::Array(array))
    }
}

impl Apply {
    /// Runs the subquery for one row outside.
    async fn run(
        &self,
        outside: &[ScalarValue],
        config: &ConfigOptions,
        budget: &mut Budget,
    ) -> Result<ScalarValue> {
        let inner = self.inner.upgrade().ok_or_else(crate::catalog::gone)?;
        let state = inner.context()?.state();
        let mut session = state.config().clone();
        // As the session outside has set them.
        *session.options_mut() = config.clone();
        let open = config.extensions.get::<OpenTransaction>().and_then(OpenTransaction::handle);
        if let Some(transaction) = open {
            session.set_extension(transaction);
        }
        let state = SessionStateBuilder::new_from_existing(state).with_config(session).build();
        let mut plan = self.with_values(outside)?;
        if let (Wanted::Membership(_), Some(value)) = (&self.wanted, outside.last()) {
            let equal = plan.schema().columns().into_iter().next().map(|column| {
                Expr::Column(column).eq(Expr::Literal(value.clone(), None)).alias("equal")
            });
            plan = LogicalPlanBuilder::from(plan).project(equal)?.build()?;
        }
        let plan = state.create_physical_plan(&plan).await?;
        let stream = execute_stream(plan, state.task_ctx())?;
        match &self.wanted {
            Wanted::Rows(list) => rows_of(stream, list.data_type(), budget).await,
            _ => self.answer(stream).await,
        }
    }

    /// What is asked of the subquery, from its rows.
    async fn answer(&self, mut stream: SendableRecordBatchStream) -> Result<ScalarValue> {
        let mut first: Option<RecordBatch> = None;
        let mut has_unknown = false;
        let mut found = 0;
        while let Some(batch) = stream.try_next().await? {
            if let Wanted::Membership(negated) = self.wanted {
                let equal = batch.column(0).as_boolean();
                if equal.true_count() > 0 {
                    return Ok(ScalarValue::Boolean(Some(!negated)));
                }
                has_unknown |= equal.null_count() > 0;
                continue;
            }
            found += batch.num_rows();
            if first.is_none() && batch.num_rows() > 0 {
                first = Some(batch);
            }
            if found > 1 || (found > 0 && matches!(self.wanted, Wanted::Existence(_))) {
                break;
            }
        }
        match &self.wanted {
            Wanted::Existence(negated) => Ok(ScalarValue::Boolean(Some((found > 0) != *negated))),
            Wanted::Rows(list) => ScalarValue::try_from(list.data_type()),
            Wanted::Membership(_) if has_unknown => Ok(ScalarValue::Boolean(None)),
            Wanted::Membership(negated) => Ok(ScalarValue::Boolean(Some(*negated))),
            Wanted::Value(_) if found > 1 => Err(SqlError::new(
                SqlState::CardinalityViolation,
                "more than one row returned by a subquery used as an expression",
            )
            .into()),
            Wanted::Value(field) => match first {
                Some(batch) => {
                    ScalarValue::try_from_array(batch.column(0), 0)?.cast_to(field.data_type())
                }
                None => ScalarValue::try_from(field.data_type()),
            },
        }
    }

    /// The subquery with values where the columns outside were.
    fn with_values(&self, outside: &[ScalarValue]) -> Result<LogicalPlan> {
        let plan = self.plan.as_ref().clone();
        let plan = plan.transform_up_with_subqueries(|node| {
            // What is above knows its columns by the names that they had.
            let names = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                let changed = expr.transform_up(|part| match part {
                    Expr::OuterReferenceColumn(field, column) => {
                        let place = self.columns.iter().position(|own| *own == column);
                        Ok(match place.and_then(|place| outside.get(place)) {
                            Some(value) => Transformed::yes(Expr::Literal(value.clone(), None)),
                            None => Transformed::no(Expr::OuterReferenceColumn(field, column)),
                        })
                    }
                    part => Ok(self.forget(part)),
                })?;
                Ok(changed.update_data(|expr| name.restore(expr)))
            })
        })?;
        // A relation that looked at the row outside is one like any other then.
        let plan = plan.data.transform_up(|node| match node {
            LogicalPlan::Subquery(relation) if !contains_outside(&relation.subquery) => {
                Ok(Transformed::yes(relation.subquery.as_ref().clone()))
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(plan.data)
    }

    /// An inner subquery that does not look at the columns outside any more.
    fn forget(&self, mut part: Expr) -> Transformed<Expr> {
        let looks_at = match &mut part {
            Expr::ScalarSubquery(subquery) => &mut subquery.outer_ref_columns,
            Expr::Exists(exists) => &mut exists.subquery.outer_ref_columns,
            Expr::InSubquery(among) => &mut among.subquery.outer_ref_columns,
            _ => return Transformed::no(part),
        };
        let before = looks_at.len();
        looks_at.retain(|reference| match reference {
            Expr::OuterReferenceColumn(_, column) => !self.columns.contains(column),
            _ => true,
        });
        let changed = looks_at.len() != before;
        Transformed::new_transformed(part, changed)
    }
}
