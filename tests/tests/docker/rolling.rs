//! Containers that come and go under load.

use std::time::Duration;

use weir_tests::docker::{Network, Spec, available, docker, unique, watching};
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

use crate::{discovery, load, served, served_by};

#[test]
fn scaling_up_and_stopping_under_load_fails_no_request() {
    if !available() {
        return;
    }
    let network = Network::create();
    let weir = Weir::start(&watching(&network).workers(2));
    let service = unique("svc");
    let spec = |name: &str| {
        Spec::origin(&network, name, "stable").routed(&service, "roll.example", "stable")
    };
    let first = spec("one").run();
    served_by(&weir, "roll.example", "one");
    let load = load(&weir, 4, "roll.example");
    load.advance(50);
    let _second = spec("two").run();
    let third = spec("three").run();
    served_by(&weir, "roll.example", "two");
    served_by(&weir, "roll.example", "three");
    load.advance(200);
    // semantics 34
    for container in [first, third] {
        docker(&["stop", &container.name]);
        load.advance(100);
    }
    let report = load.stop_unharmed();
    for name in ["one", "two", "three"] {
        assert!(
            report.kinds.contains_key(name),
            "{name} served nothing: {:?}",
            report.kinds
        );
    }
    assert!((0..20).all(|_| weir.get("roll.example", "/").get("x-origin-name") == Some("two")));
}

// semantics 34
#[test]
fn slow_requests_on_a_stopping_container_are_finished() {
    if !available() {
        return;
    }
    let network = Network::create();
    let weir = Weir::start(&watching(&network));
    let service = unique("svc");
    let spec = |name: &str| {
        Spec::origin(&network, name, "stable").routed(&service, "slow.example", "stable")
    };
    let going = spec("going").run();
    served_by(&weir, "slow.example", "going");
    let mut slow = weir.client();
    slow.send("GET /delay/2s HTTP/1.1\r\nHost: slow.example\r\n\r\n");
    let _staying = spec("staying").run();
    served_by(&weir, "slow.example", "staying");
    docker(&["stop", &going.name]);
    let response = slow.response();
    assert_eq!(
        (response.status(), response.get("x-origin-name")),
        (200, Some("going"))
    );
}

#[test]
fn a_killed_container_costs_at_most_what_it_had_in_hand() {
    if !available() {
        return;
    }
    let network = Network::create();
    let weir = Weir::start(&watching(&network));
    let service = unique("svc");
    let spec = |name: &str| {
        Spec::origin(&network, name, "stable").routed(&service, "kill.example", "stable")
    };
    let victim = spec("victim").run();
    let _survivor = spec("survivor").run();
    served_by(&weir, "kill.example", "victim");
    served_by(&weir, "kill.example", "survivor");
    let clients = 4;
    let running = load(&weir, clients, "kill.example");
    running.advance(100);
    docker(&["kill", &victim.name]);
    running.advance(100);
    let report = running.stop();
    assert!(
        report.failures.len() <= clients,
        "{} failures: {:?}",
        report.failures.len(),
        report.failures.first()
    );
    let after = load(&weir, clients, "kill.example");
    after.advance(200);
    let report = after.stop_unharmed();
    assert!(!report.kinds.contains_key("victim"), "{:?}", report.kinds);
}

#[test]
fn a_paused_container_rests_until_it_goes_on() {
    if !available() {
        return;
    }
    let network = Network::create();
    let weir = Weir::start(&watching(&network));
    let service = unique("svc");
    let spec = |name: &str| {
        Spec::origin(&network, name, "stable").routed(&service, "pause.example", "stable")
    };
    let sleeper = spec("sleeper").run();
    let _awake = spec("awake").run();
    served_by(&weir, "pause.example", "sleeper");
    served_by(&weir, "pause.example", "awake");
    docker(&["pause", &sleeper.name]);
    eventually("the pause in the discovery", || {
        discovery(&weir).contains("paused").then_some(())
    });
    // Known is not in force yet.
    eventually("the pause in the data plane", || {
        let endpoints = weir.json("/api/v1/endpoints").to_string();
        endpoints.contains("\"not-ready\"").then_some(())
    });
    let running = load(&weir, 2, "pause.example");
    running.advance(100);
    let report = running.stop_unharmed();
    assert!(!report.kinds.contains_key("sleeper"), "{:?}", report.kinds);
    docker(&["unpause", &sleeper.name]);
    served_by(&weir, "pause.example", "sleeper");
}

#[test]
fn a_host_is_renamed_by_recreating_and_its_neighbours_notice_nothing() {
    if !available() {
        return;
    }
    let network = Network::create();
    let weir = Weir::start(&watching(&network));
    let service = unique("svc");
    let old = Spec::origin(&network, "old", "stable")
        .routed(&service, "before.example", "stable")
        .run();
    let _neighbour = Spec::origin(&network, "neighbour", "stable")
        .routed(&unique("svc"), "neighbour.example", "stable")
        .run();
    served(&weir, "before.example");
    served(&weir, "neighbour.example");
    let running = load(&weir, 2, "neighbour.example");
    let renamed = Spec::origin(&network, "renamed", "stable")
        .routed(&service, "after.example", "stable")
        .run();
    served_by(&weir, "after.example", "renamed");
    assert_eq!(
        weir.get("before.example", "/").status(),
        200,
        "make before break: the old name stays while its container does"
    );
    docker(&["stop", &old.name]);
    drop(old);
    eventually("the end of the old name", || {
        (weir.get("before.example", "/").status() == 404).then_some(())
    });
    let response = weir.get("after.example", "/");
    assert_eq!(
        response.get("x-origin-name"),
        Some("renamed"),
        "{} {}",
        response.status(),
        response.text()
    );
    running.stop_unharmed();
    drop(renamed);
}

// semantics 16
#[test]
fn a_recycled_address_never_answers_for_its_former_owner() {
    if !available() {
        return;
    }
    let network = Network::with_own_subnet();
    let weir = Weir::start(&watching(&network));
    let address = network.address(77);
    let host = "tenant.example";
    for round in 0..3 {
        let service = unique("svc");
        let tenant = Spec::origin(&network, "tenant", "stable")
            .option("--ip", &address)
            .routed(&service, host, "stable")
            .run();
        served_by(&weir, host, "tenant");
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let watch = weir_tests::load::Load::start(weir.addr(), 3, &request, |response| {
            match response.get("x-origin-name") {
                Some("stranger") => Err("another container's answer".to_owned()),
                _ => Ok(response.status().to_string()),
            }
        });
        watch.advance(20);
        drop(tenant);
        let stranger = Spec::without_healthcheck(&network, "stranger", "stable")
            .option("--ip", &address)
            .routed(&unique("svc"), "stranger.example", "stable")
            .run();
        assert_eq!(
            stranger.address(&network).to_string(),
            address,
            "the address is the same"
        );
        served_by(&weir, "stranger.example", "stranger");
        watch.advance(20);
        let report = watch.stop();
        let crossed: Vec<_> = report
            .failures
            .iter()
            .filter(|f| f.contains("another"))
            .collect();
        assert!(
            crossed.is_empty(),
            "round {round}: {} answers of a stranger",
            crossed.len()
        );
        drop(stranger);
        std::thread::sleep(Duration::from_millis(50));
    }
}
