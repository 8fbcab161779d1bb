//! The engine goes away and comes back; what is known stays known.

use weir_tests::docker::{Network, Relay, Spec, available, docker, unique, watching_at};
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

use crate::{load, served, served_by};

// semantics 36
#[test]
fn an_outage_of_the_engine_changes_nothing_and_its_return_catches_up() {
    if !available() {
        return;
    }
    let network = Network::create();
    let relay = Relay::start();
    let weir = Weir::start(&watching_at(&relay.socket(), &network.name));
    let service = unique("svc");
    let spec = |name: &str| {
        Spec::origin(&network, name, "stable").routed(&service, "outage.example", "stable")
    };
    let _first = spec("first").run();
    served_by(&weir, "outage.example", "first");
    let running = load(&weir, 3, "outage.example");
    relay.cut();
    eventually("the outage in the status", || {
        let status = weir.json("/api/v1/status")["providers"].to_string();
        (status.contains("docker") && !status.contains("\"state\":\"up\",\"since\"")
            || status.contains("down"))
        .then_some(())
    });
    running.advance(200);
    assert_eq!(weir.admin("/ready").status(), 200, "still ready: it serves");
    let second = spec("second").run();
    second.wait_healthy();
    running.advance(100);
    relay.restore();
    served_by(&weir, "outage.example", "second");
    running.stop_unharmed();
}

// semantics 36
#[test]
fn a_container_that_was_stopped_during_an_outage_is_noticed_after_it() {
    if !available() {
        return;
    }
    let network = Network::create();
    let relay = Relay::start();
    let weir = Weir::start(&watching_at(&relay.socket(), &network.name));
    let service = unique("svc");
    let spec = |name: &str| {
        Spec::origin(&network, name, "stable").routed(&service, "gone.example", "stable")
    };
    let gone = spec("gone").run();
    let _stays: Vec<_> = (0..2).map(|_| spec("stays").run()).collect();
    served_by(&weir, "gone.example", "gone");
    served_by(&weir, "gone.example", "stays");
    relay.cut();
    docker(&["stop", &gone.name]);
    relay.restore();
    eventually("the stopped one to leave the endpoints", || {
        let endpoints = weir.json("/api/v1/endpoints").to_string();
        (!endpoints.contains(&gone.id[..12])).then_some(())
    });
    let running = load(&weir, 2, "gone.example");
    running.advance(100);
    running.stop_unharmed();
}

// semantics 36
#[test]
fn weir_starts_before_the_engine_and_finds_it_when_it_comes() {
    if !available() {
        return;
    }
    let network = Network::create();
    let relay = Relay::start();
    relay.cut();
    let _container = Spec::origin(&network, "early", "stable")
        .routed(&unique("svc"), "early.example", "stable")
        .run();
    let setup = watching_at(&relay.socket(), &network.name);
    let weir = Weir::spawn(|ports| setup.render(ports), |_| {});
    eventually("the admin server", || {
        weir.try_admin("/live")
            .is_ok_and(|r| r.status() == 200)
            .then_some(())
    });
    relay.restore();
    served(&weir, "early.example");
}
