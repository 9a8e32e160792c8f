//! CLUSTER: slots and nodes. There is one node, and it has them all.

use super::{Control, Verdict, help, is, text, unknown};
use thalweg_base::slot::{SLOTS, slot_of};
use thalweg_machine::{Answer, CommandError, parse_i64};

/// CLUSTER INFO|KEYSLOT|MYID|NODES|SHARDS|SLOTS|COUNTKEYSINSLOT ...
pub(super) fn cluster(control: &mut Control<'_>, args: &[&[u8]]) -> Verdict {
    let what = args.get(1).copied().unwrap_or_default();
    let id = control.shared.run_id.clone();
    let address = *control.shared.resp_address.read();
    let (host, port) =
        address.map_or((String::new(), 0), |address| (address.ip().to_string(), address.port()));
    match args.get(2..).unwrap_or_default() {
        [key] if is(what, "KEYSLOT") => control.answer().integer(slot_of(key).into()),
        [] if is(what, "MYID") => control.answer().bulk(id.as_bytes()),
        [] if is(what, "INFO") => {
            let info = format!(
                "cluster_state:ok\r\ncluster_slots_assigned:{SLOTS}\r\n\
                 cluster_slots_ok:{SLOTS}\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:0\r\n\
                 cluster_known_nodes:1\r\ncluster_size:1\r\ncluster_current_epoch:1\r\n\
                 cluster_my_epoch:1\r\n"
            );
            control.answer().verbatim(&info);
        }
        [] if is(what, "NODES") => {
            let line =
                format!("{id} {host}:{port}@0 myself,master - 0 0 1 connected 0-{}\n", SLOTS - 1);
            control.answer().verbatim(&line);
        }
        [] if is(what, "SLOTS") => {
            let mut answer = control.answer();
            answer.array(1);
            answer.array(3);
            answer.integer(0);
            answer.integer(i64::from(SLOTS) - 1);
            answer.array(4);
            answer.bulk(host.as_bytes());
            answer.integer(port.into());
            answer.bulk(id.as_bytes());
            answer.array(0);
        }
        [] if is(what, "SHARDS") => shards(control, &host, port, &id),
        [slot] if is(what, "COUNTKEYSINSLOT") => {
            parse_i64(slot)
                .filter(|slot| (0..i64::from(SLOTS)).contains(slot))
                .ok_or(CommandError::new("Invalid slot"))?;
            return Err(CommandError::text(format!(
                "keys are counted by partition, not by slot; see INFO keyspace (slot {})",
                text(slot)
            )));
        }
        [] if is(what, "HELP") => return help(control, "CLUSTER"),
        _ => return Err(unknown("CLUSTER", args)),
    }
    Ok(())
}

fn shards(control: &mut Control<'_>, host: &str, port: u16, id: &str) {
    let mut answer = control.answer();
    answer.array(1);
    answer.map(2);
    answer.bulk(b"slots");
    answer.array(2);
    answer.integer(0);
    answer.integer(i64::from(SLOTS) - 1);
    answer.bulk(b"nodes");
    answer.array(1);
    answer.map(7);
    for (field, value) in
        [("id", id), ("ip", host), ("endpoint", host), ("role", "master"), ("health", "online")]
    {
        answer.bulk(field.as_bytes());
        answer.bulk(value.as_bytes());
    }
    answer.bulk(b"port");
    answer.integer(port.into());
    answer.bulk(b"replication-offset");
    answer.integer(0);
}
