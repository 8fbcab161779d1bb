//! Binding: one socket per worker on the same address, so that workers share nothing when they accept.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Socket, Type};
use weir_config::model::Protocol;

/// Connections that the kernel holds until a worker takes them.
pub(crate) const BACKLOG: i32 = 4096;

/// Why an address cannot be bound, and what to look at next.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    #[error("{0} is taken by another process; find it with `ss -l{kind}np 'sport = :{port}'` or choose another port", port = .0.port(), kind = .1.letter())]
    Taken(SocketAddr, Transport),
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

/// What is bound: one socket for each worker.
#[derive(Debug)]
pub(crate) enum Sockets {
    Tcp(Vec<TcpListener>),
    Udp(Vec<UdpSocket>),
}

/// What arrives at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    /// As `ss` takes it.
    fn letter(self) -> char {
        match self {
            Self::Tcp => 't',
            Self::Udp => 'u',
        }
    }
}

impl From<Protocol> for Transport {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Udp => Self::Udp,
            Protocol::Http | Protocol::Https | Protocol::Tcp | Protocol::TlsPassthrough => {
                Self::Tcp
            }
        }
    }
}

/// Binds `count` sockets to one address. `beside_ours`: a socket of our own already has the port, on an address that
/// this one may cover, and will soon be closed.
///
/// # Errors
/// [`BindError`]; nothing stays bound then.
pub(crate) fn bind(
    address: SocketAddr,
    transport: Transport,
    count: usize,
    beside_ours: bool,
) -> Result<Sockets, BindError> {
    let explain = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken(address, transport),
        io::ErrorKind::PermissionDenied => BindError::Denied(address, 1024),
        io::ErrorKind::AddrNotAvailable => BindError::NotOurs(address),
        _ => BindError::Other(address, error),
    };
    // With SO_REUSEPORT the kernel would let a second Weir of the same user share the port, and half
    // of the traffic would go astray without a word: one socket without it asks first.
    if !beside_ours {
        drop(open(address, transport, false).map_err(explain)?);
    }
    let sockets = (0..count).map(|_| open(address, transport, true).map_err(explain));
    Ok(match transport {
        Transport::Tcp => Sockets::Tcp(
            sockets
                .map(|s| s.map(Into::into))
                .collect::<Result<_, _>>()?,
        ),
        Transport::Udp => Sockets::Udp(
            sockets
                .map(|s| s.map(Into::into))
                .collect::<Result<_, _>>()?,
        ),
    })
}

fn open(address: SocketAddr, transport: Transport, share: bool) -> io::Result<Socket> {
    let (kind, protocol) = match transport {
        Transport::Tcp => (Type::STREAM, socket2::Protocol::TCP),
        Transport::Udp => (Type::DGRAM, socket2::Protocol::UDP),
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    // On UDP it would let anybody in beside us.
    socket.set_reuse_address(transport == Transport::Tcp)?;
    socket.set_reuse_port(share)?;
    if address.is_ipv6() {
        // `[::]` serves IPv4 as well, as people expect of "all addresses".
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    // Without a listen there is no queue, so nothing can be lost with the socket that only asks.
    if share && transport == Transport::Tcp {
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind_tcp(
        address: SocketAddr,
        count: usize,
        ours: bool,
    ) -> Result<Vec<TcpListener>, BindError> {
        bind(address, Transport::Tcp, count, ours).map(|sockets| match sockets {
            Sockets::Tcp(sockets) => sockets,
            Sockets::Udp(_) => unreachable!("TCP was asked for"),
        })
    }

    #[test]
    fn a_taken_port_is_refused_and_named() {
        let first = bind_tcp("127.0.0.1:0".parse().unwrap(), 1, false).unwrap();
        let address = first[0].local_addr().unwrap();
        let error = bind_tcp(address, 1, false).unwrap_err();
        assert!(matches!(error, BindError::Taken(..)), "{error}");
        assert!(error.to_string().contains(&address.port().to_string()));
    }

    #[test]
    fn a_taken_port_of_udp_is_refused_though_it_could_be_shared() {
        // The same number of TCP may be somebody else's: then with another number.
        let beside = (0..20).any(|_| {
            let Sockets::Udp(first) =
                bind("127.0.0.1:0".parse().unwrap(), Transport::Udp, 1, false).unwrap()
            else {
                panic!("UDP was asked for");
            };
            let address = first[0].local_addr().unwrap();
            let error = bind(address, Transport::Udp, 1, false).unwrap_err();
            assert!(matches!(error, BindError::Taken(..)), "{error}");
            bind(address, Transport::Tcp, 1, false).is_ok()
        });
        assert!(beside, "a port of TCP beside one of UDP");
    }

    #[test]
    fn workers_share_one_port() {
        let probe = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        assert_eq!(bind_tcp(probe, 3, false).unwrap().len(), 3);
    }

    #[test]
    fn a_wider_address_is_bound_beside_our_own() {
        let first = bind_tcp("127.0.0.1:0".parse().unwrap(), 1, false).unwrap();
        let port = first[0].local_addr().unwrap().port();
        let wide = SocketAddr::from(([0, 0, 0, 0], port));
        assert!(bind_tcp(wide, 1, false).is_err());
        assert_eq!(bind_tcp(wide, 1, true).unwrap().len(), 1);
    }
}
