//! What a proxy of Weir reports of its load beside the fields of LRS: metrics by names that other servers pass over.

/// What a bucket of times is called; behind it stands its upper bound in microseconds.
pub const BUCKET: &str = "weir.duration_us_le:";
/// What went over TLS between identities.
pub const SECURED: &str = "weir.secured";
