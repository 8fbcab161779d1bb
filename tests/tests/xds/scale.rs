//! Many endpoints, many changes: how long one takes to be in force, what it costs those who are served, and what stays in memory.
//!
//! In a release build: 10,000 endpoints, 10,000 changes, and bounds. In a debug build the same with less, and memory alone bounded.

use std::time::{Duration, Instant};

use serde_json::json;
use weir_tests::load::Load;
use weir_tests::origin::Origin;
use weir_tests::wait::within;
use weir_tests::weir::Weir;
use weir_tests::{client::Client, ports, say};

use crate::cluster::{proxy, whole};
use crate::management::Management;

const DEBUG: bool = cfg!(debug_assertions);

/// Times in microseconds, sorted.
fn at(times: &[u64], percent: usize) -> u64 {
    times[(times.len() - 1) * percent / 100]
}

/// Latencies of requests on one connection, one after the other, for that long; microseconds, sorted.
fn latencies(web: std::net::SocketAddr, time: Duration, until: impl Fn() -> bool) -> Vec<u64> {
    let mut client = Client::connect(web);
    let (began, mut all) = (Instant::now(), Vec::new());
    while began.elapsed() < time && !until() {
        let sent = Instant::now();
        let response = client.get("shop.example", "/");
        assert_eq!(response.status(), 200, "{}", response.text());
        all.push(u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX));
        std::thread::sleep(Duration::from_micros(500));
    }
    all.sort_unstable();
    all
}

fn rss(weir: &Weir) -> usize {
    weir.rss_kib() / 1024
}

#[test]
fn one_change_among_many_endpoints_is_in_force_soon_and_leaves_nothing_behind() {
    let Some(mut server) = Management::start("delta") else {
        return;
    };
    let (clusters, endpoints, times) = match DEBUG {
        true => (100, 10, 300),
        false => (1000, 10, 10_000),
    };
    let (one, two, web) = (Origin::ok("one"), Origin::ok("two"), ports::free());
    let state = tempfile::tempdir().expect("a directory");
    server.put(&whole(web, &[one.addr()]));
    server.order(&json!({ "do": "many", "clusters": clusters, "endpoints": endpoints }));
    let mut weir = proxy(&[server.url()], state.path(), &[]);
    weir.wait_ready()
        .unwrap_or_else(|why| panic!("weir {why}\n{}", weir.logs()));
    within(Duration::from_secs(60), "everything in force", || {
        let services = weir.json("/api/v1/services");
        (services["services"].as_array()?.len() == clusters + 1).then_some(())
    });
    let quiet = latencies(web, Duration::from_secs(2), || false);

    let ports = [one.addr().port(), two.addr().port()];
    let mut flap = |times: usize| {
        let seen = server.events().len();
        server.begin(&json!({ "do": "flap", "cluster": "shop", "times": times, "ports": ports }));
        let ended = || {
            server
                .events()
                .iter()
                .skip(seen)
                .any(|it| it["event"] == "flapped")
        };
        let loud = latencies(web, Duration::from_secs(1200), ended);
        let flapped = server.wait_after(seen, "the changes", |it| it["event"] == "flapped");
        let times = flapped["micros"].as_array().expect("times").iter();
        let mut times: Vec<u64> = times.filter_map(serde_json::Value::as_u64).collect();
        times.sort_unstable();
        (times, loud)
    };
    // The allocator and the metrics have what they need after some.
    let _ = flap(times / 5);
    let before = rss(&weir);
    let (applied, loud) = flap(times);
    let after = rss(&weir);
    let report = |name: &str, all: &[u64]| {
        let (p50, p99, most) = (at(all, 50), at(all, 99), at(all, 100));
        say(&format!(
            "{name}: p50 {p50} us, p99 {p99} us, max {most} us of {}",
            all.len()
        ));
    };
    say(&format!(
        "{} endpoints in {clusters} clusters, {times} changes of one, each from the server's sending to its hearing the ACK",
        clusters * endpoints
    ));
    report("a change in force and acknowledged", &applied);
    report("a request while nothing changes", &quiet);
    report("a request while changes come", &loud);
    say(&format!(
        "resident memory: {before} MiB before, {after} MiB after"
    ));
    assert!(
        after <= before + before / 10 + 4,
        "{before} MiB grew to {after} MiB"
    );
    if !DEBUG {
        assert!(at(&applied, 50) <= 50_000, "{} us", at(&applied, 50));
    }
    assert_eq!(weir.metric("weir_xds_ack_total", &["nack"]), 0.0);
}

#[test]
fn changes_that_come_faster_than_they_are_taken_end_with_the_last_one_in_force() {
    let Some(mut server) = Management::start("delta") else {
        return;
    };
    let (origins, web) = (
        [Origin::ok("0"), Origin::ok("1"), Origin::ok("2")],
        ports::free(),
    );
    let state = tempfile::tempdir().expect("a directory");
    server.put(&whole(web, &[origins[0].addr()]));
    let mut weir = proxy(&[server.url()], state.path(), &[]);
    weir.wait_ready()
        .unwrap_or_else(|why| panic!("weir {why}\n{}", weir.logs()));
    let load = Load::gets(web, 2, "shop.example");
    for at in 1..=150 {
        let addr = origins[at % 3].addr();
        server.put(&[crate::cluster::endpoints("shop", &[addr])]);
    }
    weir_tests::wait::eventually("the last one", || {
        let response = Client::connect(web).get("shop.example", "/");
        (response.get("x-origin") == Some("0")).then_some(())
    });
    load.advance(50);
    let report = load.stop();
    assert_eq!(report.failures, Vec::<String>::new());
}
