//! The embedded DNS of a real Docker engine, from inside of one of its networks.
//!
//! It answers only in the network namespace of a container, so the test's own thread goes into one, which takes root.

#[expect(dead_code, reason = "other tests ask more of it")]
#[path = "support/harness.rs"]
mod harness;
#[expect(dead_code, reason = "other tests ask more of it")]
#[path = "support/real_engine.rs"]
mod real;

use std::os::fd::AsFd;
use std::time::Duration;

use harness::{Harness, endpoints};
use real::{Docker, engine, run};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use weir_config::settings::{DnsLookup, RecordKind};
use weir_control::ControlOptions;

/// Moves this thread into the network of a container. Threads that it starts are there, too.
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn enter(container: &str) -> bool {
    let pid = run(&["inspect", "-f", "{{.State.Pid}}", container]);
    let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net")).expect("its namespace");
    let moved = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network));
    if moved.is_err() {
        eprintln!("LEFT OUT: only root can enter the network of a container");
    }
    moved.is_ok()
}

/// A container that goes by the name `web` in that network; where it listens.
fn web(docker: &Docker, network: &str, name: &str) -> String {
    let id = docker.container(name, &["--network", network, "--network-alias", "web"]);
    let format = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}:8080");
    run(&["inspect", "-f", &format, &id])
}

async fn until(weir: &Harness, addresses: &[&String]) {
    let mut wanted: Vec<String> = addresses
        .iter()
        .map(|at| format!("web/stable {at} ready"))
        .collect();
    wanted.sort();
    let what = format!("there are {wanted:?}");
    let fits = |model: &weir_config::model::Model| {
        let mut there = endpoints(model);
        there.sort();
        there == wanted
    };
    weir.until(&what, fits).await;
}

// semantics 36
#[tokio::test]
async fn the_containers_behind_a_name_are_its_endpoints() {
    let Some(docker) = engine() else { return };
    let network = docker.network("edge", &[]);
    let inside = docker.container("inside", &["--network", &network]);
    if !enter(&inside) {
        return;
    }
    let (first, second) = (web(&docker, &network, "a"), web(&docker, &network, "b"));
    // The engine says 600 s of names that change within a second.
    let mut lookup = DnsLookup::new("web".parse().unwrap(), "web", RecordKind::A, 8080);
    lookup.resolvers = vec!["127.0.0.11:53".parse().unwrap()];
    lookup.max_ttl = Duration::from_secs(1);
    let weir = Harness::start(ControlOptions {
        dns: vec![lookup],
        ..ControlOptions::default()
    })
    .await;
    until(&weir, &[&first, &second]).await;
    let third = web(&docker, &network, "c");
    until(&weir, &[&first, &second, &third]).await;
    run(&["rm", "-f", &docker.name("b")]);
    until(&weir, &[&first, &third]).await;
    run(&["rm", "-f", &docker.name("a"), &docker.name("c")]);
    let holding = weir.until_provider("dns:web/web:8080/A", "holding").await;
    let error = holding["error"].as_str().unwrap();
    assert!(error.contains("keeping the"), "{holding}");
    assert!(!endpoints(&weir.now().model).is_empty());
}
