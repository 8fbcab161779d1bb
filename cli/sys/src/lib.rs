//! The allocator, and what is asked of it and of the kernel that no safe crate offers.
//!
//! This is the only crate of Weir that may hold unsafe code.

mod socket;

use std::ffi::c_void;
use std::io;

use rustix::mm::{Advice, madvise};

pub use mimalloc::MiMalloc;
pub use socket::unacknowledged;

/// Gives memory back to the system that has been free for a second, by mimalloc's default.
///
/// The allocator does that by itself where a program goes on allocating. Threads that read a configuration and then sleep would
/// never come to it: with 1,000 routes that is twice the memory. To be called now and then, by any thread.
pub fn release_memory() {
    // SAFETY: it may be called at any time; what is in use is not touched.
    unsafe { libmimalloc_sys::mi_collect(false) }
}

/// Gives back the pages of this program's own code that are in memory; how many bytes of code there are.
///
/// Most of what starting up has run, reading configuration and building tables, is not run again, and it is half of what an idle
/// process holds. What is run again comes back by itself: the pages are still in the kernel's cache of the file.
///
/// # Errors
/// When `/proc` cannot be read, or the kernel refuses; nothing is changed then.
pub fn release_code() -> io::Result<usize> {
    let program = std::fs::read_link("/proc/self/exe")?;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let mut released = 0;
    for (start, length) in maps.lines().filter_map(|line| code_of(line, &program)) {
        // SAFETY: a mapping that may be executed and not written holds what the file holds, byte for byte, and no page of it
        // has ever been changed. Whoever touches it next is given the same bytes.
        unsafe { madvise(start as *mut c_void, length, Advice::LinuxDontNeed) }?;
        released += length;
    }
    Ok(released)
}

/// Where a line of `/proc/self/maps` says that code of that program is mapped: its start and its length.
fn code_of(line: &str, program: &std::path::Path) -> Option<(usize, usize)> {
    let mut words = line.splitn(6, ' ');
    let (start, end) = words.next()?.split_once('-')?;
    let is_code = words.next()? == "r-xp";
    let file = words.nth(3)?.trim_start();
    if !is_code || std::path::Path::new(file) != program {
        return None;
    }
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some((start, end.checked_sub(start)?))
}
