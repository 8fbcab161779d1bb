//! Binding: one socket per worker on the same address, so that workers share nothing when they accept.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel holds until a worker takes them.
pub(crate) const BACKLOG: i32 = 4096;

/// Why an address cannot be bound, and what to look at next.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    #[error("{0} is taken by another process; find it with `ss -ltnp 'sport = :{port}'` or choose another port", port = .0.port())]
    Taken(SocketAddr),
    #[error(
        "{0} needs a privilege: ports below {1} need CAP_NET_BIND_SERVICE, or \
         `sysctl net.ipv4.ip_unprivileged_port_start={port}`; or choose a higher port", port = .0.port()
    )]
    Denied(SocketAddr, u16),
    #[error("{0} is not an address of this machine; 0.0.0.0 or [::] binds all of them")]
    NotOurs(SocketAddr),
    #[error("{0} cannot be bound: {1}")]
    Other(SocketAddr, io::Error),
}

/// Binds `count` sockets to one address. `beside_ours`: a socket of our own already has the port, on an address that
/// this one may cover, and will soon be closed.
///
/// # Errors
/// [`BindError`]; nothing stays bound then.
pub(crate) fn bind(
    address: SocketAddr,
    count: usize,
    beside_ours: bool,
) -> Result<Vec<TcpListener>, BindError> {
    let explain = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken(address),
        io::ErrorKind::PermissionDenied => BindError::Denied(address, 1024),
        io::ErrorKind::AddrNotAvailable => BindError::NotOurs(address),
        _ => BindError::Other(address, error),
    };
    // With SO_REUSEPORT the kernel would let a second Weir of the same user share the port, and half
    // of the traffic would go astray without a word: one socket without it asks first.
    if !beside_ours {
        drop(open(address, false).map_err(explain)?);
    }
    (0..count)
        .map(|_| open(address, true).map_err(explain))
        .collect()
}

fn open(address: SocketAddr, share: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share)?;
    if address.is_ipv6() {
        // `[::]` serves IPv4 as well, as people expect of "all addresses".
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    // Without a listen there is no queue, so nothing can be lost with the socket that only asks.
    if share {
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_refused_and_named() {
        let first = bind("127.0.0.1:0".parse().unwrap(), 1, false).unwrap();
        let address = first[0].local_addr().unwrap();
        let error = bind(address, 1, false).unwrap_err();
        assert!(matches!(error, BindError::Taken(_)), "{error}");
        assert!(error.to_string().contains(&address.port().to_string()));
    }

    #[test]
    fn workers_share_one_port() {
        let probe = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        assert_eq!(bind(probe, 3, false).unwrap().len(), 3);
    }

    #[test]
    fn a_wider_address_is_bound_beside_our_own() {
        let first = bind("127.0.0.1:0".parse().unwrap(), 1, false).unwrap();
        let port = first[0].local_addr().unwrap().port();
        let wide = SocketAddr::from(([0, 0, 0, 0], port));
        assert!(bind(wide, 1, false).is_err());
        assert_eq!(bind(wide, 1, true).unwrap().len(), 1);
    }
}
