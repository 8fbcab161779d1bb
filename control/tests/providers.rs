//! What every provider promises, asked of each of them in the same words.
//!
//! A source is what a provider watches, as a test plays it. All of them serve the service `web` on port 80 of addresses
//! `10.9.0.N`.

#[path = "providers/sources.rs"]
mod sources;

#[expect(dead_code, reason = "other tests ask more of it")]
#[path = "support/dns_server.rs"]
mod dns_server;
#[expect(dead_code, reason = "other tests ask more of it")]
#[path = "support/fake_engine.rs"]
mod fake_engine;
#[expect(dead_code, reason = "other tests ask more of it")]
#[path = "support/harness.rs"]
mod harness;

use std::time::{Duration, Instant};

use harness::Harness;
use sources::Source;
use weir_control::Published;

/// How long a source's options keep what vanished.
const HOLD: Duration = Duration::from_millis(1500);

struct Setup<S> {
    source: S,
    weir: Harness,
}

impl<S: Source> Setup<S> {
    /// A source that has these hosts, and they are published.
    async fn with(hosts: &[u8]) -> Self {
        let source = S::start().await;
        source.set(hosts);
        let weir = Harness::start(source.options()).await;
        let setup = Self { source, weir };
        setup.until(hosts).await;
        setup
    }

    async fn until(&self, hosts: &[u8]) -> Published {
        let what = format!("the hosts are {hosts:?}");
        self.weir
            .until(&what, |model| sources::hosts(model) == hosts)
            .await
    }

    async fn until_state(&self, state: &str) -> serde_json::Value {
        self.weir.until_provider(&S::name(), state).await
    }

    /// Has the source say the same once more, and waits until that was taken.
    async fn generation_stays(&self, before: u64) {
        self.until_state("up").await;
        assert_eq!(self.weir.now().generation, before);
    }
}

async fn each_answer_replaces_the_one_before<S: Source>() {
    let setup = Setup::<S>::with(&[1, 2, 3]).await;
    for hosts in [&[1, 2, 3, 4][..], &[2, 3, 4], &[2, 3, 5, 6]] {
        setup.source.set(hosts);
        setup.until(hosts).await;
    }
    setup.until_state("up").await;
}

// semantics 36
async fn an_outage_takes_nothing_along_and_says_why<S: Source>() {
    let setup = Setup::<S>::with(&[1, 2]).await;
    setup.until_state("up").await;
    let before = setup.weir.now().generation;
    for _ in 0..2 {
        setup.source.down();
        let down = setup.until_state("down").await;
        assert!(!down["error"].as_str().unwrap().is_empty(), "{down}");
        assert_eq!(setup.weir.now().generation, before);
        setup.source.up();
        setup.generation_stays(before).await;
    }
    let events = setup.weir.get("/api/v1/events").await.to_string();
    assert!(
        events.contains("keeping the 2 ") && events.contains("is back after"),
        "{events}"
    );
    let name = S::name();
    let metric = format!("weir_discovery_up{{provider=\"{name}\"}} 1");
    assert!(setup.weir.control.metrics_text().contains(&metric));
}

// semantics 36
async fn what_changes_during_an_outage_is_caught_up_with<S: Source>() {
    let setup = Setup::<S>::with(&[1, 2]).await;
    setup.source.down();
    setup.until_state("down").await;
    setup.source.set(&[1, 2, 3]);
    setup.source.up();
    setup.until(&[1, 2, 3]).await;
    setup.until_state("up").await;
}

// semantics 14: what is kept of an endpoint is keyed by its identity.
async fn after_a_restart_each_endpoint_is_who_it_was<S: Source>() {
    let setup = Setup::<S>::with(&[1, 2]).await;
    let ids = |published: &Published| -> Vec<String> {
        let service = published.model.service("web").unwrap();
        service.endpoints.iter().map(|e| e.id.to_string()).collect()
    };
    let before = ids(&setup.weir.now());
    let source = setup.source;
    drop(setup.weir);
    let weir = Harness::start(source.options()).await;
    let setup = Setup { source, weir };
    assert_eq!(ids(&setup.until(&[1, 2]).await), before);
}

// semantics 37
async fn a_start_during_an_outage_waits_for_its_end<S: Source>() {
    let source = S::start().await;
    source.set(&[1]);
    source.down();
    let weir = Harness::start(source.options()).await;
    let setup = Setup { source, weir };
    setup.until_state("down").await;
    setup.source.up();
    setup.until(&[1]).await;
}

// semantics 38
async fn a_mistake_shows_with_its_source_and_harms_nothing_else<S: Source>() {
    let setup = Setup::<S>::with(&[1, 2]).await;
    let culprit = setup.source.spoil();
    let shows = |reply: &serde_json::Value| {
        let problems = reply["problems"].as_array().unwrap();
        problems
            .iter()
            .any(|p| p["source"].as_str().unwrap().contains(culprit))
    };
    let what = format!("{culprit} is reported");
    setup
        .weir
        .until_reply("/api/v1/discovery", &what, shows)
        .await;
    setup.source.set(&[1, 2, 3]);
    setup.until(&[1, 2, 3]).await;
    setup.until_state("up").await;
}

// semantics 36
async fn an_answer_of_nothing_empties_nothing<S: Source>() {
    let setup = Setup::<S>::with(&[1, 2]).await;
    setup.until_state("up").await;
    let before = setup.weir.now().generation;
    setup.source.lose_all();
    setup.until_state("holding").await;
    assert_eq!(setup.weir.now().generation, before);
    setup.source.set(&[1, 2]);
    setup.generation_stays(before).await;
}

// semantics 36
async fn most_of_a_service_vanishing_is_held_and_then_let_go<S: Source>() {
    let setup = Setup::<S>::with(&[1, 2, 3]).await;
    let begun = Instant::now();
    setup.source.lose_but(1);
    setup.until_state("holding").await;
    assert_eq!(sources::hosts(&setup.weir.now().model), [1, 2, 3]);
    setup.until(&[1]).await;
    assert!(
        begun.elapsed() >= HOLD,
        "let go after {:?}",
        begun.elapsed()
    );
    setup.until_state("up").await;
}

macro_rules! conforms {
    ($module:ident, $source:ty: $($promise:ident),* $(,)?) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $promise() {
                    super::$promise::<$source>().await;
                }
            )*
        }
    };
    ($module:ident, $source:ty) => {
        conforms!($module, $source:
            each_answer_replaces_the_one_before,
            an_outage_takes_nothing_along_and_says_why,
            what_changes_during_an_outage_is_caught_up_with,
            after_a_restart_each_endpoint_is_who_it_was,
            a_start_during_an_outage_waits_for_its_end,
            a_mistake_shows_with_its_source_and_harms_nothing_else,
            an_answer_of_nothing_empties_nothing,
            most_of_a_service_vanishing_is_held_and_then_let_go,
        );
    };
}

conforms!(docker, crate::sources::docker::Docker);
conforms!(dns, crate::sources::dns::Dns);
conforms!(files, crate::sources::files::Files);
conforms!(swarm, crate::sources::swarm::Swarm);
conforms!(
    docker_behind_the_gate,
    crate::sources::gate::Behind<crate::sources::docker::Docker>
);
conforms!(
    swarm_behind_the_gate,
    crate::sources::gate::Behind<crate::sources::swarm::Swarm>
);
