//! Ending the process, where going on could give a wrong answer.

/// Something on disk is not what it must be.
pub(crate) fn halt_on_damage(what: &str) -> ! {
    halt(&format!("{what}; restore the data directory from a backup"))
}

/// The program is wrong. What it has in memory is not to be trusted; what is acknowledged is in the
/// log.
pub(crate) fn halt_on_bug(what: &str) -> ! {
    halt(&format!(
        "{what}; this is a bug: report this message. The node ends rather than use the wrong data; \
         a restart recovers from the log"
    ))
}

fn halt(message: &str) -> ! {
    tracing::error!("{message}");
    // An embedding program need not show what is traced, and nothing else says why it ended.
    eprintln!("thalweg: {message}");
    std::process::abort()
}
