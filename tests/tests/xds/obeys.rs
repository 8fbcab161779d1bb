//! A proxy does what a management server of somebody else's says, in both variants of the protocol.

use std::collections::BTreeMap;

use serde_json::json;
use weir_tests::origin::Origin;
use weir_tests::ports;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

use crate::cluster::{cluster, endpoints, listener, proxy, routes, whole};
use crate::management::{Management, is};

/// Which origins answer how many of that many requests.
fn answers(at: std::net::SocketAddr, count: usize) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    let mut client = weir_tests::client::Client::connect(at);
    for _ in 0..count {
        let response = client.get("shop.example", "/");
        let by = match response.status() {
            200 => response.get("x-origin").unwrap_or_default().to_owned(),
            status => status.to_string(),
        };
        *seen.entry(by).or_default() += 1;
    }
    seen
}

fn ready(weir: &mut Weir) {
    if let Err(why) = weir.wait_ready() {
        panic!("weir {why}\n{}", weir.logs());
    }
}

fn obeys(variant: &str) {
    let Some(mut server) = Management::start(variant) else {
        return;
    };
    let (stable, canary, other) = (
        Origin::ok("stable"),
        Origin::ok("canary"),
        Origin::ok("other"),
    );
    let (web, state) = (ports::free(), tempfile::tempdir().expect("a directory"));
    let mut weir = proxy(&[server.url()], state.path(), &[]);
    server.put(&[
        cluster("stable"),
        endpoints("stable", &[stable.addr()]),
        cluster("canary"),
        endpoints("canary", &[canary.addr()]),
        listener("web", web),
        routes("web", &[("stable", 3), ("canary", 1)]),
    ]);
    ready(&mut weir);
    let stream = server.wait("a stream", |it| it["event"] == "stream");
    assert_eq!(
        (&stream["variant"], &stream["node"]),
        (&json!(variant), &json!("edge-1"))
    );
    let split = answers(web, 100);
    assert_eq!((split["stable"], split["canary"]), (75, 25), "{split:?}");

    // Endpoints change while connections stay.
    let mut client = weir_tests::client::Client::connect(web);
    assert_eq!(client.get("shop.example", "/").status(), 200);
    server.put(&[
        endpoints("stable", &[other.addr()]),
        endpoints("canary", &[other.addr()]),
    ]);
    eventually("the new endpoints", || {
        let response = client.get("shop.example", "/");
        assert_eq!(response.status(), 200);
        (response.get("x-origin") == Some("other")).then_some(())
    });

    // Routes change, and a cluster goes.
    server.put(&[routes("web", &[("canary", 1)])]);
    server.drop(&[("Cluster", "stable")]);
    eventually("a proxy without the cluster", || {
        let services = weir.json("/api/v1/services");
        let services = services["services"].as_array()?.len();
        (services == 1).then_some(())
    });
    assert_eq!(
        client.get("shop.example", "/").get("x-origin"),
        Some("other")
    );

    // Another listener comes, and this one goes.
    let next = ports::free();
    server.put(&[listener("next", next), routes("next", &[("canary", 1)])]);
    eventually("the new listener", || {
        weir_tests::client::Client::try_connect(next).ok().map(drop)
    });
    assert_eq!(answers(next, 3), BTreeMap::from([("other".to_owned(), 3)]));
    server.drop(&[("Listener", "web")]);
    eventually("the end of the old listener", || {
        weir_tests::client::Client::try_connect(web)
            .is_err()
            .then_some(())
    });
    assert_eq!(
        server.count(|it| it["event"] == "nack"),
        0,
        "{:#?}",
        server.events()
    );
    assert!(weir.metric("weir_xds_ack_total", &["ack"]) >= 8.0);
    assert_eq!(weir.metric("weir_xds_connected", &[]), 1.0);
}

#[test]
fn a_proxy_obeys_a_strangers_server_in_delta() {
    obeys("delta");
}

#[test]
fn a_proxy_obeys_a_strangers_server_that_has_the_state_of_the_world_alone() {
    obeys("sotw");
}

#[test]
fn the_variant_can_be_asked_for() {
    let Some(mut server) = Management::start("both") else {
        return;
    };
    let origin = Origin::ok("shop");
    server.put(&whole(ports::free(), &[origin.addr()]));
    let state = tempfile::tempdir().expect("a directory");
    for (variant, expected) in [(&["--xds", "sotw"][..], "sotw"), (&[], "delta")] {
        let seen = server.events().len();
        let mut weir = proxy(&[server.url()], state.path(), variant);
        ready(&mut weir);
        let stream = server.wait_after(seen, "a stream", |it| it["event"] == "stream");
        assert_eq!(stream["variant"], expected);
    }
}

#[test]
fn what_it_shows_is_what_it_was_told() {
    let Some(mut server) = Management::start("delta") else {
        return;
    };
    let origin = Origin::ok("shop");
    let (web, state) = (ports::free(), tempfile::tempdir().expect("a directory"));
    server.put(&whole(web, &[origin.addr()]));
    let mut weir = proxy(&[server.url()], state.path(), &[]);
    ready(&mut weir);
    let shows = |args: &[&str], part: &str| {
        let output = weir.cli(args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{args:?}: {output:?}");
        assert!(text.contains(part), "{args:?} without {part:?}: {text}");
    };
    shows(&["listeners"], &web.to_string());
    shows(&["routes"], "shop");
    shows(&["services"], "shop");
    shows(&["endpoints"], &origin.addr().to_string());
    shows(&["explain", "GET", &format!("http://{web}/")], "shop");
    shows(&["status"], &format!("connected to {}", server.url()));
    shows(&["healthcheck"], "serving generation");
    // What is the control plane's is not there.
    let other = weir.cli(&["certs"]);
    assert_eq!(other.status.code(), Some(1), "{other:?}");
}

#[test]
fn of_several_control_planes_the_next_is_tried_when_one_is_not_there() {
    let Some(mut server) = Management::start("delta") else {
        return;
    };
    let origin = Origin::ok("shop");
    let (web, state) = (ports::free(), tempfile::tempdir().expect("a directory"));
    server.put(&whole(web, &[origin.addr()]));
    let nobody = format!("http://{}", ports::free());
    let mut weir = proxy(&[nobody, server.url()], state.path(), &[]);
    ready(&mut weir);
    assert_eq!(answers(web, 2)["shop"], 2);
    // It is gone, and another comes in its place.
    server.kill();
    eventually("the proxy to notice", || {
        (weir.metric("weir_xds_connected", &[]) < 1.0).then_some(())
    });
    let status = weir.cli(&["status"]);
    let text = String::from_utf8_lossy(&status.stdout);
    assert!(
        text.contains("not connected to") && text.contains("stays in force"),
        "{text}"
    );
    assert_eq!(answers(web, 2)["shop"], 2);
    let port = server.addr().port().to_string();
    let Some(mut server) = Management::start_with(&["--variant", "delta", "--port", &port]) else {
        return;
    };
    let next = Origin::ok("next");
    server.put(&whole(web, &[next.addr()]));
    eventually("what the new control plane says", || {
        answers(web, 1).contains_key("next").then_some(())
    });
    // It said which versions it has.
    let known = server.wait("a subscription", |it| is(it, "subscribe", "Cluster"));
    assert!(known["known"]["shop"].is_string(), "{known}");
}
