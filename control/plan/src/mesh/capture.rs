//! Connections of an app that knows nothing of its sidecar: where each was going says which service is meant.

use std::net::SocketAddr;
use std::sync::Arc;

use weir_config::model::{
    Capture, Listener, ListenerName, MeshProtocol, Model, Protocol, RouteName, Rule, Service,
    TrustedHops,
};

use super::view::listener_name;
use super::way::{Way, whole};
use super::{OUTBOUND, OUTBOUND_V6};

/// Gives each service of the mesh a listener that has what goes to its endpoints' addresses, as the app sees them, and makes the
/// outbound listener the one from which they are taken, beside one for IPv6 where that is another. What is known and not in
/// the mesh is passed on as it is.
pub(super) fn lay(told: &Model, woven: &mut Model, pass_unknown: bool, v6: Option<SocketAddr>) {
    let mut pass = Vec::new();
    for service in &told.services {
        match service.mesh {
            Some(mesh) => taken(told, woven, service, mesh.protocol),
            None => pass.extend(addresses(service)),
        }
    }
    for listener in &mut woven.listeners {
        if listener.name.as_str() == OUTBOUND {
            let capture = Capture::Redirected {
                pass: std::mem::take(&mut pass),
                pass_unknown,
            };
            Arc::make_mut(listener).capture = Some(capture);
        }
    }
    if let Some(bind) = v6 {
        double(woven, bind);
    }
}

/// The outbound listener once more, with all that it leads to: an app that says `localhost` may mean either.
fn double(woven: &mut Model, bind: SocketAddr) {
    let is_outbound = |name: &ListenerName| name.as_str() == OUTBOUND;
    let mut listeners = woven.listeners.iter();
    let Some(outbound) = listeners.find(|listener| is_outbound(&listener.name)) else {
        return;
    };
    let name = listener_name(OUTBOUND_V6);
    let double = Listener {
        name: name.clone(),
        bind,
        ..(**outbound).clone()
    };
    woven.listeners.push(Arc::new(double));
    for route in &mut woven.routes {
        if route.listeners.iter().any(is_outbound) {
            Arc::make_mut(route).listeners.push(name.clone());
        }
    }
}

fn addresses(service: &Service) -> impl Iterator<Item = SocketAddr> + '_ {
    service.endpoints.iter().map(|endpoint| endpoint.address)
}

fn taken(told: &Model, woven: &mut Model, service: &Arc<Service>, protocol: MeshProtocol) {
    let name = format!("mesh/to/{}", service.name);
    let (Ok(listener), Ok(route)) = (ListenerName::new(&name), RouteName::new(&name)) else {
        return;
    };
    let spoken = match protocol {
        MeshProtocol::Http => Protocol::Http,
        MeshProtocol::Tcp => Protocol::Tcp,
    };
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    woven.listeners.push(Arc::new(Listener {
        capture: Some(Capture::For(addresses(service).collect())),
        trusted_hops: TrustedHops::Count(1),
        source: service.source.clone(),
        ..Listener::new(listener.clone(), nowhere, spoken)
    }));
    let way = Way {
        name: route,
        listener,
        source: service.source.clone(),
    };
    match protocol {
        MeshProtocol::Http => {
            let route = way.of_requests(rules(told, service));
            woven.routes.push(Arc::new(route));
        }
        MeshProtocol::Tcp => {
            let stream = way.of_connections(&service.name);
            woven.streams.push(Arc::new(stream));
        }
    }
}

/// Those by which it is called by its name; one that no host can have is called by its address alone.
fn rules(told: &Model, service: &Service) -> Vec<Rule> {
    let name = format!("mesh/{}", service.name);
    let by_name = told.routes.iter().find(|route| route.name.as_str() == name);
    by_name.map_or_else(
        || vec![Rule::every(vec![whole(&service.name)])],
        |route| route.rules.clone(),
    )
}
