//! Schema, dump, diff, and the examples: what others read of a configuration.

use std::path::{Path, PathBuf};

use serde_json::Value;
use weir_config::model::{Model, Route};
use weir_config::references::{Held, disk};
use weir_config::{check, compile, diff, dump, file};

fn model(text: &str) -> Model {
    let loaded = file::parse_with(Path::new("weir.yaml"), text, &|_| None);
    let compiled = check(&loaded);
    assert!(!compiled.has_errors(), "{:?}", compiled.diagnostics);
    compiled.model
}

const BASE: &str = "
listeners: [{ name: web, bind: 127.0.0.1:1 }]
services:
  - name: shop
    versions: [{ name: stable }, { name: canary, weight: 5 }]
    endpoints: [{ address: 127.0.0.1:2 }, { address: 127.0.0.1:3, version: canary }]
routes: [{ name: shop, hostnames: [a.example.com], rules: [{ backendRefs: [{ name: shop }] }] }]
";

const NEW: &str = "
# A comment moves every line and changes nothing.
listeners: [{ name: web, bind: 127.0.0.1:1 }]
services:
  - name: shop
    versions: [{ name: stable }, { name: canary, weight: 25 }]
    endpoints: [{ address: 127.0.0.1:4 }, { address: 127.0.0.1:3, version: canary }]
routes:
  - { name: more, rules: [{ backendRefs: [{ name: shop }] }] }
  - name: shop
    hostnames: [a.example.com]
    rules: [{ backendRefs: [{ name: shop }], timeouts: { request: 5s } }]
";

#[test]
fn a_diff_speaks_of_routes_endpoints_and_weights() {
    let (old, new) = (model(BASE), model(NEW));
    let change = diff(&old, &new);
    assert_eq!(
        change.to_string(),
        "~ version weight shop/canary (weight: 5 -> 25)\n\
         ~ version weight shop/stable (weight: 95 -> 75)\n\
         - endpoint shop/shop@127.0.0.1:2\n\
         + endpoint shop/shop@127.0.0.1:4 (address: 127.0.0.1:4, version: stable, admission: ready)\n\
         + route more\n\
         ~ route shop (rules[0].timeouts.request: 15s -> 5s)\n"
    );
    assert!(diff(&old, &old).is_empty());
    let back = diff(&new, &old);
    assert_eq!(back.changes.len(), change.changes.len());
}

#[test]
fn a_diff_names_the_policy_that_differs() {
    let of = |policy: &str| {
        let service = format!("{{ name: shop, {policy} }}");
        model(&format!("services: [{service}]"))
    };
    let before = of("connectionPool: { tcp: { maxConnections: 10 } }");
    let after = of(
        "connectionPool: { http: { maxRetries: 1 } }, loadBalancer: { consistentHash: { useSourceIp: true } }, outlierDetection: { interval: 1s }",
    );
    let said = diff(&before, &after).to_string();
    for part in [
        "connectionPool.tcp.maxConnections: 10 -> 1024",
        "connectionPool.http.maxRetries: none -> 1",
        "loadBalancer.simple: LEAST_REQUEST -> none",
        "outlierDetection.consecutive5xxErrors: 0 -> 5",
        "outlierDetection.interval: 10s -> 1s",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
}

#[test]
fn a_diff_names_what_changes_in_a_limit_and_a_fault() {
    let of = |filters: &str| {
        let rule = format!("{{ backendRefs: [{{ name: shop }}], filters: [{filters}] }}");
        model(&format!(
            "services: [{{ name: shop }}]\nroutes: [{{ name: shop, rules: [{rule}] }}]"
        ))
    };
    let before = of(
        "{ type: RateLimit, rateLimit: { requests: 10 } }, { type: FaultInjection, faultInjection: { abort: { status: 503, percent: 5 } } }",
    );
    let after = of(
        "{ type: RateLimit, rateLimit: { requests: 10, burst: 20 } }, { type: FaultInjection, faultInjection: { abort: { status: 503, percent: 0.5 } } }",
    );
    let said = diff(&before, &after).to_string();
    for part in [
        "rateLimit.burst: 10 -> 20",
        "faultInjection.abort.percent: 5 -> 0.5",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
}

#[test]
fn lines_that_move_are_no_change() {
    let moved = model(&format!("# a comment\n\n{BASE}"));
    assert!(diff(&model(BASE), &moved).is_empty());
}

#[test]
fn a_dump_compiles_to_the_same_model_again() {
    for text in [
        include_str!("golden/file/everything.in.yaml"),
        include_str!("golden/file/policies.in.yaml"),
        include_str!("golden/file/health.in.yaml"),
        include_str!("golden/file/traffic.in.yaml"),
        include_str!("../../examples/l4.yaml"),
    ] {
        let first = model(text);
        // What only a dump says, or says as `null`, is not for a file.
        let mut dumped = dump(&first);
        strip(&mut dumped);
        let again = model(&serde_json::to_string(&dumped).unwrap());
        assert!(diff(&first, &again).is_empty(), "{}", diff(&first, &again));
        for (before, after) in first.services.iter().zip(&again.services) {
            assert_eq!(before.load_balancer, after.load_balancer);
            assert_eq!(before.pool, after.pool);
            assert_eq!(before.health_check, after.health_check);
            // What is not in force where failures are not counted apart is not in the dump either.
            let mut outlier = after.outlier.clone();
            outlier.consecutive_local_origin = before.outlier.consecutive_local_origin;
            assert_eq!(before.outlier, outlier);
        }
        for (before, after) in first.routes.iter().zip(&again.routes) {
            let filters = |route: &Route| {
                let all = route.rules.iter().map(|rule| rule.filters.clone());
                all.collect::<Vec<_>>()
            };
            assert_eq!(filters(before), filters(after));
        }
    }
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, value| {
                !value.is_null() && !["source", "id", "admission"].contains(&key.as_str())
            });
            map.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

/// Every key of a document must be in the schema: a schema that misses one makes editors complain of what is right.
fn covered(value: &Value, schema: &Value, root: &Value, path: &str) {
    let schema = match schema["$ref"].as_str() {
        Some(target) => root.pointer(target.trim_start_matches('#')).unwrap(),
        None => schema,
    };
    if let Some(of) = schema["anyOf"].as_array() {
        let some = of.iter().find(|schema| schema["type"] != "null").unwrap();
        return covered(value, some, root, path);
    }
    match value {
        Value::Object(map) if schema.get("properties").is_some() => {
            assert_eq!(
                schema["additionalProperties"], false,
                "{path} takes anything"
            );
            for (key, value) in map {
                let inner = &schema["properties"][key];
                assert!(!inner.is_null(), "{path}.{key} is not in the schema");
                covered(value, inner, root, &format!("{path}.{key}"));
            }
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| covered(item, &schema["items"], root, path)),
        _ => {}
    }
}

#[test]
fn the_schema_knows_every_key_of_the_samples() {
    let schema = weir_config::schema();
    assert_eq!(schema["title"], "Weir configuration");
    assert_eq!(schema["properties"]["meta"], Value::Null);
    for text in [
        include_str!("golden/file/everything.in.yaml"),
        include_str!("golden/file/sample.in.yaml"),
        include_str!("golden/file/policies.in.yaml"),
        include_str!("golden/file/health.in.yaml"),
        include_str!("golden/file/traffic.in.yaml"),
        include_str!("golden/file/streams.in.yaml"),
        include_str!("golden/file/tls.in.yaml"),
    ] {
        let value: Value = serde_saphyr::from_str(text).unwrap();
        covered(&value, &schema, &schema, "$");
    }
}

/// Certificates that an example names are there; files of Compose and stacks are for others to read.
#[test]
fn every_example_compiles() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut seen = 0;
    for path in files_below(&examples) {
        let name = path.strip_prefix(&examples).unwrap().display().to_string();
        if !(name.ends_with(".yaml") || name.ends_with(".yml")) {
            continue;
        }
        // Of Compose, or a stack: each has services of images.
        if std::fs::read_to_string(&path).unwrap().contains(" image: ") {
            continue;
        }
        let mut loaded = file::load(&[path]);
        loaded.fragment.look_up(&certificates);
        let compiled = check(&loaded);
        assert!(
            compiled.diagnostics.is_empty(),
            "{name}: {:?}",
            compiled.diagnostics
        );
        let model = &compiled.model;
        let routes = model.routes.len() + model.streams.len();
        // A control plane of its own finds them in labels.
        let is_served = routes > 0 || loaded.settings.control.is_some();
        // Sidecars have listeners of their own.
        let listens = !model.listeners.is_empty() || loaded.settings.mesh.is_some();
        assert!(listens && is_served, "{name}");
        seen += 1;
    }
    assert!(seen > 0);
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => files_below(&path),
            false => vec![path],
        })
        .collect()
}

/// Every block of YAML is a whole file.
#[test]
fn the_yaml_in_the_documentation_compiles() {
    for name in ["configuration.md", "tls.md", "grpc.md", "http2.md"] {
        compiles(name);
    }
}

/// Whatever a document names as certificate, key or authorities is there, and readable for us alone.
fn certificates(path: &Path) -> Held {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/certs");
    let extension = path.extension().and_then(|e| e.to_str());
    let name = match extension {
        Some("crt") => "shop.crt",
        Some("key") => "shop.key",
        Some("pem") => "ca.pem",
        _ => return Held::Directory(vec!["a.crt".into(), "a.key".into()]),
    };
    match disk(&folder.join(name)) {
        Held::File { bytes, .. } => Held::File {
            bytes,
            exposed: false,
        },
        other => other,
    }
}

fn compiles(name: &str) {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(name);
    let text = std::fs::read_to_string(docs).unwrap();
    let mut seen = 0;
    for block in text.split("```yaml\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let env = |_: &str| Some("x".to_owned());
        let mut loaded = file::parse_with(Path::new(name), block, &env);
        loaded.fragment.look_up(&certificates);
        let compiled = compile(std::slice::from_ref(&loaded.fragment));
        let found: Vec<_> = loaded
            .diagnostics
            .iter()
            .chain(&compiled.diagnostics)
            .filter(|d| d.is_error())
            .collect();
        assert!(found.is_empty(), "{found:?} in\n{block}");
        seen += 1;
    }
    assert!(seen > 0, "{name} shows no configuration");
}
