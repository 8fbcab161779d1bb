//! Swarm discovery against a manager that does as it is told.

#[expect(dead_code, reason = "other tests ask more of it")]
#[path = "support/fake_engine.rs"]
mod engine;
#[path = "support/harness.rs"]
mod harness;

use std::time::{Duration, Instant};

use engine::{Answer, Engine};
use harness::{Harness, endpoints, states};
use serde_json::json;
use weir_config::settings::{DockerSettings, SwarmAddresses, SwarmSettings};
use weir_control::ControlOptions;

struct Setup {
    engine: Engine,
    weir: Harness,
    _dir: tempfile::TempDir,
}

const SHOP: &[(&str, &str)] = &[("weir.host", "shop.test")];

/// `shop` with two tasks, published.
async fn running() -> Setup {
    running_with(|_| {}).await
}

async fn running_with(with: impl FnOnce(&mut ControlOptions)) -> Setup {
    let setup = start(with, |engine| {
        engine.manage();
        engine.service("shop", SHOP);
        engine.change_service("shop", "/Spec/Mode/Replicated/Replicas", 2);
        engine.task("t1", "shop", 1, "10.9.0.1");
        engine.task("t2", "shop", 2, "10.9.0.2");
    })
    .await;
    setup.weir.until_provider("swarm", "up").await;
    setup
}

async fn start(with: impl FnOnce(&mut ControlOptions), prepare: impl FnOnce(&Engine)) -> Setup {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("docker.sock");
    let engine = Engine::start(&path);
    prepare(&engine);
    let mut options = ControlOptions {
        swarm: Some(SwarmSettings {
            endpoint: format!("unix://{}", path.display()),
            interval: Duration::from_millis(200),
            ..SwarmSettings::default()
        }),
        ..ControlOptions::default()
    };
    with(&mut options);
    Setup {
        engine,
        weir: Harness::start(options).await,
        _dir: dir,
    }
}

impl Setup {
    async fn until_states(&self, service: &str, expected: &[&str]) {
        let what = format!("{service} is {expected:?}");
        self.weir
            .until(&what, |model| states(model, service) == expected)
            .await;
    }

    /// Waits until `weir discovery` says that of something.
    async fn until_told(&self, of: &str, what: &str) {
        let told = |reply: &serde_json::Value| {
            let mut all = reply["containers"].as_array().unwrap().iter();
            all.any(|c| c["container"] == of && c["reason"].as_str().unwrap().contains(what))
        };
        let what = format!("{of}: {what}");
        self.weir
            .until_reply("/api/v1/discovery", &what, told)
            .await;
    }
}

fn slow(options: &mut ControlOptions) {
    options.swarm.as_mut().unwrap().interval = Duration::from_secs(600);
}

// semantics 16
#[tokio::test]
async fn tasks_are_endpoints_by_their_own_addresses_and_ids() {
    let setup = running().await;
    let now = setup
        .weir
        .until("both tasks are there", |m| endpoints(m).len() == 2)
        .await;
    assert_eq!(
        endpoints(&now.model),
        [
            "shop/stable 10.9.0.1:80 probe",
            "shop/stable 10.9.0.2:80 probe"
        ]
    );
    let ids = &now.model.service("shop").unwrap().endpoints;
    assert_eq!(ids[0].id.as_str(), "t1:80");
    setup.until_told("shop", "2 of 2 tasks run").await;
    setup.until_told("shop.1", "on node host-n1").await;
    let provider = setup.weir.until_provider("swarm", "up").await;
    let detail = provider["detail"].as_str().unwrap();
    assert!(detail.contains("Engine 20.10.24"), "{provider}");
}

#[tokio::test]
async fn labels_of_the_service_go_before_those_of_its_containers() {
    let setup = running().await;
    let own = json!({"weir.host": "other.test", "weir.version": "canary"});
    for task in ["t1", "t2"] {
        setup
            .engine
            .change_task(task, "/Spec/ContainerSpec/Labels", own.clone());
    }
    let now = setup.weir.until("the version is the containers'", |m| {
        endpoints(m).iter().all(|e| e.starts_with("shop/canary"))
    });
    let model = now.await.model;
    let hosts: Vec<String> = model.routes[0].hostnames.iter().map(|h| h.text()).collect();
    assert_eq!(hosts, ["shop.test"]);
}

#[tokio::test]
async fn a_global_service_has_a_task_on_each_node() {
    let setup = start(
        |_| {},
        |engine| {
            engine.manage();
            engine.service("agent", &[]);
            engine.change_service("agent", "/Spec/Mode", json!({"Global": {}}));
            for (id, node) in [("a1", "n1"), ("a2", "n2")] {
                engine.task(id, "agent", 0, &format!("10.9.0.{}", &id[1..]));
                engine.change_task(id, "/NodeID", node);
            }
        },
    )
    .await;
    setup.until_states("agent", &["probe", "probe"]).await;
    setup.until_told("agent", "2 of 2 tasks run").await;
    setup.until_told("agent.host-n2", "on node host-n2").await;
}

// semantics 34
#[tokio::test]
async fn a_task_that_is_to_stop_leaves_rotation_while_it_still_runs() {
    let setup = running_with(slow).await;
    setup.until_states("shop", &["probe", "probe"]).await;
    setup.engine.change_task("t1", "/DesiredState", "shutdown");
    // Nothing tells of a task: what tells of its service has the tasks asked for.
    setup.engine.cluster_event("service", "update", "shop");
    setup.until_states("shop", &["draining", "probe"]).await;
    setup.engine.end_task("t1");
    // And while something is under way, they are asked for without a word.
    setup.until_states("shop", &["probe"]).await;
}

// semantics 34
#[tokio::test]
async fn a_kill_on_the_managers_own_node_drains_at_once_without_a_list() {
    let setup = running_with(slow).await;
    setup.until_states("shop", &["probe", "probe"]).await;
    setup.engine.answer(Answer::Slow(Duration::from_secs(30)));
    let begun = Instant::now();
    setup.engine.event("kill", "t1", &[("signal", "15")]);
    setup.until_states("shop", &["draining", "probe"]).await;
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_service_that_is_removed_drains_on_the_event_and_is_not_held() {
    let setup = running_with(slow).await;
    setup.until_states("shop", &["probe", "probe"]).await;
    setup.engine.service("other", &[]);
    setup
        .engine
        .cluster(|cluster| cluster.forget_service("shop"));
    setup.engine.cluster_event("service", "remove", "shop");
    setup.until_states("shop", &["draining", "draining"]).await;
    let begun = Instant::now();
    setup.engine.cluster(|cluster| {
        cluster.forget_task("t1");
        cluster.forget_task("t2");
    });
    setup.engine.cluster_event("node", "update", "n1");
    setup
        .weir
        .until("it is gone", |m| m.service("shop").is_none())
        .await;
    assert!(begun.elapsed() < Duration::from_secs(8), "it was held");
}

// semantics 16: a task with a HEALTHCHECK runs only once that has passed.
#[tokio::test]
async fn a_task_takes_requests_when_it_runs_and_not_before() {
    let setup = running().await;
    setup.until_states("shop", &["probe", "probe"]).await;
    setup.engine.change_task("t1", "/Status/State", "starting");
    setup.until_states("shop", &["probe", "starting"]).await;
    let test = json!({"Test": ["CMD", "/check"]});
    setup
        .engine
        .change_task("t1", "/Spec/ContainerSpec/Healthcheck", test);
    setup.engine.change_task("t1", "/Status/State", "running");
    setup.until_states("shop", &["probe", "ready"]).await;
    setup.engine.change_task("t1", "/Status/State", "failed");
    setup
        .engine
        .change_task("t1", "/Status/Err", "task: unhealthy container");
    setup.until_states("shop", &["probe"]).await;
    setup
        .until_told(
            "shop",
            "1 of 2 tasks run; last failure: task: unhealthy container",
        )
        .await;
}

#[tokio::test]
async fn a_task_without_a_node_says_what_it_waits_for() {
    let setup = running().await;
    setup.engine.task("t3", "shop", 3, "10.9.0.3");
    for (pointer, value) in [
        ("/NetworksAttachments", json!(null)),
        ("/NodeID", json!("")),
        (
            "/Status",
            json!({"State": "pending", "Err": "no suitable node (scheduling constraints)"}),
        ),
    ] {
        setup.engine.change_task("t3", pointer, value);
    }
    setup
        .until_told("shop.3", "the task is pending: no suitable node")
        .await;
    assert_eq!(states(&setup.weir.now().model, "shop").len(), 2);
}

#[tokio::test]
async fn a_node_that_is_down_takes_its_tasks_out_where_others_are_left() {
    let setup = running().await;
    setup.engine.change_task("t2", "/NodeID", "n2");
    setup.engine.change_node("n2", "/Status/State", "down");
    setup
        .weir
        .until("the task on it is out", |m| {
            endpoints(m)
                == [
                    "shop/stable 10.9.0.1:80 probe",
                    "shop/stable 10.9.0.2:80 its node is down",
                ]
        })
        .await;
    // A manager that hears of nobody may be the one that is cut off.
    setup.engine.change_node("n1", "/Status/State", "down");
    setup.until_states("shop", &["probe", "probe"]).await;
    setup.engine.change_node("n1", "/Status/State", "ready");
    setup.engine.change_node("n2", "/Status/State", "unknown");
    setup.until_states("shop", &["probe", "probe"]).await;
}

#[tokio::test]
async fn a_service_that_no_longer_opts_in_is_let_go_at_once() {
    let setup = running().await;
    setup.until_states("shop", &["probe", "probe"]).await;
    let begun = Instant::now();
    setup
        .engine
        .change_service("shop", "/Spec/Labels", json!({"weir.port": "80"}));
    setup
        .weir
        .until("it is gone", |m| m.service("shop").is_none())
        .await;
    assert!(begun.elapsed() < Duration::from_secs(8), "it was held");
    setup.until_told("shop", "does not opt in").await;
}

#[tokio::test]
async fn the_virtual_ip_stands_for_all_tasks_where_it_is_asked_for() {
    let setup = running_with(|options| {
        options.swarm.as_mut().unwrap().addresses = SwarmAddresses::Vip;
    })
    .await;
    let vip = ["shop/stable 10.9.1.1:80 ready"];
    setup
        .weir
        .until("the virtual IP is there", |m| endpoints(m) == vip)
        .await;
    setup
        .until_told("shop", "the virtual IP of 2 running tasks")
        .await;
    for task in ["t1", "t2"] {
        setup.engine.change_task(task, "/Status/State", "starting");
    }
    setup.until_states("shop", &["starting"]).await;
    // endpoint_mode: dnsrr has none.
    setup
        .engine
        .change_service("shop", "/Endpoint", json!({"Spec": {"Mode": "dnsrr"}}));
    for task in ["t1", "t2"] {
        setup.engine.change_task(task, "/Status/State", "running");
    }
    setup.until_states("shop", &["probe", "probe"]).await;
    setup.until_told("shop.1", "no virtual IP").await;
}

#[tokio::test]
async fn the_network_is_chosen_by_setting_or_label() {
    let setup = running().await;
    let attachment = |name: &str, address: &str| json!({"Network": {"ID": name, "Spec": {"Name": name}}, "Addresses": [address]});
    let both = json!([
        attachment("shop_back", "10.9.5.1/24"),
        attachment("edge", "10.9.0.1/24")
    ]);
    setup.engine.change_task("t1", "/NetworksAttachments", both);
    setup
        .until_told("shop.1", "in several networks: edge, shop_back")
        .await;
    // A stack's network goes by its short name, too.
    setup.engine.change_service(
        "shop",
        "/Spec/Labels",
        json!({"weir.enable": "true", "weir.port": "80", "weir.network": "back",
               "com.docker.stack.namespace": "shop"}),
    );
    setup
        .weir
        .until("it is reached in the stack's network", |m| {
            endpoints(m).contains(&"shop/stable 10.9.5.1:80 probe".to_owned())
        })
        .await;
}

#[tokio::test]
async fn published_ports_are_the_ports_of_tasks_that_name_none() {
    let setup = running().await;
    setup
        .engine
        .change_service("shop", "/Spec/Labels", json!({"weir.enable": "true"}));
    setup.until_told("shop.1", "exposes no TCP port").await;
    let ports = json!([{"Protocol": "tcp", "TargetPort": 8080, "PublishedPort": 80},
                       {"Protocol": "udp", "TargetPort": 53}]);
    setup
        .engine
        .change_service("shop", "/Endpoint/Ports", ports);
    setup
        .weir
        .until("the port is the target's", |m| {
            endpoints(m).iter().any(|e| e.contains("10.9.0.1:8080"))
        })
        .await;
}

#[tokio::test]
async fn a_node_that_is_no_manager_is_named_with_what_to_do_and_waited_for() {
    let setup = start(|_| {}, |_| {}).await;
    let down = setup.weir.until_provider("swarm", "down").await;
    let error = down["error"].as_str().unwrap();
    assert!(
        error.contains("no Swarm manager") && error.contains("docker swarm init"),
        "{error}"
    );
    setup.engine.manage();
    setup.engine.service("shop", SHOP);
    setup.engine.task("t1", "shop", 1, "10.9.0.1");
    setup.until_states("shop", &["probe"]).await;
    setup.weir.until_provider("swarm", "up").await;
}

#[tokio::test]
async fn beside_a_swarm_the_engine_gives_only_what_is_no_task() {
    let setup = running_with(|options| {
        let endpoint = options.swarm.as_ref().unwrap().endpoint.clone();
        options.docker = Some(DockerSettings {
            endpoint,
            ..DockerSettings::default()
        });
    })
    .await;
    let of_task = [
        ("weir.service", "shop"),
        ("com.docker.swarm.service.id", "shop"),
    ];
    setup.engine.run("t1", "10.9.0.1", &of_task);
    setup
        .engine
        .run("c1", "10.9.0.9", &[("weir.service", "cart")]);
    setup.until_states("cart", &["probe"]).await;
    setup.until_states("shop", &["probe", "probe"]).await;
    let discovery = setup.weir.get("/api/v1/discovery").await;
    let containers = discovery["containers"].as_array().unwrap();
    assert!(
        !containers.iter().any(|c| c["container"] == "t1"),
        "{containers:#?}"
    );
}

// semantics 36
#[tokio::test]
async fn an_answer_that_makes_no_sense_changes_nothing() {
    let setup = running().await;
    setup.until_states("shop", &["probe", "probe"]).await;
    let before = setup.weir.now().generation;
    for (answer, says) in [
        (
            Answer::Status(500, r#"{"message":"rpc error: lost quorum"}"#),
            "lost quorum",
        ),
        (
            Answer::Status(503, r#"{"message":"The swarm does not have a leader."}"#),
            "does not have a leader",
        ),
        (Answer::Body(b"{}".to_vec()), "makes no sense"),
        (Answer::Body(b"[7]".to_vec()), "makes no sense"),
        (Answer::Truncated, "broke off"),
        (Answer::Hangup, "broke off"),
    ] {
        setup.engine.answer(answer);
        let down = |status: &serde_json::Value| {
            let provider = &status["providers"][0];
            let error = provider["error"].as_str().unwrap_or_default();
            provider["state"] == "down" && error.contains(says)
        };
        setup.weir.until_reply("/api/v1/status", says, down).await;
        setup.engine.answer(Answer::List);
        setup.weir.until_provider("swarm", "up").await;
        assert_eq!(setup.weir.now().generation, before, "{says}");
    }
}

#[tokio::test]
async fn a_task_that_flaps_changes_the_configuration_twice_a_second_at_most() {
    let setup = running().await;
    setup.until_states("shop", &["probe", "probe"]).await;
    let before = setup.weir.now().generation;
    let begun = Instant::now();
    let mut runs = true;
    while begun.elapsed() < Duration::from_secs(6) {
        runs = !runs;
        let state = if runs { "running" } else { "starting" };
        setup.engine.change_task("t1", "/Status/State", state);
        setup.engine.cluster_event("service", "update", "shop");
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    let (made, took) = (setup.weir.now().generation - before, begun.elapsed());
    // Eight at once, then one in half a second.
    let most = 8 + took.as_millis() as u64 / 500 + 1;
    assert!((6..=most).contains(&made), "{made} changes in {took:?}");
    setup.engine.change_task("t1", "/Status/State", "running");
    setup.until_states("shop", &["probe", "probe"]).await;
}

#[tokio::test]
async fn the_manager_is_only_ever_read_and_only_in_a_few_places() {
    let setup = running().await;
    setup.until_states("shop", &["probe", "probe"]).await;
    let requests = setup.engine.requests();
    for request in &requests {
        let path = request.strip_prefix("GET ").expect("a GET");
        let path = path.strip_prefix("/v1.41").unwrap_or(path);
        let known = [
            "/version",
            "/_ping",
            "/events",
            "/services",
            "/tasks",
            "/nodes",
            "/networks",
        ];
        assert!(known.contains(&path), "{request}");
    }
    assert!(requests.iter().any(|r| r.ends_with("/tasks")));
}
