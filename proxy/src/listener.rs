//! Listeners: binding, accepting.

pub(crate) mod accept;
pub(crate) mod bind;
