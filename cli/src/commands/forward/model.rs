//! The model of a plain forwarder: one listener, one service, one route that takes everything.

use std::net::SocketAddr;
use std::sync::Arc;

use weir_config::model::{
    Admission, BackendRef, Endpoint, EndpointId, Invalid, Listener, Model, Route, RouteName, Rule,
    Service, ServiceName, Source, Timeouts, Version, VersionName, Weight,
};
use weir_config::{Fragment, compile};

const NAME: &str = "forward";

/// One address to forward to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    /// Takes requests only once a connection to it was accepted.
    pub(super) probe: bool,
}

/// Everything that arrives at `from`, over TLS where `secure`, goes to one of `to`.
///
/// # Errors
/// Never in practice: the names are constants and addresses.
pub(super) fn forwarding(from: SocketAddr, secure: bool, to: &[Target]) -> Result<Model, Invalid> {
    let service = ServiceName::new(NAME)?;
    Ok(Model {
        listeners: listeners(from, secure),
        services: vec![Arc::new(Service {
            versions: vec![Version {
                name: VersionName::stable(),
                weight: Weight::ONE,
            }],
            endpoints: to.iter().map(endpoint).collect::<Result<_, _>>()?,
            source: source(),
            ..Service::new(service.clone())
        })],
        routes: vec![Arc::new(route(service)?)],
        ..Model::default()
    })
}

/// The one listener; its certificate is made as those of files are.
fn listeners(from: SocketAddr, secure: bool) -> Vec<Arc<Listener>> {
    let fragment = match secure {
        true => Fragment::with_self_signed_listener(NAME, from, source()),
        false => Fragment::with_listener(NAME, from, source()),
    };
    compile(&[fragment]).model.listeners
}

fn endpoint(target: &Target) -> Result<Endpoint, Invalid> {
    let address = target.address;
    let id = EndpointId::new(&format!("{NAME}@{}", bare(address)))?;
    Ok(Endpoint {
        admission: if target.probe {
            Admission::Probe
        } else {
            Admission::Ready
        },
        source: source(),
        ..Endpoint::new(id, address)
    })
}

/// An address without the brackets that a name may not hold.
fn bare(address: SocketAddr) -> String {
    format!("{}:{}", address.ip(), address.port())
}

/// Without a time limit: what is forwarded may be a long poll or a large download.
fn route(service: ServiceName) -> Result<Route, Invalid> {
    Ok(Route {
        name: RouteName::new(NAME)?,
        listeners: Vec::new(),
        hostnames: Vec::new(),
        rules: vec![Rule {
            timeouts: Timeouts {
                request: None,
                backend_request: None,
            },
            ..Rule::every(vec![BackendRef {
                service,
                version: None,
                weight: Weight::ONE,
            }])
        }],
        age: 0,
        source: source(),
    })
}

fn source() -> Source {
    Source::Other(Arc::from("command line"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forwarder_has_an_endpoint_per_target() {
        let target = |text: &str| Target {
            address: text.parse().unwrap(),
            probe: false,
        };
        let to = [target("127.0.0.1:3000"), target("[::1]:3000")];
        let model = forwarding("127.0.0.1:8080".parse().unwrap(), false, &to).unwrap();
        let ids: Vec<&str> = model.services[0]
            .endpoints
            .iter()
            .map(|e| e.id.as_str())
            .collect();
        assert_eq!(ids, ["forward@127.0.0.1:3000", "forward@::1:3000"]);
        assert_eq!(
            model.routes[0].rules[0].backends[0].service,
            model.services[0].name
        );
        assert!(model.listeners[0].tls.is_none());
    }

    #[test]
    fn over_tls_it_has_a_certificate_for_this_machine() {
        let model = forwarding("127.0.0.1:8443".parse().unwrap(), true, &[]).unwrap();
        let tls = model.listeners[0].tls.as_ref().unwrap();
        assert_eq!(tls.certificates[0].names, ["127.0.0.1", "::1", "localhost"]);
    }
}
