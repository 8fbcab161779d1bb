//! Docker discovery against an engine that misbehaves on demand.

#[expect(dead_code, reason = "other tests ask more of it")]
#[path = "../support/fake_engine.rs"]
mod engine;
#[path = "../support/harness.rs"]
mod harness;

mod hostile;
mod outage;
mod stops;

use std::time::{Duration, Instant};

use engine::Engine;
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
