//! Opening a connection to an endpoint.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::timer::{Alarm, Rung};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("timed out or was called off")]
    Rung(Rung),
}

/// Connects; the alarm's deadline bounds it.
pub(crate) async fn connect(address: SocketAddr, alarm: &Alarm) -> Result<TcpStream, ConnectError> {
    let mut connecting = std::pin::pin!(TcpStream::connect(address));
    let stream = alarm
        .watch(|cx| connecting.as_mut().poll(cx))
        .await
        .map_err(ConnectError::Rung)??;
    stream.set_nodelay(true)?;
    Ok(stream)
}
