//! What the control plane says, an Envoy does: routes, weights, checks, ejections, breakers, retries, TLS.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use weir_tests::client::{self, Client, Response};
use weir_tests::origin::Origin;
use weir_tests::pki::Authority;
use weir_tests::tls::Connector;
use weir_tests::wait::eventually;

use super::envoy::{DELTA, Envoy, Options, SOTW};
use super::plane::{Addresses, Plane, open};

/// A file: an open control plane, one listener, and the rest.
fn file(at: Addresses, rest: &str) -> String {
    let listen = at.listen;
    format!(
        "{}listeners: [{{ name: web, bind: \"{listen}\" }}]\n{rest}",
        open(at)
    )
}

/// Two versions of a service, and their shares.
fn split(stable: SocketAddr, canary: SocketAddr, shares: (u32, u32)) -> String {
    format!(
        "services:
  - name: shop
    endpoints: [{{ address: \"{stable}\", version: stable }}, {{ address: \"{canary}\", version: canary }}]
routes:
  - name: shop
    rules:
      - matches: [{{ path: {{ type: PathPrefix, value: /only }}, headers: [{{ name: x-canary, value: \"yes\" }}] }}]
        backendRefs: [{{ name: shop, version: canary }}]
      - backendRefs: [{{ name: shop, version: stable, weight: {} }}, {{ name: shop, version: canary, weight: {} }}]
",
        shares.0, shares.1
    )
}

/// The origin that answered.
pub(crate) fn who(response: &Response) -> String {
    response.get("x-origin").unwrap_or_default().to_owned()
}

/// Who answered so many requests.
fn answers(listen: SocketAddr, count: usize) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for _ in 0..count {
        let response = client::get(listen, "shop.example", "/");
        assert_eq!(response.status(), 200, "{}", response.text());
        *seen.entry(who(&response)).or_default() += 1;
    }
    seen
}

fn weights_and_routes(protocol: &str) {
    let (stable, canary) = (Origin::ok("stable"), Origin::ok("canary"));
    let text = |at, shares| file(at, &split(stable.addr(), canary.addr(), shares));
    let plane = Plane::start(|at| text(at, (100, 0)));
    let options = Options {
        protocol,
        ..Options::default()
    };
    let Some(envoy) = Envoy::start(plane.at.xds, &options) else {
        return;
    };
    envoy.wait_for(plane.at.listen);
    let proxy = plane.synced("edge-1");
    assert!(
        proxy["version"].as_str().unwrap().starts_with("envoy"),
        "{proxy}"
    );
    assert_eq!(
        answers(plane.at.listen, 20),
        BTreeMap::from([("stable".into(), 20)])
    );
    let mut client = Client::connect(plane.at.listen);
    client.send("GET /only HTTP/1.1\r\nHost: shop.example\r\nx-canary: yes\r\n\r\n");
    assert_eq!(who(&client.response()), "canary");

    // Under way, not one request fails.
    let (stop, failed) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let (until, failing, listen) = (Arc::clone(&stop), Arc::clone(&failed), plane.at.listen);
    let load = std::thread::spawn(move || {
        let mut count = 0_usize;
        while !until.load(Ordering::Relaxed) {
            let good = client::get(listen, "shop.example", "/").status() == 200;
            failing.fetch_add(usize::from(!good), Ordering::Relaxed);
            count += 1;
        }
        count
    });
    for shares in [(50, 50), (0, 100), (100, 0), (0, 100)] {
        plane.moved("edge-1", &text(plane.at, shares));
        if shares == (50, 50) {
            eventually("both versions to answer", || {
                (answers(listen, 20).len() == 2).then_some(())
            });
        }
    }
    eventually("the canary alone to answer", || {
        (answers(listen, 5) == BTreeMap::from([("canary".into(), 5)])).then_some(())
    });
    stop.store(true, Ordering::Relaxed);
    assert!(load.join().expect("the load") > 10);
    assert_eq!(failed.load(Ordering::Relaxed), 0);
}

#[test]
fn an_envoy_follows_routes_and_weights_over_delta() {
    weights_and_routes(DELTA);
}

#[test]
fn an_envoy_follows_routes_and_weights_over_the_state_of_the_world() {
    weights_and_routes(SOTW);
}

fn services_come_and_go(protocol: &str) {
    let (one, two) = (Origin::ok("one"), Origin::ok("two"));
    let only = |name: &str, addr: SocketAddr| {
        format!(
            "services: [{{ name: {name}, endpoints: [{{ address: \"{addr}\" }}] }}]\n\
             routes: [{{ name: all, rules: [{{ backendRefs: [{{ name: {name} }}] }}] }}]\n"
        )
    };
    let plane = Plane::start(|at| file(at, &only("one", one.addr())));
    let options = Options {
        protocol,
        ..Options::default()
    };
    let Some(envoy) = Envoy::start(plane.at.xds, &options) else {
        return;
    };
    envoy.wait_for(plane.at.listen);
    plane.synced("edge-1");
    let mut client = Client::connect(plane.at.listen);
    for round in 0..6 {
        let (name, addr) = match round % 2 {
            0 => ("two", two.addr()),
            _ => ("one", one.addr()),
        };
        plane.rewrite(&file(plane.at, &only(name, addr)));
        // The cluster is new each time, and the one before goes: no answer but 200 in between.
        eventually("the other service to answer", || {
            let response = client.get("shop.example", "/");
            assert_eq!(response.status(), 200, "round {round}");
            (who(&response) == name).then_some(())
        });
        plane.synced("edge-1");
        eventually("the cluster before to be gone", || {
            let clusters = envoy.ask("/clusters").unwrap_or_default();
            let other = if name == "one" { "two::" } else { "one::" };
            (!clusters.lines().any(|line| line.starts_with(other))).then_some(())
        });
    }
}

#[test]
fn a_service_is_replaced_by_another_without_a_gap_over_delta() {
    services_come_and_go(DELTA);
}

#[test]
fn a_service_is_replaced_by_another_without_a_gap_over_the_state_of_the_world() {
    services_come_and_go(SOTW);
}

#[test]
fn an_envoy_checks_ejects_breaks_and_retries_as_it_is_told() {
    let (good, bad) = (
        Origin::ok("good"),
        Origin::answering("bad", |_| (500, Duration::ZERO)),
    );
    let policies = format!(
        "services:
  - name: checked
    endpoints: [{{ address: \"{0}\" }}, {{ address: \"{1}\" }}]
    healthCheck: {{ http: {{ path: /healthz }}, interval: 200ms, timeout: 1s, unhealthyThreshold: 1 }}
  - name: ejecting
    endpoints: [{{ address: \"{0}\" }}, {{ address: \"{1}\" }}]
    outlierDetection: {{ consecutive5xxErrors: 2, interval: 200ms, baseEjectionTime: 60s, maxEjectionPercent: 100 }}
    connectionPool: {{ tcp: {{ maxConnections: 17 }}, http: {{ http1MaxPendingRequests: 18 }} }}
  - name: retried
    loadBalancer: {{ simple: ROUND_ROBIN }}
    endpoints: [{{ address: \"{0}\" }}, {{ address: \"{1}\" }}]
routes:
  - name: all
    rules:
      - matches: [{{ path: {{ type: PathPrefix, value: /checked }} }}]
        backendRefs: [{{ name: checked }}]
      - matches: [{{ path: {{ type: PathPrefix, value: /ejecting }} }}]
        backendRefs: [{{ name: ejecting }}]
        retry: {{ attempts: 0 }}
      - matches: [{{ path: {{ type: PathPrefix, value: /retried }} }}]
        backendRefs: [{{ name: retried }}]
        retry: {{ attempts: 5, on: [\"5xx\"] }}
",
        good.addr(),
        bad.addr()
    );
    let plane = Plane::start(|at| file(at, &policies));
    let Some(envoy) = Envoy::start(plane.at.xds, &Options::default()) else {
        return;
    };
    envoy.wait_for(plane.at.listen);
    plane.synced("edge-1");
    let failed = |cluster: &str, check: &str| {
        let hosts = envoy.hosts(cluster);
        let out = hosts
            .iter()
            .filter(|host| host["health_status"][check] == true);
        let port =
            |host: &serde_json::Value| host["address"]["socket_address"]["port_value"].as_u64();
        out.filter_map(port).collect::<Vec<u64>>()
    };
    let only_bad = vec![u64::from(bad.addr().port())];
    eventually("the health check to fail", || {
        (failed("checked", "failed_active_health_check") == only_bad).then_some(())
    });
    for _ in 0..10 {
        assert_eq!(who(&client::get(plane.at.listen, "a", "/checked")), "good");
    }
    eventually("the ejection", || {
        let _ = client::get(plane.at.listen, "a", "/ejecting");
        (failed("ejecting", "failed_outlier_check") == only_bad).then_some(())
    });
    for _ in 0..10 {
        assert_eq!(who(&client::get(plane.at.listen, "a", "/retried")), "good");
    }
    let clusters = envoy.ask("/clusters").expect("the clusters");
    for line in [
        "ejecting::default_priority::max_connections::17",
        "ejecting::default_priority::max_pending_requests::18",
    ] {
        assert!(
            clusters.lines().any(|has| has == line),
            "{line} in {clusters}"
        );
    }
}

#[test]
fn an_envoy_is_given_its_certificates_and_new_ones_without_a_restart() {
    let origin = Origin::ok("secure");
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let dir = tempfile::tempdir().expect("a directory");
    let files = first.server(&["shop.example"]).write(dir.path(), "shop");
    let text = |at: Addresses| {
        format!(
            "{}listeners:
  - name: web
    bind: \"{}\"
    protocol: https
    tls: {{ certificates: [{{ cert: {}, key: {} }}] }}
services: [{{ name: app, endpoints: [{{ address: \"{}\" }}] }}]
routes: [{{ name: app, rules: [{{ backendRefs: [{{ name: app }}] }}] }}]
",
            open(at),
            at.listen,
            files.cert.display(),
            files.key.display(),
            origin.addr()
        )
    };
    let plane = Plane::start(text);
    for protocol in [DELTA, SOTW] {
        let name = format!("edge-{protocol}");
        let options = Options {
            node: &name,
            protocol,
            ..Options::default()
        };
        let Some(envoy) = Envoy::start(plane.at.xds, &options) else {
            return;
        };
        envoy.wait_for(plane.at.listen);
        for authority in [&first, &second] {
            authority
                .server(&["shop.example"])
                .write(dir.path(), "shop");
            let trusting = Connector::trusting(authority, "shop.example", &["http/1.1"]);
            eventually("the certificate of that authority", || {
                let mut client = Client::try_connect_tls(plane.at.listen, &trusting).ok()?;
                (who(&client.get("shop.example", "/")) == "secure").then_some(())
            });
        }
        plane.synced(&name);
    }
}
