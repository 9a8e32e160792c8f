//! Channels: a published message reaches those who listen at that moment. Nothing is kept, nothing
//! is logged.
//!
//! A server of listeners, such as an event loop, has a mailbox, and each of its listeners is a
//! number in it. A message is put into each mailbox once, with the numbers of those who get it.

use foldhash::HashMap;
use parking_lot::RwLock;
use std::collections::BTreeSet;
use std::sync::Arc;
use thalweg_machine::glob_matches;

/// What a listener named when it subscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// A channel.
    Channel,
    /// All channels whose names match a pattern.
    Pattern,
    /// A channel of the other name space, that of SPUBLISH.
    Shard,
}

/// A message on its way.
#[derive(Debug)]
pub struct Message {
    /// How those it is for have subscribed.
    pub scope: Scope,
    /// What they named: the channel, or a pattern.
    pub name: Vec<u8>,
    /// Where it was published.
    pub channel: Vec<u8>,
    /// What was published.
    pub payload: Vec<u8>,
}

/// A mailbox and a number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subscriber {
    /// The mailbox, as [`Channels::add_mailbox`] named it.
    pub mailbox: u32,
    /// The number.
    pub token: u64,
}

type Deliver = Arc<dyn Fn(Vec<u64>, Arc<Message>) + Send + Sync>;
/// By name, who listens; sorted, so that those of one mailbox stand together.
type Listeners = HashMap<Vec<u8>, BTreeSet<Subscriber>>;

#[derive(Default)]
struct Directory {
    mailboxes: Vec<Deliver>,
    channels: Listeners,
    patterns: Listeners,
    shards: Listeners,
}

impl Directory {
    fn of(&self, scope: Scope) -> &Listeners {
        match scope {
            Scope::Channel => &self.channels,
            Scope::Pattern => &self.patterns,
            Scope::Shard => &self.shards,
        }
    }

    fn of_mut(&mut self, scope: Scope) -> &mut Listeners {
        match scope {
            Scope::Channel => &mut self.channels,
            Scope::Pattern => &mut self.patterns,
            Scope::Shard => &mut self.shards,
        }
    }

    /// Puts a message into the mailboxes of those who listen to a name; says how many they are.
    fn deliver(&self, message: Message, listeners: &BTreeSet<Subscriber>) -> usize {
        let message = Arc::new(message);
        let mut rest = listeners.iter().peekable();
        while let Some(first) = rest.next() {
            let mut tokens = vec![first.token];
            while let Some(other) = rest.next_if(|other| other.mailbox == first.mailbox) {
                tokens.push(other.token);
            }
            if let Some(deliver) = self.mailboxes.get(first.mailbox as usize) {
                deliver(tokens, message.clone());
            }
        }
        listeners.len()
    }
}

/// Who listens to what.
#[derive(Default)]
pub struct Channels {
    directory: RwLock<Directory>,
}

impl Channels {
    /// Adds a mailbox. `deliver` takes a message and the numbers it is for, from any thread; it
    /// must not block, nor come back here.
    pub fn add_mailbox(
        &self,
        deliver: impl Fn(Vec<u64>, Arc<Message>) + Send + Sync + 'static,
    ) -> u32 {
        let mut directory = self.directory.write();
        directory.mailboxes.push(Arc::new(deliver));
        directory.mailboxes.len() as u32 - 1
    }

    /// Somebody listens from now on.
    pub fn subscribe(&self, scope: Scope, name: &[u8], subscriber: Subscriber) {
        let mut directory = self.directory.write();
        directory.of_mut(scope).entry(name.to_vec()).or_default().insert(subscriber);
    }

    /// Somebody listens no longer.
    pub fn unsubscribe(&self, scope: Scope, name: &[u8], subscriber: Subscriber) {
        let mut directory = self.directory.write();
        let listeners = directory.of_mut(scope);
        if let Some(subscribers) = listeners.get_mut(name) {
            subscribers.remove(&subscriber);
            if subscribers.is_empty() {
                listeners.remove(name);
            }
        }
    }

    /// Publishes on a channel, or on one of the other name space; says how many it is delivered to.
    pub fn publish(&self, scope: Scope, channel: &[u8], payload: &[u8]) -> usize {
        let directory = self.directory.read();
        let message = |scope, name: &[u8]| Message {
            scope,
            name: name.to_vec(),
            channel: channel.to_vec(),
            payload: payload.to_vec(),
        };
        let mut count = 0;
        if let Some(listeners) = directory.of(scope).get(channel) {
            count += directory.deliver(message(scope, channel), listeners);
        }
        if scope == Scope::Channel {
            for (pattern, listeners) in &directory.patterns {
                if glob_matches(pattern, channel) {
                    count += directory.deliver(message(Scope::Pattern, pattern), listeners);
                }
            }
        }
        count
    }

    /// How many listen to a name.
    pub fn listener_count(&self, scope: Scope, name: &[u8]) -> usize {
        self.directory.read().of(scope).get(name).map_or(0, BTreeSet::len)
    }

    /// The names that are listened to, sorted.
    pub fn names(&self, scope: Scope) -> Vec<Vec<u8>> {
        let mut names: Vec<Vec<u8>> = self.directory.read().of(scope).keys().cloned().collect();
        names.sort_unstable();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    /// Mailbox, numbers, and how they had subscribed.
    type Delivered = (u32, Vec<u64>, Scope);

    #[test]
    fn messages_reach_those_who_listen_once_a_mailbox() {
        let channels = Channels::default();
        let seen: Arc<Mutex<Vec<Delivered>>> = Arc::default();
        let mailboxes = [0, 1].map(|number| {
            let seen = seen.clone();
            channels.add_mailbox(move |tokens, message| {
                seen.lock().push((number, tokens, message.scope));
            })
        });
        for (mailbox, token) in [(0, 7), (1, 1), (0, 3)] {
            let subscriber = Subscriber { mailbox: mailboxes[mailbox], token };
            channels.subscribe(Scope::Channel, b"news", subscriber);
        }
        let listener = Subscriber { mailbox: 1, token: 9 };
        channels.subscribe(Scope::Pattern, b"n?ws", listener);
        channels.subscribe(Scope::Shard, b"news", listener);
        assert_eq!(channels.publish(Scope::Channel, b"news", b"x"), 4);
        let expected = [
            (0, vec![3, 7], Scope::Channel),
            (1, vec![1], Scope::Channel),
            (1, vec![9], Scope::Pattern),
        ];
        assert_eq!(std::mem::take(&mut *seen.lock()), expected);
        channels.unsubscribe(Scope::Pattern, b"n?ws", listener);
        assert_eq!(channels.publish(Scope::Channel, b"news!", b"x"), 0);
        assert_eq!(channels.publish(Scope::Shard, b"news", b"x"), 1);
        assert_eq!(channels.names(Scope::Pattern), Vec::<Vec<u8>>::new());
    }
}
