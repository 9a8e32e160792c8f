//! Strings and counters.

mod counter;
mod edit;
mod many;
mod read;
mod set;

pub(crate) use counter::{decr, decrby, incr, incrby, incrbyfloat};
pub(crate) use edit::{append, setrange};
pub(crate) use many::{mget, mset, msetnx};
pub(crate) use read::{get, getdel, getex, getrange, getset, strlen};
pub(crate) use set::{psetex, set, setex, setnx};
