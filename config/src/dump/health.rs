//! Active checks as JSON.

use serde_json::{Value, json};

use crate::model::{BodyMatch, GrpcProbe, HealthCheck, HealthProbe, HttpProbe, TcpProbe};
use crate::raw::{duration_text, escaped_text};

pub(super) fn health_check(check: &HealthCheck) -> Value {
    let mut out = json!({
        "port": check.port,
        "interval": duration_text(check.interval),
        "timeout": duration_text(check.timeout),
        "unhealthyThreshold": check.unhealthy_threshold,
        "healthyThreshold": check.healthy_threshold,
    });
    let (kind, probe) = match &check.probe {
        HealthProbe::Tcp(probe) => ("tcp", tcp(probe)),
        HealthProbe::Http(probe) => ("http", http(probe)),
        HealthProbe::Grpc(probe) => ("grpc", grpc(probe)),
    };
    out[kind] = probe;
    out
}

fn http(probe: &HttpProbe) -> Value {
    let header = |(name, value): &(_, _)| json!({ "name": name, "value": value });
    json!({
        "method": probe.method.as_str(),
        "path": probe.path,
        "host": probe.host,
        "headers": probe.headers.iter().map(header).collect::<Vec<_>>(),
        "expectedStatuses": probe.expected.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "body": probe.body.as_ref().map(|body| match body {
            BodyMatch::Contains(text) => json!({ "contains": text }),
            BodyMatch::Regex(regex) => json!({ "regex": regex.as_str() }),
        }),
    })
}

fn tcp(probe: &TcpProbe) -> Value {
    let text = |bytes: &Option<std::sync::Arc<[u8]>>| bytes.as_deref().map(escaped_text);
    json!({ "send": text(&probe.send), "expect": text(&probe.expect) })
}

fn grpc(probe: &GrpcProbe) -> Value {
    json!({ "service": probe.service, "authority": probe.authority })
}
