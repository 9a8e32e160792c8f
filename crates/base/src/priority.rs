//! The priority of threads: those that answer keys run before those that compute.

use rustix::process::setpriority_process;

/// How much lower computing threads stand: a quarter of a processor where both kinds want it.
const STEPS: i32 = 5;

/// Lets the calling thread stand back behind those that answer keys.
pub fn lower() {
    // On Linux this is the calling thread alone. To stand lower is always allowed; where it is not,
    // nothing is lost.
    let _allowed = setpriority_process(None, STEPS);
}
