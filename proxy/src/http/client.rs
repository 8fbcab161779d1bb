//! Who is connected.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use crate::snapshot::LabelId;
use crate::telemetry::Tls;
use crate::tls::TlsInfo;
use crate::worker::Worker;

/// A client, for as long as its connection lives; the streams of one connection share it.
pub(crate) struct Client {
    pub(crate) peer: SocketAddr,
    pub(crate) peer_text: String,
    /// The lines that tell an endpoint of this peer.
    pub(crate) forwarded: Vec<u8>,
    /// What its handshake settled, where it speaks TLS to us.
    pub(crate) tls: Option<Arc<TlsInfo>>,
    /// Who it is, for metrics.
    pub(crate) source: LabelId,
    /// Until when what it showed is good, on the worker's clock. No request is taken on the connection after.
    pub(crate) until: u64,
}

impl Client {
    pub(crate) fn new(peer: SocketAddr, tls: Option<Arc<TlsInfo>>, worker: &Worker) -> Rc<Self> {
        let peer_text = peer.ip().to_canonical().to_string();
        let scheme = scheme(tls.is_some());
        let forwarded = format!(
            "X-Forwarded-For: {peer_text}\r\nX-Real-IP: {peer_text}\r\nX-Forwarded-Proto: {scheme}\r\n"
        );
        let workload = tls.as_ref().and_then(|tls| tls.workload());
        let good_for = tls.as_ref().and_then(|tls| tls.good_for());
        Rc::new(Self {
            source: workload.map_or_else(LabelId::default, |name| worker.metrics.source(name)),
            until: good_for.map_or(u64::MAX, |left| {
                let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
                worker.timers.now().saturating_add(left)
            }),
            peer,
            peer_text,
            forwarded: forwarded.into_bytes(),
            tls,
        })
    }

    /// Whether what it sends cannot be read on the way.
    pub(crate) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// What the log says of its handshake.
    pub(crate) fn tls(&self) -> Option<Tls<'_>> {
        let info = self.tls.as_deref()?;
        let peer = info.peer.as_ref().and_then(|peer| peer.names.first());
        Some(Tls {
            version: info.version(),
            sni: info.server_name.as_deref().unwrap_or_default().as_bytes(),
            alpn: info.alpn.as_str().unwrap_or_default().as_bytes(),
            peer_san: peer.map_or(b"", |name| name.as_bytes()),
        })
    }

    /// What there is to say of the certificate that it has shown.
    pub(crate) fn certificate(&self) -> Option<&str> {
        let peer = self.tls.as_deref()?.peer.as_ref()?;
        Some(&peer.told)
    }

    /// `https` or `http`.
    pub(crate) fn scheme(&self) -> &'static str {
        scheme(self.is_secure())
    }
}

fn scheme(secure: bool) -> &'static str {
    match secure {
        true => "https",
        false => "http",
    }
}
