//! UDP: datagrams passed on in sessions.
//!
//! A session is a client's address: its datagrams go to one endpoint, from a socket of its own, and what comes back on
//! that socket goes to the client from the listener's. The kernel gives all datagrams of a client to the socket of one
//! worker as long as the sockets of the address stay the same (`SO_REUSEPORT`), so sessions need no lock; sockets are
//! made once for each worker and kept. What cannot be passed on is dropped and counted, as UDP would.

mod drop;
mod listen;
mod session;

pub(crate) use listen::start;
