//! Envoy: one worker, no access log, its default buffers.

use std::net::SocketAddr;
use std::path::Path;

pub(super) fn arguments(
    dir: &Path,
    listen: SocketAddr,
    origin: SocketAddr,
) -> anyhow::Result<Vec<String>> {
    let address = |addr: SocketAddr| {
        format!(
            "{{ socket_address: {{ address: {}, port_value: {} }} }}",
            addr.ip(),
            addr.port()
        )
    };
    let config = format!(
        "static_resources:\n  listeners:\n  - name: web\n    address: {}\n    filter_chains:\n    - filters:\n\
         \x20     - name: envoy.filters.network.http_connection_manager\n        typed_config:\n\
         \x20         \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n\
         \x20         stat_prefix: web\n          route_config:\n            virtual_hosts:\n\
         \x20           - {{ name: all, domains: [\"*\"], routes: [{{ match: {{ prefix: \"/\" }}, route: {{ cluster: app }} }}] }}\n\
         \x20         http_filters:\n          - name: envoy.filters.http.router\n            typed_config:\n\
         \x20             \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\n\
         \x20 clusters:\n  - name: app\n    connect_timeout: 3s\n    type: STATIC\n    load_assignment:\n      cluster_name: app\n\
         \x20     endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {} }} }}] }}]\n",
        address(listen),
        address(origin)
    );
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
