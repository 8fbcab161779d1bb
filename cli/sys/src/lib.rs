//! The allocator, and what is asked of it and of the kernel that no safe crate offers.
//!
//! This is the only crate of Weir that may hold unsafe code.

mod allocator;
mod socket;

use std::ffi::c_void;
use std::io;

use rustix::mm::{Advice, madvise};

pub use allocator::Allocator;
pub use socket::unacknowledged;

/// Gives memory back to the system that has been free for a second, by mimalloc's default.
///
/// The allocator does that by itself where a program goes on allocating. Threads that read a configuration and then sleep would
/// never come to it: with 1,000 routes that is twice the memory. To be called now and then, by any thread.
pub fn release_memory() {
    // SAFETY: it may be called at any time; what is in use is not touched.
    unsafe { libmimalloc_sys::mi_collect(false) }
}

/// Gives back what is in memory of files that are mapped here and that nobody can write by that: this program's code and constants,
/// and those of the libraries below it. Returns how many bytes of files that is about.
///
/// Most of what starting up has run, reading configuration and building tables, is not run again, and it is half of what an idle
/// process holds. What is run again comes back by itself: the pages are still in the kernel's cache of the file.
///
/// # Errors
/// When `/proc` cannot be read, or the kernel refuses; what was not given back by then stays.
pub fn release_code() -> io::Result<usize> {
    let maps = std::fs::read_to_string("/proc/self/smaps")?;
    let mut released = 0;
    for (start, length) in unchanged(&maps) {
        // SAFETY: a private mapping of a file that cannot be written, and of which no page is this process's own, holds what the
        // file holds, byte for byte. Whoever touches it next is given the same bytes. Nobody here makes such a mapping
        // writable; the loader did so for relocations before `main`, whose pages are this process's own and count as such.
        unsafe { madvise(start as *mut c_void, length, Advice::LinuxDontNeed) }?;
        released += length;
    }
    Ok(released)
}

/// Where `/proc/self/smaps` (proc(5)) says that a file is mapped privately, cannot be written, and has no page of this process's
/// own: each start and length.
fn unchanged(maps: &str) -> impl Iterator<Item = (usize, usize)> + '_ {
    let mut mapped = None;
    maps.lines().filter_map(move |line| {
        if let Some(own) = line.strip_prefix("Anonymous:") {
            return mapped.take().filter(|_| own.trim() == "0 kB");
        }
        if let Some(file) = file_of(line) {
            mapped = file;
        }
        None
    })
}

/// Of the line that begins a mapping: where it is, if it is one of a file that cannot be written. The outer `None`: it is
/// another line.
fn file_of(line: &str) -> Option<Option<(usize, usize)>> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let length = usize::from_str_radix(end, 16).ok()?.checked_sub(start)?;
    let is_read = matches!(words.next(), Some("r-xp" | "r--p"));
    let is_file = words.nth(3).is_some_and(|name| name.starts_with('/'));
    Some((is_read && is_file).then_some((start, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_is_mapped_only_files_that_are_as_they_were_are_given_back() {
        let maps = "\
55d26a0c1000-55d26a5e5000 r--p 00000000 fe:00 917 /usr/bin/weir
Size:               5264 kB
Anonymous:             0 kB
VmFlags: rd mr mw me
55d26a5e5000-55d26b9a1000 r-xp 00523000 fe:00 917 /usr/bin/weir (deleted)
Anonymous:             0 kB
55d26b9a1000-55d26ba33000 r--p 018df000 fe:00 917 /usr/bin/weir
Anonymous:           584 kB
55d26ba33000-55d26ba34000 rw-p 01970000 fe:00 917 /usr/bin/weir
Anonymous:             0 kB
306dd800000-306ddb80000 r--p 00000000 00:00 0
Anonymous:             0 kB
7ffc36fb1000-7ffc36fb3000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
7f80629c2000-7f8062b18000 r-xs 00026000 fe:00 12 /srv/shared
Anonymous:             0 kB
";
        let found: Vec<_> = unchanged(maps).collect();
        let expected = [
            (0x55d2_6a0c_1000, 0x52_4000),
            (0x55d2_6a5e_5000, 0x13b_c000),
        ];
        assert_eq!(found, expected);
    }
}
