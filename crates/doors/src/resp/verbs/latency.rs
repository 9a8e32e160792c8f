//! LATENCY: how long requests take. Redis keeps a log of slow events; here it is one histogram.

use super::{Control, Verdict, help, is, unknown};
use thalweg_machine::Answer;

/// LATENCY DOCTOR|HISTORY|LATEST|RESET|HISTOGRAM ...
pub(super) fn latency(control: &mut Control<'_>, args: &[&[u8]]) -> Verdict {
    let what = args.get(1).copied().unwrap_or_default();
    match args.get(2..).unwrap_or_default() {
        [] if is(what, "LATEST") => control.answer().array(0),
        [_] if is(what, "HISTORY") => control.answer().array(0),
        _ if is(what, "RESET") => {
            control.shared.stats.reset_latencies();
            control.answer().integer(0);
        }
        [] if is(what, "DOCTOR") => {
            let text = doctor(control);
            control.answer().verbatim(&text);
        }
        _ if is(what, "HISTOGRAM") => histogram(control),
        [] if is(what, "HELP") => return help(control, "LATENCY"),
        _ => return Err(unknown("LATENCY", args)),
    }
    Ok(())
}

fn doctor(control: &Control<'_>) -> String {
    let latency = control.shared.stats.snapshot().latency_us;
    let at = |quantile| latency.value_at_quantile(quantile);
    format!(
        "From reading a request to sending its reply, over {} requests: median {} us, 99 % within \
         {} us, 99.9 % within \
         {} us, longest {} us. At durability '{}' this includes waiting for the log.",
        latency.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        latency.max(),
        control.shared.engine.settings().durability.as_str()
    )
}

/// All requests under one name, in Redis's shape: counts below powers of two of microseconds.
fn histogram(control: &mut Control<'_>) {
    let latency = control.shared.stats.snapshot().latency_us;
    let mut bounds = Vec::new();
    let mut bound = 1u64;
    while !latency.is_empty()
        && bounds.last().is_none_or(|&(_, count)| count < latency.len())
        && bound < 1 << 40
    {
        bounds.push((bound, latency.count_between(0, bound)));
        bound *= 2;
    }
    let mut answer = control.answer();
    answer.map(1);
    answer.bulk(b"all");
    answer.map(2);
    answer.bulk(b"calls");
    answer.integer(latency.len() as i64);
    answer.bulk(b"histogram_usec");
    answer.map(bounds.len());
    for (bound, count) in bounds {
        answer.integer(bound as i64);
        answer.integer(count as i64);
    }
}
