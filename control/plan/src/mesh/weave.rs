//! Putting an identity into a model.

use std::net::SocketAddr;
use std::sync::Arc;

use weir_config::model::{
    Alpn, AltName, AppProtocol, BackendRoots, BackendTls, Capture, Certificate, ClientAuth,
    ClientAuthMode, Endpoint, EndpointId, ForwardClientCert, Listener, ListenerTls, MeshMode,
    MeshProtocol, Model, OutlierDetection, Protocol, Roots, RouteName, Rule, Service, ServiceName,
    TlsVersion, TrustDomain, Weight,
};

use super::way::{Way, whole};
use super::{INBOUND, OUTBOUND, capture};

/// Who a proxy is, and whom it believes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub trust_domain: TrustDomain,
    pub certificate: Arc<Certificate>,
    /// The authorities of the trust domain.
    pub roots: Arc<Roots>,
}

impl Credentials {
    /// The identity that the sidecars of a service must have.
    fn peer(&self, service: &ServiceName) -> String {
        format!("spiffe://{}/svc/{service}", self.trust_domain)
    }
}

/// The app beside which a proxy runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    pub service: ServiceName,
    pub app: SocketAddr,
    pub inbound: SocketAddr,
    pub outbound: SocketAddr,
    /// What others connect to on the app's port is handed to `inbound` by the kernel as it is (tproxy), not redirected.
    pub handed_over: bool,
    /// The kernel redirects the app's connections to `outbound`; whether those to unknown addresses are passed on.
    pub captures: Option<bool>,
    /// Where those over IPv6 come, if `outbound` takes none: the kernel redirects to loopback of the version that it finds.
    pub outbound_v6: Option<SocketAddr>,
}

/// The model with a proxy's credentials in it: services of the mesh are called over TLS between identities, at their sidecars;
/// a sidecar's inbound listener ends it, and leads to the app.
///
/// A service of the mesh that is met by somebody without credentials is not in what [`weave`] returns as it was: see
/// [`crate::mesh::view`]; this is for who has some.
#[must_use]
pub fn weave(model: &Model, credentials: &Credentials, beside: Option<&Beside>) -> Model {
    let mut woven = model.clone();
    for service in &mut woven.services {
        if let Some(called) = called(service, credentials) {
            *service = Arc::new(called);
        }
    }
    if let Some(beside) = beside {
        stand_beside(model, &mut woven, credentials, beside);
    }
    woven.sort();
    woven
}

/// The model for a proxy whose identity has ended: services of the mesh have no endpoints, and its inbound listener is gone, so that
/// connections that were opened under it are closed, too.
#[must_use]
pub fn closed(model: &Model, beside: Option<&Beside>) -> Model {
    let mut closed = model.clone();
    for service in &mut closed.services {
        if service.mesh.is_some() {
            Arc::make_mut(service).endpoints.clear();
        }
    }
    closed
        .listeners
        .retain(|listener| listener.name.as_str() != INBOUND);
    if let Some(beside) = beside {
        outbound(&mut closed, beside);
        if let Some(pass_unknown) = beside.captures {
            capture::lay(model, &mut closed, pass_unknown, beside.outbound_v6);
        }
    }
    closed.sort();
    closed
}

/// Where the app finds the outbound listener.
fn outbound(woven: &mut Model, beside: &Beside) {
    for listener in &mut woven.listeners {
        if listener.name.as_str() == OUTBOUND {
            Arc::make_mut(listener).bind = beside.outbound;
        }
    }
}

/// How a service of the mesh is called; `None` for one that is not in it.
fn called(service: &Service, credentials: &Credentials) -> Option<Service> {
    let mesh = service.mesh?;
    let mut called = service.clone();
    for endpoint in &mut called.endpoints {
        endpoint.address.set_port(mesh.port);
    }
    called.proxy_protocol = None;
    if called.protocol == AppProtocol::Http {
        // Either would do; a connection for each request at a time costs a hop a fifth less than sharing one.
        called.protocol = AppProtocol::Http1;
    }
    if let Some(check) = &mut called.health_check {
        check.port = None;
    }
    called.tls = Some(Arc::new(BackendTls {
        roots: BackendRoots::Given(Arc::clone(&credentials.roots)),
        hostname: None,
        alt_names: vec![AltName::Uri(credentials.peer(&service.name))],
        client: Some(Arc::clone(&credentials.certificate)),
    }));
    Some(called)
}

fn stand_beside(told: &Model, woven: &mut Model, credentials: &Credentials, beside: &Beside) {
    let own = told.service(beside.service.as_str());
    outbound(woven, beside);
    for listener in &mut woven.listeners {
        if listener.name.as_str() == INBOUND {
            *listener = Arc::new(inbound(listener, credentials, beside));
        }
    }
    let app = app(own.map(|own| &**own), beside);
    let way = Way {
        name: RouteName::new(INBOUND).expect("a name that fits"),
        listener: super::view::listener_name(INBOUND),
        source: app.source.clone(),
    };
    let takes_connections = own.is_some_and(|own| {
        own.mesh
            .is_some_and(|mesh| mesh.protocol == MeshProtocol::Tcp)
    });
    match takes_connections {
        true => {
            let stream = way.of_connections(&app.name);
            woven.streams.push(Arc::new(stream));
        }
        false => {
            let route = way.of_requests(vec![Rule::every(vec![whole(&app.name)])]);
            woven.routes.push(Arc::new(route));
        }
    }
    woven.services.push(Arc::new(app));
    if let Some(pass_unknown) = beside.captures {
        capture::lay(told, woven, pass_unknown, beside.outbound_v6);
    }
}

fn inbound(told: &Listener, credentials: &Credentials, beside: &Beside) -> Listener {
    let protocol = match told.protocol {
        Protocol::Http => Protocol::Https,
        other => other,
    };
    let tls = ListenerTls {
        certificates: vec![Arc::clone(&credentials.certificate)],
        min_version: TlsVersion::V13,
        alpn: vec![Alpn::H2, Alpn::Http11],
        client_auth: Some(ClientAuth {
            mode: ClientAuthMode::Require,
            roots: Arc::clone(&credentials.roots),
            trust_domain: Some(credentials.trust_domain.clone()),
        }),
        hosts: Vec::new(),
        plain_too: told.mesh == Some(MeshMode::Permissive),
    };
    Listener {
        protocol,
        bind: beside.inbound,
        capture: beside.handed_over.then_some(Capture::HandedOver),
        tls: Some(Arc::new(tls)),
        client_cert: ForwardClientCert::SanitizeSet,
        ..told.clone()
    }
}

/// The app itself, as a service of one endpoint: with the bounds of its service, and never ejected, for there is no other.
fn app(own: Option<&Service>, beside: &Beside) -> Service {
    let name = ServiceName::new(&format!("{}@app", beside.service));
    let name = name.unwrap_or_else(|_| beside.service.clone());
    let id = EndpointId::new(&format!(
        "app@{}",
        beside.app.to_string().replace(['[', ']'], "")
    ))
    .expect("an address fits");
    let endpoint = Endpoint::new(id, beside.app);
    let mut app = Service::new(name);
    app.versions = vec![weir_config::model::Version {
        name: endpoint.version.clone(),
        weight: Weight::ONE,
    }];
    app.endpoints = vec![endpoint];
    app.outlier = OutlierDetection {
        observe_only: true,
        ..OutlierDetection::default()
    };
    if let Some(own) = own {
        app.pool = own.pool.clone();
        app.protocol = match own.protocol {
            // Over loopback there is nothing to be gained by more than one request a connection.
            AppProtocol::Http => AppProtocol::Http1,
            other => other,
        };
        app.tls = own.tls.clone();
        app.proxy_protocol = own.proxy_protocol;
        app.drain_timeout = own.drain_timeout;
        app.source = own.source.clone();
    }
    app
}
