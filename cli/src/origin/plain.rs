//! An origin below HTTP: it says who it is, and sends back what it gets.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;

use super::Identity;

/// Bytes read at once; the largest datagram fits.
const BUFFER: usize = 64 * 1024;

/// One bound address.
pub(crate) enum Plain {
    Tcp(std::net::TcpListener, Identity),
    Udp(std::net::UdpSocket, Identity),
}

impl Plain {
    /// Binds a TCP address; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address is taken or not this machine's.
    pub(crate) fn tcp(listen: SocketAddr, identity: Identity) -> io::Result<Self> {
        let socket = std::net::TcpListener::bind(listen)?;
        socket.set_nonblocking(true)?;
        Ok(Self::Tcp(socket, identity))
    }

    /// Binds a UDP address; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address is taken or not this machine's.
    pub(crate) fn udp(listen: SocketAddr, identity: Identity) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind(listen)?;
        socket.set_nonblocking(true)?;
        Ok(Self::Udp(socket, identity))
    }

    /// `tcp 127.0.0.1:9001`, with the port that was really taken.
    ///
    /// # Errors
    /// When the socket does not tell.
    pub(crate) fn address(&self) -> io::Result<String> {
        Ok(match self {
            Self::Tcp(socket, _) => format!("tcp {}", socket.local_addr()?),
            Self::Udp(socket, _) => format!("udp {}", socket.local_addr()?),
        })
    }

    /// Serves until `stop`. Streams have no end of their own, so those that are open then are closed.
    ///
    /// # Errors
    /// When the socket cannot be watched by the runtime.
    pub(crate) async fn serve(self, stop: CancellationToken) -> io::Result<()> {
        match self {
            Self::Tcp(socket, identity) => {
                tcp(TcpListener::from_std(socket)?, identity, stop).await
            }
            Self::Udp(socket, identity) => udp(UdpSocket::from_std(socket)?, identity, stop).await,
        }
        Ok(())
    }
}

async fn tcp(listener: TcpListener, identity: Identity, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (line, stop) = (identity.line.clone(), stop.clone());
                    tokio::spawn(async move {
                        tokio::select! {
                            () = stop.cancelled() => {}
                            // A connection that a client breaks is that client's affair.
                            _ = greet_and_echo(stream, &line) => {}
                        }
                    });
                }
                // Out of descriptors, or a client that left: neither ends the origin.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
}

async fn greet_and_echo(mut stream: TcpStream, line: &[u8]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(line).await?;
    let mut buffer = vec![0; BUFFER];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return stream.shutdown().await,
            len => stream.write_all(&buffer[..len]).await?,
        }
    }
}

async fn udp(socket: UdpSocket, identity: Identity, stop: CancellationToken) {
    let greeting = format!("{} {} ", identity.name, identity.version).into_bytes();
    let mut buffer = vec![0; greeting.len() + BUFFER];
    buffer[..greeting.len()].copy_from_slice(&greeting);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            // What goes wrong with one datagram is that datagram's affair.
            Ok((len, from)) = socket.recv_from(&mut buffer[greeting.len()..]) => {
                let _ = socket.send_to(&buffer[..greeting.len() + len], from).await;
            }
            else => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}
