//! Opting in, gating by health, splitting by labels, and what is wrong with them.

use std::time::{Duration, Instant};

use weir_tests::docker::{Network, Spec, available, docker, unique, watching};
use weir_tests::stats::binomial_999;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

use crate::{AT_ONCE, discovery, load, served, served_by};

#[test]
fn a_labelled_container_is_served_within_a_second_of_its_health() {
    if !available() {
        return;
    }
    let network = Network::create();
    let weir = Weir::start(&watching(&network));
    for round in 0..2 {
        let host = format!("fast{round}.example");
        let container = Spec::origin(&network, "fast", "stable")
            .routed(&unique("svc"), &host, "stable")
            .run();
        let healthy = eventually("the container's health", || {
            (container.inspect("{{.State.Health.Status}}") == "healthy").then(Instant::now)
        });
        let late = served(&weir, &host).saturating_duration_since(healthy);
        weir_tests::say(&format!("served {late:?} after the engine said healthy"));
        assert!(late < AT_ONCE, "{late:?}");
    }
}

// semantics 16
#[test]
fn without_a_healthcheck_a_tcp_probe_decides() {
    if !available() {
        return;
    }
    let network = Network::create();
    let weir = Weir::start(&watching(&network));
    let started = Instant::now();
    let _container = Spec::without_healthcheck(&network, "plain", "stable")
        .routed(&unique("svc"), "plain.example", "stable")
        .run();
    let took = served(&weir, "plain.example").saturating_duration_since(started);
    weir_tests::say(&format!("served {took:?} after docker run"));
    let _deaf = Spec::without_healthcheck(&network, "deaf", "stable")
        .routed(&unique("svc"), "deaf.example", "stable")
        .label("weir.port", "8081")
        .run();
    eventually(
        "the container whose port is closed in the discovery",
        || discovery(&weir).contains("8081").then_some(()),
    );
    // What was found is told a moment before it is in force: until then there is no route at all.
    let status = eventually("a route to it", || {
        let status = weir.get("deaf.example", "/").status();
        (status != 404).then_some(status)
    });
    assert_eq!(status, 503, "an endpoint that was never reached is none");
}

// semantics 16
#[test]
fn an_unhealthy_container_gets_nothing() {
    if !available() {
        return;
    }
    let network = Network::create();
    let weir = Weir::start(&watching(&network));
    let service = unique("svc");
    // Its HEALTHCHECK fails as every request does.
    let sick = Spec::origin(&network, "sick", "stable")
        .option("--health-retries", "1")
        .routed(&service, "sick.example", "stable")
        .args(&["--fail", "100%"])
        .run();
    let _well = Spec::origin(&network, "well", "stable")
        .routed(&service, "sick.example", "stable")
        .run();
    eventually("the engine's verdict", || {
        (sick.inspect("{{.State.Health.Status}}") == "unhealthy").then_some(())
    });
    served_by(&weir, "sick.example", "well");
    for _ in 0..50 {
        assert_eq!(
            weir.get("sick.example", "/").get("x-origin-name"),
            Some("well")
        );
    }
    // The engine may have told us before it told Weir.
    eventually("the verdict in the list", || {
        let said = discovery(&weir);
        let mut lines = said.lines();
        lines
            .any(|line| line.contains(&sick.name) && line.contains("unhealthy"))
            .then_some(())
    });
}

#[test]
fn ninety_ten_holds_over_ten_thousand_requests() {
    if !available() {
        return;
    }
    let network = Network::create();
    let weir = Weir::start(&watching(&network).workers(2));
    let service = unique("svc");
    let _stable: Vec<_> = (0..2)
        .map(|_| {
            Spec::origin(&network, "stable", "stable")
                .routed(&service, "split.example", "stable")
                .run()
        })
        .collect();
    let _canary = Spec::origin(&network, "canary", "canary")
        .routed(&service, "split.example", "canary")
        .label("weir.weight", "10")
        .run();
    served_by(&weir, "split.example", "canary");
    served_by(&weir, "split.example", "stable");
    let load = load(&weir, 4, "split.example");
    load.advance(10_000);
    let report = load.stop_unharmed();
    let canaries = report.kinds.get("canary").copied().unwrap_or(0);
    let expected = binomial_999(report.good, 0.1);
    weir_tests::say(&format!(
        "canary: {canaries} of {}, expected {expected:?}",
        report.good
    ));
    assert!(
        expected.contains(&canaries),
        "{canaries} of {} at 10%, expected {expected:?}",
        report.good
    );
}

#[test]
fn a_new_version_without_a_weight_gets_nothing_until_told() {
    if !available() {
        return;
    }
    let network = Network::create();
    let weir = Weir::start(&watching(&network));
    let service = unique("svc");
    let _stable = Spec::origin(&network, "stable", "stable")
        .routed(&service, "new.example", "stable")
        .run();
    served(&weir, "new.example");
    let canary = Spec::origin(&network, "canary", "canary")
        .routed(&service, "new.example", "canary")
        .run();
    canary.wait_healthy();
    eventually("the new version among the endpoints", || {
        weir.json("/api/v1/endpoints")
            .to_string()
            .contains("canary")
            .then_some(())
    });
    assert!((0..100).all(|_| weir.get("new.example", "/").get("x-origin-name") == Some("stable")));
    let set = weir.cli(&["canary", "set", &service, "canary=50"]);
    assert!(
        set.status.success(),
        "{}",
        String::from_utf8_lossy(&set.stderr)
    );
    served_by(&weir, "new.example", "canary");
}

#[test]
fn only_a_container_that_opts_in_is_taken() {
    if !available() {
        return;
    }
    let network = Network::create();
    let weir = Weir::start(&watching(&network));
    let _quiet = Spec::origin(&network, "quiet", "stable")
        .label("weir.host", "quiet.example")
        .label("weir.port", "8080")
        .run();
    let _off = Spec::origin(&network, "off", "stable")
        .routed(&unique("svc"), "off.example", "stable")
        .label("weir.enable", "false")
        .run();
    let _marker = Spec::origin(&network, "marker", "stable")
        .routed(&unique("svc"), "marker.example", "stable")
        .run();
    served(&weir, "marker.example");
    assert_eq!(weir.get("quiet.example", "/").status(), 404);
    assert_eq!(weir.get("off.example", "/").status(), 404);
}

// semantics 38
#[test]
fn a_broken_label_is_reported_with_its_container_and_the_others_go_on() {
    if !available() {
        return;
    }
    let network = Network::create();
    let weir = Weir::start(&watching(&network));
    let _good = Spec::origin(&network, "good", "stable")
        .routed(&unique("svc"), "good.example", "stable")
        .run();
    served(&weir, "good.example");
    let load = load(&weir, 2, "good.example");
    let breaks = [
        ("weir.port", "eighty"),
        ("weir.weight", "a lot"),
        ("weir.hots", "typo.example"),
        ("weir.timeout", "soon"),
    ];
    let broken: Vec<_> = breaks
        .iter()
        .map(|(label, value)| {
            (
                *label,
                Spec::origin(&network, "bad", "stable")
                    .routed(&unique("svc"), "bad.example", "stable")
                    .label(label, value)
                    .run(),
            )
        })
        .collect();
    for (label, container) in &broken {
        eventually(&format!("a report about {label}"), || {
            let said = discovery(&weir);
            said.lines()
                .any(|line| line.contains(label) && line.contains(&container.name))
                .then_some(())
        });
    }
    load.advance(50);
    load.stop_unharmed();
}

#[test]
fn a_host_belongs_to_whoever_had_it_first() {
    if !available() {
        return;
    }
    let network = Network::create();
    let weir = Weir::start(&watching(&network));
    let (first, second) = (unique("first"), unique("second"));
    let owner = Spec::origin(&network, "owner", "stable")
        .routed(&first, "shared.example", "stable")
        .run();
    served(&weir, "shared.example");
    // The engine counts creation in seconds; the claims must differ in age.
    std::thread::sleep(Duration::from_millis(1100));
    let thief = Spec::origin(&network, "thief", "stable")
        .routed(&second, "shared.example,own.example", "stable")
        .run();
    served_by(&weir, "own.example", "thief");
    for _ in 0..50 {
        assert_eq!(
            weir.get("shared.example", "/").get("x-origin-name"),
            Some("owner")
        );
    }
    eventually("the conflict with both sides", || {
        let said = discovery(&weir);
        said.lines()
            .any(|line| {
                line.contains("shared.example")
                    && (line.contains(&thief.name) || line.contains(&second))
            })
            .then_some(())
    });
    assert!(discovery(&weir).contains(&owner.name) || discovery(&weir).contains(&first));
}

#[test]
fn the_network_is_chosen_as_configuration_and_labels_say() {
    if !available() {
        return;
    }
    let (network, other) = (Network::create(), Network::create());
    let weir = Weir::start(&watching(&network));
    let address = |service: &str| {
        let endpoints = weir.json("/api/v1/endpoints");
        let list = endpoints["endpoints"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        list.into_iter()
            .find(|e| e["service"] == service)
            .and_then(|e| e["address"].as_str().map(str::to_owned))
            .unwrap_or_default()
    };
    // In two networks: the configured one, unless its label names the other.
    for (name, label, expected) in [
        ("configured", None, &network),
        ("labelled", Some(&other), &other),
    ] {
        let service = unique("svc");
        let host = format!("{name}.example");
        let spec = Spec::origin(&other, name, "stable").routed(&service, &host, "stable");
        let both = label
            .into_iter()
            .fold(spec, |spec, network| {
                spec.label("weir.network", &network.name)
            })
            .run();
        docker(&["network", "connect", &network.name, &both.name]);
        served_by(&weir, &host, name);
        eventually("the address in the right network", || {
            (address(&service) == both.origin(expected).to_string()).then_some(())
        });
        served_by(&weir, &host, name);
    }
    // In one network alone there is no choice to make.
    let _alone = Spec::origin(&other, "alone", "stable")
        .routed(&unique("svc"), "alone.example", "stable")
        .run();
    served_by(&weir, "alone.example", "alone");
}

#[test]
fn the_one_exposed_port_needs_no_label_and_of_several_none_is_guessed() {
    if !available() {
        return;
    }
    let network = Network::create();
    let weir = Weir::start(&watching(&network));
    // The image exposes two ports, so without the label nobody knows.
    let unclear = Spec::origin(&network, "unclear", "stable")
        .label("weir.enable", "true")
        .label("weir.service", &unique("svc"))
        .label("weir.host", "unclear.example")
        .run();
    eventually("words about the port", || {
        discovery(&weir)
            .lines()
            .any(|line| line.contains(&unclear.name) && line.contains("weir.port"))
            .then_some(())
    });
    assert_ne!(weir.get("unclear.example", "/").status(), 200);
}
