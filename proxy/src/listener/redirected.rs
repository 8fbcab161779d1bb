//! Connections that the kernel redirected here (nft, `redirect`).

use std::net::SocketAddr;

use socket2::SockRef;
use tokio::net::TcpStream;

/// Where a connection was going before it was redirected. `None`: here.
pub(super) fn destination(stream: &TcpStream) -> Option<SocketAddr> {
    let here = stream.local_addr().ok()?;
    // A socket of `[::]` has connections over IPv4, too, and the kernel knows of those as what they are.
    let here = SocketAddr::new(here.ip().to_canonical(), here.port());
    let socket = SockRef::from(stream);
    let asked = match here.is_ipv4() {
        true => socket.original_dst_v4(),
        false => socket.original_dst_v6(),
    };
    // Without a redirection the kernel knows of none.
    let there = asked.ok()?.as_socket()?;
    (there != here).then_some(there)
}
