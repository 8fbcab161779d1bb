//! The mesh: sidecars with identities between apps on loopback, and everybody who has none.

mod access;
mod calls;
mod plane;
mod renews;
mod strangers;
mod streams;
