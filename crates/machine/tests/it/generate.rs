//! Random commands: every command of the machine, in the forms that the model knows, over few keys,
//! so that they meet often.

use crate::support::split;

/// Braces are filled in: `s`, `h`, `x` a key that mostly holds a string, hash, stream; `k` any key;
/// `v` a value; `f` a field; `n` a small number; `z` a number that may be negative; `d` a decimal;
/// `i` an ID; `g` a group; `c` a consumer; `t` a time to live in ms; `T` in seconds; `a` an
/// absolute time in ms; `A` in seconds.
const FORMS: &[&str] = &[
    "SET {s} {v}",
    "SET {s} {n}",
    "SET {s} {d}",
    "SET {k} {v}",
    "SET {s} {v} NX",
    "SET {s} {v} XX GET",
    "SET {k} {v} GET",
    "SET {s} {v} EX {T}",
    "SET {s} {v} NX PX {t}",
    "SET {s} {v} PXAT {a}",
    "SET {s} {n} KEEPTTL",
    "SETNX {k} {v}",
    "SETEX {s} {T} {n}",
    "PSETEX {k} {t} {v}",
    "MSET {s} {v} {k} {n}",
    "MSETNX {s} {v} {s} {n}",
    "MGET {s} {k} {s}",
    "GET {s}",
    "GET {k}",
    "GETDEL {s}",
    "GETSET {s} {v}",
    "GETEX {s}",
    "GETEX {s} EX {T}",
    "GETEX {s} PXAT {a}",
    "GETEX {k} PERSIST",
    "STRLEN {k}",
    "GETRANGE {s} {z} {z}",
    "SUBSTR {s} {z} {z}",
    "APPEND {s} {v}",
    "APPEND {s} {n}",
    "SETRANGE {s} {n} {v}",
    "INCR {s}",
    "DECR {s}",
    "INCRBY {s} {z}",
    "DECRBY {k} {z}",
    "INCRBYFLOAT {s} {d}",
    "DEL {k}",
    "DEL {s} {x} {k}",
    "UNLINK {k} {k}",
    "EXISTS {k} {k}",
    "TOUCH {k} {s}",
    "TYPE {k}",
    "OBJECT ENCODING {k}",
    "OBJECT FREQ {k}",
    "MEMORY USAGE {k}",
    "RENAME {s} {s}",
    "RENAME {k} {k}",
    "RENAMENX {k} {k}",
    "COPY {k} {k}",
    "COPY {x} {x} REPLACE",
    "COPY {h} {h} REPLACE",
    "EXPIRE {k} {T}",
    "EXPIRE {k} {z}",
    "PEXPIRE {k} {t} NX",
    "PEXPIRE {k} {t} GT",
    "EXPIREAT {s} {A} LT",
    "PEXPIREAT {h} {a} XX",
    "PERSIST {k}",
    "TTL {k}",
    "PTTL {k}",
    "EXPIRETIME {k}",
    "PEXPIRETIME {k}",
    "HSET {h} {f} {v}",
    "HSET {h} {f} {n} {f} {d}",
    "HSET {k} {f} {v}",
    "HMSET {h} {f} {n} {f} {v}",
    "HSETNX {h} {f} {v}",
    "HDEL {h} {f}",
    "HDEL {h} {f} {f} {f}",
    "HGET {h} {f}",
    "HMGET {h} {f} {f}",
    "HEXISTS {h} {f}",
    "HLEN {k}",
    "HSTRLEN {h} {f}",
    "HKEYS {h}",
    "HVALS {h}",
    "HGETALL {h}",
    "HGETALL {k}",
    "HSCAN {h} 0 COUNT 1000",
    "HRANDFIELD {h} 1000",
    "HINCRBY {h} {f} {z}",
    "HINCRBYFLOAT {h} {f} {d}",
    "XADD {x} * {f} {v}",
    "XADD {x} * {f} {v} {f} {n}",
    "XADD {x} {i} {f} {v}",
    "XADD {k} NOMKSTREAM * {f} {v}",
    "XADD {x} IDMP p {n} * {f} {v}",
    "XADD {x} MAXLEN {n} * {f} {n}",
    "XADD {x} MINID {i} * {f} {n}",
    "XCFGSET {x} IDMP-MAXSIZE 1000",
    "XDEL {x} {i} {i}",
    "XLEN {k}",
    "XRANGE {x} - + COUNT {n}",
    "XRANGE {x} {i} + COUNT 5",
    "XREVRANGE {x} + {i} COUNT {n}",
    "XSETID {x} {i}",
    "XTRIM {x} MAXLEN {n}",
    "XTRIM {x} MINID {i}",
    "XREAD COUNT 3 STREAMS {x} {x} {i} {i}",
    "XREAD COUNT 3 STREAMS {k} $",
    "XGROUP CREATE {x} {g} {i} MKSTREAM",
    "XGROUP CREATE {x} {g} $",
    "XGROUP CREATECONSUMER {x} {g} {c}",
    "XGROUP DELCONSUMER {x} {g} {c}",
    "XGROUP DESTROY {x} {g}",
    "XGROUP SETID {x} {g} {i}",
    "XREADGROUP GROUP {g} {c} COUNT 2 STREAMS {x} >",
    "XREADGROUP GROUP {g} {c} COUNT 2 STREAMS {x} >",
    "XREADGROUP GROUP {g} {c} COUNT 3 NOACK STREAMS {x} >",
    "XREADGROUP GROUP {g} {c} COUNT 3 STREAMS {x} {i}",
    "XACK {x} {g} {i} {i} {i}",
    "XPENDING {x} {g}",
    "XPENDING {x} {g} - + 5",
    "XPENDING {x} {g} - + 5 {c}",
    "XCLAIM {x} {g} {c} {t} {i} {i}",
    "XCLAIM {x} {g} {c} 0 {i} FORCE JUSTID",
    "XAUTOCLAIM {x} {g} {c} {t} {i} COUNT {n}",
    "XAUTOCLAIM {x} {g} {c} 0 0 COUNT 2 JUSTID",
    "XINFO CONSUMERS {x} {g}",
];

/// Seldom, for they leave nothing.
const RARE_FORMS: &[&str] = &["FLUSHALL", "FLUSHDB"];

/// A seeded source of commands.
pub(crate) struct Generator {
    random: u64,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 }
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % limit
    }

    pub(crate) fn next(&mut self, now_ms: u64) -> Vec<Vec<u8>> {
        let forms = if self.below(300) == 0 { RARE_FORMS } else { FORMS };
        let form = forms[self.below(forms.len() as u64) as usize];
        let mut line = String::new();
        let mut rest = form;
        while let Some((before, after)) = rest.split_once('{') {
            line.push_str(before);
            line.push_str(&self.word(&after[..1], now_ms));
            rest = &after[2..];
        }
        line.push_str(rest);
        split(&line)
    }

    fn word(&mut self, what: &str, now_ms: u64) -> String {
        let n = self.below(12);
        let ttl_ms = 1 + self.below(20_000);
        // Some already past.
        let at_ms = now_ms + ttl_ms - 2_000;
        match what {
            "s" => format!("s{}", n % 4),
            "h" => format!("h{}", n % 3),
            "x" => format!("x{}", n % 3),
            "k" => format!("{}{}", ["s", "h", "x"][n as usize % 3], self.below(3)),
            "v" if n == 0 => "\"\"".into(),
            "v" => format!("v{}", "w".repeat(self.below(70) as usize)),
            "f" => format!("f{}", n % 5),
            "n" => format!("{}", 1 + n),
            "z" => format!("{}", n as i64 - 6),
            "d" => format!("{}.{}", n as i64 - 6, ["5", "25", "125", "0625"][n as usize % 4]),
            "i" if n < 3 => format!("{}", n),
            "i" => format!("{}-{}", now_ms - self.below(3_000), n % 3),
            "g" => format!("g{}", n % 2),
            "c" => format!("c{}", n % 3),
            "t" => format!("{ttl_ms}"),
            "T" => format!("{}", 1 + ttl_ms / 1_000),
            "a" => format!("{at_ms}"),
            "A" => format!("{}", at_ms / 1_000),
            _ => panic!("{what} is no word"),
        }
    }
}

#[test]
fn every_command_of_the_machine_is_among_them() {
    let mut missing: Vec<&str> = thalweg_machine::COMMANDS
        .iter()
        .filter(|command| matches!(command.run, thalweg_machine::Run::Machine(_)))
        .map(|command| command.name)
        .collect();
    let forms = || FORMS.iter().chain(RARE_FORMS);
    missing.retain(|name| !forms().any(|form| form.split(' ').next() == Some(*name)));
    assert!(missing.is_empty(), "no form of {missing:?}");
}
