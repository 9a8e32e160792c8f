//! The doors' addresses: whether a node could listen there.

use super::Finding;
use crate::settings::Settings;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

pub(super) fn look(settings: &Settings) -> Vec<Finding> {
    let doors = [
        ("Redis door", Some(settings.resp)),
        ("HTTP door", settings.http),
        ("Postgres door", settings.postgres),
        ("Redis door, TLS", settings.resp_tls),
        ("HTTP door, TLS", settings.http_tls),
    ];
    doors.into_iter().filter_map(|(what, address)| Some(door(what, address?))).collect()
}

fn door(what: &'static str, address: SocketAddr) -> Finding {
    match TcpListener::bind(address) {
        Ok(_closed_again) => Finding::good(what, format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Finding::bad(
            what,
            format!("{address} is in use"),
            "a node may be running already; choose another port with --resp, --http, --postgres, \
             --resp-tls, --http-tls",
        ),
        Err(error) => Finding::bad(
            what,
            format!("{address}: {error}"),
            "choose an address of this machine, and a port above 1023",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;

    #[test]
    fn a_port_that_somebody_has_is_bad() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("an address");
        assert_eq!(door("Redis door", address).grade, Grade::Bad);
        drop(taken);
        assert_eq!(door("Redis door", address).grade, Grade::Good);
    }
}
