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
    #[error(
        "{0} cannot take what tproxy hands over: that needs CAP_NET_RAW, in a container `cap_add: [NET_RAW]` as root \
         (`user: \"0:0\"`); or choose --interception redirect, here and with --init"
    )]
    NotTransparent(SocketAddr),
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

/// Where to bind, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) transport: Transport,
    /// The kernel may hand over connections that are made to others. Of no meaning for UDP.
    pub(crate) transparent: bool,
}

/// Binds `count` sockets to one address. `beside_ours`: a socket of our own already has the port, on an address that
/// this one may cover, and will soon be closed.
///
/// # Errors
/// [`BindError`]; nothing stays bound then.
pub(crate) fn bind(place: Place, count: usize, beside_ours: bool) -> Result<Sockets, BindError> {
    // With SO_REUSEPORT the kernel would let a second Weir of the same user share the port, and half
    // of the traffic would go astray without a word: one socket without it asks first.
    if !beside_ours {
        drop(open(place, false)?);
    }
    let sockets = (0..count).map(|_| open(place, true));
    Ok(match place.transport {
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

fn open(place: Place, share: bool) -> Result<Socket, BindError> {
    let Place {
        address, transport, ..
    } = place;
    let explain = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken(address, transport),
        io::ErrorKind::PermissionDenied => BindError::Denied(address, 1024),
        io::ErrorKind::AddrNotAvailable => BindError::NotOurs(address),
        _ => BindError::Other(address, error),
    };
    let socket = bound(place, share).map_err(explain)?;
    if transport == Transport::Tcp {
        // Behind the bind, which would take any address of a transparent socket.
        if place.transparent {
            make_transparent(&socket, address)?;
        }
        // Without a listen there is no queue, so nothing can be lost with the socket that only asks.
        if share {
            socket.listen(BACKLOG).map_err(explain)?;
        }
    }
    Ok(socket)
}

fn bound(place: Place, share: bool) -> io::Result<Socket> {
    let Place {
        address, transport, ..
    } = place;
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
    Ok(socket)
}

fn make_transparent(socket: &Socket, address: SocketAddr) -> Result<(), BindError> {
    // One mark of the socket behind both options: with that of IPv6, `[::]` takes what is handed over of IPv4 as well.
    let made = match address.is_ipv4() {
        true => socket.set_ip_transparent_v4(true),
        false => socket.set_ip_transparent_v6(true),
    };
    made.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => BindError::NotTransparent(address),
        _ => BindError::Other(address, error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: SocketAddr) -> Place {
        Place {
            address,
            transport: Transport::Tcp,
            transparent: false,
        }
    }

    fn udp(address: SocketAddr) -> Place {
        Place {
            transport: Transport::Udp,
            ..tcp(address)
        }
    }

    fn bind_tcp(
        address: SocketAddr,
        count: usize,
        ours: bool,
    ) -> Result<Vec<TcpListener>, BindError> {
        bind(tcp(address), count, ours).map(|sockets| match sockets {
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
            let Sockets::Udp(first) = bind(udp("127.0.0.1:0".parse().unwrap()), 1, false).unwrap()
            else {
                panic!("UDP was asked for");
            };
            let address = first[0].local_addr().unwrap();
            let error = bind(udp(address), 1, false).unwrap_err();
            assert!(matches!(error, BindError::Taken(..)), "{error}");
            bind(tcp(address), 1, false).is_ok()
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

    #[test]
    fn what_is_handed_over_is_taken_or_the_privilege_is_named() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let place = Place {
                transparent: true,
                ..tcp(address.parse().unwrap())
            };
            match bind(place, 1, false) {
                Ok(Sockets::Tcp(sockets)) => {
                    let socket = socket2::SockRef::from(&sockets[0]);
                    let transparent = match place.address.is_ipv4() {
                        true => socket.ip_transparent_v4(),
                        false => socket.ip_transparent_v6(),
                    };
                    assert!(transparent.unwrap());
                }
                Ok(Sockets::Udp(_)) => unreachable!("TCP was asked for"),
                Err(error) => assert!(error.to_string().contains("CAP_NET_RAW"), "{error}"),
            }
        }
    }
}
