//! Bringing a connection up. What bounds it is the alarm's deadline, set by the caller.

use std::future::poll_fn;
use std::io::{self, Read};
use std::task::{Context, Poll};

use rustls::{Connection, ProtocolVersion};
use tokio::net::TcpStream;

use super::TlsError;
use super::socket::Socket;
use crate::timer::Alarm;

/// Reads and writes until both sides have what they need to carry data.
///
/// The last flight of TLS 1.3 may be left unsent: tickets, or a client's `Finished`. It goes out together with the first
/// data, or with the first read that has to wait, whichever comes first, which saves a system call for each handshake.
/// `first` is read before the socket is.
pub(super) async fn drive(
    tcp: &mut TcpStream,
    connection: &mut Connection,
    first: &mut &[u8],
    alarm: &Alarm,
) -> Result<(), TlsError> {
    let done = alarm.watch(|cx| poll_drive(cx, tcp, connection, first));
    done.await?
}

/// The same, bounded by nothing, and with nothing read before.
pub(super) async fn drive_alone(
    tcp: &mut TcpStream,
    connection: &mut Connection,
) -> Result<(), TlsError> {
    poll_fn(|cx| poll_drive(cx, tcp, connection, &mut &b""[..])).await
}

fn poll_drive(
    cx: &mut Context<'_>,
    tcp: &mut TcpStream,
    connection: &mut Connection,
    first: &mut &[u8],
) -> Poll<Result<(), TlsError>> {
    let mut socket = Socket { tcp, cx };
    loop {
        let done = !connection.is_handshaking();
        if done && connection.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
            return Poll::Ready(Ok(()));
        }
        match write_all(&mut socket, connection) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => other?,
        }
        if done {
            return Poll::Ready(Ok(()));
        }
        match connection.read_tls(&mut first.by_ref().chain(&mut socket)) {
            Ok(0) => return Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error.into())),
        }
        if let Err(error) = connection.process_new_packets() {
            // The alert that tells the peer why; one that does not fit the socket is not worth a wait.
            let _ = write_all(&mut socket, connection);
            return Poll::Ready(Err(error.into()));
        }
    }
}

/// Writes all that is ready to be sent.
pub(super) fn write_all(
    socket: &mut Socket<'_, '_>,
    connection: &mut Connection,
) -> io::Result<()> {
    while connection.wants_write() {
        if connection.write_tls(socket)? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}
