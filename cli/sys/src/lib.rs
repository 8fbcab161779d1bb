//! The allocator, and the one thing asked of it that no safe crate offers.
//!
//! This is the only crate of Weir that may hold unsafe code.

use std::ffi::{c_int, c_long};

pub use mimalloc::MiMalloc;

/// `mi_option_purge_delay`, by its place in mimalloc's `mi_option_t` (`mimalloc.h`: "memory purging is delayed by N
/// milli seconds; use 0 for immediate purging"); the binding has no name for it. The test below would see it move.
const PURGE_DELAY: c_int = 15;

/// Gives memory back to the system as soon as a page of it is free, instead of some time after.
///
/// The delay is meant for programs that free and take again. A proxy does not: requests are served from buffers that
/// it keeps, and what is freed in large amounts is a configuration that has been read, by threads that then sleep and
/// would never come to the delayed part. With 1,000 routes that is 15 MiB instead of 30.
///
/// To be called at the start of `main`, before other threads allocate: mimalloc's options are not guarded.
pub fn release_memory_at_once() {
    // SAFETY: the option exists, any value is allowed, and no other thread runs yet.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, c_long::from(0u8)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: MiMalloc = MiMalloc;

    /// The default is one that no option beside it has.
    const DEFAULT: c_long = 1000;

    #[test]
    fn the_option_is_the_delay_and_is_set() {
        // SAFETY: the option exists, and this is the only test of the process.
        let delay = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(delay(), DEFAULT);
        release_memory_at_once();
        assert_eq!(delay(), 0);
    }
}
