//! An engine that goes away, and answers that leave out what is known (semantics 36).

use std::time::{Duration, Instant};

use crate::engine::Answer;
use crate::harness::states;
use crate::{SHOP, running, start_with};

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
