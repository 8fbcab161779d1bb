//! Whether a client may connect, by what is known of it before it says anything.

use std::net::SocketAddr;
use std::sync::Arc;

use weir_decide::authorize::Call;

use super::Entry;
use crate::authorize::Judged;
use crate::snapshot::ListenerTable;
use crate::telemetry::metrics::Shard;
use crate::tls::TlsInfo;
use crate::worker::Worker;

/// Who opened a stream.
pub(crate) struct Who {
    pub(crate) source: SocketAddr,
    /// `None`: what is passed on as it is has proved no identity to us.
    pub(crate) tls: Option<Arc<TlsInfo>>,
    /// The name that was asked for.
    pub(crate) server_name: Option<String>,
}

/// Whether a stream may begin; it is counted.
pub(crate) fn admits(worker: &Worker, table: &ListenerTable, who: &Who, entry: &mut Entry) -> bool {
    let judged = judge(table, who, Some(&worker.metrics));
    entry.policy = judged.policy.cloned();
    judged.admitted
}

/// Whether it may go on; it is counted where there are metrics.
pub(crate) fn judge<'a>(
    table: &'a ListenerTable,
    who: &Who,
    metrics: Option<&Shard>,
) -> Judged<'a> {
    let mut judged = Judged {
        admitted: true,
        policy: None,
    };
    // It may have been opened before as much was asked for as is now.
    if let Some(tls) = &table.tls
        && !tls.takes(who.tls.as_deref())
    {
        judged.admitted = false;
        return judged;
    }
    let Some(guard) = &table.guard else {
        return judged;
    };
    let address = who.source.ip().to_canonical();
    let call: Call<'_, ()> = Call {
        listener: table.listener.name.as_str(),
        principal: who.tls.as_deref().and_then(TlsInfo::identity),
        peer: address,
        client: address,
        port: guard.port(),
        server_name: who.server_name.as_deref(),
        request: None,
    };
    guard.judge(&call, metrics)
}
