//! The channels and patterns that a connection listens to.

use crate::shared::Client;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use thalweg_node::{Channels, Scope, Subscriber};

/// What one connection may listen to.
pub(super) const SUBSCRIPTIONS_MAX: usize = 100_000;

/// What a connection listens to; the node's channels hold the same, the other way round.
pub(super) struct Subscriptions {
    subscriber: Subscriber,
    names: BTreeSet<(Scope, Vec<u8>)>,
    /// How many of them are channels, patterns, and channels of SPUBLISH.
    counts: [usize; 3],
}

fn index(scope: Scope) -> usize {
    match scope {
        Scope::Channel => 0,
        Scope::Pattern => 1,
        Scope::Shard => 2,
    }
}

impl Subscriptions {
    pub(super) fn new(subscriber: Subscriber) -> Self {
        Self { subscriber, names: BTreeSet::new(), counts: [0; 3] }
    }

    #[inline]
    pub(super) fn any(&self) -> bool {
        !self.names.is_empty()
    }

    /// How many there are, as replies count them: channels and patterns together, those of SPUBLISH
    /// by themselves.
    pub(super) fn count(&self, scope: Scope) -> usize {
        let [channels, patterns, shards] = self.counts;
        if scope == Scope::Shard { shards } else { channels + patterns }
    }

    pub(super) fn has(&self, scope: Scope, name: &[u8]) -> bool {
        self.names.contains(&(scope, name.to_vec()))
    }

    pub(super) fn is_full(&self) -> bool {
        self.names.len() >= SUBSCRIPTIONS_MAX
    }

    /// The names in a scope.
    pub(super) fn names(&self, scope: Scope) -> Vec<Vec<u8>> {
        let names = self.names.iter().filter(|(of, _)| *of == scope);
        names.map(|(_, name)| name.clone()).collect()
    }

    pub(super) fn add(&mut self, channels: &Channels, scope: Scope, name: &[u8]) {
        if self.names.insert((scope, name.to_vec())) {
            self.counts[index(scope)] += 1;
            channels.subscribe(scope, name, self.subscriber);
        }
    }

    pub(super) fn remove(&mut self, channels: &Channels, scope: Scope, name: &[u8]) {
        if self.names.remove(&(scope, name.to_vec())) {
            self.counts[index(scope)] -= 1;
            channels.unsubscribe(scope, name, self.subscriber);
        }
    }

    pub(super) fn clear(&mut self, channels: &Channels) {
        for (scope, name) in std::mem::take(&mut self.names) {
            channels.unsubscribe(scope, &name, self.subscriber);
        }
        self.counts = [0; 3];
    }

    /// Shows others how many there are.
    pub(super) fn show(&self, client: &Client) {
        for (shown, count) in client.subscriptions.iter().zip(self.counts) {
            shown.store(count, Ordering::Relaxed);
        }
    }
}
