//! Groups over a join, part by part.

use super::*;
use datafusion::physical_expr::PhysicalExpr;

/// What partial groups are grouped by.
struct Keys {
    /// The keys beside the window, and their columns.
    keys: Vec<Arc<dyn PhysicalExpr>>,
    fields: Vec<Field>,
    /// For each column of the stream that is looked at, where it comes from.
    layout: Vec<KeyColumn>,
}

/// Compiles the groups of a query with joins.
pub(crate) fn compile_groups(
    aggregate: &Aggregate,
    stream: &LogicalPlan,
    (source, window, tags): Below,
    steps: Vec<Step>,
    plan: LogicalPlan,
) -> std::result::Result<Compiled, SqlError> {
    if matches!(window, Some(WindowKind::Session { .. })) {
        return refuse("a join above SESSION windows").map_err(|error| {
            error.hint("make a view of the sessions, and join that when you read it")
        });
    }
    let input = aggregate.input.as_ref();
    let schema = stream.schema();
    let (columns, aggregates, mixed) = cut(aggregate, stream)?;
    for expr in &aggregates {
        bounds_untouched(expr, schema, window, &tags)?;
    }
    refuse_carried_names(input)?;
    let Keys { keys, fields, layout } = keys_of(&columns, stream, &tags)?;
    let window = window_of(window, &layout)?;
    let (tables, views) = beside(input, &source)?;
    let lookup = Lookup {
        input: input.clone(),
        stream: stream.clone(),
        columns,
        groups: aggregate.group_expr.clone(),
        mixed,
        key_schema: key_schema(group_fields(aggregate)),
        tables,
        views,
    };
    Ok(Compiled {
        source,
        steps,
        window,
        keys,
        key_schema: key_schema(fields),
        layout,
        aggregates: compile_aggregates(&aggregates, schema)?,
        group_schema: loose(&aggregate.schema),
        lookup: Some(lookup),
        plan,
    })
}

/// Cuts the query into the columns of the stream that it looks at, aggregates over the stream's
/// rows, and what is done when the view is read.
fn cut(
    aggregate: &Aggregate,
    stream: &LogicalPlan,
) -> std::result::Result<(Vec<usize>, Vec<Expr>, Mixed), SqlError> {
    let input = aggregate.input.as_ref();
    let mut used = BTreeSet::new();
    uses(input, stream, &mut used)?;
    for expr in &aggregate.group_expr {
        if matches!(expr, Expr::GroupingSet(_)) {
            return refuse("GROUPING SETS, ROLLUP and CUBE");
        }
        add_columns(expr, input, stream, &mut used)?;
    }
    let mut cutter = Cutter::new(input, stream, &mut used);
    for expr in &aggregate.aggr_expr {
        cutter.cut(expr)?;
    }
    let (aggregates, mixed) = cutter.finish()?;
    Ok((used.into_iter().collect(), aggregates, mixed))
}

/// The keys that columns of the stream are, but for the bounds of its window.
fn keys_of(
    columns: &[usize],
    stream: &LogicalPlan,
    tags: &[Option<KeyColumn>],
) -> std::result::Result<Keys, SqlError> {
    let schema = stream.schema();
    let (mut keys, mut fields, mut layout) = (Vec::new(), Vec::new(), Vec::new());
    for &index in columns {
        let (qualifier, field) = schema.qualified_field(index);
        if let Some(Some(tag)) = tags.get(index) {
            layout.push(*tag);
            continue;
        }
        layout.push(KeyColumn::Key(keys.len()));
        keys.push(physical(&Expr::Column((qualifier, field).into()), schema)?);
        fields.push(Field::new(field.name(), field.data_type().clone(), true));
    }
    Ok(Keys { keys, fields, layout })
}

/// The window that groups are kept by: none where nothing looks at its bounds.
fn window_of(
    window: Option<WindowKind>,
    layout: &[KeyColumn],
) -> std::result::Result<Option<WindowKind>, SqlError> {
    let by_window = layout.iter().any(|column| !matches!(column, KeyColumn::Key(_)));
    match window {
        Some(WindowKind::Tumble { .. }) if !by_window => Ok(None),
        Some(_) if !by_window => {
            refuse("records are in several windows, but window_start is not grouped by")
        }
        other => Ok(other),
    }
}

/// The grouping columns of the query.
fn group_fields(aggregate: &Aggregate) -> Vec<Field> {
    let fields = aggregate.schema.fields().iter().take(aggregate.group_expr.len());
    fields.map(|field| Field::new(field.name(), field.data_type().clone(), true)).collect()
}

/// Columns of these names are ours.
pub(super) fn refuse_carried_names(plan: &LogicalPlan) -> std::result::Result<(), SqlError> {
    let mut taken = None;
    plan.apply(|node| {
        taken = taken.take().or_else(|| node.schema().columns().into_iter().find(is_carried));
        Ok(TreeNodeRecursion::Continue)
    })?;
    match taken {
        Some(column) => refuse(format!("a join with a column named \"{}\"", column.name)),
        None => Ok(()),
    }
}

/// The tables and views that a plan reads beside its source.
pub(super) fn beside(
    input: &LogicalPlan,
    source: &Source,
) -> Result<(Vec<String>, Vec<Arc<View>>)> {
    let (mut tables, mut views) = (Vec::new(), Vec::new());
    input.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let view = super::super::table::view_of(scan);
            let name = match &view {
                Some(view) => view.name.clone(),
                None => scan.table_name.table().to_owned(),
            };
            if name != source.name() {
                tables.push(name);
                views.extend(view);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok((tables, views))
}

/// A projection that gives what it gave, and what is carried. What it made of other columns of the
/// records is made no more.
pub(super) fn carried_by(mut exprs: Vec<Expr>, input: &LogicalPlan) -> Result<LogicalPlan> {
    let schema = input.schema();
    exprs.retain(|expr| {
        let is_there = |column: &&Column| schema.maybe_index_of_column(column).is_some();
        !matches!(expr, Expr::Column(column) if is_carried(column))
            && expr.column_refs().iter().all(is_there)
    });
    exprs.extend(carried_columns(input));
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input.clone()))?))
}

pub(super) fn is_carried(column: &Column) -> bool {
    column.name == ROW || column.name.starts_with(LOOKED_UP)
}

/// The columns with the numbers of partial groups and with what was looked up, in this order.
pub(super) fn carried_columns(plan: &LogicalPlan) -> Vec<Expr> {
    let mut columns: Vec<Column> = plan.schema().columns().into_iter().filter(is_carried).collect();
    // The number may come from anywhere in the join.
    columns.sort_by_key(|column| column.name != ROW);
    columns.into_iter().map(Expr::Column).collect()
}
