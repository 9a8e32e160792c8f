//! Asking the processor to fetch memory that will be needed soon.
//!
//! A pipeline of requests knows its keys before it needs them. To fetch their memory side by side,
//! instead of one after the other, is worth more than anything else on tables that are larger than
//! the caches. The standard library has no safe function for it, so this file is one of the two of
//! the project that have `unsafe` blocks.

/// Begins to load the cache line at a reference. Changes nothing that can be observed but time.
#[inline(always)]
#[expect(
    unsafe_code,
    reason = "a prefetch reads and writes nothing and cannot fault, whatever the address"
)]
pub fn prefetch<T: ?Sized>(target: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction is a hint: it accesses no memory architecturally and raises no
    // exception.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(target).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _no_hint_on_this_processor = target;
}
