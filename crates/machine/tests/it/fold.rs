//! That the fold is one: what commands answer, what a replay of their effects gives, and what a
//! checkpoint gives back are the same, whatever was in memory meanwhile.

use crate::generate::Generator;
use crate::model::Model;
use crate::store::{Collected, Store};
use crate::support::{Ended, Machine, empty_state, split};
use thalweg_machine::{Effect, Effects, PolicyName, Reply, State};

const POLICIES: [PolicyName; 4] =
    [PolicyName::S3Fifo, PolicyName::Lru, PolicyName::Lfu, PolicyName::Fifo];

/// A reply with whatever is left open made one: the order of a hash's fields, figures about
/// memory, the words of an error.
fn comparable(name: &str, reply: Reply) -> Reply {
    let sorted = |mut replies: Vec<Reply>| {
        replies.sort_by_key(|reply| format!("{reply:?}"));
        Reply::Array(replies)
    };
    match (name, reply) {
        (_, Reply::Error(error)) => Reply::Simple(error.code.to_owned()),
        ("HGETALL", Reply::Map(mut pairs)) => {
            pairs.sort_by_key(|pair| format!("{pair:?}"));
            Reply::Map(pairs)
        }
        ("HKEYS" | "HVALS" | "HRANDFIELD", Reply::Array(found)) => sorted(found),
        ("HSCAN", Reply::Array(parts)) => {
            let pairs = parts.last().expect("two parts").elements().chunks(2);
            let pairs = pairs.map(|pair| Reply::Array(pair.to_vec())).collect();
            Reply::Array(vec![parts[0].clone(), sorted(pairs)])
        }
        ("OBJECT" | "MEMORY", Reply::Integer(_)) => Reply::Integer(1),
        (_, reply) => reply,
    }
}

/// Applies logged effects to a state, whatever it has of them already.
fn replay(log: &[Vec<u8>], state: &mut State) {
    for effect in log.iter().flat_map(|bytes| Effects::new(bytes)) {
        let (lsn, effect) = effect.expect("what was encoded decodes");
        state.apply(lsn, &effect);
    }
}

/// Effects in an order of their own: a copy lists the fields of a hash as they lie in memory.
fn decoded(effects: &[u8]) -> Vec<String> {
    let mut all: Vec<_> = Effects::new(effects).map(|effect| format!("{effect:?}")).collect();
    all.sort();
    all
}

/// Four ways to the same state.
struct Run {
    seed: u64,
    generator: Generator,
    model: Model,
    /// Everything in memory.
    leader: Machine,
    /// Applies the leader's effects.
    follower: State,
    /// Little in memory, the rest in a store.
    tight: Machine,
    store: Store,
    collected: Option<Collected>,
    begun_at: usize,
    /// The effects of all commands.
    log: Vec<Vec<u8>>,
    /// What the store held when so many commands had run, and no less.
    images: Vec<(usize, Store)>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let policy = POLICIES[seed as usize % POLICIES.len()];
        Self {
            seed,
            generator: Generator::new(seed),
            model: Model::default(),
            leader: Machine::new(seed, policy),
            follower: empty_state(seed + 1, policy),
            tight: Machine::new(seed + 2, policy),
            store: Store::default(),
            collected: None,
            begun_at: 0,
            log: Vec::new(),
            images: Vec::new(),
        }
    }

    fn step(&mut self) {
        let now_ms =
            self.leader.now_ms + [0, 0, 1, 40, 700, 2_500][self.generator.below(6) as usize];
        (self.leader.now_ms, self.tight.now_ms, self.model.now_ms) = (now_ms, now_ms, now_ms);
        let words = self.generator.next(now_ms);
        let Some(wanted) = self.model.run(&words) else { return };
        let texts: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
        let about = format!("seed {}, step {}: {}", self.seed, self.log.len(), texts.join(" "));
        let name = texts[0].as_ref();

        let wanted = comparable(name, wanted);
        let Ended::Reply(reply) = self.leader.run(&words) else { panic!("{about}: no reply") };
        assert_eq!(comparable(name, reply), wanted, "{about}: everything in memory");
        self.leader.replay_last(&mut self.follower);
        assert_eq!(self.leader.state.digest(), self.follower.digest(), "{about}: the replay");
        self.log.push(self.leader.effects.clone());
        if self.generator.below(10) == 0 {
            let from = self.log.len().saturating_sub(2 + self.generator.below(25) as usize);
            replay(&self.log[from..], &mut self.follower);
            let digests = (self.leader.state.digest(), self.follower.digest());
            assert_eq!(digests.0, digests.1, "{about}: replayed again from {from}");
        }

        let reply = self.run_tight(&words);
        assert_eq!(comparable(name, reply), wanted, "{about}: with little in memory");
        let effects = (decoded(&self.tight.effects), decoded(&self.leader.effects));
        assert_eq!(effects.0, effects.1, "{about}: other effects");
        let counts = (self.tight.state.key_count(), self.leader.state.key_count());
        assert_eq!(counts.0, counts.1, "{about}: the number of keys");
        self.move_keys();
    }

    /// Runs a command where keys may have to be fetched first.
    fn run_tight(&mut self, words: &[Vec<u8>]) -> Reply {
        loop {
            match self.tight.run(words) {
                Ended::Reply(reply) => return reply,
                Ended::Needs(keys) => keys.iter().for_each(|key| self.fetch(key)),
                Ended::Blocks(_) => panic!("nothing here blocks"),
            }
        }
    }

    fn fetch(&mut self, key: &[u8]) {
        self.tight.state.install(key, self.store.load(key)).expect("what was stored is read");
        assert!(!self.tight.state.is_cold(key));
    }

    /// Checkpoints begin, and end some commands later or fail; keys leave memory, and sometimes all
    /// come back.
    fn move_keys(&mut self) {
        let chance = self.generator.below(40);
        match (self.collected.take(), chance) {
            (None, 0..=9) => {
                self.begun_at = self.log.len();
                self.collected = Some(Collected::begin(&mut self.tight.state));
            }
            (Some(collected), 0..=1) => {
                collected.fail(&mut self.tight.state, &mut self.store, chance == 0);
            }
            (Some(collected), 2..=11) => {
                let mut since = self.log[self.begun_at..].iter();
                let is_cleared = since.any(|bytes| {
                    Effects::new(bytes).any(|effect| matches!(effect, Ok((_, Effect::Clear))))
                });
                let about = format!("seed {}, step {}", self.seed, self.log.len());
                collected.end(&mut self.tight.state, &mut self.store, is_cleared, &about);
                self.images.push((self.begun_at, self.store.clone()));
            }
            (collected, _) => self.collected = collected,
        }
        if self.generator.below(4) == 0 {
            let budget_bytes = self.generator.below(2_000) as usize;
            self.tight.state.evict(budget_bytes, 20);
        }
        if self.generator.below(50) == 0 {
            self.fetch_all();
        }
    }

    /// With all keys in memory again, the state is the one that never left.
    fn fetch_all(&mut self) {
        for key in self.store.keys() {
            self.fetch(&key);
        }
        let digests = (self.tight.state.digest(), self.leader.state.digest());
        assert_eq!(digests.0, digests.1, "seed {}, step {}", self.seed, self.log.len());
    }

    /// A checkpoint and the log behind it give the leader's state, and so does a log that begins
    /// before the checkpoint.
    fn recover(&mut self) {
        let digest = self.leader.state.digest();
        for (begun_at, store) in &self.images {
            let from = begun_at - self.generator.below(30).min(*begun_at as u64) as usize;
            for from in [*begun_at, from] {
                let mut state = empty_state(self.seed + 3, PolicyName::default());
                state.set_stored_count(store.len());
                for key in store.keys() {
                    state.install(&key, store.load(&key)).expect("what was stored is read");
                }
                replay(&self.log[from..], &mut state);
                let about = format!("seed {}, {begun_at} from {from}", self.seed);
                assert_eq!(state.digest(), digest, "{about}");
            }
        }
    }

    /// What an empty state still counts would be bytes of values that are gone: that is asserted
    /// where it is cleared.
    fn clear(&mut self) {
        let words = [b"FLUSHALL".to_vec()];
        assert_eq!(self.leader.run(&words), Ended::Reply(Reply::Simple("OK".into())));
        self.run_tight(&words);
        assert_eq!((self.leader.state.key_count(), self.tight.state.key_count()), (0, 0));
        self.leader.replay_last(&mut self.follower);
    }
}

/// What random runs found, and what is near it: commands after which every part of the log may be
/// replayed once more.
#[test]
fn any_part_of_the_log_can_be_replayed_over_all_of_it() {
    for lines in [
        &["XADD x 5-0 f v", "XTRIM x MINID 9-0", "XADD x 6-0 f v", "XADD x 7-0 f v"][..],
        &["XADD x 5-0 f v", "XADD x MINID 9-0 6-0 f v", "XADD x 7-0 f v"],
        &["XADD x 5-0 f v", "XTRIM x MAXLEN 0", "XADD x 6-0 f v"],
        &["XADD x 5-0 f v", "XDEL x 5-0", "XSETID x 8-0", "XADD x 9-0 f v", "XTRIM x MAXLEN 0"],
        &["XADD x 5-0 f v", "DEL x", "XADD x 3-0 f v", "RENAME x y", "XADD x 1-0 f v"],
        &[
            "XADD x 1-0 f v",
            "XGROUP CREATE x g 0",
            "XREADGROUP GROUP g c COUNT 1 STREAMS x >",
            "XACK x g 1-0",
            "XGROUP DESTROY x g",
            "XGROUP CREATE x g $",
        ],
        &["HSET h f v", "HSET h g w", "HDEL h f", "DEL h", "HSET h f v", "SET h s", "APPEND h t"],
        &["APPEND s abc", "APPEND s def", "SET s x", "SETRANGE s 5 y", "EXPIRE s 10", "SET s z"],
    ] {
        let mut machine = Machine::new(1, PolicyName::default());
        let mut log = Vec::new();
        for line in lines {
            machine.run(&split(line));
            log.push(machine.effects.clone());
        }
        for from in 0..lines.len() {
            let mut state = empty_state(2, PolicyName::default());
            replay(&log, &mut state);
            replay(&log[from..], &mut state);
            assert_eq!(state.digest(), machine.state.digest(), "{lines:?} from {from}");
        }
    }
}

#[test]
fn model_replay_checkpoint_and_eviction_agree() {
    let first: u64 = std::env::var("THALWEG_SEED").map_or(0, |seed| seed.parse().expect("a seed"));
    let seeds: u64 =
        std::env::var("THALWEG_SEEDS").map_or(100, |most| most.parse().expect("seeds"));
    let (mut images, mut evicted) = (0, 0);
    for seed in first..first + seeds {
        let mut run = Run::new(seed);
        for _ in 0..1_000 {
            run.step();
        }
        run.fetch_all();
        run.recover();
        run.clear();
        images += run.images.len();
        evicted += run.tight.state.evicted_count();
    }
    println!("{images} checkpoints, {evicted} keys left memory");
    assert!(images as u64 > seeds * 5 && evicted > seeds * 10, "{images} {evicted}");
}
