//! What a management server hands out, in protobuf's JSON, as people write Envoy's configuration; and the proxy that gets it.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};
use weir_tests::weir::Weir;

const PREFIX: &str = "type.googleapis.com/envoy";

/// A cluster whose endpoints come by EDS.
pub(crate) fn cluster(name: &str) -> Value {
    json!({
        "@type": format!("{PREFIX}.config.cluster.v3.Cluster"),
        "name": name,
        "type": "EDS",
        "connectTimeout": "1s",
        "edsClusterConfig": { "edsConfig": ads() },
    })
}

fn ads() -> Value {
    json!({ "ads": {}, "resourceApiVersion": "V3" })
}

fn socket(address: SocketAddr) -> Value {
    json!({ "socketAddress": { "address": address.ip().to_string(), "portValue": address.port() } })
}

/// The endpoints of a cluster.
pub(crate) fn endpoints(name: &str, addresses: &[SocketAddr]) -> Value {
    let all = addresses
        .iter()
        .map(|address| json!({ "endpoint": { "address": socket(*address) } }));
    json!({
        "@type": format!("{PREFIX}.config.endpoint.v3.ClusterLoadAssignment"),
        "clusterName": name,
        "endpoints": [{ "lbEndpoints": all.collect::<Vec<_>>() }],
    })
}

/// A listener of HTTP whose routes come by RDS under its own name.
pub(crate) fn listener(name: &str, bind: SocketAddr) -> Value {
    let extension = format!("{PREFIX}.extensions.filters");
    json!({
        "@type": format!("{PREFIX}.config.listener.v3.Listener"),
        "name": name,
        "address": socket(bind),
        "filterChains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typedConfig": {
                "@type": format!("{extension}.network.http_connection_manager.v3.HttpConnectionManager"),
                "statPrefix": name,
                "rds": { "configSource": ads(), "routeConfigName": name },
                "httpFilters": [{
                    "name": "envoy.filters.http.router",
                    "typedConfig": { "@type": format!("{extension}.http.router.v3.Router") },
                }],
            },
        }] }],
    })
}

/// Everything to these clusters by weight.
pub(crate) fn routes(name: &str, weights: &[(&str, u32)]) -> Value {
    let clusters = weights
        .iter()
        .map(|(name, weight)| json!({ "name": name, "weight": weight }));
    let action = match weights {
        [(only, _)] => json!({ "cluster": only }),
        _ => json!({ "weightedClusters": { "clusters": clusters.collect::<Vec<_>>() } }),
    };
    json!({
        "@type": format!("{PREFIX}.config.route.v3.RouteConfiguration"),
        "name": name,
        "virtualHosts": [{
            "name": "all",
            "domains": ["*"],
            "routes": [{ "match": { "prefix": "/" }, "route": action }],
        }],
    })
}

/// One listener, one cluster.
pub(crate) fn whole(bind: SocketAddr, addresses: &[SocketAddr]) -> Vec<Value> {
    vec![
        cluster("shop"),
        endpoints("shop", addresses),
        listener("web", bind),
        routes("web", &[("shop", 1)]),
    ]
}

/// `weir proxy` as the node `edge-1`, not waited for.
pub(crate) fn proxy(control: &[String], state: &Path, more: &[&str]) -> Weir {
    Weir::command(|ports| {
        let mut args = vec!["proxy".to_owned()];
        for url in control {
            args.extend(["--control".to_owned(), url.clone()]);
        }
        let (admin, state) = (
            ports.admin.to_string(),
            state.to_string_lossy().into_owned(),
        );
        let own = [
            "--node",
            "edge-1",
            "--workers",
            "1",
            "--access-log",
            "off",
            "--admin-listen",
            &admin,
            "--state-dir",
            &state,
        ];
        args.extend(own.iter().chain(more).map(ToString::to_string));
        args
    })
}
