//! What a dump brings back, and what an applied document may hold.

use std::path::{Path, PathBuf};

use serde_json::Value;
use weir_config::file::{document_path, is_document, parse_document};
use weir_config::references::{Held, Unreadable, disk};
use weir_config::{Diagnostic, check, compile, dump, file, restore};

fn golden() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/file");
    let files = std::fs::read_dir(folder).unwrap();
    let files = files.map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.to_string_lossy().ends_with(".in.yaml"))
        .collect()
}

fn certs(path: &Path) -> Held {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/certs");
    match path.strip_prefix("/certs") {
        Ok(name) => disk(&folder.join(name)),
        Err(_) => Held::Unreadable(Unreadable::Missing),
    }
}

/// Services and routes of a dump without what does not come back: keys, and where things are written.
fn kept(dump: &Value) -> Value {
    let mut kept = serde_json::json!({ "services": dump["services"], "routes": dump["routes"] });
    for service in kept["services"].as_array_mut().into_iter().flatten() {
        let service = service.as_object_mut().unwrap();
        service.remove("tls");
        service.remove("source");
        for endpoint in service["endpoints"].as_array_mut().unwrap() {
            endpoint.as_object_mut().unwrap().remove("source");
        }
    }
    for route in kept["routes"].as_array_mut().into_iter().flatten() {
        route.as_object_mut().unwrap().remove("source");
    }
    kept
}

#[test]
fn every_golden_configuration_comes_back_from_its_dump() {
    let mut seen = 0;
    for path in golden() {
        let text = std::fs::read_to_string(&path).unwrap();
        let env = |name: &str| (name == "SHOP_PORT").then(|| "9001".to_owned());
        let mut loaded = file::parse_with(Path::new("weir.yaml"), &text, &env);
        loaded.fragment.look_up(&certs);
        let dumped = dump(&check(&loaded).model);
        // As it comes out of a store.
        let stored: Value = serde_json::from_str(&dumped.to_string()).unwrap();
        let restored = restore(&stored, "generation 9")
            .unwrap_or_else(|found| panic!("{}: {found:?}", path.display()));
        assert_eq!(
            kept(&dump(&restored.model)),
            kept(&dumped),
            "{}",
            path.display()
        );
        seen += dumped["services"].as_array().map_or(0, Vec::len);
    }
    assert!(seen > 10, "only {seen} services were looked at");
}

#[test]
fn text_that_looks_like_a_variable_comes_back_as_it_was() {
    let text = "
listeners: [{ name: web, bind: 127.0.0.1:1 }]
routes:
  - name: x
    rules:
      - filters: [{ type: DirectResponse, directResponse: { body: \"$${HOME} $$${A}\" } }]
";
    let model = check(&file::parse_with(Path::new("a"), text, &|_| None)).model;
    let dumped = dump(&model);
    assert!(dumped.to_string().contains("${HOME} $${A}"), "{dumped}");
    let restored = restore(&dumped, "generation 1").unwrap();
    assert_eq!(kept(&dump(&restored.model)), kept(&dumped));
    let source = restored.model.routes[0].source.to_string();
    assert_eq!(source, "generation 1");
}

#[test]
fn a_service_that_was_called_over_tls_is_named() {
    let text = "
services:
  - { name: plain, endpoints: [{ address: 127.0.0.1:1 }] }
  - { name: safe, tls: { validation: { hostname: a.example, wellKnownCACertificates: System } } }
";
    let dumped = dump(&check(&file::parse_with(Path::new("a"), text, &|_| None)).model);
    let restored = restore(&dumped, "generation 1").unwrap();
    let over_tls: Vec<&String> = restored.over_tls.iter().collect();
    assert_eq!(over_tls, ["safe"]);
}

#[test]
fn what_no_version_wrote_is_refused_and_not_taken_in_part() {
    let broken = serde_json::json!({
        "listeners": [],
        "services": [{ "name": "shop", "balance": "best" }],
        "routes": [],
    });
    let found = restore(&broken, "generation 2").unwrap_err();
    assert!(found[0].to_string().contains("balance"), "{found:?}");
}

fn errors(text: &str) -> Vec<String> {
    let loaded = parse_document("shop", text);
    let errors = loaded.diagnostics.iter().filter(|d| d.is_error());
    errors.map(Diagnostic::to_string).collect()
}

#[test]
fn a_document_holds_routes_services_and_listeners() {
    let text = "
services: [{ name: shop, endpoints: [{ address: 127.0.0.1:1 }] }]
routes: [{ name: shop, rules: [{ backendRefs: [{ name: shop }] }] }]
listeners: [{ name: web, bind: 127.0.0.1:2 }]
";
    let loaded = parse_document("shop", text);
    assert_eq!(loaded.diagnostics, []);
    let compiled = compile(&[loaded.fragment]);
    let source = &compiled.model.services[0].source;
    assert!(is_document(source), "{source}");
    assert!(source.to_string().starts_with(&document_path("shop")));
}

#[test]
fn a_document_names_no_files_of_the_machine() {
    for (text, path) in [
        (
            "listeners: [{ name: a, bind: 127.0.0.1:2, protocol: https, tls: { certificates: [{ cert: /etc/shadow, key: /k }] } }]",
            "/etc/shadow",
        ),
        (
            "listeners: [{ name: a, bind: 127.0.0.1:2, protocol: https, tls: { certificates: [{ directory: /root }] } }]",
            "/root",
        ),
        (
            "services: [{ name: a, tls: { validation: { hostname: a.example, caCertificates: [../../x] } } }]",
            "../../x",
        ),
        (
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: { name: a }\nspec: { host: a, trafficPolicy: { tls: { mode: SIMPLE, caCertificates: /ca } } }",
            "/ca",
        ),
    ] {
        let errors = errors(text);
        let said = errors
            .iter()
            .any(|e| e.contains(path) && e.contains("names none"));
        assert!(said, "{text}: {errors:?}");
    }
}

#[test]
fn a_document_sees_no_variable_and_sets_nothing_of_the_process() {
    let error = &errors("services: [{ name: \"a${HOME}\" }]")[..];
    assert_eq!(error.len(), 1, "{error:?}");
    assert!(error[0].contains("${HOME} is not filled in"), "{error:?}");
    let error = errors("services: [{ name: \"a${NOBODY:-b}\" }]");
    assert!(error[0].contains("${NOBODY}"), "{error:?}");
    for text in [
        "admin: { bind: 0.0.0.0:1 }",
        "stateDir: /tmp/x",
        "discovery: { docker: {} }",
        "tracing: { otlp: { endpoint: http://127.0.0.1:1, headers: { a: b } } }",
    ] {
        let errors = errors(text);
        assert!(errors[0].contains("setting of the process"), "{errors:?}");
    }
}

#[test]
fn a_document_takes_no_host_that_a_file_or_another_document_holds() {
    let route = |name: &str, host: &str| {
        format!(
            "routes: [{{ name: {name}, hostnames: [{host}], rules: [{{ backendRefs: [{{ name: shop }}] }}] }}]\n"
        )
    };
    let web = "listeners: [{ name: web, bind: 127.0.0.1:1 }]\nservices: [{ name: shop }]\n";
    let file = file::parse_with(
        Path::new("weir.yaml"),
        &format!("{web}{}", route("z", "a.example")),
        &|_| None,
    );
    // By its name it would come first.
    let document = |name: &str, host: &str| parse_document(name, &route(name, host)).fragment;
    let all = [
        file.fragment,
        document("a", "a.example"),
        document("b", "b.example"),
        document("c", "b.example"),
    ];
    let compiled = compile(&all);
    let names: Vec<_> = compiled
        .model
        .routes
        .iter()
        .map(|r| r.name.as_str())
        .collect();
    assert_eq!(names, ["b", "z"]);
    let errors: Vec<_> = compiled
        .diagnostics
        .iter()
        .filter(|d| d.is_error())
        .collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(
        errors[0]
            .to_string()
            .contains("already belongs to the route z (weir.yaml:3:"),
        "{errors:?}"
    );
    assert!(errors[1].to_string().contains("document c"), "{errors:?}");
}
