//! The mesh: sidecars with identities between apps on loopback, and everybody who has none.

mod access;
mod calls;
mod handed_over;
mod idle;
mod joins;
mod plane;
mod redirected;
mod renews;
mod rules;
mod strangers;
mod streams;
mod wait;
