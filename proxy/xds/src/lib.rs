//! The data plane's end of xDS v3: follows a control plane over ADS, and keeps the last good state on disk.
//!
//! [`client`] is the protocol without sockets: what was told, what is complete, what is answered. [`Follower`] drives it on a
//! thread of its own, off the workers: it connects ([`Address`], [`Access`]), listens, has models put in force and tells
//! what could not be. [`last_good`] is what a proxy serves when it starts and nobody answers.
//!
//! Nothing that a control plane sends, or does not send, takes away what is in force: a resource that is refused keeps its
//! last accepted state, a set comes into force whole or not at all, and an empty one is not believed.

mod backoff;
mod channel;
pub mod client;
mod follower;
pub mod last_good;
mod limits;
mod message;
mod node;
mod references;
pub mod report;
mod set;
mod tally;
#[cfg(test)]
mod testing;

pub use channel::{Access, Address, AddressError, ChannelError, Line, OwnTls, connect_secure};
pub use follower::{Apply, Board, Follower, Options, Status};
pub use limits::Limits;
pub use message::{Given, Request, Response, Variant};
pub use node::{beside, node};
pub use tally::Reason;
