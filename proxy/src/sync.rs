//! What generations are published and followed through: of std and arc-swap, or, where the order is checked under every
//! interleaving (`runtime/generations/loom.rs`, feature `loom`), the model checker's own.

#[cfg(not(all(feature = "loom", test)))]
mod real {
    pub(crate) use arc_swap::ArcSwap;
    pub(crate) use arc_swap::cache::Cache;
    pub(crate) use std::sync::atomic::{AtomicU8, AtomicU32, fence};
    pub(crate) use std::sync::{Mutex, MutexGuard};
}

#[cfg(not(all(feature = "loom", test)))]
pub(crate) use real::*;

#[cfg(all(feature = "loom", test))]
mod model;

#[cfg(all(feature = "loom", test))]
pub(crate) use model::*;
