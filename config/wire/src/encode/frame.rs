//! All but the services: listeners, what arrives on them, and what belongs to the whole.

use std::sync::Arc;

use envoy_types::pb::envoy::config::listener::v3::Listener as WireListener;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use serde_json::{Map, Value, json};
use weir_config::model::{
    Listener, Model, Route, Rule, Service, StreamRoute, Tracing, all_same, same,
};

use super::SETTINGS;
use super::piece::Out;
use crate::keys::Keys;
use crate::noted::Noted as _;
use crate::{Kind, LeftOut, left_out, listener, metadata, route};

pub(super) fn write(model: &Model, keys: &mut Keys, out: &mut Out) {
    for own in &model.listeners {
        one_listener(own, model, keys, out);
    }
    settings(model, out);
}

/// Whether all that [`write()`] looks at is the same in both. Of services it sees the policies and never the endpoints.
pub(super) fn is_alike(a: &Model, b: &Model) -> bool {
    all_same(&a.listeners, &b.listeners)
        && all_same(&a.routes, &b.routes)
        && all_same(&a.streams, &b.streams)
        && same(&a.tracing, &b.tracing)
        && a.services.len() == b.services.len()
        && a.services
            .iter()
            .zip(&b.services)
            .all(|(a, b)| Arc::ptr_eq(a, b) || has_like_policies(a, b))
}

/// Whether two services differ in their endpoints at most.
fn has_like_policies(a: &Service, b: &Service) -> bool {
    // Whoever adds a field decides here whether listeners and routes are written by it.
    let Service {
        name,
        versions,
        endpoints: _,
        load_balancer,
        pool,
        outlier,
        health_check,
        drain_timeout,
        proxy_protocol,
        protocol,
        tls,
        mesh,
        source,
    } = a;
    *name == b.name
        && *versions == b.versions
        && *load_balancer == b.load_balancer
        && *pool == b.pool
        && *outlier == b.outlier
        && *health_check == b.health_check
        && *drain_timeout == b.drain_timeout
        && *proxy_protocol == b.proxy_protocol
        && *protocol == b.protocol
        && *tls == b.tls
        && *mesh == b.mesh
        && *source == b.source
}

fn one_listener(own: &Listener, model: &Model, keys: &mut Keys, out: &mut Out) {
    let routes: Vec<&Arc<Route>> = match own.protocol.is_http() {
        true => model
            .routes
            .iter()
            .filter(|route| serves(&route.listeners, own))
            .collect(),
        false => Vec::new(),
    };
    let streams = model
        .streams
        .iter()
        .filter(|stream| stream.listeners.contains(&own.name));
    let streams: Vec<&Arc<StreamRoute>> = streams.collect();
    if !out.notes && left_out::is_guarded(own) {
        out.left_out.push(LeftOut::new(
            Kind::Listener,
            own.name.as_str(),
            "authorization",
            "an Envoy is not told these rules and would let everybody in, so the whole listener is left out",
        ));
        return;
    }
    let context = listener::Context {
        notes: out.notes,
        model,
    };
    let wire = listener::encode(own, &routes, &streams, &context, keys);
    let Some(mut wire) = wire else {
        out.left_out.push(LeftOut::new(
            Kind::Listener,
            own.name.as_str(),
            "",
            "no route leads on from it",
        ));
        return;
    };
    let found = listener::decode(wire.clone(), true, keys, &|_| false);
    let note = match found {
        Ok(found) => own.beyond(&found.listener),
        Err(_) => Some(own.note()),
    };
    match out.notes {
        true => {
            let streams: Vec<Value> = streams.iter().map(|stream| stream.note()).collect();
            wire.metadata = metadata::of(&json!({ "listener": note, "streams": streams }));
        }
        false => left_out::listener(own, note, &streams, &mut out.left_out),
    }
    out.put(Kind::Listener, own.name.as_str(), &wire);
    if own.protocol.is_http() {
        let configuration = configuration(own, &routes, model, out);
        out.put(Kind::Route, own.name.as_str(), &configuration);
    }
}

fn serves(listeners: &[weir_config::model::ListenerName], own: &Listener) -> bool {
    listeners.is_empty() || listeners.contains(&own.name)
}

fn configuration(
    own: &Listener,
    routes: &[&Arc<Route>],
    model: &Model,
    out: &mut Out,
) -> RouteConfiguration {
    let context = route::Context {
        notes: out.notes,
        model,
        over_tls: own.tls.is_some() && !out.notes,
    };
    let name = own.name.as_str();
    if out.notes {
        let hosts = routes
            .iter()
            .map(|route| route::encode_route(route, &context))
            .collect();
        return route::configuration(name, hosts);
    }
    for route in routes {
        left_out::route(route, name, &context, &mut out.left_out);
    }
    // A limit holds for all requests of its rule together, and Envoy's for each place that it is written at.
    let limited = |route: &Route, rule: &Rule| left_out::limit_holds(route, rule, model);
    route::configuration(
        name,
        route::order::virtual_hosts(routes, &context, &limited),
    )
}

/// What belongs to the whole, and what no listener carries.
fn settings(model: &Model, out: &mut Out) {
    let has = |name: &weir_config::model::ListenerName| {
        model.listeners.iter().any(|own| own.name == *name)
    };
    let http = model.listeners.iter().any(|own| own.protocol.is_http());
    let is_carried = |route: &&Arc<Route>| match route.listeners.is_empty() {
        true => http,
        false => model
            .listeners
            .iter()
            .any(|own| own.protocol.is_http() && route.listeners.contains(&own.name)),
    };
    let routes: Vec<&Arc<Route>> = model
        .routes
        .iter()
        .filter(|route| !is_carried(route))
        .collect();
    let streams = model
        .streams
        .iter()
        .filter(|stream| !stream.listeners.iter().any(has));
    let streams: Vec<Value> = streams.map(|stream| stream.note()).collect();
    let tracing = model.tracing.beyond(&Tracing::default());
    if !out.notes {
        left_out::tracing(tracing.is_some(), &mut out.left_out);
        return;
    }
    if routes.is_empty() && streams.is_empty() && tracing.is_none() {
        return;
    }
    let context = route::Context {
        notes: true,
        model,
        over_tls: false,
    };
    let hosts = routes
        .iter()
        .map(|route| route::encode_route(route, &context))
        .collect();
    let mut wire: WireListener = listener::api(SETTINGS, route::configuration(SETTINGS, hosts));
    let mut note = Map::new();
    note.insert("tracing".to_owned(), tracing.unwrap_or(Value::Null));
    note.insert("streams".to_owned(), streams.into());
    wire.metadata = metadata::of(&note.into());
    out.put(Kind::Listener, SETTINGS, &wire);
}
