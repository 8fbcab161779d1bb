use std::collections::BTreeSet;
use std::sync::Arc;

use weir_config::model::{
    AltName, BackendRoots, Capture, Certificate, ClientAuthMode, Listener, MeshMode, Model,
    Pattern, PrivateKey, Protocol, Roots, ServiceName, Source, TrustedHops,
};

use super::*;

const FILE: &str = "
listeners: [{ name: web, bind: 0.0.0.0:8080 }]
services:
  - name: web
    mesh: {}
    endpoints: [{ address: 10.0.0.1:80 }]
  - name: shop
    mesh: { mode: permissive, port: 16006 }
    appProtocol: http
    endpoints:
      - { address: 10.0.0.2:8000, version: stable }
      - { address: 10.0.0.3:8000, version: canary }
  - name: db
    mesh: { protocol: tcp, listen: 5432 }
    endpoints: [{ address: 10.0.0.4:5432 }]
  - name: legacy
    endpoints: [{ address: 10.0.0.5:80 }]
routes:
  - name: edge
    hostnames: [shop.example.com]
    rules:
      - matches: [{ path: { value: /only } }]
        backendRefs: [{ name: legacy }]
      - filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: x-edge, value: yes }] } }]
        timeouts: { request: 7s }
        backendRefs:
          - { name: shop, version: stable, weight: 95 }
          - { name: shop, version: canary, weight: 5 }
";

fn model() -> Model {
    compiled(FILE)
}

fn compiled(text: &str) -> Model {
    let loaded = weir_config::file::parse("weir.yaml".as_ref(), text);
    let compiled = weir_config::compile(&[loaded.fragment]);
    assert!(
        compiled.diagnostics.iter().all(|d| !d.is_error()),
        "{:?}",
        compiled.diagnostics
    );
    compiled.model
}

fn meant(service: &str, calls: Option<&[&str]>) -> Meant {
    Meant {
        service: ServiceName::new(service).unwrap(),
        calls: calls.map(|all| all.iter().map(ToString::to_string).collect()),
    }
}

fn credentials() -> Credentials {
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(b"key".to_vec());
    Credentials {
        trust_domain: weir_config::model::TrustDomain::default(),
        certificate: Arc::new(Certificate {
            name: "identity".into(),
            chain: vec![b"leaf".to_vec()],
            key: PrivateKey::new(key.into()),
            names: Vec::new(),
            not_before: 0,
            not_after: 1,
            issuer: String::new(),
            serial: String::new(),
            fingerprint: [0; 32],
            ocsp: None,
            source: Source::default(),
        }),
        roots: Arc::new(Roots {
            ders: vec![b"root".to_vec()],
            source: "mesh".into(),
        }),
    }
}

fn beside(service: &str) -> Beside {
    Beside {
        service: ServiceName::new(service).unwrap(),
        app: "127.0.0.1:8000".parse().unwrap(),
        inbound: "0.0.0.0:17006".parse().unwrap(),
        outbound: "127.0.0.1:17001".parse().unwrap(),
        handed_over: false,
        captures: None,
        outbound_v6: None,
    }
}

fn names<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    all.collect()
}

#[test]
fn a_sidecar_is_told_its_listeners_and_the_services_and_nothing_of_edges() {
    let view = view(&model(), &meant("web", None)).unwrap();
    assert_eq!(
        names(view.listeners.iter().map(|l| l.name.as_str())),
        ["mesh/inbound", "mesh/outbound", "mesh/outbound/db"]
    );
    assert_eq!(
        names(view.routes.iter().map(|r| r.name.as_str())),
        ["mesh/legacy", "mesh/shop", "mesh/web"],
        "connections have no route by name"
    );
    assert_eq!(
        names(view.streams.iter().map(|r| r.name.as_str())),
        ["mesh/db"]
    );
    assert_eq!(view.services.len(), 4);
    assert!(super::view(&model(), &meant("nobody", None)).is_none());
}

#[test]
fn a_sidecar_takes_no_connections_for_its_own_service() {
    let view = view(&model(), &meant("db", None)).unwrap();
    assert_eq!(
        names(view.listeners.iter().map(|l| l.name.as_str())),
        ["mesh/inbound", "mesh/outbound"],
        "the app may want that port itself"
    );
    assert!(view.streams.is_empty() && view.service("db").is_some());
}

#[test]
fn what_it_calls_bounds_what_it_is_told() {
    let view = view(&model(), &meant("web", Some(&["shop"]))).unwrap();
    assert_eq!(
        names(view.services.iter().map(|s| s.name.as_str())),
        ["shop", "web"]
    );
    assert_eq!(
        names(view.listeners.iter().map(|l| l.name.as_str())),
        ["mesh/inbound", "mesh/outbound"]
    );
}

#[test]
fn a_call_by_name_is_split_and_timed_as_at_the_edge_without_its_filters() {
    let view = view(&model(), &meant("web", None)).unwrap();
    let route = |name: &str| {
        view.routes
            .iter()
            .find(|r| r.name.as_str() == name)
            .unwrap()
    };
    let shop = &route("mesh/shop").rules[0];
    let weights: Vec<u32> = shop.backends.iter().map(|b| b.weight.tenths()).collect();
    assert_eq!(weights, [950, 50]);
    assert_eq!(
        shop.timeouts.request,
        std::time::Duration::from_secs(7).into()
    );
    assert!(shop.filters.is_empty());
    // Its only rule at an edge is for a part of what could be asked.
    assert_eq!(route("mesh/legacy").rules[0].backends[0].version, None);
}

#[test]
fn a_key_that_is_for_a_services_endpoints_is_not_for_every_workload() {
    let mut model = model();
    let key = credentials().certificate;
    for service in &mut model.services {
        if service.name.as_str() == "legacy" {
            let tls = weir_config::model::BackendTls {
                roots: BackendRoots::System,
                hostname: Some("legacy".into()),
                alt_names: Vec::new(),
                client: Some(Arc::clone(&key)),
            };
            Arc::make_mut(service).tls = Some(Arc::new(tls));
        }
    }
    let view = view(&model, &meant("web", None)).unwrap();
    assert!(view.service("legacy").is_none());
}

#[test]
fn services_of_the_mesh_are_called_at_their_sidecars_by_their_identity() {
    let told = view(&model(), &meant("web", None)).unwrap();
    let woven = weave(&told, &credentials(), Some(&beside("web")));
    let shop = woven.service("shop").unwrap();
    assert!(shop.endpoints.iter().all(|e| e.address.port() == 16006));
    let tls = shop.tls.as_ref().unwrap();
    assert_eq!(
        tls.alt_names,
        [AltName::Uri("spiffe://weir.local/svc/shop".into())]
    );
    assert!(matches!(&tls.roots, BackendRoots::Given(roots) if roots.source == "mesh"));
    assert!(tls.client.is_some());
    assert_eq!(shop.protocol, weir_config::model::AppProtocol::Http1);
    assert_eq!(
        woven.service("db").unwrap().endpoints[0].address.port(),
        15006
    );
    let legacy = woven.service("legacy").unwrap();
    assert!(legacy.tls.is_none());
    assert_eq!(legacy.endpoints[0].address.port(), 80);
}

fn listener<'a>(model: &'a Model, name: &str) -> &'a Listener {
    model.listener(name).unwrap()
}

#[test]
fn inbound_asks_for_an_identity_and_leads_to_the_app() {
    for (service, plain_too) in [("web", false), ("shop", true)] {
        let told = view(&model(), &meant(service, None)).unwrap();
        let woven = weave(&told, &credentials(), Some(&beside(service)));
        let inbound = listener(&woven, INBOUND);
        assert_eq!(inbound.protocol, Protocol::Https);
        assert_eq!(inbound.bind.port(), 17006);
        let tls = inbound.tls.as_ref().unwrap();
        assert_eq!(
            tls.client_auth.as_ref().unwrap().mode,
            ClientAuthMode::Require
        );
        assert_eq!(tls.plain_too, plain_too, "{service}");
        assert_eq!(listener(&woven, OUTBOUND).bind.port(), 17001);
        let route = woven
            .routes
            .iter()
            .find(|r| r.name.as_str() == INBOUND)
            .unwrap();
        let app = &route.rules[0].backends[0].service;
        let app = woven.service(app.as_str()).unwrap();
        assert_eq!(app.endpoints[0].address, "127.0.0.1:8000".parse().unwrap());
        assert!(app.tls.is_none() && app.mesh.is_none());
        // Its own service stays what others know by that name.
        assert!(woven.service(service).unwrap().tls.is_some());
    }
}

#[test]
fn connections_are_ended_and_passed_on_as_a_stream() {
    let told = view(&model(), &meant("db", None)).unwrap();
    let woven = weave(&told, &credentials(), Some(&beside("db")));
    let inbound = listener(&woven, INBOUND);
    assert_eq!(inbound.protocol, Protocol::Tcp);
    assert!(inbound.tls.is_some());
    let stream = woven
        .streams
        .iter()
        .find(|r| r.name.as_str() == INBOUND)
        .unwrap();
    assert_eq!(stream.backends[0].service.as_str(), "db@app");
}

#[test]
fn a_service_that_is_not_in_the_mesh_takes_plain_text() {
    let told = view(&model(), &meant("legacy", None)).unwrap();
    assert_eq!(listener(&told, INBOUND).mesh, Some(MeshMode::Permissive));
}

#[test]
fn a_policy_says_what_a_sidecar_takes_whether_or_not_its_service_is_in_the_mesh() {
    use MeshMode::{Permissive, Strict};
    let mode = |own: &str, policies: &str| {
        let text = format!(
            "services: [{{ name: shop, endpoints: [{{ address: 10.0.0.2:8000 }}]{own} }}]\n{policies}"
        );
        let model = with_modes(&compiled(&text));
        let told = view(&model, &meant("shop", None)).unwrap();
        let inbound = listener(&told, INBOUND);
        let trusted = inbound.trusted_hops.clone();
        assert_eq!(trusted != TrustedHops::None, inbound.mesh == Some(Strict));
        inbound.mesh.unwrap()
    };
    let peers = |spec: &str| {
        format!(
            "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{ name: all }}\nspec: {{ {spec} }}\n"
        )
    };
    let of_all = |word: &str| peers(&format!("mtls: {{ mode: {word} }}"));
    let of_port = |port: u16| {
        peers(&format!(
            "selector: {{ matchLabels: {{ app: shop }} }}, portLevelMtls: {{ {port}: {{ mode: STRICT }} }}"
        ))
    };
    for (own, policies, expected) in [
        ("", of_all("STRICT"), Strict),
        (", mesh: { mode: off }", of_all("STRICT"), Strict),
        (", mesh: { mode: permissive }", of_all("STRICT"), Strict),
        ("", of_all("PERMISSIVE"), Permissive),
        (", mesh: {}", of_all("PERMISSIVE"), Permissive),
        (", mesh: {}", of_all("DISABLE"), Permissive),
        ("", of_port(8000), Strict),
        ("", of_port(9000), Permissive),
        (", mesh: {}", String::new(), Strict),
    ] {
        assert_eq!(mode(own, &policies), expected, "{own:?} {policies}");
    }
}

/// The one service of a file, with a list of who may call it.
fn listed(service: &str) -> Model {
    let text = format!(
        "
services: [{{ name: shop, mesh: {{}}, endpoints: [{{ address: 10.0.0.2:8000 }}], {service} }}]
mesh: {{ authorization: [{{ name: a-rule, service: shop, action: allow, from: [web], paths: [/api] }}] }}
"
    );
    compiled(&text)
}

#[test]
fn where_calls_are_listed_the_request_of_the_health_check_is_admitted_and_no_other() {
    let check = |check: &str| {
        let model = listed(&format!("healthCheck: {{ {check} }}"));
        let view = view(&model, &meant("shop", None)).unwrap();
        let inbound = listener(&view, INBOUND).authorization.clone().unwrap();
        let admitted = inbound
            .policies
            .iter()
            .find(|policy| policy.name.as_str() == "mesh/health-check")?
            .clone();
        assert_eq!(
            admits_checks(&model, model.service("shop").unwrap()).as_ref(),
            Some(&admitted)
        );
        let [rule] = &admitted.rules[..] else {
            panic!("{admitted:?}")
        };
        assert_eq!(rule.from[0].principals.only, [Pattern::Any]);
        let [to] = &rule.to[..] else {
            panic!("{rule:?}")
        };
        Some((to.methods.only.clone(), to.paths.only.clone()))
    };
    let exactly = |method: &str, path: &str| {
        let exact = |text: &str| vec![Pattern::Exact(text.into())];
        Some((exact(method), exact(path)))
    };
    assert_eq!(check("http: { path: '/up?x=1' }"), exactly("GET", "/up"));
    assert_eq!(
        check("http: { path: '/up*', method: HEAD }"),
        exactly("HEAD", "/up*"),
        "a star in a path is one"
    );
    assert_eq!(
        check("grpc: {}"),
        exactly("POST", "/grpc.health.v1.Health/Check")
    );
    assert_eq!(check("tcp: {}"), None);
}

#[test]
fn what_is_handed_over_is_the_inbound_listeners_own() {
    let told = view(&model(), &meant("web", None)).unwrap();
    let of = |handed_over| {
        let beside = Beside {
            handed_over,
            ..beside("web")
        };
        let woven = weave(&told, &credentials(), Some(&beside));
        listener(&woven, INBOUND).capture.clone()
    };
    assert_eq!((of(true), of(false)), (Some(Capture::HandedOver), None));
}

#[test]
fn what_is_redirected_goes_where_the_app_meant_it_to() {
    let told = view(&model(), &meant("web", None)).unwrap();
    let captures = Beside {
        captures: Some(false),
        ..beside("web")
    };
    let woven = weave(&told, &credentials(), Some(&captures));
    let of = |name: &str| listener(&woven, name).capture.clone().unwrap();
    let shop = ["10.0.0.2:8000", "10.0.0.3:8000"].map(|a| a.parse().unwrap());
    assert_eq!(of("mesh/to/shop"), Capture::For(shop.to_vec()));
    assert_eq!(listener(&woven, "mesh/to/db").protocol, Protocol::Tcp);
    assert_eq!(
        of(OUTBOUND),
        Capture::Redirected {
            pass: vec!["10.0.0.5:80".parse().unwrap()],
            pass_unknown: false
        }
    );
    // By where it was going, whatever host it asks for; split as by name.
    let route = woven
        .routes
        .iter()
        .find(|r| r.name.as_str() == "mesh/to/shop")
        .unwrap();
    assert!(route.hostnames.is_empty());
    assert_eq!(route.rules[0].backends.len(), 2);
}

#[test]
fn over_ipv6_the_same_is_redirected_to_a_listener_of_its_own() {
    let told = view(&model(), &meant("web", None)).unwrap();
    let beside = Beside {
        captures: Some(true),
        outbound_v6: Some("[::1]:17001".parse().unwrap()),
        ..beside("web")
    };
    for model in [
        weave(&told, &credentials(), Some(&beside)),
        closed(&told, Some(&beside)),
    ] {
        let (v4, v6) = (listener(&model, OUTBOUND), listener(&model, OUTBOUND_V6));
        assert_eq!(
            (v4.bind, Some(v6.bind)),
            (beside.outbound, beside.outbound_v6)
        );
        assert_eq!(v4.capture, v6.capture);
        let mut by_name = 0;
        for route in &model.routes {
            let of = |name| route.listeners.iter().any(|own| own.as_str() == name);
            assert_eq!(of(OUTBOUND), of(OUTBOUND_V6), "{}", route.name);
            by_name += usize::from(of(OUTBOUND_V6));
        }
        assert_eq!(by_name, 3, "legacy, shop and web");
    }
    // Where nothing is redirected there is nothing to be taken.
    let beside = Beside {
        captures: None,
        ..beside
    };
    let woven = weave(&told, &credentials(), Some(&beside));
    assert!(woven.listener(OUTBOUND_V6).is_none());
}

#[test]
fn what_no_host_can_name_is_still_reached_by_its_address() {
    let mut model = model();
    let shop = model
        .services
        .iter()
        .position(|s| s.name.as_str() == "shop");
    let mut odd = (*model.services[shop.unwrap()]).clone();
    odd.name = ServiceName::new("shop@file").unwrap();
    model.services.push(Arc::new(odd));
    model.sort();
    let told = view(&model, &meant("web", None)).unwrap();
    let captures = Beside {
        captures: Some(false),
        ..beside("web")
    };
    let woven = weave(&told, &credentials(), Some(&captures));
    let rules = |name: &str| {
        let mut all = woven.routes.iter();
        all.find(|route| route.name.as_str() == name)
            .map(|route| route.rules.clone())
    };
    assert_eq!(rules("mesh/shop@file"), None);
    let redirected = rules("mesh/to/shop@file").unwrap();
    assert_eq!(redirected[0].backends[0].service.as_str(), "shop@file");
}

#[test]
fn a_woven_model_is_in_order_and_its_names_are_unique() {
    let told = view(&model(), &meant("web", None)).unwrap();
    let captures = Beside {
        captures: Some(true),
        ..beside("web")
    };
    let woven = weave(&told, &credentials(), Some(&captures));
    let listeners: Vec<&str> = woven.listeners.iter().map(|l| l.name.as_str()).collect();
    let services: Vec<&str> = woven.services.iter().map(|s| s.name.as_str()).collect();
    for names in [listeners, services] {
        let unique: BTreeSet<&str> = names.iter().copied().collect();
        assert!(
            names.is_sorted() && unique.len() == names.len(),
            "{names:?}"
        );
    }
}

#[test]
fn an_identity_that_has_ended_opens_nothing_and_the_app_finds_its_port() {
    let told = view(&model(), &meant("web", None)).unwrap();
    let closed = closed(&told, Some(&beside("web")));
    assert!(closed.listener(INBOUND).is_none());
    assert_eq!(listener(&closed, OUTBOUND).bind.port(), 17001);
    assert!(closed.service("shop").unwrap().endpoints.is_empty());
    assert_eq!(closed.service("legacy").unwrap().endpoints.len(), 1);
}
