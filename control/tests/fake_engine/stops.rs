//! What is told to stop, how it is, and who it is.

use std::time::{Duration, Instant};

use crate::engine::{Answer, full};
use crate::harness::{endpoints, states};
use crate::running;

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
