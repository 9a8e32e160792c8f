//! The memory allocator. Requests allocate and free small things on several threads at once, queries large ones by the second;
//! mimalloc is made for both.

use libmimalloc_sys::{mi_option_set_default, mi_option_t};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc.h; the bindings leave it out.
const PURGE_DELAY: mi_option_t = 15;
/// Ten times this (`mi_option_arena_purge_mult`) is how long memory that nobody uses stays with the process. With mimalloc's
/// own 10 ms a query gave its batches back to the system while the next ones were on their way: TPC-H took a fifth longer.
const PURGE_DELAY_MS: std::ffi::c_long = 1_000;

/// Sets the allocator up; `MIMALLOC_PURGE_DELAY` in the environment is stronger.
#[expect(unsafe_code, reason = "the bindings have no safe function for options")]
pub(crate) fn configure() {
    // SAFETY: stores a word in a table of the library's, which checks the index; there is no second thread yet.
    unsafe { mi_option_set_default(PURGE_DELAY, PURGE_DELAY_MS) }
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
        assert_eq!(delay_ms(), 10, "mimalloc's own delay");
        super::configure();
        assert_eq!(delay_ms(), super::PURGE_DELAY_MS);
    }
}
