//! Hashes.

use super::strings::{canonical_integer, decimal, decimal_text};
use super::*;

impl Model {
    pub(super) fn hash_command(&mut self, name: &str, args: &[&[u8]]) -> Option<Option<Answer>> {
        if !name.starts_with('H') {
            return None;
        }
        let mut fields = match self.value(args[0]) {
            None => BTreeMap::new(),
            Some(Value::Hash(fields)) => fields.clone(),
            Some(_) => return Some(Some(Err(WRONG_TYPE))),
        };
        let before = fields.len();
        let list = |replies: Vec<Reply>| Ok(Reply::Array(replies));
        let answer = match name {
            "HSET" | "HMSET" => {
                for pair in args[1..].chunks(2) {
                    fields.insert(pair[0].to_vec(), pair[1].to_vec());
                }
                if name == "HMSET" { ok() } else { integer(fields.len() - before) }
            }
            "HSETNX" => {
                fields.entry(args[1].to_vec()).or_insert_with(|| args[2].to_vec());
                integer(fields.len() - before)
            }
            "HDEL" => {
                args[1..].iter().for_each(|field| drop(fields.remove(*field)));
                integer(before - fields.len())
            }
            "HGET" => Ok(optional(fields.get(args[1]))),
            "HMGET" => list(args[1..].iter().map(|field| optional(fields.get(*field))).collect()),
            "HEXISTS" => integer(i64::from(fields.contains_key(args[1]))),
            "HLEN" => integer(before),
            "HSTRLEN" => integer(fields.get(args[1]).map_or(0, Vec::len)),
            "HKEYS" => list(fields.keys().map(|field| bulk(field)).collect()),
            "HVALS" => list(fields.values().map(|value| bulk(value)).collect()),
            "HGETALL" => Ok(Reply::Map(fields.iter().map(|(f, v)| (bulk(f), bulk(v))).collect())),
            "HSCAN" => scan(&fields),
            // More than there are, so all of them.
            "HRANDFIELD" => list(fields.keys().map(|field| bulk(field)).collect()),
            "HINCRBY" => add(&mut fields, args[1], number(args[2])),
            "HINCRBYFLOAT" => match add_decimal(&mut fields, args[1], args[2]) {
                Some(answer) => answer,
                None => return Some(None),
            },
            _ => return None,
        };
        match fields.is_empty() {
            true => drop(self.keys.remove(args[0])),
            false => self.put(args[0], Value::Hash(fields), self.expiry(args[0])),
        }
        Some(Some(answer))
    }
}

fn scan(fields: &BTreeMap<Bytes, Bytes>) -> Answer {
    let found = fields.iter().flat_map(|(field, value)| [bulk(field), bulk(value)]);
    Ok(Reply::Array(vec![bulk(b"0"), Reply::Array(found.collect())]))
}

fn add(fields: &mut BTreeMap<Bytes, Bytes>, field: &[u8], by: i64) -> Answer {
    let value = match fields.get(field) {
        None => 0,
        Some(value) => canonical_integer(value).ok_or("ERR")?,
    };
    let sum = value.checked_add(by).ok_or("ERR")?;
    fields.insert(field.to_vec(), sum.to_string().into_bytes());
    integer(sum)
}

fn add_decimal(fields: &mut BTreeMap<Bytes, Bytes>, field: &[u8], by: &[u8]) -> Option<Answer> {
    let value = match fields.get(field) {
        None => Some(0),
        Some(value) => decimal(value)?,
    };
    let Some(value) = value else { return Some(Err("ERR")) };
    let text = decimal_text(value + decimal(by)??);
    fields.insert(field.to_vec(), text.clone().into_bytes());
    Some(Ok(bulk(text.as_bytes())))
}
