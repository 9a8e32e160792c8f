//! Values as Postgres writes them: text and binary, for every Arrow type or an error that says which one has none.

mod binary;
mod interval;
mod numeric;
mod text;
mod time;

pub(crate) use binary::put_binary;
pub(crate) use numeric::{decimal_text, put_double, put_real};
#[cfg(test)]
pub(crate) use text::text_of;
pub(crate) use text::{Style, put_text, texts_of};
pub(crate) use time::local_us;
#[cfg(test)]
pub(crate) use time::put_timestamp;
