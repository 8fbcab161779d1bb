//! What a proxy does not take from a management server: it says so by name, and keeps what it had.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use weir_tests::origin::Origin;
use weir_tests::ports;
use weir_tests::wait::{SILENCE, eventually};
use weir_tests::weir::Weir;

use crate::cluster::{cluster, endpoints, listener, proxy, routes, whole};
use crate::management::{Management, is};

struct Scene {
    server: Management,
    weir: Weir,
    origin: Origin,
    web: SocketAddr,
    _state: tempfile::TempDir,
}

impl Scene {
    /// A proxy that serves one cluster.
    fn start(variant: &str) -> Option<Self> {
        let mut server = Management::start(variant)?;
        let (origin, web) = (Origin::ok("shop"), ports::free());
        server.put(&whole(web, &[origin.addr()]));
        let state = tempfile::tempdir().expect("a directory");
        let mut weir = proxy(&[server.url()], state.path(), &[]);
        if let Err(why) = weir.wait_ready() {
            panic!("weir {why}\n{}", weir.logs());
        }
        Some(Self {
            server,
            weir,
            origin,
            web,
            _state: state,
        })
    }

    fn serves(&self) {
        let response = weir_tests::client::Client::connect(self.web).get("shop.example", "/");
        assert_eq!(
            response.get("x-origin"),
            Some("shop"),
            "{}",
            response.text()
        );
    }

    fn refused(&self, reason: &str) -> f64 {
        let label = format!("reason=\"{reason}\"");
        self.weir.metric("weir_xds_refused_total", &[&label])
    }
}

#[test]
fn a_field_that_is_not_supported_is_named_and_the_rest_is_taken() {
    for variant in ["delta", "sotw"] {
        let Some(mut scene) = Scene::start(variant) else {
            return;
        };
        let mut strange = cluster("shop");
        strange["closeConnectionsOnHostHealthFailure"] = json!(true);
        scene.server.put(&[
            strange,
            cluster("blog"),
            endpoints("blog", &[scene.origin.addr()]),
        ]);
        let nack = scene
            .server
            .wait("a refusal", |it| is(it, "nack", "Cluster"));
        let error = nack["error"].as_str().expect("a reason");
        assert!(error.contains("Cluster shop"), "{error}");
        assert!(
            error.contains("close_connections_on_host_health_failure"),
            "{error}"
        );
        assert!(!error.contains("blog"), "{error}");
        eventually("the other cluster", || {
            let services = scene.weir.json("/api/v1/services");
            (services["services"].as_array()?.len() == 2).then_some(())
        });
        scene.serves();
        assert!(scene.refused("unsupported") >= 1.0);
        let status = scene.weir.cli(&["status"]);
        let text = String::from_utf8_lossy(&status.stdout);
        assert!(text.contains("not in force: Cluster shop"), "{text}");
        scene.server.put(&[cluster("shop")]);
        eventually("the end of the trouble", || {
            let status = scene.weir.json("/api/v1/status");
            (status["config"]["state"] == "ok").then_some(())
        });
    }
}

#[test]
fn a_set_of_nothing_is_not_believed() {
    for variant in ["delta", "sotw"] {
        let Some(mut scene) = Scene::start(variant) else {
            return;
        };
        scene.server.drop(&[
            ("Listener", "web"),
            ("RouteConfiguration", "web"),
            ("Cluster", "shop"),
            ("ClusterLoadAssignment", "shop"),
        ]);
        let nack = scene.server.wait("a refusal", |it| it["event"] == "nack");
        let error = nack["error"].as_str().expect("a reason");
        assert!(error.contains("is not believed"), "{variant}: {error}");
        scene.serves();
        assert!(scene.refused("empty") >= 1.0);
        // A control plane that found its words again is believed.
        let next = Origin::ok("next");
        scene.server.put(&whole(scene.web, &[next.addr()]));
        eventually("the new endpoint", || {
            let response = weir_tests::client::Client::connect(scene.web).get("shop.example", "/");
            (response.get("x-origin") == Some("next")).then_some(())
        });
    }
}

#[test]
fn a_response_that_comes_again_and_ones_that_cannot_be_read_change_nothing() {
    let Some(mut scene) = Scene::start("delta") else {
        return;
    };
    scene.server.raw("replay");
    eventually("the replay to be counted", || {
        (scene.refused("replayed") >= 1.0).then_some(())
    });
    scene.serves();
    let mut origins = Vec::new();
    for (what, reason) in [("huge", "too_large"), ("truncated", "malformed")] {
        let seen = scene.server.events().len();
        scene.server.raw(what);
        eventually("it to be counted", || {
            (scene.refused(reason) >= 1.0).then_some(())
        });
        scene.serves();
        // The stream is gone with it; another begins, and says what is there.
        let stream = scene
            .server
            .wait_after(seen, "another stream", |it| is(it, "subscribe", "Cluster"));
        assert!(stream["known"]["shop"].is_string(), "{what}: {stream}");
        let next = Origin::ok("shop");
        scene.server.put(&[endpoints("shop", &[next.addr()])]);
        eventually("a change after it", || {
            scene.serves();
            (next.count() > 0).then_some(())
        });
        origins.push(next);
    }
}

#[test]
fn a_port_that_is_taken_is_reported_by_its_listener_and_the_rest_is_served() {
    let Some(mut scene) = Scene::start("delta") else {
        return;
    };
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = holder.local_addr().expect("its address");
    scene.server.put(&[
        listener("more", taken),
        routes("more", &[("shop", 1)]),
        cluster("blog"),
        endpoints("blog", &[scene.origin.addr()]),
    ]);
    let nack = scene
        .server
        .wait("a refusal", |it| is(it, "nack", "Listener"));
    let error = nack["error"].as_str().expect("a reason");
    assert!(error.contains("Listener more"), "{error}");
    assert!(error.contains(&taken.to_string()), "{error}");
    assert_eq!(
        scene.weir.json("/api/v1/services")["services"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    scene.serves();
    assert_eq!(scene.refused("unbound"), 1.0);
    // Whoever holds it may let it go, and the server hears of that.
    let seen = scene.server.events().len();
    drop(holder);
    eventually("the listener", || {
        let mut client = weir_tests::client::Client::try_connect(taken).ok()?;
        assert_eq!(client.get("shop.example", "/").status(), 200);
        Some(())
    });
    scene
        .server
        .wait_after(seen, "the end of the refusal", |it| {
            is(it, "ack", "Listener")
        });
    assert_eq!(scene.weir.json("/api/v1/status")["config"]["state"], "ok");
}

#[test]
fn a_connection_that_breaks_in_the_middle_of_a_response_changes_nothing() {
    let Some(mut server) = Management::start("delta") else {
        return;
    };
    let (origin, web) = (Origin::ok("shop"), ports::free());
    let mut set = whole(web, &[origin.addr()]);
    // Some that make the response long.
    for at in 0..300 {
        let name = format!("more-{at}");
        set.push(cluster(&name));
        set.push(endpoints(&name, &[origin.addr()]));
    }
    server.put(&set);
    let relay = Relay::start(server.addr());
    let state = tempfile::tempdir().expect("a directory");
    let mut weir = proxy(&[format!("http://{}", relay.addr)], state.path(), &[]);
    // Each connection gets further than the one before.
    weir.wait_ready()
        .unwrap_or_else(|why| panic!("weir {why}\n{}", weir.logs()));
    let connections = relay.connections.load(Ordering::SeqCst);
    assert!(connections > 2, "{connections}: nothing was cut");
    eventually("everything", || {
        let services = weir.json("/api/v1/services");
        (services["services"].as_array()?.len() == 301).then_some(())
    });
    let response = weir_tests::client::Client::connect(web).get("shop.example", "/");
    assert_eq!(response.status(), 200);
}

/// Passes on what a server says, and cuts each connection off after some bytes: more for each.
struct Relay {
    addr: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Relay {
    fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("its address");
        let connections = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&connections);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let allowed = 2000 << (3 * number.min(5));
                let Ok(upstream) = TcpStream::connect(server) else {
                    continue;
                };
                pass(client, upstream, allowed);
            }
        });
        Self { addr, connections }
    }
}

fn pass(client: TcpStream, server: TcpStream, allowed: usize) {
    let (Ok(mut from_client), Ok(mut to_server)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
    std::thread::spawn(move || {
        let (mut server, mut client) = (server, client);
        let (mut left, mut buffer) = (allowed, [0; 4096]);
        while left > 0 {
            let Ok(count @ 1..) = server.read(&mut buffer) else {
                break;
            };
            let count = count.min(left);
            if client.write_all(&buffer[..count]).is_err() {
                break;
            }
            left -= count;
        }
        let _ = client.shutdown(std::net::Shutdown::Both);
        let _ = server.shutdown(std::net::Shutdown::Both);
    });
}

#[test]
fn a_silent_server_leaves_everything_as_it_is() {
    let Some(mut scene) = Scene::start("delta") else {
        return;
    };
    scene.server.order(&json!({ "do": "close" }));
    let silence = std::time::Instant::now();
    while silence.elapsed() < SILENCE {
        scene.serves();
    }
    eventually("another stream", || {
        (scene.server.count(|it| it["event"] == "stream") == 2).then_some(())
    });
}
