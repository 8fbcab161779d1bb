//! What the process does when there is more to do than it can hold.

use crate::Diagnostic;
use crate::raw;

/// Marks in memory, and a cap on requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overload {
    /// Bytes that the process may use; `None`: what its cgroup allows, and without such a limit memory is not watched.
    pub memory_limit: Option<u64>,
    /// Percent of the limit from which new requests are answered 503: 1 to 100. Default 90.
    pub shed_at: u8,
    /// Percent of the limit from which connections close with their answer, at most `shed_at`. Default 80, or
    /// `shed_at` where that is less.
    pub close_idle_at: u8,
    /// Most requests at once over all workers. Default none.
    pub max_requests: Option<u32>,
}

impl Default for Overload {
    fn default() -> Self {
        Self {
            memory_limit: None,
            shed_at: 90,
            close_idle_at: 80,
            max_requests: None,
        }
    }
}

/// Less than this Weir needs for itself: it would refuse every request for ever.
const LEAST: u64 = 8 << 20;

pub(super) fn resolve(raw: &raw::Overload, found: &mut Vec<Diagnostic>) -> Overload {
    let mut overload = Overload::default();
    if let Some(most) = &raw.max_requests {
        match most.value {
            0 => {
                let message = "a limit of 0 requests would let nothing through";
                let help = "leave maxRequests out for no limit";
                found.push(Diagnostic::error(&most.place, message).help(help));
            }
            most => overload.max_requests = Some(most),
        }
    }
    let Some(memory) = &raw.memory else {
        return overload;
    };
    if let Some(limit) = &memory.limit {
        if limit.value.0 < LEAST {
            let message = "the memory limit is at least 8MiB: Weir itself needs as much";
            found.push(Diagnostic::error(&limit.place, message));
        } else {
            overload.memory_limit = Some(limit.value.0);
        }
    }
    if let Some(share) = &memory.shed_at {
        overload.shed_at = share.value.0;
        overload.close_idle_at = overload.close_idle_at.min(share.value.0);
    }
    if let Some(share) = &memory.close_idle_at {
        if share.value.0 > overload.shed_at {
            let message = format!(
                "closeIdleAt ({}%) is above shedAt ({}%)",
                share.value.0, overload.shed_at
            );
            let help = "closing connections comes before refusing requests";
            found.push(Diagnostic::error(&share.place, message).help(help));
        } else {
            overload.close_idle_at = share.value.0;
        }
    }
    overload
}
