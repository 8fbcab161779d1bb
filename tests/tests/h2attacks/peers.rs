//! Other proxies in the place of Weir, each as its packages and manuals have it for HTTP/2 in clear.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use weir_tests::origin::Origin;
use weir_tests::wait::eventually;
use weir_tests::{ports, tools};

use crate::target::{Peer, Target, origin};

pub(crate) const ALL: [&str; 3] = ["haproxy", "nginx", "envoy"];

/// Starts one in front of an origin of its own; `None` where it is not installed.
pub(crate) fn start(name: &str) -> Option<Target> {
    let variable = format!("WEIR_{}", name.to_uppercase());
    let program = tools::find(&variable, &[name], "install it to compare with it")?;
    let origin = origin();
    let (addr, dir) = (ports::free(), tempfile::tempdir().expect("a directory"));
    let file = dir.path().join("config");
    let text = match name {
        "haproxy" => haproxy(addr, &origin.0),
        "nginx" => nginx(addr, &origin.0, dir.path()),
        _ => envoy(addr, &origin.0),
    };
    std::fs::write(&file, text).expect("write the configuration");
    let mut command = Command::new(program);
    match name {
        "haproxy" => command.args(["-db", "-f"]).arg(&file),
        "nginx" => command.arg("-p").arg(dir.path()).arg("-c").arg(&file),
        _ => command
            .args(["--concurrency", "1", "--disable-hot-restart"])
            .args(["--log-level", "off", "--config-yaml"])
            .arg(std::fs::read_to_string(&file).expect("what was just written")),
    };
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start the peer");
    eventually(name, || std::net::TcpStream::connect(addr).ok());
    let peer = Peer {
        child,
        addr,
        _dir: dir,
    };
    Some(Target::of(peer, origin))
}

fn haproxy(listen: SocketAddr, origin: &Origin) -> String {
    let to = origin.addr();
    format!(
        "global\n  nbthread 1\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
         frontend web\n  bind {listen} proto h2\n  default_backend app\nbackend app\n  server one {to}\n"
    )
}

fn nginx(listen: SocketAddr, origin: &Origin, home: &Path) -> String {
    let (to, home) = (origin.addr(), home.display());
    format!(
        "daemon off; master_process off; pid {home}/pid; error_log {home}/error.log;\nevents {{ worker_connections 4096; }}\n\
         http {{ access_log off; client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f;\n\
         uwsgi_temp_path {home}/u; scgi_temp_path {home}/s; upstream app {{ server {to}; keepalive 64; }}\n\
         server {{ listen {listen} http2; location / {{ proxy_pass http://app; proxy_http_version 1.1;\n\
         proxy_set_header Connection \"\"; }} }} }}\n"
    )
}

fn envoy(listen: SocketAddr, origin: &Origin) -> String {
    let address = |addr: SocketAddr| {
        format!(
            "{{ socket_address: {{ address: {}, port_value: {} }} }}",
            addr.ip(),
            addr.port()
        )
    };
    let (listen, to) = (address(listen), address(origin.addr()));
    let manager = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
    // With the limits of Envoy's guide for the edge, which its defaults leave out.
    format!(
        "{{ static_resources: {{ listeners: [{{ name: web, address: {listen}, filter_chains: [{{ filters: [{{\n\
         name: envoy.filters.network.http_connection_manager, typed_config: {{ \"@type\": {manager}, stat_prefix: web,\n\
         http2_protocol_options: {{ max_concurrent_streams: 100, initial_stream_window_size: 65536, initial_connection_window_size: 1048576 }},\n\
         stream_idle_timeout: 300s, request_timeout: 300s,\n\
         route_config: {{ virtual_hosts: [{{ name: all, domains: [\"*\"], routes: [{{ match: {{ prefix: \"/\" }}, route: {{ cluster: app }} }}] }}] }},\n\
         http_filters: [{{ name: envoy.filters.http.router, typed_config: {{ \"@type\": {router} }} }}] }} }}] }}] }}],\n\
         clusters: [{{ name: app, type: STATIC, connect_timeout: 5s, per_connection_buffer_limit_bytes: 32768,\n\
         circuit_breakers: {{ thresholds: [{{ max_connections: 100000, max_pending_requests: 100000, max_requests: 100000 }}] }},\n\
         load_assignment: {{ cluster_name: app, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {to} }} }}] }}] }} }}] }} }}\n"
    )
}
