//! A dump read back: what a generation served, as a model again.
//!
//! A dump has the keys of a file, so the reader of files reads it, from values rather than from text: nothing in it is
//! expanded or cut off. What it does not hold cannot come back: keys, what endpoints are shown, whom to believe. So the
//! listeners of the restored model are stand-ins that routes can be checked against, and its services call nobody over
//! TLS; whoever uses it takes both from the configuration of today.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::diagnostic::{Diagnostic, Severity};
use crate::model::{Model, Source};
use crate::raw::Document;
use crate::raw::read::{Read as _, Reader};
use crate::yaml::{Key, Kind, Mark, Node};
use crate::{Fragment, compile};

/// What a dump brings back.
#[derive(Debug, Clone, Default)]
pub struct Restored {
    /// Services, routes and streams as they were, with the endpoints that the dump holds.
    pub model: Model,
    /// The services that called their endpoints over TLS. How is not in a dump.
    pub over_tls: BTreeSet<String>,
}

/// Reads what [`crate::dump()`] wrote, or the same with some endpoints left out. `name` is where everything in the model is
/// from, for people: `generation 9`.
///
/// # Errors
/// What of it cannot be read by this version.
pub fn restore(dump: &Value, name: &str) -> Result<Restored, Vec<Diagnostic>> {
    let over_tls = services_over_tls(dump);
    let document = document(dump);
    let mut found = Vec::new();
    let mut reader = Reader::new(Arc::from(name), &mut found);
    let read = Document::read(&node(&document), &mut reader).unwrap_or_default();
    let fragment = Fragment {
        listeners: read.listeners.unwrap_or_default(),
        services: read.services.unwrap_or_default(),
        routes: read.routes.unwrap_or_default(),
        ..Fragment::default()
    };
    let compiled = compile::compile_at_rest(&fragment, Severity::Warning);
    found.extend(compiled.diagnostics);
    found.retain(Diagnostic::is_error);
    if !found.is_empty() {
        return Err(found);
    }
    let mut model = compiled.model;
    rename(&mut model, &Source::Other(Arc::from(name)));
    Ok(Restored { model, over_tls })
}

fn services_over_tls(dump: &Value) -> BTreeSet<String> {
    let services = dump["services"].as_array().into_iter().flatten();
    services
        .filter(|service| service["tls"].is_object())
        .filter_map(|service| service["name"].as_str().map(str::to_owned))
        .collect()
}

/// The dump with what a file may hold only.
fn document(dump: &Value) -> Value {
    let list = |key: &str, mend: &dyn Fn(&mut Map<String, Value>)| {
        let mut items = dump[key].clone();
        for item in items.as_array_mut().into_iter().flatten() {
            strip(item);
            if let Some(fields) = item.as_object_mut() {
                mend(fields);
            }
        }
        items
    };
    let listeners = list("listeners", &|listener| {
        // Its certificates are not here, and routes ask only what it speaks.
        if listener.remove("tls").is_some() {
            listener.insert("tls".into(), json!({ "selfSigned": true }));
        }
        // Whom to let in is for the configuration of today to say.
        listener.remove("authorization");
    });
    let services = list("services", &|service| {
        service.remove("tls");
    });
    let routes = list("routes", &|route| {
        let rules = route.get_mut("rules").and_then(Value::as_array_mut);
        let filters = rules
            .into_iter()
            .flatten()
            .filter_map(|rule| rule.get_mut("filters").and_then(Value::as_array_mut));
        filters.flatten().for_each(hsts);
    });
    json!({ "listeners": listeners, "services": services, "routes": routes })
}

/// What only a dump says, or says as `null`, is not for a file.
fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, value| {
                !value.is_null() && !matches!(key.as_str(), "source" | "id" | "admission")
            });
            map.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

/// A dump has the header's text (RFC 6797, section 6.1), a file its parts.
fn hsts(filter: &mut Value) {
    if filter["type"] != "StrictTransportSecurity" {
        return;
    }
    let text = filter["value"].as_str().unwrap_or_default().to_owned();
    let mut parts = json!({});
    for part in text.split("; ") {
        match part.split_once('=') {
            Some(("max-age", seconds)) => parts["maxAge"] = json!(age(seconds)),
            _ if part == "includeSubDomains" => parts["includeSubDomains"] = json!(true),
            _ if part == "preload" => parts["preload"] = json!(true),
            _ => {}
        }
    }
    *filter = json!({ "type": "StrictTransportSecurity", "strictTransportSecurity": parts });
}

/// Years can be written in days only.
fn age(seconds: &str) -> String {
    const DAY: u64 = 24 * 3600;
    match seconds.parse::<u64>() {
        Ok(seconds) if seconds > 0 && seconds % DAY == 0 => format!("{}d", seconds / DAY),
        _ => format!("{seconds}s"),
    }
}

/// A value as the reader takes it. Where it stands means nothing to anybody.
fn node(value: &Value) -> Node {
    let mark = Mark {
        line: 1,
        column: 1,
        span: (0, 0),
    };
    let kind = match value {
        Value::Null => Kind::Null,
        Value::Bool(on) => Kind::Scalar(on.to_string()),
        Value::Number(number) => Kind::Scalar(number.to_string()),
        Value::String(text) => Kind::Scalar(text.clone()),
        Value::Array(items) => Kind::Sequence(items.iter().map(node).collect()),
        Value::Object(map) => {
            let entry = |(key, value): (&String, &Value)| {
                let text = key.clone();
                (Key { text, mark }, node(value))
            };
            Kind::Mapping(map.iter().map(entry).collect())
        }
    };
    Node { mark, kind }
}

fn rename(model: &mut Model, source: &Source) {
    for service in &mut model.services {
        let service = Arc::make_mut(service);
        service.source = source.clone();
        for endpoint in &mut service.endpoints {
            endpoint.source = source.clone();
        }
    }
    for route in &mut model.routes {
        Arc::make_mut(route).source = source.clone();
    }
    for route in &mut model.streams {
        Arc::make_mut(route).source = source.clone();
    }
}
