//! What a server may make a proxy hold.

/// Bounds on what is taken from a server; what is above them is refused and counted, and the state before stays in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message. Default 64 MiB.
    pub message_bytes: usize,
    /// Resources of one type. Default 50,000.
    pub resources: usize,
    /// Bytes of all resources together. Default 256 MiB.
    pub total_bytes: usize,
    /// Bytes of one resource's name. Default 1 KiB.
    pub name_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 64 << 20,
            resources: 50_000,
            total_bytes: 256 << 20,
            name_bytes: 1 << 10,
        }
    }
}

/// How many refused resources one answer names; how many more there were is said.
pub(crate) const NAMED_IN_ANSWER: usize = 20;
/// Bytes of the reason in one answer. It travels in a message, but a server may write it into a header or a log.
pub(crate) const REASON_BYTES: usize = 4 << 10;
/// Nonces of one stream that are remembered, so that a response which comes again is known.
pub(crate) const NONCES: usize = 1024;
/// Messages to a server that wait to be sent. A server that does not read for that long is left.
pub(crate) const OUTBOX: usize = 1024;
/// Responses that are taken together before anything is put in force.
pub(crate) const BATCH: usize = 64;
