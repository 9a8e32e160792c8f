//! The memory allocator. Requests allocate and free small things on several threads at once,
//! queries allocate large ones; mimalloc is made for both.

use libmimalloc_sys::{mi_option_set_default, mi_option_t};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc.h; the bindings leave it out.
const PURGE_DELAY: mi_option_t = 15;
/// How long memory that nobody uses stays with the process. With mimalloc's own second, queries
/// that follow each other had their memory taken away and faulted in again: TPC-H took 4 to 8 %
/// longer.
const PURGE_DELAY_MS: std::ffi::c_long = 60_000;

/// Sets the allocator up; `MIMALLOC_PURGE_DELAY` in the environment is stronger.
#[expect(unsafe_code, reason = "the bindings have no safe function for options")]
pub(crate) fn configure() {
    // SAFETY: stores a word in a table of the library's, which checks the index; there is no second
    // thread yet.
    unsafe { mi_option_set_default(PURGE_DELAY, PURGE_DELAY_MS) }
}

/// Gives memory that nobody uses back to the system at once.
#[expect(unsafe_code, reason = "the bindings have no safe function for it")]
pub(crate) fn give_back() {
    // SAFETY: may be called at any time from any thread.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

#[cfg(test)]
mod tests {
    /// The number above is the library's only as long as its header says so.
    #[test]
    fn the_option_is_the_delay() {
        // SAFETY: reads a number from a table of the library's, which checks the index.
        #[expect(unsafe_code, reason = "the bindings have no safe function for options")]
        let delay_ms = || unsafe { libmimalloc_sys::mi_option_get(super::PURGE_DELAY) };
        if std::env::var_os("MIMALLOC_PURGE_DELAY").is_some() {
            return;
        }
        assert_eq!(delay_ms(), 1_000, "mimalloc's own delay");
        super::configure();
        assert_eq!(delay_ms(), super::PURGE_DELAY_MS);
    }
}
