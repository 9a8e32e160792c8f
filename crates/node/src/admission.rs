//! Looks at records before they are appended to streams. The crate that knows a stream's schema may
//! refuse a record, or say which partition it belongs to.

use crate::engine::Engine;
use crate::session::Session;
use thalweg_machine::{Command, CommandError, Flags};

/// What becomes of a record.
pub enum Admitted {
    /// It goes where XADD says.
    Here,
    /// It goes to this key.
    To(Vec<u8>),
    /// It goes nowhere.
    Refused(CommandError),
}

/// Looks at a record on its way to the key that its command names. It gets the command's words, and
/// takes the record out of them ([`thalweg_machine::new_record`]) where it knows the stream.
pub(crate) type Admission = Box<dyn Fn(&[u8], &[&[u8]]) -> Admitted + Send + Sync>;

impl Engine {
    /// Says who looks at records that clients append, by the key and the words of their command.
    /// The first one stays.
    pub fn admit_records(
        &self,
        admission: impl Fn(&[u8], &[&[u8]]) -> Admitted + Send + Sync + 'static,
    ) {
        self.inner.admission.get_or_init(|| Box::new(admission));
    }

    /// The key that a command's record goes to, where it is another one than the command names.
    pub(crate) fn admit(
        &self,
        session: &Session,
        command: &Command,
        args: &[&[u8]],
    ) -> Result<Option<Vec<u8>>, CommandError> {
        if !command.flags.has(Flags::ADMITTED) || session.trusted {
            return Ok(None);
        }
        let (Some(admission), Some(key)) = (self.inner.admission.get(), args.get(1)) else {
            return Ok(None);
        };
        match admission(key, args) {
            Admitted::Here => Ok(None),
            Admitted::To(key) => Ok(Some(key)),
            Admitted::Refused(error) => Err(error),
        }
    }
}
