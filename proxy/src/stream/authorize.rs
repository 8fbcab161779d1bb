//! Whether a client may connect, by what is known of it before it says anything.

use std::net::SocketAddr;

use weir_decide::authorize::Call;

use super::Entry;
use crate::snapshot::ListenerTable;
use crate::tls::TlsInfo;
use crate::worker::Worker;

/// Whether the stream may go on; it is counted. What is passed on as it is (`tls` is `None`) has proved no identity to us.
pub(crate) fn admits(
    worker: &Worker,
    table: &ListenerTable,
    source: SocketAddr,
    tls: Option<&TlsInfo>,
    entry: &mut Entry,
) -> bool {
    let Some(guard) = &table.guard else {
        return true;
    };
    let address = source.ip().to_canonical();
    let call: Call<'_, ()> = Call {
        listener: table.listener.name.as_str(),
        principal: tls.and_then(TlsInfo::identity),
        peer: address,
        client: address,
        port: guard.port(),
        server_name: entry.server_name.as_deref(),
        request: None,
    };
    let judged = guard.judge(&call, Some(&worker.metrics));
    entry.policy = judged.policy.cloned();
    judged.admitted
}
