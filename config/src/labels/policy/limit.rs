//! `weir.ratelimit.*`.

use super::super::keys::Labels;
use crate::diagnostic::Diagnostic;
use crate::raw::{Meta, RateLimit};

pub(super) fn read(labels: &Labels<'_>, meta: Meta, found: &mut Vec<Diagnostic>) -> RateLimit {
    RateLimit {
        requests: labels.get("weir.ratelimit.requests", found),
        per: labels.get("weir.ratelimit.per", found),
        burst: labels.get("weir.ratelimit.burst", found),
        key: labels.get("weir.ratelimit.key", found),
        header: labels.text("weir.ratelimit.header"),
        max_keys: None,
        meta,
    }
}
