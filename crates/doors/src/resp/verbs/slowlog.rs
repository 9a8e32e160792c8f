//! SLOWLOG: commands that took long.

use super::{Control, Verdict, help, is, unknown};
use crate::resp::encode::RespWriter;
use thalweg_machine::{Answer, CommandError, parse_i64};

/// SLOWLOG GET [count] | LEN | RESET
pub(super) fn slowlog(control: &mut Control<'_>, args: &[&[u8]]) -> Verdict {
    let what = args.get(1).copied().unwrap_or_default();
    match args.get(2..).unwrap_or_default() {
        rest if is(what, "GET") && rest.len() <= 1 => {
            let count = match rest.first() {
                Some(count) => parse_i64(count).ok_or(CommandError::NOT_AN_INTEGER)?,
                None => 10,
            };
            if count < -1 {
                return Err(CommandError::new("count should be greater than or equal to -1"));
            }
            get(control, usize::try_from(count).unwrap_or(usize::MAX));
        }
        [] if is(what, "LEN") => {
            let length = control.shared.slow_log.lock().entries().len();
            control.answer().integer(length as i64);
        }
        [] if is(what, "RESET") => {
            control.shared.slow_log.lock().clear();
            control.answer().ok();
        }
        [] if is(what, "HELP") => return help(control, "SLOWLOG"),
        _ => return Err(unknown("SLOWLOG", args)),
    }
    Ok(())
}

fn get(control: &mut Control<'_>, count: usize) {
    let log = control.shared.slow_log.lock();
    let mut answer = RespWriter::new(control.out, control.peer.resp3);
    answer.array(log.entries().len().min(count));
    for entry in log.entries().take(count) {
        answer.array(6);
        answer.integer(entry.id as i64);
        answer.integer((entry.at_ms / 1_000) as i64);
        answer.integer(entry.took_us as i64);
        answer.array(entry.args.len());
        entry.args.iter().for_each(|arg| answer.bulk(arg));
        answer.bulk(entry.client_address.as_bytes());
        answer.bulk(&entry.client_name);
    }
}
