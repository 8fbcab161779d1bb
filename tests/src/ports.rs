//! Free ports on loopback.
//!
//! A port is found by binding port 0 and letting go of it, so another process may take it before
//! it is used; whoever starts a server on one tries again with a new one ([`crate::weir`]).

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Mutex;

/// What this process has given out, so that parallel tests do not race each other.
static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A port on 127.0.0.1 that was free a moment ago, never given out twice by this process.
///
/// # Panics
/// When the machine has no port left.
#[must_use]
pub fn free() -> SocketAddr {
    for _ in 0..100 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind an ephemeral port");
        let addr = listener
            .local_addr()
            .expect("a bound socket has an address");
        let mut given = GIVEN
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if given.get_or_insert_with(HashSet::new).insert(addr.port()) {
            return addr;
        }
    }
    panic!("no free port on loopback in 100 tries");
}
