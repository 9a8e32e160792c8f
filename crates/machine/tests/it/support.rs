//! What the machine's tests share: a state with a clock that tests move, and replies as text.

use thalweg_machine::{
    CommandError, EffectBuffer, Effects, Execution, Lsn, Outcome, PolicyName, Reply, ReplyBuilder,
    State, StateLimits, States, Write, execute, find_command,
};

/// A state and what it takes to run commands on it.
pub(crate) struct Machine {
    pub(crate) state: State,
    pub(crate) now_ms: u64,
    pub(crate) random: u64,
    lsn: Lsn,
    /// The effects of the last command, as the log would have them.
    pub(crate) effects: Vec<u8>,
}

/// How a command ended.
#[derive(Debug, PartialEq)]
pub(crate) enum Ended {
    Reply(Reply),
    Needs(Vec<Vec<u8>>),
    Blocks(Vec<Vec<u8>>),
}

pub(crate) fn empty_state(hash_seed: u64, policy: PolicyName) -> State {
    State::new(hash_seed, policy, StateLimits::default())
}

impl Machine {
    pub(crate) fn new(hash_seed: u64, policy: PolicyName) -> Self {
        let state = empty_state(hash_seed, policy);
        Self { state, now_ms: 1_700_000_000_000, random: 7, lsn: 1, effects: Vec::new() }
    }

    /// Runs one command; its effects get an LSN of their own.
    pub(crate) fn run(&mut self, words: &[Vec<u8>]) -> Ended {
        let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let name = String::from_utf8_lossy(args[0]);
        let command = find_command(args[0]).unwrap_or_else(|| panic!("no command {name}"));
        if !command.accepts(args.len()) {
            return Ended::Reply(Reply::Error(CommandError::arity(command.name)));
        }
        let mut reply = ReplyBuilder::default();
        let (outcome, changed) =
            self.execute(&name, &mut reply, |execution| execute(command, &args, execution));
        match outcome {
            Outcome::Done => Ended::Reply(reply.finish()),
            Outcome::Needs(keys) => {
                assert!(!changed, "{name} changed something and needs keys");
                // It runs again, and then counts.
                self.lsn -= 1;
                Ended::Needs(keys)
            }
            Outcome::Blocks { args, .. } => Ended::Blocks(args),
        }
    }

    /// Makes writes; their effects get one LSN.
    pub(crate) fn write_all(&mut self, writes: &[Write<'_>]) -> Result<(), CommandError> {
        let mut nobody = ReplyBuilder::default();
        self.execute("writes", &mut nobody, |execution| execution.write_all(writes)).0
    }

    /// Does something under an LSN of its own; gives its outcome, and whether it changed anything.
    fn execute<T>(
        &mut self,
        name: &str,
        reply: &mut ReplyBuilder,
        work: impl FnOnce(&mut Execution<'_>) -> T,
    ) -> (T, bool) {
        self.lsn += 1;
        let mut effects = EffectBuffer::default();
        let mut execution = Execution {
            states: States::One(&mut self.state),
            effects: &mut effects,
            lsn: self.lsn,
            now_ms: self.now_ms,
            random: self.random,
            gate: 0,
            decides: true,
            changed: false,
            answer: reply,
        };
        let outcome = work(&mut execution);
        let (gate, changed) = (execution.gate, execution.changed);
        assert_eq!(changed, !effects.is_empty(), "{name}");
        assert!(!changed || gate == self.lsn, "{name}: a reply must wait for its own effects");
        self.effects = effects.bytes().to_vec();
        (outcome, changed)
    }

    /// Applies the last command's effects to another state, as a replay does.
    pub(crate) fn replay_last(&self, other: &mut State) {
        for effect in Effects::new(&self.effects) {
            let (lsn, effect) = effect.expect("what was encoded decodes");
            other.apply(lsn, &effect);
        }
    }
}

/// Splits a line into words; double quotes hold words together.
pub(crate) fn split(line: &str) -> Vec<Vec<u8>> {
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                any = true;
            }
            ' ' if !quoted => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word).into_bytes());
                }
                any = false;
            }
            c => word.push(c),
        }
    }
    if any || !word.is_empty() {
        words.push(word.into_bytes());
    }
    words
}

/// A reply as scripts have it: a line for each piece, elements indented under their collection.
pub(crate) fn render(reply: &Reply, depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth);
    match reply {
        Reply::Simple(text) => out.push_str(&format!("{pad}{text}\n")),
        Reply::Error(error) => out.push_str(&format!("{pad}! {error}\n")),
        Reply::Integer(value) => out.push_str(&format!("{pad}({value})\n")),
        Reply::Double(value) => out.push_str(&format!("{pad},{value}\n")),
        Reply::Bulk(bytes) => out.push_str(&format!("{pad}\"{}\"\n", bytes.escape_ascii())),
        Reply::Null => out.push_str(&format!("{pad}nil\n")),
        Reply::Array(elements) => {
            out.push_str(&format!("{pad}[{}]\n", elements.len()));
            elements.iter().for_each(|element| render(element, depth + 1, out));
        }
        Reply::Map(pairs) => {
            out.push_str(&format!("{pad}{{{}}}\n", pairs.len()));
            for (key, value) in pairs {
                render(key, depth + 1, out);
                render(value, depth + 1, out);
            }
        }
    }
}
