//! Accepting for doors on tokio.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use thalweg_listen::{Acceptor, Access, AccessSettings, Admission};
use tokio::net::TcpStream;

/// Longer than anything here takes; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

fn access(connections_max: usize) -> Arc<Access> {
    let handshake_max = Duration::from_secs(1);
    Access::new(&AccessSettings { connections_max, password: None, handshake_max })
}

fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

#[tokio::test]
async fn two_addresses_share_one_count() {
    let access = access(2);
    let first = Acceptor::bind(any(), access.clone()).expect("bind");
    let second = Acceptor::bind(any(), access.clone()).expect("bind");
    let mut kept = Vec::new();
    for (acceptor, is_let_in) in
        [(&first, true), (&second, true), (&first, false), (&second, false)]
    {
        let client = TcpStream::connect(acceptor.address()).await.expect("connect");
        let arrival = acceptor.next().await.expect("open");
        assert_eq!(arrival.peer, client.local_addr().expect("an address"));
        assert!(arrival.socket.nodelay().expect("an option"));
        let admitted = matches!(arrival.admission, Admission::Admitted(_));
        assert_eq!(admitted, is_let_in);
        kept.push((client, arrival));
    }
    assert_eq!((access.limit.open(), access.limit.refused()), (2, 2));
    drop(kept);
    assert_eq!(access.limit.open(), 0);
}

#[tokio::test]
async fn nobody_is_accepted_once_the_doors_close() {
    let access = access(2);
    let acceptor = Arc::new(Acceptor::bind(any(), access.clone()).expect("bind"));
    let waiting = tokio::spawn({
        let acceptor = acceptor.clone();
        async move { acceptor.next().await.is_none() }
    });
    tokio::task::yield_now().await;
    access.drain.begin();
    let told = tokio::time::timeout(PATIENCE, waiting).await.expect("whoever waits is told");
    assert!(told.expect("no panic"));
    let _client = TcpStream::connect(acceptor.address()).await.expect("the system accepts");
    let next = tokio::time::timeout(PATIENCE, acceptor.next()).await;
    assert!(next.expect("whoever comes later is told").is_none());
    assert!(access.drain.is_begun());
}
