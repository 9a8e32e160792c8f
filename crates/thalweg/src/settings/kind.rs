//! The kinds of values that settings have: how each is read from text and written as text, and what
//! is said to somebody who gives something else.

use super::Settings;
use std::net::{SocketAddr, ToSocketAddrs};
use thalweg_base::units::{exact_bytes, exact_duration_ms, parse_bytes, parse_duration_ms};

/// A kind of value, with where it stands in the settings of a node.
pub(crate) enum Kind {
    /// A size.
    Bytes(Number),
    /// A duration.
    Milliseconds(Number),
    /// A number of things.
    Count(Number),
    /// A number of things that is a power of two.
    PowerOfTwo(Number),
    /// Where to listen.
    Address(Address),
    /// One of some names.
    Choice(Choice),
    /// A file or a folder, or the word or address that may stand for one.
    Path(Path),
    /// What nobody may see.
    Secret(Secret),
}

pub(crate) struct Number {
    pub(crate) least: u64,
    pub(crate) most: u64,
    get: fn(&Settings) -> u64,
    set: fn(&mut Settings, u64),
}

pub(crate) struct Address {
    may_be_off: bool,
    pub(crate) get: fn(&Settings) -> Option<SocketAddr>,
    set: fn(&mut Settings, Option<SocketAddr>),
}

pub(crate) struct Choice {
    pub(crate) names: &'static [&'static str],
    get: fn(&Settings) -> &'static str,
    set: fn(&mut Settings, &str),
}

pub(crate) struct Path {
    pub(crate) is_folder: bool,
    get: fn(&Settings) -> Option<String>,
    set: fn(&mut Settings, &str),
}

pub(crate) struct Secret {
    get: fn(&Settings) -> Option<&str>,
    set: fn(&mut Settings, Option<String>),
}

pub(super) const fn bytes(
    least: u64,
    get: fn(&Settings) -> u64,
    set: fn(&mut Settings, u64),
) -> Kind {
    Kind::Bytes(Number { least, most: u64::MAX, get, set })
}

pub(super) const fn milliseconds(
    least: u64,
    get: fn(&Settings) -> u64,
    set: fn(&mut Settings, u64),
) -> Kind {
    Kind::Milliseconds(Number { least, most: u64::MAX, get, set })
}

pub(super) const fn count(
    least: u64,
    most: u64,
    get: fn(&Settings) -> u64,
    set: fn(&mut Settings, u64),
) -> Kind {
    Kind::Count(Number { least, most, get, set })
}

pub(super) const fn power_of_two(
    most: u64,
    get: fn(&Settings) -> u64,
    set: fn(&mut Settings, u64),
) -> Kind {
    Kind::PowerOfTwo(Number { least: 1, most, get, set })
}

pub(super) const fn address(
    may_be_off: bool,
    get: fn(&Settings) -> Option<SocketAddr>,
    set: fn(&mut Settings, Option<SocketAddr>),
) -> Kind {
    Kind::Address(Address { may_be_off, get, set })
}

pub(super) const fn choice(
    names: &'static [&'static str],
    get: fn(&Settings) -> &'static str,
    set: fn(&mut Settings, &str),
) -> Kind {
    Kind::Choice(Choice { names, get, set })
}

pub(super) const fn folder(
    get: fn(&Settings) -> Option<String>,
    set: fn(&mut Settings, &str),
) -> Kind {
    Kind::Path(Path { is_folder: true, get, set })
}

pub(super) const fn file(
    get: fn(&Settings) -> Option<String>,
    set: fn(&mut Settings, &str),
) -> Kind {
    Kind::Path(Path { is_folder: false, get, set })
}

pub(super) const fn secret(
    get: fn(&Settings) -> Option<&str>,
    set: fn(&mut Settings, Option<String>),
) -> Kind {
    Kind::Secret(Secret { get, set })
}

impl Number {
    fn put(&self, settings: &mut Settings, value: u64) -> Option<()> {
        if !(self.least..=self.most).contains(&value) {
            return None;
        }
        (self.set)(settings, value);
        Some(())
    }
}

impl Address {
    fn put(&self, settings: &mut Settings, text: &str) -> Option<()> {
        let address = match text {
            "off" if self.may_be_off => None,
            text => Some(text.to_socket_addrs().ok()?.next()?),
        };
        (self.set)(settings, address);
        Some(())
    }
}

impl Kind {
    /// Reads a value and puts it where it belongs; nothing where it is none that is allowed.
    pub(crate) fn put(&self, settings: &mut Settings, text: &str) -> Option<()> {
        match self {
            Self::Bytes(number) => number.put(settings, parse_bytes(text).ok()?),
            Self::Milliseconds(number) => number.put(settings, parse_duration_ms(text).ok()?),
            Self::Count(number) => number.put(settings, text.trim().parse().ok()?),
            Self::PowerOfTwo(number) => {
                let value: u64 = text.trim().parse().ok()?;
                number.put(settings, Some(value).filter(|value| value.is_power_of_two())?)
            }
            Self::Address(address) => address.put(settings, text),
            Self::Choice(choice) => {
                choice.names.contains(&text).then(|| (choice.set)(settings, text))
            }
            Self::Path(path) => (!text.is_empty()).then(|| (path.set)(settings, text)),
            Self::Secret(secret) => {
                // An empty one is none, as in CONFIG SET requirepass "": the more careful reading.
                (secret.set)(settings, (!text.is_empty()).then(|| text.to_owned()));
                Some(())
            }
        }
    }

    /// The value as it could be given, and a secret as it is; nothing where there is none.
    pub(crate) fn value(&self, settings: &Settings) -> Option<String> {
        match self {
            Self::Bytes(number) => Some(exact_bytes((number.get)(settings))),
            Self::Milliseconds(number) => Some(exact_duration_ms((number.get)(settings))),
            Self::Count(number) | Self::PowerOfTwo(number) => {
                Some((number.get)(settings).to_string())
            }
            Self::Address(address) => match (address.get)(settings) {
                Some(address) => Some(address.to_string()),
                None => address.may_be_off.then(|| "off".to_owned()),
            },
            Self::Choice(choice) => Some((choice.get)(settings).to_owned()),
            Self::Path(path) => (path.get)(settings),
            Self::Secret(secret) => (secret.get)(settings).map(str::to_owned),
        }
    }

    /// The value as anybody may see it.
    pub(crate) fn shown(&self, settings: &Settings) -> Option<String> {
        let value = self.value(settings);
        if matches!(self, Self::Secret(_)) { value.map(|_| "(set)".to_owned()) } else { value }
    }

    /// The value as a bare number: bytes, milliseconds or things.
    pub(crate) fn number(&self, settings: &Settings) -> Option<u64> {
        match self {
            Self::Bytes(number)
            | Self::Milliseconds(number)
            | Self::Count(number)
            | Self::PowerOfTwo(number) => Some((number.get)(settings)),
            _ => None,
        }
    }

    /// What may be given, to follow "takes".
    pub(crate) fn allowed(&self) -> String {
        match self {
            Self::Bytes(Number { least: 0, .. }) => "a size, such as 512MiB".to_owned(),
            Self::Bytes(number) => {
                format!("a size of at least {}, such as 512MiB", exact_bytes(number.least))
            }
            Self::Milliseconds(Number { least: 0, .. }) => {
                "a duration, such as 500ms or 5s".to_owned()
            }
            Self::Milliseconds(number) => {
                let least = exact_duration_ms(number.least);
                format!("a duration of at least {least}, such as 500ms or 5s")
            }
            Self::Count(Number { least, most: u64::MAX, .. }) => format!("a number from {least}"),
            Self::Count(number) => format!("a number from {} to {}", number.least, number.most),
            Self::PowerOfTwo(number) => format!("a power of two from 1 to {}", number.most),
            Self::Address(address) => {
                let off = if address.may_be_off { ", or off" } else { "" };
                format!("an address and a port, such as 127.0.0.1:7379{off}")
            }
            Self::Choice(choice) => format!("one of {}", choice.names.join(", ")),
            Self::Path(_) => "a path".to_owned(),
            Self::Secret(_) => "any text".to_owned(),
        }
    }

    /// What stands for the value in a line of help.
    pub(crate) fn placeholder(&self) -> &'static str {
        match self {
            Self::Bytes(_) => "SIZE",
            Self::Milliseconds(_) => "DURATION",
            Self::Count(_) | Self::PowerOfTwo(_) => "NUMBER",
            Self::Address(_) => "ADDRESS",
            Self::Choice(_) => "NAME",
            Self::Path(_) => "PATH",
            Self::Secret(_) => "SECRET",
        }
    }
}
