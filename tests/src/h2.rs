//! HTTP/2 ends for the tests, on the `h2` crate, with the same blocking face as those of HTTP/1.
//!
//! All connections of a test binary are driven by one thread; a call here waits for it, with a
//! deadline. [`raw`] writes frames byte by byte for what `h2` would never send.

mod client;
mod origin;
pub mod raw;

use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};

pub use client::{Client, Response, Stream};
pub use origin::{Origin, Reply, Seen};

use crate::wait::PATIENCE;

/// The thread that drives every connection.
fn driver() -> &'static Handle {
    static HANDLE: OnceLock<Handle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let handle = runtime.handle().clone();
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        handle
    })
}

/// Waits for a future that the driver moves on.
///
/// # Panics
/// When it takes longer than the patience of a test.
fn wait<T>(what: &str, future: impl Future<Output = T>) -> T {
    wait_within(PATIENCE, future)
        .unwrap_or_else(|| panic!("waited {PATIENCE:?} for this in vain: {what}"))
}

/// Waits that long; `None` when it takes longer.
fn wait_within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    driver().block_on(async { tokio::time::timeout(limit, future).await.ok() })
}
