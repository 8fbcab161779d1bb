//! Tracing as JSON, without the values of what is sent along with spans: they may be keys.

use serde_json::{Value, json};

use crate::model::{Otlp, Tracing};
use crate::raw::duration_text;

pub(super) fn tracing(tracing: &Tracing) -> Value {
    json!({
        "sampling": f64::from(tracing.sampling.hundredths()) / 100.0,
        "propagation": tracing.propagation.iter().map(|p| p.text()).collect::<Vec<_>>(),
        "trustCaller": tracing.trust_caller,
        "responseHeader": tracing.response_header,
        "otlp": tracing.otlp.as_ref().map(otlp),
    })
}

fn otlp(otlp: &Otlp) -> Value {
    let scheme = if otlp.https { "https" } else { "http" };
    let host = match otlp.host.contains(':') {
        true => format!("[{}]", otlp.host),
        false => otlp.host.clone(),
    };
    let names = otlp.headers.iter().map(|(name, _)| name);
    json!({
        "endpoint": format!("{scheme}://{host}:{}{}", otlp.port, otlp.path),
        "protocol": otlp.protocol.text(),
        "headers": names.collect::<Vec<_>>(),
        "timeout": duration_text(otlp.timeout),
        "serviceName": otlp.service_name,
    })
}
