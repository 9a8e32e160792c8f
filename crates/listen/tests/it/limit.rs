//! One count for all, however many ask at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use thalweg_listen::{Access, AccessSettings, Admitted, Limit};

#[test]
fn there_are_never_more_than_there_may_be() {
    let limit = Arc::new(Limit::new(10));
    let most = AtomicUsize::new(0);
    let inside = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..20_000 {
                    let held: Vec<Admitted> =
                        (0..round % 7).filter_map(|_| limit.admit()).collect();
                    let now = inside.fetch_add(held.len(), Ordering::SeqCst) + held.len();
                    most.fetch_max(now, Ordering::SeqCst);
                    inside.fetch_sub(held.len(), Ordering::SeqCst);
                }
            });
        }
    });
    assert!(most.load(Ordering::SeqCst) <= 10);
    assert_eq!(limit.open(), 0, "all are gone");
    let asked: u64 = 4 * (0..20_000u64).map(|round| round % 7).sum::<u64>();
    assert_eq!(limit.accepted() + limit.refused(), asked);
}

#[test]
fn another_limit_counts_at_once_and_sends_nobody_away() {
    let limit = Arc::new(Limit::new(2));
    let (first, second) = (limit.admit(), limit.admit());
    assert!(first.is_some() && second.is_some() && limit.admit().is_none());
    limit.set_most(3);
    let third = limit.admit();
    assert!(third.is_some());
    limit.set_most(1);
    assert!(limit.admit().is_none());
    assert_eq!(limit.open(), 3);
    drop((first, second));
    assert!(limit.admit().is_none(), "one is left, and that is the most");
    drop(third);
    assert!(limit.admit().is_some());
    assert_eq!((limit.accepted(), limit.refused()), (4, 3));
}

#[test]
fn only_some_of_the_refused_are_told() {
    let limit = Arc::new(Limit::new(0));
    let told: Vec<_> = (0..1_000).map_while(|_| limit.tell()).collect();
    assert_eq!(told.len(), 64);
    drop(told);
    assert!(limit.tell().is_some());
}

#[tokio::test]
async fn the_last_connection_ends_the_wait() {
    let access = Access::new(&AccessSettings {
        connections_max: 10,
        password: None,
        handshake_max: Duration::from_secs(1),
    });
    let long = Duration::from_secs(60);
    assert!(access.emptied(long).await, "nobody is there");
    let (first, second) = (access.limit.admit(), access.limit.admit());
    assert!(!access.emptied(Duration::ZERO).await);
    let waiting = tokio::spawn({
        let access = access.clone();
        async move { access.emptied(long).await }
    });
    tokio::task::yield_now().await;
    drop(first);
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(second);
    assert!(waiting.await.expect("no panic"));
}
