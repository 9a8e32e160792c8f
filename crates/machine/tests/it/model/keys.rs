//! Keys of any kind.

use super::*;

impl Model {
    pub(super) fn keys_command(&mut self, name: &str, args: &[&[u8]]) -> Option<Option<Answer>> {
        let count = |model: &Self| args.iter().filter(|key| model.keys.contains_key(**key)).count();
        Some(Some(match name {
            "DEL" | "UNLINK" => {
                integer(args.iter().filter(|key| self.keys.remove(**key).is_some()).count())
            }
            "EXISTS" | "TOUCH" => integer(count(self)),
            "TYPE" => Ok(Reply::Simple(self.type_name(args[0]).into())),
            "OBJECT" | "MEMORY" => {
                let what = String::from_utf8_lossy(args[0]).into_owned();
                self.about(&what, args[1])
            }
            "FLUSHALL" | "FLUSHDB" => {
                self.keys.clear();
                ok()
            }
            "RENAME" => self.rename(args[0], args[1], true),
            "RENAMENX" => self.rename(args[0], args[1], false),
            "COPY" => self.copy(args[0], args[1], args.len() > 2),
            "EXPIRE" | "PEXPIRE" | "EXPIREAT" | "PEXPIREAT" => self.expire_command(name, args),
            "PERSIST" => {
                let expires = self.expiry(args[0]).is_some();
                self.expire(args[0], None);
                integer(i64::from(expires))
            }
            "TTL" | "PTTL" | "EXPIRETIME" | "PEXPIRETIME" => self.tell_expiry(name, args[0]),
            _ => return None,
        }))
    }

    fn type_name(&self, key: &[u8]) -> &'static str {
        match self.value(key) {
            None => "none",
            Some(Value::String(_)) => "string",
            Some(Value::Hash(_)) => "hash",
            Some(Value::Stream(_)) => "stream",
        }
    }

    fn about(&self, what: &str, key: &[u8]) -> Answer {
        let Some(value) = self.value(key) else { return Ok(Reply::Null) };
        match (what, value) {
            ("ENCODING", Value::String(value)) => {
                let text = String::from_utf8_lossy(value);
                let is_int = text.parse::<i64>().is_ok_and(|number| number.to_string() == text);
                Ok(bulk(match (is_int, value.len() <= 44) {
                    (true, _) => b"int",
                    (false, true) => b"embstr",
                    (false, false) => b"raw",
                }))
            }
            ("ENCODING", Value::Hash(_)) => Ok(bulk(b"hashtable")),
            ("ENCODING", Value::Stream(_)) => Ok(bulk(b"stream")),
            // Figures that are the machine's own affair: `comparable` makes all of them 1.
            _ => integer(1),
        }
    }

    fn rename(&mut self, from: &[u8], to: &[u8], replace: bool) -> Answer {
        let Some(key) = self.keys.get(from).cloned() else { return Err("ERR") };
        if !replace && self.keys.contains_key(to) {
            return integer(0);
        }
        self.keys.remove(from);
        self.keys.insert(to.to_vec(), key);
        if replace { ok() } else { integer(1) }
    }

    fn copy(&mut self, from: &[u8], to: &[u8], replace: bool) -> Answer {
        if from == to {
            return Err("ERR");
        }
        let Some(key) = self.keys.get(from).cloned() else { return integer(0) };
        if !replace && self.keys.contains_key(to) {
            return integer(0);
        }
        self.keys.insert(to.to_vec(), key);
        integer(1)
    }

    fn expire_command(&mut self, name: &str, args: &[&[u8]]) -> Answer {
        let at_ms = self.at_ms(name, args[1]);
        let has = |option: &[u8]| args[2..].contains(&option);
        if has(b"NX") && args.len() > 3 || has(b"GT") && has(b"LT") {
            return Err("ERR");
        }
        if !self.keys.contains_key(args[0]) {
            return integer(0);
        }
        let current = self.expiry(args[0]).map(|at_ms| at_ms as i64);
        let allowed = (!has(b"NX") || current.is_none())
            && (!has(b"XX") || current.is_some())
            && (!has(b"GT") || current.is_some_and(|current| at_ms > current))
            && (!has(b"LT") || current.is_none_or(|current| at_ms < current));
        if allowed {
            self.expire(args[0], Some(at_ms.max(0) as u64));
        }
        integer(i64::from(allowed))
    }

    fn tell_expiry(&self, name: &str, key: &[u8]) -> Answer {
        if !self.keys.contains_key(key) {
            return integer(-2);
        }
        let Some(at_ms) = self.expiry(key) else { return integer(-1) };
        integer(match name {
            "TTL" => (at_ms - self.now_ms + 500) / 1_000,
            "PTTL" => at_ms - self.now_ms,
            "EXPIRETIME" => (at_ms + 500) / 1_000,
            _ => at_ms,
        })
    }
}
