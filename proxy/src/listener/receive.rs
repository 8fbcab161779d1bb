//! Receiving a connection: for whom it is made, by its PROXY header.

use std::net::SocketAddr;

use tokio::net::TcpStream;
use weir_config::model::{Limits, ProxyProtocol};

use super::proxy_protocol::{self, Addresses, HeaderError, Start};
use crate::buffer::Buffer;
use crate::http::h1::flow::poll_fill;
use crate::timer::Alarm;
use crate::worker::Worker;

/// What a header said; the bytes behind it are left in the buffer.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// `None` without a header, or with one that names nobody.
    pub(crate) addresses: Option<Addresses>,
    /// Extensions that go on to endpoints.
    pub(crate) tlvs: Vec<u8>,
    /// Nobody may send a header on this connection, so one at its start is a forgery.
    pub(crate) suspect: bool,
}

/// Why a connection is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    #[error("the client went away before it said for whom it speaks")]
    Gone,
    #[error("the PROXY header did not arrive in time")]
    Late,
    #[error("the PROXY header cannot be understood: {0}")]
    Malformed(#[from] HeaderError),
    #[error("there is no PROXY header, which this peer must send")]
    Missing,
}

/// Reads the header of a peer that may send one. Others are not waited for.
pub(crate) async fn header(
    worker: &Worker,
    stream: &mut TcpStream,
    alarm: &Alarm,
    buffer: &mut Buffer,
    peer: SocketAddr,
    settings: &ProxyProtocol,
    limits: &Limits,
) -> Result<Said, ReceiveError> {
    if !settings.trusts(peer.ip()) {
        return Ok(Said {
            suspect: true,
            ..Said::default()
        });
    }
    let (mut from, _) = stream.split();
    if buffer.capacity() == 0 {
        *buffer = worker.buffers.small();
    }
    alarm.set(worker.timers.now() + limits.head_timeout.as_millis() as u64);
    loop {
        match proxy_protocol::read(buffer)? {
            Start::Header(header) => {
                let tlvs = buffer.get(header.tlvs).unwrap_or_default();
                let said = Said {
                    addresses: header.addresses,
                    tlvs: match settings.pass_tlvs {
                        true => proxy_protocol::passable(tlvs),
                        false => Vec::new(),
                    },
                    suspect: false,
                };
                buffer.consume(header.len);
                return Ok(said);
            }
            Start::Other if settings.required => return Err(ReceiveError::Missing),
            Start::Other => return Ok(Said::default()),
            Start::Partial => {}
        }
        // The longest header fits the smallest buffer, so there is room.
        match alarm.watch(|cx| poll_fill(cx, &mut from, buffer)).await {
            Ok(Ok(read)) if read > 0 => {}
            Ok(_) => return Err(ReceiveError::Gone),
            Err(_) => return Err(ReceiveError::Late),
        }
    }
}
