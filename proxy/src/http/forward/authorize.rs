//! Whether the caller may ask this, of the path as it is matched and forwarded, before any rewrite.

use weir_config::model::ForwardClientCert;
use weir_decide::authorize::{Asked, Call};
use weir_decide::route::Headers;

use super::super::error::ProxyError;
use super::entry::Entry;
use super::resolve::{self, Fields};
use crate::authorize::Guard;
use crate::http::h1::head::{Field, Known};
use crate::http::h1::serve::{Connection, Scratch};
use crate::snapshot::ListenerTable;

/// Lets the request go on, or refuses it. Counted once, however often the request is routed.
pub(super) fn judge(
    conn: &Connection,
    scratch: &Scratch,
    entry: &mut Entry<'_>,
    table: &ListenerTable,
    guard: &Guard,
) -> Result<(), ProxyError> {
    let bytes = conn.buffer.filled();
    let head = &scratch.head;
    let tls = conn.client.tls.as_deref();
    let headers = Forwarded {
        fields: Fields { head, bytes },
        trusted: conn.trusted,
        own: table.listener.client_cert == ForwardClientCert::SanitizeSet,
    };
    let call = Call {
        listener: table.listener.name.as_str(),
        principal: tls.and_then(|tls| tls.identity()),
        peer: conn.client.peer.ip().to_canonical(),
        client: entry.client,
        port: guard.port(),
        server_name: tls.and_then(|tls| tls.server_name.as_deref()),
        request: Some(Asked {
            host: &scratch.host,
            method: resolve::method(head, bytes),
            path: &scratch.path,
            headers: &headers,
        }),
    };
    let first = !std::mem::replace(&mut entry.done.judged, true);
    let judged = guard.judge(&call, first.then_some(&conn.worker.metrics));
    entry.policy = judged.policy.cloned();
    match judged.admitted {
        true => Ok(()),
        false => Err(ProxyError::Forbidden),
    }
}

/// The fields that an endpoint would get: what a stranger says of certificates or addresses admits nobody.
struct Forwarded<'a> {
    fields: Fields<'a>,
    trusted: bool,
    /// We ourselves say whose certificate it is, and nobody else.
    own: bool,
}

impl Headers for Forwarded<'_> {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let goes_on = |field: &&Field| {
            let of_cert = matches!(field.known, Known::ForwardedClientCert | Known::ClientCert);
            let said = self.trusted && !(self.own && of_cert);
            !field.drop && (said || !field.known.is_identity())
        };
        self.fields
            .named(name)
            .filter(goes_on)
            .map(|field| field.value.get(self.fields.bytes))
    }
}
