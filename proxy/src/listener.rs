//! Listeners: binding, accepting, PROXY headers.

pub(crate) mod accept;
pub(crate) mod bind;
pub(crate) mod counted;
pub mod proxy_protocol;
pub(crate) mod receive;
mod redirected;
pub(crate) mod stop;
