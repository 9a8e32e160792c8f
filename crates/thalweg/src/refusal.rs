//! Why a node does not start, in one sentence: what happened, to what, and what to do.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use thalweg_doors::DoorError;
use thalweg_listen::{TlsError, TlsFile};
use thalweg_node::{EngineError, Place};
use thalweg_query::SqlError;

/// A door whose address cannot be listened on. `flag` is the setting that names the address.
pub(crate) fn listen(door: &str, flag: &str, address: SocketAddr, error: &io::Error) -> String {
    let what = format!("the {door} door cannot listen on {address}");
    match error.kind() {
        ErrorKind::AddrInUse => format!(
            "{what}: another program listens there, maybe a node that runs already; stop it, or \
             choose another port with {flag}"
        ),
        ErrorKind::AddrNotAvailable => format!(
            "{what}: this machine does not have that address; choose one of its own with {flag} \
             (`ip address` shows them, 0.0.0.0 is all of them)"
        ),
        ErrorKind::PermissionDenied => format!(
            "{what}: ports below 1024 are for root, or for a program that has the capability \
             CAP_NET_BIND_SERVICE; choose a higher port with {flag}"
        ),
        _ => format!("{what}: {error}; choose another address with {flag}"),
    }
}

/// A door that cannot be opened, for its address or for what it needs besides.
pub(crate) fn door(door: &str, flag: &str, error: &DoorError) -> String {
    match error {
        DoorError::Listen { address, source } => listen(door, flag, *address, source),
        DoorError::Start { .. } => format!(
            "the {door} door cannot start: {error}; lift the limits on threads and open files \
             (ulimit -u, ulimit -n)"
        ),
    }
}

/// A certificate or a key that cannot be used.
pub(crate) fn tls(error: &TlsError) -> String {
    let (flag, content) = match error.file {
        TlsFile::Certificate => {
            ("--tls-certificate", "the node's certificate and those that signed it")
        }
        TlsFile::Key => ("--tls-key", "the certificate's private key, without a passphrase"),
    };
    format!("{error}; {flag} names a PEM file with {content}, which this user may read")
}

/// Data that cannot be opened.
pub(crate) fn data(error: &EngineError, place: &Place) -> String {
    let (Place::Directory(folder), Some(kind)) = (place, io_kind(error)) else {
        // Errors that are not the operating system's say themselves what to do.
        return error.to_string();
    };
    let advice = match kind {
        ErrorKind::PermissionDenied => {
            "let this user write there (ls -ld shows who may), or choose another directory with \
             --data"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "make room on that disk (df shows it), or choose a directory on another one with --data"
        }
        ErrorKind::ReadOnlyFilesystem => {
            "that disk is mounted to be read only; mount it anew, or choose another directory with \
             --data"
        }
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "a file has that name, or a part of it; choose another directory with --data"
        }
        _ => "look at that disk and its mount, or choose another directory with --data",
    };
    format!("the data in {} cannot be opened: {error}; {advice}", folder.display())
}

/// SQL that cannot start.
pub(crate) fn sql(error: &SqlError) -> String {
    match &error.hint {
        Some(hint) => format!("{}; {hint}", error.message),
        None => format!("SQL cannot start: {}", error.message),
    }
}

/// What the operating system said, however deep.
fn io_kind(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    let mut error = Some(error);
    while let Some(current) = error {
        if let Some(io) = current.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        error = current.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn address() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 80))
    }

    #[test]
    fn a_door_that_cannot_listen_names_its_address_and_its_setting() {
        for (kind, words) in [
            (ErrorKind::AddrInUse, "another program listens there"),
            (ErrorKind::AddrNotAvailable, "does not have that address"),
            (ErrorKind::PermissionDenied, "ports below 1024"),
            (ErrorKind::Other, "choose another address"),
        ] {
            let error = DoorError::Listen { address: address(), source: kind.into() };
            let message = door("HTTP", "--http", &error);
            for words in [words, "the HTTP door cannot listen on 127.0.0.1:80: ", "--http"] {
                assert!(message.contains(words), "{message}");
            }
        }
        let error = DoorError::Start { action: "start a thread", source: ErrorKind::Other.into() };
        assert!(door("Redis", "--resp", &error).contains("lift the limits"));
    }

    #[test]
    fn a_certificate_that_cannot_be_used_names_its_file_and_its_setting() {
        for (file, flag) in
            [(TlsFile::Certificate, "--tls-certificate"), (TlsFile::Key, "--tls-key")]
        {
            let path = PathBuf::from("/etc/node.pem");
            let message = tls(&TlsError { file, path, why: "it is empty".to_owned() });
            for words in ["in /etc/node.pem cannot be used: it is empty", flag] {
                assert!(message.contains(words), "{message}");
            }
        }
    }

    /// However deep the operating system's word is.
    #[test]
    fn data_that_cannot_be_opened_says_what_to_do() {
        let place = Place::Directory(PathBuf::from("/var/data"));
        for (kind, words) in [
            (ErrorKind::PermissionDenied, "let this user write there"),
            (ErrorKind::StorageFull, "make room on that disk"),
            (ErrorKind::QuotaExceeded, "make room on that disk"),
            (ErrorKind::ReadOnlyFilesystem, "read only"),
            (ErrorKind::NotADirectory, "a file has that name"),
            (ErrorKind::Other, "look at that disk"),
        ] {
            let error = EngineError::Io { action: "create it".to_owned(), source: kind.into() };
            let message = data(&error, &place);
            for words in [words, "the data in /var/data cannot be opened", "--data"] {
                assert!(message.contains(words), "{message}");
            }
            assert_eq!(io_kind(&Wrapped(kind.into())), Some(kind));
        }
        let in_use = EngineError::InUse("/var/data".to_owned());
        assert_eq!(data(&in_use, &place), in_use.to_string());
        assert!(in_use.to_string().contains("--data"));
    }

    /// An error with the operating system's below it.
    #[derive(Debug)]
    struct Wrapped(io::Error);

    impl std::fmt::Display for Wrapped {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("something happened")
        }
    }

    impl Error for Wrapped {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }
}
