//! A service as a client of gRPC looks it up: `xds:///shop` asks for a listener of that name (gRPC, proposal A27).

use std::sync::Arc;

use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use prost::Message as _;
use weir_config::model::{BackendRef, Match, Model, Rule, Weight};

use crate::route::{self, Context};
use crate::{Audience, Kind, Resource, Resources, encode, listener, names};

/// What a client needs for that service: a listener of its name with one route in it to the service's clusters by weight, these
/// clusters and their endpoints. `None`: there is no such service.
#[must_use]
pub fn service_listener(model: &Model, service: &str) -> Option<Resources> {
    let own = model.service(service)?;
    let mut alone = Model::default();
    alone.services.push(Arc::clone(own));
    let rule = Rule::every(vec![BackendRef {
        service: own.name.clone(),
        version: None,
        weight: Weight::ONE,
    }]);
    let context = Context {
        notes: false,
        model: &alone,
        over_tls: false,
    };
    let mut every =
        route::encode_match(&rule, &Match::every(), service.to_owned(), &context, false);
    // How often and when a call is tried again is its own affair.
    route::without_policies(&mut every);
    let configuration = RouteConfiguration {
        name: service.to_owned(),
        virtual_hosts: vec![VirtualHost {
            name: service.to_owned(),
            domains: vec!["*".to_owned()],
            routes: vec![every],
            ..VirtualHost::default()
        }],
        ..RouteConfiguration::default()
    };
    let mut resources = encode(&alone, Audience::Other).resources;
    let whole = names::cluster(&own.name, None);
    if own.versions.len() > 1 {
        // The route goes to the versions.
        resources.remove(Kind::Cluster, &whole);
        resources.remove(Kind::Endpoint, &whole);
    }
    let wire = listener::api(service, configuration);
    let resource = Resource::new(Kind::Listener, service, wire.encode_to_vec());
    resources.insert(Arc::new(resource));
    Some(resources)
}
