//! Strings.

use super::*;

/// What INCRBYFLOAT works in: ten-thousandths.
const SCALE: i64 = 10_000;

impl Model {
    pub(super) fn string_command(&mut self, name: &str, args: &[&[u8]]) -> Option<Option<Answer>> {
        Some(Some(match name {
            "SET" => self.set(args[0], args[1], &args[2..]),
            "SETNX" => {
                let absent = !self.keys.contains_key(args[0]);
                if absent {
                    self.put_string(args[0], args[1], None);
                }
                integer(i64::from(absent))
            }
            "SETEX" | "PSETEX" => {
                let at_ms = self.at_ms(name, args[1]);
                if number::<i64>(args[1]) <= 0 {
                    return Some(Some(Err("ERR")));
                }
                self.put_string(args[0], args[2], Some(at_ms as u64));
                ok()
            }
            "MSET" | "MSETNX" => self.set_many(name == "MSETNX", args),
            "MGET" => Ok(Reply::Array(
                args.iter().map(|key| optional(self.string(key).ok().flatten())).collect(),
            )),
            "GET" => self.string(args[0]).map(optional),
            "GETDEL" => self.string(args[0]).map(optional).inspect(|_| {
                self.keys.remove(args[0]);
            }),
            "GETSET" => self.string(args[0]).map(optional).inspect(|_| {
                self.put_string(args[0], args[1], None);
            }),
            "GETEX" => self.getex(args),
            "STRLEN" => self.string(args[0]).and_then(|value| integer(value.map_or(0, Vec::len))),
            "GETRANGE" | "SUBSTR" => self.getrange(args),
            "APPEND" | "SETRANGE" => self.write_into(name, args),
            "INCR" => self.add(args[0], 1),
            "DECR" => self.add(args[0], -1),
            "INCRBY" => self.add(args[0], number(args[1])),
            "DECRBY" => self.add(args[0], -number::<i64>(args[1])),
            "INCRBYFLOAT" => return Some(self.add_decimal(args[0], args[1])),
            _ => return None,
        }))
    }

    pub(super) fn string(&self, key: &[u8]) -> Result<Option<&Bytes>, &'static str> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(value)) => Ok(Some(value)),
            Some(_) => Err(WRONG_TYPE),
        }
    }

    fn put_string(&mut self, key: &[u8], value: &[u8], expires_at_ms: Option<u64>) {
        self.put(key, Value::String(value.to_vec()), expires_at_ms);
    }

    fn set(&mut self, key: &[u8], value: &[u8], options: &[&[u8]]) -> Answer {
        let has = |option: &[u8]| options.contains(&option);
        let timed = options.iter().position(|word| [&b"EX"[..], b"PX", b"PXAT"].contains(word));
        let mut expires_at_ms = has(b"KEEPTTL").then(|| self.expiry(key)).flatten();
        if let Some(at) = timed {
            let unit = String::from_utf8_lossy(options[at]).into_owned();
            expires_at_ms = Some(self.at_ms(&unit, options[at + 1]) as u64);
        }
        let previous = match (has(b"GET"), self.string(key)) {
            (true, previous) => Some(optional(previous?)),
            (false, _) => None,
        };
        let there = self.keys.contains_key(key);
        if has(b"NX") && there || has(b"XX") && !there {
            return Ok(previous.unwrap_or(Reply::Null));
        }
        self.put_string(key, value, expires_at_ms);
        previous.map_or_else(ok, Ok)
    }

    fn set_many(&mut self, if_none: bool, args: &[&[u8]]) -> Answer {
        if if_none && args.iter().step_by(2).any(|key| self.keys.contains_key(*key)) {
            return integer(0);
        }
        for pair in args.chunks(2) {
            self.put_string(pair[0], pair[1], None);
        }
        if if_none { integer(1) } else { ok() }
    }

    fn getex(&mut self, args: &[&[u8]]) -> Answer {
        let value = self.string(args[0]).map(optional)?;
        match args[1..] {
            [] => {}
            [_] => self.expire(args[0], None),
            [unit, time, ..] => {
                let unit = String::from_utf8_lossy(unit).into_owned();
                let at_ms = self.at_ms(&unit, time) as u64;
                self.expire(args[0], Some(at_ms));
            }
        }
        Ok(value)
    }

    fn getrange(&self, args: &[&[u8]]) -> Answer {
        let (start, end): (i64, i64) = (number(args[1]), number(args[2]));
        let Some(value) = self.string(args[0])? else { return Ok(bulk(b"")) };
        let length = value.len() as i64;
        let index = |at: i64| if at < 0 { (at + length).max(0) } else { at };
        let range = index(start)..=index(end);
        let kept = value.iter().enumerate().filter(|&(at, _)| range.contains(&(at as i64)));
        // Two negative bounds in the wrong order mean nothing, wherever they end up.
        let empty = start < 0 && end < 0 && start > end;
        let kept: Bytes = kept.map(|(_, &byte)| byte).collect();
        Ok(bulk(if empty { b"" } else { &kept }))
    }

    fn write_into(&mut self, name: &str, args: &[&[u8]]) -> Answer {
        let mut value = self.string(args[0])?.cloned().unwrap_or_default();
        let (offset, bytes) = match name {
            "APPEND" => (value.len(), args[1]),
            _ => (number(args[1]), args[2]),
        };
        if name == "SETRANGE" && bytes.is_empty() {
            return integer(value.len());
        }
        value.resize(value.len().max(offset + bytes.len()), 0);
        value[offset..offset + bytes.len()].copy_from_slice(bytes);
        let length = value.len();
        self.put_string(args[0], &value, self.expiry(args[0]));
        integer(length)
    }

    fn add(&mut self, key: &[u8], by: i64) -> Answer {
        let value = match self.string(key)? {
            None => 0,
            Some(value) => canonical_integer(value).ok_or("ERR")?,
        };
        let sum = value.checked_add(by).ok_or("ERR")?;
        self.put_string(key, sum.to_string().as_bytes(), self.expiry(key));
        integer(sum)
    }

    fn add_decimal(&mut self, key: &[u8], by: &[u8]) -> Option<Answer> {
        let value = match self.string(key) {
            Err(code) => return Some(Err(code)),
            Ok(None) => Some(0),
            Ok(Some(value)) => decimal(value)?,
        };
        let Some(value) = value else { return Some(Err("ERR")) };
        let text = decimal_text(value + decimal(by)??);
        self.put_string(key, text.as_bytes(), self.expiry(key));
        Some(Ok(bulk(text.as_bytes())))
    }
}

/// An integer in the one form that counts as one.
pub(super) fn canonical_integer(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    text.parse::<i64>().ok().filter(|number| number.to_string() == text)
}

/// A short decimal in ten-thousandths; `Some(None)` for what is surely no number, `None` for all
/// that the model does not want to decide.
pub(super) fn decimal(value: &[u8]) -> Option<Option<i64>> {
    let Ok(text) = std::str::from_utf8(value) else { return Some(None) };
    if !text.is_empty() && text.parse::<f64>().is_err() {
        return Some(None);
    }
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_plain = |digits: &str, most| {
        (1..=most).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !is_plain(whole, 9) || !is_plain(part, 4) {
        return None;
    }
    let part: i64 = format!("{part:0<4}").parse().ok()?;
    Some(Some(sign * (whole.parse::<i64>().ok()? * SCALE + part)))
}

pub(super) fn decimal_text(value: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let (whole, part) = (value.abs() / SCALE, value.abs() % SCALE);
    let part = format!("{part:04}");
    match part.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        part => format!("{sign}{whole}.{part}"),
    }
}
