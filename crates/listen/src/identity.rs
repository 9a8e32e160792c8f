//! Who a client is, and what it may do. Today there is one user, `default`, who may do everything.
//! With a password set, a client is nobody until it has given it.

use parking_lot::RwLock;
use std::borrow::Cow;
use std::sync::Arc;

/// The user that there always is.
pub const DEFAULT_USER: &str = "default";

/// A set of what somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Read data.
    pub const READ: Self = Self(1);
    /// Change data.
    pub const WRITE: Self = Self(1 << 1);
    /// See and change the server and its connections.
    pub const ADMIN: Self = Self(1 << 2);
    /// Everything.
    pub const ALL: Self = Self(1 | 1 << 1 | 1 << 2);

    /// Both sets.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of the other's rights are in it.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Who a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    name: Cow<'static, str>,
    rights: Rights,
}

impl Identity {
    /// Somebody with a name and rights.
    pub fn new(name: impl Into<Cow<'static, str>>, rights: Rights) -> Self {
        Self { name: name.into(), rights }
    }

    /// Somebody who has not said yet who it is.
    pub const fn nobody() -> Self {
        Self { name: Cow::Borrowed(""), rights: Rights::NONE }
    }

    /// The user's name; nobody has none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has not said yet who it is.
    pub fn is_nobody(&self) -> bool {
        self.name.is_empty()
    }

    /// Whether it has all of these rights.
    #[inline]
    pub fn may(&self, rights: Rights) -> bool {
        self.rights.has(rights)
    }
}

/// The users of a node.
#[derive(Debug)]
pub struct Users {
    password: RwLock<Option<Arc<str>>>,
}

impl Users {
    pub(crate) fn new(password: Option<&str>) -> Self {
        Self { password: RwLock::new(password.map(Arc::from)) }
    }

    /// Changes the password. Those who are inside already stay who they are.
    pub fn set_password(&self, password: Option<&str>) {
        *self.password.write() = password.map(Arc::from);
    }

    /// The password, for protocols in which a client proves that it knows it without sending it.
    pub fn password(&self) -> Option<Arc<str>> {
        self.password.read().clone()
    }

    /// Who a client is that has said nothing yet.
    pub fn unnamed(&self) -> Identity {
        if self.password.read().is_some() { Identity::nobody() } else { default_user() }
    }

    /// Who a client is that gives this name and this password; nothing where that is nobody's, and
    /// where no password is set.
    pub fn identify(&self, name: &[u8], password: &[u8]) -> Option<Identity> {
        let expected = self.password()?;
        // Both are looked at, so that time does not tell which was wrong.
        let is_right =
            same_secret(password, expected.as_bytes()) & (name == DEFAULT_USER.as_bytes());
        is_right.then(default_user)
    }
}

fn default_user() -> Identity {
    Identity::new(DEFAULT_USER, Rights::ALL)
}

/// Compares without telling by its duration where the difference is.
fn same_secret(given: &[u8], expected: &[u8]) -> bool {
    let mut difference = given.len() ^ expected.len();
    for (index, byte) in given.iter().enumerate() {
        let other = expected.get(index % expected.len().max(1)).copied().unwrap_or(0);
        difference |= usize::from(byte ^ other);
    }
    difference == 0
}
