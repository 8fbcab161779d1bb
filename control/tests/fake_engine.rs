//! Docker discovery against an engine that misbehaves on demand.

#[path = "support/fake_engine.rs"]
mod engine;
#[path = "support/harness.rs"]
mod harness;

use std::time::{Duration, Instant};

use engine::{Answer, Engine, full};
use harness::{Harness, endpoints, states};
use weir_config::settings::DockerSettings;
use weir_control::ControlOptions;

struct Setup {
    engine: Engine,
    weir: Harness,
    _dir: tempfile::TempDir,
}

async fn start() -> Setup {
    start_with(|_| {}, |_| {}).await
}

async fn start_with(
    prepare: impl FnOnce(&Engine),
    with: impl FnOnce(&mut DockerSettings),
) -> Setup {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("docker.sock");
    let engine = Engine::start(&path);
    prepare(&engine);
    let mut docker = DockerSettings {
        endpoint: format!("unix://{}", path.display()),
        ..DockerSettings::default()
    };
    with(&mut docker);
    let weir = Harness::start(ControlOptions {
        docker: Some(docker),
        ..ControlOptions::default()
    })
    .await;
    Setup {
        engine,
        weir,
        _dir: dir,
    }
}

const SHOP: &[(&str, &str)] = &[("weir.service", "shop"), ("weir.host", "shop.test")];

/// A service of three and one of one, published.
async fn running() -> Setup {
    let setup = start().await;
    setup.weir.until_provider("docker", "up").await;
    for (id, address) in [
        ("a1", "172.18.0.11"),
        ("a2", "172.18.0.12"),
        ("a3", "172.18.0.13"),
    ] {
        setup.engine.run(id, address, SHOP);
    }
    setup
        .engine
        .run("b1", "172.18.0.21", &[("weir.service", "cart")]);
    setup
        .weir
        .until("all four are there", |model| endpoints(model).len() == 4)
        .await;
    setup
}

#[tokio::test]
async fn what_runs_at_the_start_and_what_starts_later_is_published() {
    let setup = start_with(|engine| engine.put("a1", "172.18.0.11", SHOP), |_| {}).await;
    setup
        .weir
        .until("the first is there", |m| {
            endpoints(m) == ["shop/stable 172.18.0.11:80 probe"]
        })
        .await;
    let begun = Instant::now();
    setup.engine.run(
        "a2",
        "172.18.0.12",
        &[("weir.service", "shop"), ("weir.version", "canary")],
    );
    setup
        .weir
        .until("the second is there", |m| endpoints(m).len() == 2)
        .await;
    let took = begun.elapsed();
    assert!(
        took < Duration::from_millis(300),
        "publication took {took:?}"
    );
    let provider = setup.weir.until_provider("docker", "up").await;
    assert!(
        provider["detail"]
            .as_str()
            .unwrap()
            .contains("Engine 20.10.24, API 1.41"),
        "{provider}"
    );
}

// semantics 34
#[tokio::test]
async fn a_kill_drains_at_once_without_a_list_and_lists_do_not_undo_it() {
    let setup = running().await;
    setup.engine.answer(Answer::Slow(Duration::from_secs(5)));
    setup.engine.event("kill", "a1", &[("signal", "15")]);
    let begun = Instant::now();
    setup
        .weir
        .until("it drains", |m| {
            states(m, "shop") == ["draining", "probe", "probe"]
        })
        .await;
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "the event waited for a list"
    );
    setup.engine.answer(Answer::List);
    // A list that still shows it as running, and proof that it was taken.
    setup
        .engine
        .run("b2", "172.18.0.22", &[("weir.service", "cart")]);
    let now = setup
        .weir
        .until("the list was taken", |m| states(m, "cart").len() == 2)
        .await;
    assert_eq!(states(&now.model, "shop"), ["draining", "probe", "probe"]);
    setup.engine.event("die", "a1", &[]);
    setup.engine.event("start", "a1", &[]);
    setup
        .weir
        .until("it is back", |m| {
            states(m, "shop") == ["probe", "probe", "probe"]
        })
        .await;
}

// semantics 34
#[tokio::test]
async fn a_signal_that_stops_nothing_drains_nothing() {
    let setup = running().await;
    setup.engine.event("kill", "a1", &[("signal", "1")]);
    // The images of this engine stop by SIGUSR1.
    setup.engine.event("kill", "a2", &[("signal", "10")]);
    let now = setup
        .weir
        .until("the other one drains", |m| {
            states(m, "shop").contains(&"draining".into())
        })
        .await;
    assert_eq!(states(&now.model, "shop"), ["draining", "probe", "probe"]);
    let draining = endpoints(&now.model)
        .into_iter()
        .find(|text| text.ends_with("draining"))
        .unwrap();
    assert!(draining.contains("172.18.0.12"), "{draining}");
}

// semantics 16
#[tokio::test]
async fn health_and_pause_gate_an_endpoint() {
    let setup = running().await;
    for (field, value, expected) in [
        ("Status", "Up 1 second (health: starting)", "starting"),
        ("Status", "Up 9 seconds (unhealthy)", "unhealthy"),
        ("Status", "Up 9 seconds (healthy)", "ready"),
        ("State", "paused", "paused"),
    ] {
        setup.engine.change("b1", field, value.into());
        setup.engine.event("health_status: whatever", "b1", &[]);
        setup
            .weir
            .until(expected, |m| states(m, "cart") == [expected])
            .await;
    }
}

// semantics 16
#[tokio::test]
async fn a_recycled_address_is_another_endpoint() {
    let setup = running().await;
    let id = |published: &weir_control::Published| {
        published.model.service("cart").unwrap().endpoints[0]
            .id
            .clone()
    };
    let before = id(&setup.weir.now());
    setup.engine.vanish("b1");
    setup.engine.event("die", "b1", &[]);
    setup
        .engine
        .run("c1", "172.18.0.21", &[("weir.service", "cart")]);
    let now = setup.weir.until("the address is the new one's", |m| {
        m.service("cart")
            .is_some_and(|s| s.endpoints.len() == 1 && s.endpoints[0].id != before)
    });
    let after = id(&now.await);
    assert_eq!(after.as_str(), format!("{}:80", &full("c1")[..12]));
}

// semantics 36
#[tokio::test]
async fn an_engine_that_goes_away_takes_nothing_along() {
    let setup = running().await;
    let before = setup.weir.now();
    for _ in 0..3 {
        setup.engine.down();
        let down = setup.weir.until_provider("docker", "down").await;
        assert!(!down["error"].as_str().unwrap().is_empty());
        assert_eq!(setup.weir.now().generation, before.generation);
        setup.engine.up();
        setup.weir.until_provider("docker", "up").await;
        assert_eq!(setup.weir.now().generation, before.generation);
    }
    setup
        .engine
        .run("b2", "172.18.0.22", &[("weir.service", "cart")]);
    setup
        .weir
        .until("events are heard again", |m| states(m, "cart").len() == 2)
        .await;
    let events = setup.weir.get("/api/v1/events").await.to_string();
    assert!(
        events.contains("keeping the 4 containers known")
            && events.contains("the engine is back after"),
        "{events}"
    );
}

// semantics 36
#[tokio::test]
async fn an_empty_answer_empties_nothing() {
    let setup = running().await;
    let before = setup.weir.now();
    setup.engine.answer(Answer::Body(b"[]".to_vec()));
    setup.engine.event("rename", "x", &[]);
    let holding = setup.weir.until_provider("docker", "holding").await;
    assert!(
        holding["error"]
            .as_str()
            .unwrap()
            .contains("lists no container"),
        "{holding}"
    );
    assert_eq!(setup.weir.now().generation, before.generation);
    setup.engine.answer(Answer::List);
    setup.engine.event("rename", "x", &[]);
    setup.weir.until_provider("docker", "up").await;
    assert_eq!(setup.weir.now().generation, before.generation);
}

// semantics 36
#[tokio::test]
async fn most_of_a_service_vanishing_silently_is_held_and_then_let_go() {
    let setup = start_with(|_| {}, |docker| docker.hold = Duration::from_millis(600)).await;
    setup.weir.until_provider("docker", "up").await;
    for (id, address) in [
        ("a1", "172.18.0.11"),
        ("a2", "172.18.0.12"),
        ("a3", "172.18.0.13"),
    ] {
        setup.engine.run(id, address, SHOP);
    }
    setup
        .weir
        .until("three are there", |m| states(m, "shop").len() == 3)
        .await;
    setup.engine.vanish("a1");
    setup.engine.vanish("a2");
    setup.engine.event("rename", "x", &[]);
    let begun = Instant::now();
    setup.weir.until_provider("docker", "holding").await;
    let held = setup.weir.get("/api/v1/discovery").await.to_string();
    assert!(held.contains("kept for now"), "{held}");
    setup
        .weir
        .until("they are let go", |m| states(m, "shop").len() == 1)
        .await;
    assert!(
        begun.elapsed() > Duration::from_millis(400),
        "let go after {:?}",
        begun.elapsed()
    );
    setup.weir.until_provider("docker", "up").await;
}

// semantics 36
#[tokio::test]
async fn vanishing_with_stop_events_is_believed_at_once() {
    let setup = running().await;
    for id in ["a1", "a2", "a3"] {
        setup.engine.vanish(id);
        setup.engine.event("die", id, &[]);
    }
    let begun = Instant::now();
    setup
        .weir
        .until("the service is gone", |m| states(m, "shop").is_empty())
        .await;
    assert!(begun.elapsed() < Duration::from_secs(5));
}

// semantics 36
#[tokio::test]
async fn an_answer_that_makes_no_sense_changes_nothing() {
    let setup = running().await;
    let before = setup.weir.now();
    for (answer, says) in [
        (
            Answer::Status(500, r#"{"message":"server is busy"}"#),
            "answered 500: server is busy",
        ),
        (Answer::Status(500, "not json"), "answered 500"),
        (
            Answer::Body(b"{\"message\":\"hello\"}".to_vec()),
            "makes no sense",
        ),
        (Answer::Body(b"\x00\xff\xfe".to_vec()), "makes no sense"),
        (Answer::Body(b"[{\"Id\":7}]".to_vec()), "makes no sense"),
        (
            Answer::Body(b"[{\"Id\":\"a\",\"State\":\"dancing\"}]".to_vec()),
            "makes no sense",
        ),
        (
            Answer::Body([b"[".repeat(100_000)].concat()),
            "makes no sense",
        ),
        (Answer::Truncated, "broke off"),
        (Answer::Hangup, "broke off"),
        (
            Answer::Endless(80 * 1024 * 1024),
            "larger than Weir accepts",
        ),
    ] {
        setup.engine.answer(answer);
        setup.engine.event("rename", "x", &[]);
        let down = setup
            .weir
            .until_reply("/api/v1/status", says, |status| {
                let error = status["providers"][0]["error"].as_str().unwrap_or_default();
                status["providers"][0]["state"] == "down" && error.contains(says)
            })
            .await;
        assert_eq!(down["generation"], before.generation, "{says}");
        setup.engine.answer(Answer::List);
        setup.weir.until_provider("docker", "up").await;
        assert_eq!(setup.weir.now().generation, before.generation, "{says}");
    }
}

#[tokio::test]
async fn a_garbled_event_costs_a_reconnection_and_nothing_else() {
    let setup = running().await;
    let before = setup.weir.now();
    for garbage in [
        "not json at all\n",
        "{\"Type\":\"unheard-of\"}\n",
        "[1,2,3]\n",
    ] {
        let asked = setup.engine.requests().len();
        setup.engine.raw_event(garbage);
        let reconnected = async {
            while setup.engine.requests().len() == asked || setup.engine.listeners() != 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(harness::PATIENCE, reconnected)
            .await
            .expect("no reconnection");
        setup.weir.until_provider("docker", "up").await;
    }
    assert_eq!(setup.weir.now().generation, before.generation);
    setup
        .engine
        .run("b2", "172.18.0.22", &[("weir.service", "cart")]);
    setup
        .weir
        .until("events are heard again", |m| states(m, "cart").len() == 2)
        .await;
}

#[tokio::test]
async fn a_storm_of_events_makes_few_lists_and_ends_right() {
    let setup = running().await;
    let lists = || {
        setup
            .engine
            .requests()
            .iter()
            .filter(|r| r.ends_with("/containers/json"))
            .count()
    };
    let before = lists();
    let begun = Instant::now();
    for round in 0..5_000 {
        setup
            .engine
            .event(if round % 2 == 0 { "pause" } else { "unpause" }, "a1", &[]);
        if round % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    setup
        .engine
        .run("b2", "172.18.0.22", &[("weir.service", "cart")]);
    setup
        .weir
        .until("the last one is there", |m| states(m, "cart").len() == 2)
        .await;
    let (made, took) = (lists() - before, begun.elapsed());
    // At most one in 20 ms; a storm is coalesced to one in 100 ms.
    assert!(
        made as u128 <= took.as_millis() / 20 + 3,
        "{made} lists in {took:?}"
    );
}

#[tokio::test]
async fn hostile_labels_harm_only_their_own_container() {
    let setup = running().await;
    let long = "x".repeat(200_000);
    for (n, labels) in [
        vec![
            ("weir.service", "evil\n# HELP fake"),
            ("weir.host", "evil.test"),
        ],
        vec![
            ("weir.service", "evil2"),
            ("weir.host", "*"),
            ("weir.port", "99999"),
        ],
        vec![("weir.service", "evil3"), ("weir.host", long.as_str())],
        vec![
            ("weir.service", "evil4"),
            ("weir.weight", "-5"),
            ("weir.host", "<script>alert(1)</script>"),
        ],
        vec![("weir.service", long.as_str())],
        vec![("weir.service", "evil5"), ("weir.version", "\u{202e}\u{0}")],
    ]
    .into_iter()
    .enumerate()
    {
        setup
            .engine
            .run(&format!("e{n}"), &format!("172.18.1.{n}"), &labels);
    }
    for address in ["127.0.0.1", "169.254.169.254", "::1", "fe80::1"] {
        setup.engine.run(
            &format!("f{}", address.len()),
            address,
            &[("weir.service", "inside")],
        );
    }
    setup
        .engine
        .run("b2", "172.18.0.22", &[("weir.service", "cart")]);
    let now = setup
        .weir
        .until("the good one is there", |m| states(m, "cart").len() == 2)
        .await;
    assert_eq!(states(&now.model, "shop"), ["probe", "probe", "probe"]);
    assert!(
        states(&now.model, "inside").is_empty(),
        "{:?}",
        endpoints(&now.model)
    );
    let discovery = setup.weir.get("/api/v1/discovery").await;
    let problems = discovery["problems"].as_array().unwrap();
    for container in ["e0", "e1", "e2", "e3", "e4", "e5", "f9", "f15"] {
        assert!(
            problems.iter().any(|p| p["container"] == container),
            "no problem of {container}: {problems:#?}"
        );
    }
    let metrics = setup.weir.control.metrics_text();
    assert!(
        metrics
            .lines()
            .all(|line| line.starts_with('#') || line.starts_with("weir_")),
        "{metrics}"
    );
}

#[tokio::test]
async fn the_engine_is_only_ever_read_and_only_in_a_few_places() {
    let setup = running().await;
    setup.engine.event("kill", "a1", &[("signal", "15")]);
    setup
        .weir
        .until("it drains", |m| {
            states(m, "shop").contains(&"draining".into())
        })
        .await;
    for request in setup.engine.requests() {
        let path = request
            .strip_prefix("GET ")
            .unwrap_or_else(|| panic!("{request} is no GET"));
        let path = path.strip_prefix("/v1.41").unwrap_or(path);
        let inspects = path.starts_with("/containers/") && path.ends_with("/json");
        assert!(
            inspects || ["/version", "/_ping", "/events"].contains(&path),
            "{request}"
        );
    }
}

#[tokio::test]
async fn a_missing_socket_is_named_with_what_to_do_and_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("docker.sock");
    let docker = DockerSettings {
        endpoint: format!("unix://{}", path.display()),
        ..DockerSettings::default()
    };
    let weir = Harness::start(ControlOptions {
        docker: Some(docker),
        ..ControlOptions::default()
    })
    .await;
    let down = weir.until_provider("docker", "down").await;
    let error = down["error"].as_str().unwrap();
    assert!(
        error.contains("there is no Docker socket at") && error.contains("-v "),
        "{error}"
    );
    let engine = Engine::start(&path);
    engine.put("a1", "172.18.0.11", SHOP);
    weir.until("the engine is found", |m| endpoints(m).len() == 1)
        .await;
}
