//! Every metric family of the data plane: its name, its type, what it says.
//!
//! Names are fixed, since dashboards and alerts depend on them. Units are base units and stand in the
//! name: `_seconds`, `_bytes`, `_total` (semantics 45).

/// A family as it stands in front of its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    pub name: &'static str,
    pub kind: Kind,
    /// One line, without characters that would need an escape.
    pub help: &'static str,
}

/// What kind of number a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    /// As it stands in a `# TYPE` line.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

macro_rules! families {
    ($($id:ident $kind:ident $name:literal $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $id: Family = Family { name: concat!("weir_", $name), kind: Kind::$kind, help: $help };
        )*

        /// All of them, in the order in which they are written.
        pub const ALL: &[Family] = &[$($id),*];
    };
}

families! {
    REQUESTS Counter "requests_total" "Requests that ended, by how they ended.";
    REQUEST_DURATION Histogram "request_duration_seconds" "From the first byte of a request to the last byte of its response.";
    UPSTREAM_DURATION Histogram "upstream_duration_seconds" "From the first try of a request to the head of the response.";
    REQUEST_BYTES Counter "request_bytes_total" "Bytes of requests received from clients.";
    RESPONSE_BYTES Counter "response_bytes_total" "Bytes of responses sent to clients.";
    STREAMS Counter "streams_total" "TCP connections and UDP sessions that ended, by how they ended.";
    STREAM_DURATION Histogram "stream_duration_seconds" "From the first byte of a TCP connection or UDP session to its end.";
    STREAM_RECEIVED Counter "stream_received_bytes_total" "Bytes of streams received from clients.";
    STREAM_SENT Counter "stream_sent_bytes_total" "Bytes of streams sent to clients.";
    DATAGRAMS_DROPPED Counter "datagrams_dropped_total" "UDP datagrams that were dropped, by why.";
    REDIRECTED Counter "redirected_connections_total" "Connections that the kernel redirected here, by what became of them: known, passed, refused.";
    HANDSHAKES Counter "tls_handshakes_total" "TLS handshakes with clients, by what became of them.";
    AUTHORIZED Counter "authorization_total" "Decisions about who may call, by the policy that made them.";
    INFLIGHT Gauge "inflight_requests" "Requests being served.";
    RETRIES Counter "retries_total" "Tries beyond the first, by what called for them.";
    RETRY_BODY_GONE Counter "retry_body_too_large_total" "Retries that were not made because more of the body was sent than is held.";
    MIRRORED Counter "mirror_total" "Copies of requests for mirrors, by what became of them.";
    CALLED Counter "grpc_requests_total" "Calls of gRPC that have ended, by their status.";
    ABUSED Counter "h2_abuse_total" "Connections of HTTP/2 that were ended for what their client overdid.";
    MALFORMED Counter "requests_malformed_total" "Requests that were refused before routing, by the status of the answer.";
    DOWNSTREAM Gauge "downstream_connections" "Open connections from clients, UDP sessions included.";
    DOWNSTREAM_TOTAL Counter "downstream_connections_total" "Connections accepted from clients, UDP sessions included.";
    REJECTED Counter "connections_rejected_total" "Connections from clients that could not be taken.";
    UPSTREAM Gauge "upstream_connections" "Open connections to endpoints, idle ones included.";
    ENDPOINT_HEALTH Gauge "endpoint_health" "Endpoints of a service in each state.";
    EJECTIONS Counter "ejections_total" "Endpoints found to be outliers, by what gave them away and whether they were ejected.";
    EJECTIONS_ACTIVE Gauge "ejections_active" "Endpoints that are ejected now.";
    EJECTIONS_OVERFLOW Counter "ejections_overflow_total" "Outliers that stayed in because too many others were out.";
    PANIC Gauge "panic" "1 while so few endpoints of a version are healthy that the others are used too.";
    CIRCUIT_OPEN Gauge "circuit_open" "1 while a limit of a service is reached.";
    CIRCUIT_REJECTED Counter "circuit_rejected_total" "Requests refused because a limit of a service was reached.";
    RETRY_BUDGET_EXHAUSTED Counter "retry_budget_exhausted_total" "Retries that were not made because the budget was spent.";
    OVERLOAD Gauge "overload" "The share in use of what limits the process, where 1 is all of it.";
    OVERLOAD_SHED Counter "overload_shed_total" "Requests refused because the process had as much to do as it can hold, by what it lacked.";
    PANICS Counter "panics_total" "Connections that ended because of a defect in Weir.";
    DRAIN_ACTIVE Gauge "drain_active" "1 while the process finishes what it has and takes no more.";
    LOG_DROPPED Counter "log_dropped_total" "Access log lines that were dropped because the output did not keep up.";
    SPANS_EXPORTED Counter "spans_exported_total" "Spans that the receiver has taken.";
    SPANS_DROPPED Counter "spans_dropped_total" "Spans that were recorded and came nowhere, by why.";
    SERIES_DROPPED Counter "series_dropped_total" "Series that were counted under other labels because there were too many.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Flag;

    const DOCUMENT: &str = include_str!("../../../docs/observability.md");

    #[test]
    fn every_family_is_documented() {
        for family in ALL {
            assert!(
                DOCUMENT.contains(&format!("`{}`", family.name)),
                "{}",
                family.name
            );
        }
    }

    #[test]
    fn every_flag_is_documented() {
        use Flag::{AZ, DC, DI, DPE, FI, NR, None, OM, RL, SI, UC, UF, UH, UO, URX, UT};
        for flag in [
            None, UH, UF, UO, NR, URX, UC, UT, DC, RL, DPE, DI, FI, SI, AZ, OM,
        ] {
            assert!(DOCUMENT.contains(&format!("`{}`", flag.text())), "{flag:?}");
        }
    }

    // semantics 45
    #[test]
    fn names_end_in_their_unit_and_only_counters_in_total() {
        for family in ALL {
            assert!(family.name.starts_with("weir_"), "{}", family.name);
            assert_eq!(
                family.name.ends_with("_total"),
                family.kind == Kind::Counter,
                "{}",
                family.name
            );
            assert_eq!(
                family.name.ends_with("_seconds"),
                family.kind == Kind::Histogram,
                "{}",
                family.name
            );
            assert!(!family.help.contains(['\n', '\\', '"']), "{}", family.name);
        }
    }
}
