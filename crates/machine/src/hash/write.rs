//! Changing hashes.

use crate::decimal::Decimal;
use crate::effect::Effect;
use crate::error::CommandError;
use crate::execution::{Execution, Verdict};
use crate::number::{i64_text, parse_i64};
use crate::table::Kind;

/// HSET key field value [field value ...]
pub(crate) fn hset(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let added = put_fields(cx, args, "hset")?;
    cx.answer.integer(added);
    Ok(())
}

/// HMSET key field value [field value ...]
pub(crate) fn hmset(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    put_fields(cx, args, "hmset")?;
    cx.answer.ok();
    Ok(())
}

fn put_fields(cx: &mut Execution<'_>, args: &[&[u8]], name: &str) -> Result<i64, CommandError> {
    let &[_, key, ref rest @ ..] = args else { return Err(CommandError::SYNTAX) };
    let (pairs, odd) = rest.as_chunks::<2>();
    if !odd.is_empty() {
        return Err(CommandError::arity(name));
    }
    for [field, value] in pairs {
        check_field(cx, key, field, value.len())?;
    }
    cx.find_kind(key, Kind::Hash)?;
    let mut added = 0;
    for [field, value] in pairs {
        let there = cx.find_hash(key)?.is_some_and(|hash| hash.get(field).is_some());
        added += i64::from(!there);
        cx.emit(&Effect::HashPut { key, field, value });
    }
    Ok(added)
}

pub(crate) fn check_field(
    cx: &mut Execution<'_>,
    key: &[u8],
    field: &[u8],
    value_bytes: usize,
) -> Result<(), CommandError> {
    cx.check_sizes(key, value_bytes)?;
    let limit = cx.states.of(key).limits.field_max_bytes;
    if field.len() > limit {
        return Err(CommandError::text(format!(
            "field is {} bytes long, the limit is {limit}",
            field.len()
        )));
    }
    Ok(())
}

/// HSETNX key field value
pub(crate) fn hsetnx(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, field, value] = args else { return Err(CommandError::SYNTAX.into()) };
    check_field(cx, key, field, value.len())?;
    let there = cx.find_hash(key)?.is_some_and(|hash| hash.get(field).is_some());
    if !there {
        cx.emit(&Effect::HashPut { key, field, value });
    }
    cx.answer.integer((!there).into());
    Ok(())
}

/// HDEL key field [field ...]
pub(crate) fn hdel(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, ref fields @ ..] = args else { return Err(CommandError::SYNTAX.into()) };
    let mut deleted = 0;
    for field in fields {
        let Some(hash) = cx.find_hash(key)? else { break };
        if hash.get(field).is_none() {
            continue;
        }
        deleted += 1;
        // A hash without fields is no hash.
        if hash.len() == 1 {
            cx.emit(&Effect::Delete { key });
            break;
        }
        cx.emit(&Effect::HashDelete { key, field });
    }
    cx.answer.integer(deleted);
    Ok(())
}

/// HINCRBY key field increment
pub(crate) fn hincrby(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, field, by] = args else { return Err(CommandError::SYNTAX.into()) };
    check_field(cx, key, field, 0)?;
    let by = parse_i64(by).ok_or(CommandError::NOT_AN_INTEGER)?;
    let value = match cx.find_hash(key)?.and_then(|hash| hash.get(field)) {
        Some(value) => parse_i64(value).ok_or(CommandError::new("hash value is not an integer"))?,
        None => 0,
    };
    let sum =
        value.checked_add(by).ok_or(CommandError::new("increment or decrement would overflow"))?;
    cx.emit(&Effect::HashPut { key, field, value: &i64_text(sum) });
    cx.answer.integer(sum);
    Ok(())
}

/// HINCRBYFLOAT key field increment
pub(crate) fn hincrbyfloat(cx: &mut Execution<'_>, args: &[&[u8]]) -> Verdict {
    let &[_, key, field, by] = args else { return Err(CommandError::SYNTAX.into()) };
    check_field(cx, key, field, 0)?;
    let by = match Decimal::parse(by) {
        Some(by) => by,
        None if Decimal::is_infinite(by) => {
            return Err(CommandError::new("value is NaN or Infinity").into());
        }
        None => return Err(CommandError::NOT_A_FLOAT.into()),
    };
    let value = match cx.find_hash(key)?.and_then(|hash| hash.get(field)) {
        Some(value) => {
            Decimal::parse(value).ok_or(CommandError::new("hash value is not a float"))?
        }
        None => Decimal::default(),
    };
    let sum = value.checked_add(by).ok_or(CommandError::INFINITE_SUM)?;
    let text = sum.text();
    cx.emit(&Effect::HashPut { key, field, value: text.as_bytes() });
    cx.answer.bulk(text.as_bytes());
    Ok(())
}
