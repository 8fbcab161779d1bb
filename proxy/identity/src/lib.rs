//! A workload's own end of the mesh: its key, its certificate, and what it trusts.
//!
//! [`start`] gets an [`Identity`] from where [`Source`] says and keeps it current: from the control plane's authority (by a token the first
//! time, by the certificate itself from then on), from files that somebody else renews, or from an agent that speaks the SPIFFE
//! Workload API. The private key is made here and leaves for nowhere but the state directory.
//!
//! What is valid is kept for as long as it is, whatever becomes of those who renew it.

mod authority;
mod channel;
mod files;
mod identity;
mod keeper;
mod key;
mod last;
mod schedule;
mod status;
mod verify;
mod workload;
mod world;

pub use authority::{FromAuthority, TOKEN_SECRET, TokenSource};
pub use files::FromFiles;
pub use identity::{BadIdentity, Identity};
pub use keeper::{Kept, Source, StartError, start};
pub use status::{Standing, Status};
pub use workload::FromWorkloadApi;
pub use world::World;
