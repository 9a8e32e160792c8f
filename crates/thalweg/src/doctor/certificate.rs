//! The certificate of TLS, where it is wanted: whether a node could start with it.

use super::Finding;
use crate::refusal;
use crate::settings::Settings;
use thalweg_listen::Tls;

const WHAT: &str = "certificate";

pub(super) fn look(settings: &Settings) -> Option<Finding> {
    let files = match settings.tls_files() {
        Ok(files) => files?,
        Err(error) => return Some(bad(error.to_string())),
    };
    let found =
        format!("{} has a certificate, and it is that of its key", files.certificate.display());
    Some(match Tls::open(files) {
        Ok(_closed_again) => Finding::good(WHAT, found),
        Err(error) => bad(refusal::tls(&error)),
    })
}

fn bad(found: String) -> Finding {
    Finding::bad(WHAT, found, "a node does not start with these settings")
}
