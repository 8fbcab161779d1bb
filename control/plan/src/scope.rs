//! What one node may see of a model, and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;

use weir_config::model::{
    BackendRef, Filter, Listener, ListenerName, Model, Route, ServiceName, StreamRoute,
};

/// The listeners that a node may serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    All,
    /// Names of listeners; those that do not exist are none.
    Only(BTreeSet<String>),
}

impl Allowed {
    fn has(&self, listener: &ListenerName) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(listener.as_str()),
        }
    }
}

/// The part of a model that a node may see: its listeners with their certificates, the routes that are attached to them
/// and name no other, the services that those send to, with their endpoints. How traces are made and sent is every
/// node's.
#[must_use]
pub fn view(model: &Model, allowed: &Allowed) -> Model {
    if *allowed == Allowed::All {
        return model.clone();
    }
    let listeners: Vec<Arc<Listener>> = model
        .listeners
        .iter()
        .filter(|listener| allowed.has(&listener.name))
        .cloned()
        .collect();
    let serves_http = listeners.iter().any(|listener| listener.protocol.is_http());
    let routes: Vec<Arc<Route>> = model
        .routes
        .iter()
        .filter_map(|route| attached(route, allowed, serves_http))
        .collect();
    let streams: Vec<Arc<StreamRoute>> = model
        .streams
        .iter()
        .filter_map(|route| attached_stream(route, allowed))
        .collect();
    let mut named: BTreeSet<&ServiceName> = BTreeSet::new();
    for rule in routes.iter().flat_map(|route| &route.rules) {
        named.extend(rule.backends.iter().map(service));
        named.extend(rule.filters.iter().filter_map(mirrored));
    }
    named.extend(
        streams
            .iter()
            .flat_map(|route| &route.backends)
            .map(service),
    );
    let services = model.services.iter();
    let services = services
        .filter(|service| named.contains(&service.name))
        .cloned();
    Model {
        services: services.collect(),
        tracing: Arc::clone(&model.tracing),
        access: Arc::default(),
        listeners,
        routes,
        streams,
    }
}

/// A route as far as it is attached to listeners that may be seen. One that names no listener is every HTTP listener's; one
/// of which none is left must not become such a route.
fn attached(route: &Arc<Route>, allowed: &Allowed, serves_http: bool) -> Option<Arc<Route>> {
    if route.listeners.is_empty() {
        return serves_http.then(|| Arc::clone(route));
    }
    let left = only(&route.listeners, allowed)?;
    if left.len() == route.listeners.len() {
        return Some(Arc::clone(route));
    }
    Some(Arc::new(Route {
        listeners: left,
        ..(**route).clone()
    }))
}

fn attached_stream(route: &Arc<StreamRoute>, allowed: &Allowed) -> Option<Arc<StreamRoute>> {
    let left = only(&route.listeners, allowed)?;
    Some(Arc::new(StreamRoute {
        listeners: left,
        ..(**route).clone()
    }))
}

/// Those that may be seen; `None` for none.
fn only(listeners: &[ListenerName], allowed: &Allowed) -> Option<Vec<ListenerName>> {
    let left = listeners.iter().filter(|name| allowed.has(name));
    let left: Vec<ListenerName> = left.cloned().collect();
    (!left.is_empty()).then_some(left)
}

fn service(backend: &BackendRef) -> &ServiceName {
    &backend.service
}

fn mirrored(filter: &Filter) -> Option<&ServiceName> {
    match filter {
        Filter::Mirror(mirror) => Some(&mirror.service),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overrides::tests::{route, rule, service as make};
    use weir_config::model::{
        Alpn, Certificate, ListenerTls, Mirror, Percent, PrivateKey, Protocol, RouteName, Source,
        TlsVersion,
    };

    fn listener(name: &str, protocol: Protocol) -> Listener {
        let name = ListenerName::new(name).unwrap();
        Listener::new(name, ([127, 0, 0, 1], 1).into(), protocol)
    }

    fn with_key(name: &str, key: &str) -> Arc<Listener> {
        let der = rustls_pki_types::PrivatePkcs8KeyDer::from(key.as_bytes().to_vec());
        let certificate = Certificate {
            name: format!("{name}.crt"),
            chain: vec![name.as_bytes().to_vec()],
            key: PrivateKey::new(der.into()),
            names: vec![format!("{name}.example")],
            not_before: 0,
            not_after: 1,
            issuer: String::new(),
            serial: String::new(),
            fingerprint: [0; 32],
            ocsp: None,
            source: Source::default(),
        };
        Arc::new(Listener {
            tls: Some(Arc::new(ListenerTls {
                plain_too: false,
                certificates: vec![Arc::new(certificate)],
                min_version: TlsVersion::default(),
                alpn: vec![Alpn::H2],
                client_auth: None,
                hosts: Vec::new(),
            })),
            ..listener(name, Protocol::Https)
        })
    }

    fn on(mut route: Arc<Route>, listeners: &[&str]) -> Arc<Route> {
        let names = listeners
            .iter()
            .map(|name| ListenerName::new(name).unwrap());
        Arc::make_mut(&mut route).listeners = names.collect();
        route
    }

    fn mirrors(mut route: Arc<Route>, to: &str) -> Arc<Route> {
        let mirror = Mirror {
            service: ServiceName::new(to).unwrap(),
            version: None,
            percent: Percent::ALL,
        };
        Arc::make_mut(&mut route).rules[0]
            .filters
            .push(Filter::Mirror(mirror));
        route
    }

    fn model() -> Model {
        let stream = StreamRoute {
            name: RouteName::new("db").unwrap(),
            listeners: vec![ListenerName::new("tcp").unwrap()],
            hostnames: Vec::new(),
            backends: rule("db=1").backends,
            age: 0,
            source: Source::default(),
        };
        let mut model = Model {
            listeners: vec![
                with_key("web", "web-key"),
                with_key("bank", "bank-key"),
                Arc::new(listener("tcp", Protocol::Tcp)),
            ],
            services: ["shop", "copy", "ledger", "db", "common", "unused"]
                .map(|name| make(name, "stable=1"))
                .to_vec(),
            routes: vec![
                mirrors(
                    on(route("shop", vec![rule("shop=1")]), &["web", "bank"]),
                    "copy",
                ),
                on(route("ledger", vec![rule("ledger=1")]), &["bank"]),
                route("common", vec![rule("common=1")]),
            ],
            streams: vec![Arc::new(stream)],
            ..Model::default()
        };
        model.sort();
        model
    }

    fn only(names: &[&str]) -> Allowed {
        Allowed::Only(names.iter().map(ToString::to_string).collect())
    }

    fn check(names: &[&str], listeners: &[&str], routes: &[&str], services: &[&str]) {
        let seen = view(&model(), &only(names));
        let got: Vec<&str> = seen.listeners.iter().map(|l| l.name.as_str()).collect();
        assert_eq!(got, listeners);
        let http = seen.routes.iter().map(|r| r.name.as_str());
        let got: Vec<&str> = http
            .chain(seen.streams.iter().map(|r| r.name.as_str()))
            .collect();
        assert_eq!(got, routes);
        let got: Vec<&str> = seen.services.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(got, services);
    }

    #[test]
    fn a_node_sees_its_listeners_and_what_can_be_reached_through_them() {
        check(
            &["web"],
            &["web"],
            &["common", "shop"],
            &["common", "copy", "shop"],
        );
        check(&["tcp"], &["tcp"], &["db"], &["db"]);
        check(
            &["bank"],
            &["bank"],
            &["common", "ledger", "shop"],
            &["common", "copy", "ledger", "shop"],
        );
        check(&[], &[], &[], &[]);
        check(&["nonsense"], &[], &[], &[]);
    }

    #[test]
    fn a_route_of_two_listeners_does_not_name_the_one_that_may_not_be_seen() {
        let seen = view(&model(), &only(&["web"]));
        let shop = seen
            .routes
            .iter()
            .find(|r| r.name.as_str() == "shop")
            .unwrap();
        assert_eq!(shop.listeners, [ListenerName::new("web").unwrap()]);
    }

    #[test]
    fn keys_of_other_listeners_do_not_leak() {
        let seen = view(&model(), &only(&["web"]));
        let keys: Vec<Vec<u8>> = seen
            .listeners
            .iter()
            .flat_map(|listener| &listener.tls)
            .flat_map(|tls| &tls.certificates)
            .map(|certificate| certificate.key.der().secret_der().to_vec())
            .collect();
        assert_eq!(keys, [b"web-key".to_vec()]);
        let text = format!("{seen:?}");
        for other in ["bank", "ledger", "db", "unused"] {
            assert!(!text.contains(other), "{other} leaks: {text}");
        }
    }

    #[test]
    fn who_may_see_everything_sees_the_model_itself() {
        assert_eq!(view(&model(), &Allowed::All), model());
    }
}
