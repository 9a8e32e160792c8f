//! Who a client is, with a password and without one.

use std::time::Duration;
use thalweg_listen::{Access, AccessSettings, Identity, Rights};

#[test]
fn rights_are_sets() {
    let both = Rights::READ.and(Rights::WRITE);
    assert!(both.has(Rights::READ) && both.has(Rights::WRITE) && both.has(both));
    assert!(!both.has(Rights::ADMIN) && !Rights::READ.has(both));
    assert!(Rights::ALL.has(both.and(Rights::ADMIN)));
    assert!(Rights::NONE.has(Rights::NONE) && !Rights::NONE.has(Rights::READ));
}

#[test]
fn a_client_is_nobody_until_it_gives_the_password() {
    let settings = AccessSettings {
        connections_max: 1,
        password: Some("opensesame".to_owned()),
        handshake_max: Duration::from_secs(1),
    };
    let users = &Access::new(&settings).users;
    let nobody = users.unnamed();
    assert!(nobody.is_nobody() && nobody == Identity::nobody());
    assert!(!nobody.may(Rights::READ) && nobody.may(Rights::NONE));
    for (name, password) in [
        ("default", ""),
        ("default", "opensesam"),
        ("default", "opensesame "),
        ("default", "opensesamf"),
        ("default", "opensesameopensesame"),
        ("", "opensesame"),
        ("somebody", "opensesame"),
    ] {
        let identity = users.identify(name.as_bytes(), password.as_bytes());
        assert_eq!(identity, None, "{name} {password}");
    }
    let known = users.identify(b"default", b"opensesame").expect("the default user");
    assert_eq!(known.name(), "default");
    assert!(known.may(Rights::ALL) && !known.is_nobody());

    users.set_password(Some("another"));
    assert_eq!(users.identify(b"default", b"opensesame"), None);
    assert!(users.identify(b"default", b"another").is_some());
    users.set_password(None);
    assert!(users.unnamed().may(Rights::ALL), "everybody is the default user");
    assert_eq!(users.identify(b"default", b""), None, "there is nothing to be known");
}
