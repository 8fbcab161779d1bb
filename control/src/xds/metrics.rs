//! Metric families of the xDS server.

use weir_wire::Kind;

use crate::api::types::ProxyState;
use crate::control::Shared;
use crate::metrics::{family, line};

/// All families; nothing where no server runs.
pub(crate) fn text(shared: &Shared, out: &mut String) {
    let Some(seen) = super::seen(shared) else {
        return;
    };
    let tally = &seen.tally;
    family(
        out,
        "weir_xds_connections",
        "gauge",
        "Connections of xDS clients.",
    );
    line(out, "weir_xds_connections", &[], tally.open_connections());
    family(
        out,
        "weir_xds_streams",
        "gauge",
        "Streams of configuration.",
    );
    line(out, "weir_xds_streams", &[], tally.open_streams());
    let proxies = super::proxies(shared);
    family(
        out,
        "weir_xds_proxies",
        "gauge",
        "Proxies that follow, by state.",
    );
    for state in ProxyState::ALL {
        let count = proxies.iter().filter(|proxy| proxy.state == state).count();
        line(out, "weir_xds_proxies", &[("state", state.text())], count);
    }
    family(out, "weir_xds_pushes_total", "counter", "Responses sent.");
    for counts in tally.kinds() {
        line(
            out,
            "weir_xds_pushes_total",
            &[("type", word(counts.kind))],
            counts.pushes,
        );
    }
    family(
        out,
        "weir_xds_resources_total",
        "counter",
        "Resources sent or removed in responses.",
    );
    for counts in tally.kinds() {
        line(
            out,
            "weir_xds_resources_total",
            &[("type", word(counts.kind))],
            counts.resources,
        );
    }
    family(
        out,
        "weir_xds_ack_total",
        "counter",
        "Answers to responses.",
    );
    for counts in tally.kinds() {
        for (result, count) in [("ack", counts.acks), ("nack", counts.nacks)] {
            let labels = [("type", word(counts.kind)), ("result", result)];
            line(out, "weir_xds_ack_total", &labels, count);
        }
    }
    family(
        out,
        "weir_xds_stale_total",
        "counter",
        "Answers to responses that were replaced since.",
    );
    line(out, "weir_xds_stale_total", &[], tally.stale_answers());
    family(
        out,
        "weir_xds_unserved_total",
        "counter",
        "Requests for types that are not served.",
    );
    line(
        out,
        "weir_xds_unserved_total",
        &[],
        tally.unserved_requests(),
    );
    family(
        out,
        "weir_xds_load_reports_total",
        "counter",
        "Load reports taken.",
    );
    line(
        out,
        "weir_xds_load_reports_total",
        &[],
        tally.load_reports(),
    );
    family(
        out,
        "weir_xds_refused_total",
        "counter",
        "Clients that were not let in.",
    );
    for (reason, count) in tally.refusals() {
        line(out, "weir_xds_refused_total", &[("reason", reason)], count);
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Cluster => "cluster",
        Kind::Endpoint => "endpoint",
        Kind::Secret => "secret",
        Kind::Listener => "listener",
        Kind::Route => "route",
    }
}
