//! Answers, events and labels that make no sense or mean no good.

use std::time::{Duration, Instant};

use crate::engine::Answer;
use crate::harness::{self, endpoints, states};
use crate::running;

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
