//! What all sessions plan and run with.

use super::*;
use crate::sql::once::{FindOnce, ONCE, ShareOnce};
use datafusion::execution::runtime_env::RuntimeEnv;

/// Functions of the library that Postgres does not have, and that make lists of any length.
pub(super) const NOT_OF_POSTGRES: [&str; 6] =
    ["array_repeat", "list_repeat", "array_resize", "list_resize", "range", "gen_series"];

/// What all sessions plan and run with.
impl Inner {
    /// Begins to watch what the process has in memory.
    pub(super) fn watch_process(self: &Arc<Self>) {
        let settings = &self.settings;
        let (itself, runtime) = (Arc::downgrade(self), self.runtime.clone());
        self.watch.start(Watched {
            memory_max_bytes: (settings.memory_max_bytes + settings.view_memory_max_bytes) as u64,
            // Whoever watches does not keep the data open.
            keys_bytes: Box::new(move || {
                let partitions = itself.upgrade().map(|inner| inner.engine.report().partitions);
                let partitions = partitions.unwrap_or_default();
                partitions.iter().map(|partition| partition.memory_bytes).sum()
            }),
            give_memory_back: settings.give_memory_back,
            wake: Box::new(move || drop(runtime.spawn(async {}))),
        });
    }
}

pub(super) fn make_context(inner: &Arc<Inner>) -> Result<SessionContext, SqlError> {
    let memory_max_bytes = inner.settings.memory_max_bytes;
    let state = SessionStateBuilder::new()
        .with_config(make_config(inner.settings.threads))
        .with_runtime_env(make_runtime(memory_max_bytes)?)
        .with_default_features()
        .with_analyzer_rules(analyzer_rules(Arc::downgrade(inner)))
        .with_physical_optimizer_rule(Arc::new(ShareOnce))
        .with_physical_optimizer_rule(Arc::new(ReadPlainCsv))
        .with_physical_optimizer_rule(Arc::new(CutLarge::new(memory_max_bytes)))
        .build();
    let mut context = SessionContext::new_with_state(state);
    context.register_catalog(DATABASE, Arc::new(MemoryCatalogProvider::new()));
    change_functions(&mut context)?;
    register_own(&context, inner)?;
    let operators = Operators::new(context.state().scalar_functions().values().cloned());
    // Ours decide first.
    let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(operators)];
    planners.extend(SessionStateDefaults::default_expr_planners());
    let mut state = SessionStateBuilder::new_from_existing(context.state())
        .with_expr_planners(planners)
        .with_type_planner(Arc::new(Types))
        .build();
    state.register_file_format(Arc::new(ExactJsonFactory::default()), true)?;
    let context = SessionContext::new_with_state(state);
    context.register_udtf(ONCE, Arc::new(FindOnce));
    context.register_relation_planner(Arc::new(WindowPlanner))?;
    crate::sql::window::register_functions(&context);
    Ok(context.enable_url_table())
}

fn make_config(threads: usize) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(DATABASE, "public")
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(false)
        // Twice as many as processors: when one partition has less to do than the others, there is
        // another one.
        .with_target_partitions(threads * 2);
    let options = config.options_mut();
    options.sql_parser.dialect = datafusion::config::Dialect::PostgreSQL;
    options.sql_parser.parse_float_as_decimal = true;
    // A folder of folders is one table.
    options.execution.listing_table_ignore_subdirectory = false;
    // A build side of this size is hashed once faster than both sides are dealt out.
    options.optimizer.hash_join_single_partition_threshold = 32 << 20;
    options.optimizer.hash_join_single_partition_threshold_rows = 2 << 20;
    config
}

/// Where queries get their memory, and files.
fn make_runtime(memory_max_bytes: usize) -> Result<Arc<RuntimeEnv>, SqlError> {
    let cache_bytes_max = memory_max_bytes / CACHE_SHARE;
    let pool = FairSpillPool::new(memory_max_bytes - cache_bytes_max);
    let pool = TrackConsumersPool::new(pool, NonZeroUsize::MIN.saturating_add(4));
    Ok(RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_object_store_registry(Arc::new(Stores::new(cache_bytes_max)?))
        .build_arc()?)
}

/// Puts functions in the place of the library's that are others in Postgres.
fn change_functions(context: &mut SessionContext) -> Result<(), SqlError> {
    datafusion_functions_json::register_all(context)?;
    for function in crate::sql::dialect::numeric_aggregates() {
        context.register_udaf(function);
    }
    for function in crate::sql::dialect::collecting_aggregates() {
        context.register_udaf(function);
    }
    context.register_udf(crate::sql::dialect::coalesce());
    for name in NOT_OF_POSTGRES {
        context.deregister_udf(name);
    }
    Ok(())
}

/// Adds what is declared here, Postgres' own catalog, and functions of ours.
fn register_own(context: &SessionContext, inner: &Arc<Inner>) -> Result<(), SqlError> {
    let provider = datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
    datafusion_pg_catalog::setup_pg_catalog(context, DATABASE, provider).map_err(|error| *error)?;
    let library = context.catalog(DATABASE).and_then(|catalog| catalog.schema("pg_catalog"));
    context.register_catalog(DATABASE, own_catalog(inner, &Overlay::new(), library)?);
    crate::functions::register(context, &inner.locks);
    crate::catalog::postgres::register(context, &Arc::downgrade(inner));
    for function in [crate::sql::dialect::chain(), crate::sql::dialect::all_of()] {
        context.register_udf(function.udf().as_ref().clone());
    }
    context.register_udaf(crate::sql::top_k::top_k());
    Ok(())
}

/// DataFusion's rules between ours: what windows become is still to be given its types; casts and
/// arithmetic are replaced when these are settled.
pub(super) fn analyzer_rules(inner: Weak<Inner>) -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> = vec![
        Arc::new(PullUpLateral(inner.clone())),
        Arc::new(HoistSubqueries),
        Arc::new(LowerWindows),
        Arc::new(ReadMicroseconds),
    ];
    rules.extend(Analyzer::new().rules);
    rules.push(Arc::new(PostgresCasts { relation_name: Some(relation_name(&inner)) }));
    rules.push(Arc::new(CheckedArithmetic));
    rules.push(Arc::new(HideGrouped));
    rules.push(Arc::new(HideLarge));
    rules.push(Arc::new(ApplyCorrelated(inner)));
    rules
}
