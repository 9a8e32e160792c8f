//! Commands about keys of any type.

mod delete;
mod expire;
mod inspect;
mod rename;

pub(crate) use delete::{del, flushall};
pub(crate) use expire::{
    Unit, expire, expireat, expiretime, expiry_at, persist, pexpire, pexpireat, pexpiretime, pttl,
    ttl,
};
pub(crate) use inspect::{exists, memory, object, touch, type_of, unknown};
pub(crate) use rename::{copy, rename, renamenx};
