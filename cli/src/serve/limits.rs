//! What the process asks of the kernel before it starts.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of open files to what the kernel allows this process: each connection takes one, often two.
///
/// A failure is logged and nothing else: the proxy derives its own bound on connections from what is there.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => {
            tracing::debug!(from = ?limit.current, to = ?limit.maximum, "raised the limit of open files")
        }
        Err(error) => {
            tracing::warn!(%error, current = ?limit.current, "cannot raise the limit of open files")
        }
    }
}

/// Asks the kernel for ordinary pages. The allocator advises huge ones for its arenas, and a proxy that touches
/// a little of each of many regions would be resident with 2 MiB for every one of them: three times the
/// memory when idle, twenty for each idle connection. Where the kernel refuses, nothing else changes.
pub(crate) fn use_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay on");
    }
}
