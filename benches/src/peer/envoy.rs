//! Envoy: one worker, no access log, its default buffers.

use std::net::SocketAddr;
use std::path::Path;

use super::Places;
use crate::workload::Setup;

const MANAGER: &str = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
const TLS: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
const HTTP: &str = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

pub(super) fn arguments(dir: &Path, places: &Places, setup: Setup) -> anyhow::Result<Vec<String>> {
    let config = match setup {
        Setup::Http { .. } => http(places),
        Setup::Tcp => tcp(places),
    };
    let path = dir.join("envoy.yaml");
    std::fs::write(&path, config)?;
    let args = [
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "error",
        "-c",
        &path.to_string_lossy(),
    ];
    Ok(args.map(str::to_owned).to_vec())
}

/// A listener in clear and one over TLS.
fn http(places: &Places) -> String {
    let (cert, key) = (
        places.identity.cert.display(),
        places.identity.key.display(),
    );
    let socket = format!(
        "{{ name: envoy.transport_sockets.tls, typed_config: {{ \"@type\": {TLS}, common_tls_context: {{\n\
         \x20       alpn_protocols: [h2, http/1.1], tls_params: {{ tls_minimum_protocol_version: TLSv1_2, tls_maximum_protocol_version: TLSv1_3 }},\n\
         \x20       tls_certificates: [{{ certificate_chain: {{ filename: {cert} }}, private_key: {{ filename: {key} }} }}] }} }} }}"
    );
    format!(
        "static_resources:\n  listeners:\n{}{}  clusters:\n{}{}",
        listener("web", places.listen, ""),
        listener(
            "websecure",
            places.tls,
            &format!("      transport_socket: {socket}\n")
        ),
        cluster("app", places.origin, ""),
        cluster(
            "grpc",
            places.grpc,
            &format!(
                "    typed_extension_protocol_options: {{ envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{ \"@type\": {HTTP}, explicit_http_config: {{ http2_protocol_options: {{}} }} }} }}\n"
            )
        ),
    )
}

/// One listener, whose bytes nobody looks at.
fn tcp(places: &Places) -> String {
    let proxy = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
    format!(
        "static_resources:\n  listeners:\n  - name: web\n    address: {}\n    filter_chains:\n    - filters:\n\
         \x20     - name: envoy.filters.network.tcp_proxy\n        typed_config: {{ \"@type\": {proxy}, stat_prefix: web, cluster: app }}\n\
         \x20 clusters:\n{}",
        address(places.listen),
        cluster("app", places.origin, "")
    )
}

/// One listener: calls of gRPC to their cluster, everything else to the other.
fn listener(name: &str, addr: SocketAddr, socket: &str) -> String {
    let grpc = "{ match: { prefix: \"/weir.origin.v1.Echo/\" }, route: { cluster: grpc } }";
    let rest = "{ match: { prefix: \"/\" }, route: { cluster: app } }";
    let address = address(addr);
    format!(
        "  - name: {name}\n    address: {address}\n    filter_chains:\n    - filters:\n\
         \x20     - name: envoy.filters.network.http_connection_manager\n        typed_config:\n\
         \x20         \"@type\": {MANAGER}\n          stat_prefix: {name}\n          route_config:\n            virtual_hosts:\n\
         \x20           - {{ name: all, domains: [\"*\"], routes: [{grpc}, {rest}] }}\n\
         \x20         http_filters:\n          - name: envoy.filters.http.router\n            typed_config: {{ \"@type\": {ROUTER} }}\n{socket}"
    )
}

fn cluster(name: &str, addr: SocketAddr, keys: &str) -> String {
    let address = address(addr);
    format!(
        "  - name: {name}\n    connect_timeout: 3s\n    type: STATIC\n{keys}    load_assignment:\n      cluster_name: {name}\n\
         \x20     endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {address} }} }}] }}]\n"
    )
}

fn address(addr: SocketAddr) -> String {
    format!(
        "{{ socket_address: {{ address: {}, port_value: {} }} }}",
        addr.ip(),
        addr.port()
    )
}
