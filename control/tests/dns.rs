//! Lookups against a DNS server that misbehaves on demand.

#[path = "support/dns_server.rs"]
mod dns_server;
#[path = "support/harness.rs"]
mod harness;

use std::time::{Duration, Instant};

use dns_server::{DnsServer, Mood};
use harness::{Harness, PATIENCE, endpoints, states};
use hickory_resolver::proto::op::ResponseCode;
use weir_config::settings::{DnsLookup, RecordKind};
use weir_control::{ControlOptions, Published};

const WEB: &str = "dns:web/web.test:80/A";

struct Setup {
    server: DnsServer,
    weir: Harness,
}

/// Looks up `web.test`, with no patience to speak of.
async fn start(kind: RecordKind, change: impl FnOnce(&mut DnsLookup)) -> Setup {
    start_with(kind, |_| {}, change).await
}

async fn start_with(
    kind: RecordKind,
    prepare: impl FnOnce(&DnsServer),
    change: impl FnOnce(&mut DnsLookup),
) -> Setup {
    let server = DnsServer::start().await;
    prepare(&server);
    let port = if kind == RecordKind::Srv { 0 } else { 80 };
    let mut lookup = DnsLookup::new("web".parse().unwrap(), "web.test", kind, port);
    lookup.resolvers = vec![server.address];
    lookup.min_ttl = Duration::from_millis(500);
    lookup.timeout = Duration::from_millis(250);
    change(&mut lookup);
    let weir = Harness::start(ControlOptions {
        dns: vec![lookup],
        ..ControlOptions::default()
    })
    .await;
    Setup { server, weir }
}

/// Three addresses, published, that are asked for twice a second.
async fn running() -> Setup {
    let three = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
    let prepare = |server: &DnsServer| server.addresses("web.test", 0, &three);
    let setup = start_with(RecordKind::A, prepare, |_| {}).await;
    setup
        .until(&["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"])
        .await;
    setup
}

impl Setup {
    async fn until(&self, addresses: &[&str]) -> Published {
        let what = format!("the addresses are {addresses:?}");
        let fits = |model: &weir_config::model::Model| {
            let all = endpoints(model);
            all.len() == addresses.len()
                && all
                    .iter()
                    .zip(addresses)
                    .all(|(text, address)| text.contains(address))
        };
        self.weir.until(&what, fits).await
    }

    /// Waits for so many more questions.
    async fn until_asked(&self, more: usize) {
        let wanted = self.server.asked().len() + more;
        let asked = async {
            while self.server.asked().len() < wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asked)
            .await
            .expect("nothing is asked");
    }

    /// Waits until the provider is in that state for a reason that holds these words.
    async fn until_state(&self, state: &str, says: &str) {
        let what = format!("it is {state}: {says}");
        self.weir
            .until_reply("/api/v1/status", &what, |status| {
                let provider = &status["providers"][0];
                let error = provider["error"].as_str().unwrap_or_default();
                provider["state"] == state && error.contains(says)
            })
            .await;
    }
}

#[tokio::test]
async fn addresses_of_a_name_are_endpoints_with_its_port_and_version() {
    for (kind, address, shown) in [
        (RecordKind::A, "10.0.0.1", "web/blue 10.0.0.1:80 ready"),
        (
            RecordKind::Aaaa,
            "2001:db8::1",
            "web/blue [2001:db8::1]:80 ready",
        ),
    ] {
        let prepare = |server: &DnsServer| server.addresses("web.test", 30, &[address]);
        let setup = start_with(kind, prepare, |lookup| {
            lookup.version = "blue".parse().unwrap();
        })
        .await;
        let what = "the address is there";
        setup
            .weir
            .until(what, |model| endpoints(model) == [shown])
            .await;
        let discovery = setup.weir.get("/api/v1/discovery").await;
        let row = &discovery["containers"][0];
        assert_eq!(
            (&row["service"], &row["included"]),
            (&"web".into(), &true.into())
        );
        assert_eq!(row["reason"], "in the answer");
    }
}

#[tokio::test]
async fn an_answer_is_asked_for_again_when_its_ttl_is_over_and_not_before() {
    let prepare = |server: &DnsServer| server.addresses("web.test", 1, &["10.0.0.1"]);
    let setup = start_with(RecordKind::A, prepare, |_| {}).await;
    setup.until(&["10.0.0.1:80"]).await;
    let begun = Instant::now();
    setup
        .server
        .addresses("web.test", 600, &["10.0.0.1", "10.0.0.2"]);
    setup.until(&["10.0.0.1:80", "10.0.0.2:80"]).await;
    let took = begun.elapsed();
    assert!(
        took > Duration::from_millis(800),
        "asked again after {took:?}"
    );
    assert_eq!(setup.server.asked().len(), 2);
}

#[tokio::test]
async fn the_least_ttl_of_an_alias_and_its_addresses_counts() {
    let prepare = |server: &DnsServer| {
        server.alias("web.test", 0, "host.test");
        server.addresses("host.test", 600, &["10.0.0.1"]);
    };
    let setup = start_with(RecordKind::A, prepare, |_| {}).await;
    setup.until(&["10.0.0.1:80"]).await;
    setup
        .server
        .addresses("host.test", 600, &["10.0.0.1", "10.0.0.2"]);
    setup.until(&["10.0.0.1:80", "10.0.0.2:80"]).await;
}

// semantics 36
#[tokio::test]
async fn a_name_that_is_gone_keeps_its_addresses_and_raises_the_alarm() {
    let setup = running().await;
    let before = setup.weir.now().generation;
    setup.server.addresses("web.test", 0, &[]);
    setup.until_state("holding", "NXDOMAIN").await;
    setup.until_asked(3).await;
    assert_eq!(
        setup
            .weir
            .now()
            .model
            .service("web")
            .unwrap()
            .endpoints
            .len(),
        3
    );
    assert!(
        setup
            .weir
            .control
            .metrics_text()
            .contains(&format!("weir_discovery_up{{provider=\"{WEB}\"}} 0"))
    );
    setup
        .server
        .addresses("web.test", 0, &["10.0.0.3", "10.0.0.2", "10.0.0.1"]);
    setup.weir.until_provider(WEB, "up").await;
    assert_eq!(setup.weir.now().generation, before);
}

#[tokio::test]
async fn a_name_without_records_of_the_kind_is_told_from_one_that_is_not_there() {
    let setup = running().await;
    setup.server.addresses("web.test", 0, &[]);
    setup.server.addresses("web.test", 0, &["2001:db8::1"]);
    setup
        .until_state("holding", "web.test has no A record")
        .await;
}

#[tokio::test]
async fn a_name_that_never_was_is_an_error_with_its_service_in_place() {
    let setup = start_with(RecordKind::A, |server| server.absence_ttl(3600), |_| {}).await;
    setup
        .until_state("down", "there is no name web.test (NXDOMAIN)")
        .await;
    setup
        .weir
        .until("the service is there", |model| {
            model.service("web").is_some()
        })
        .await;
    setup.server.addresses("web.test", 30, &["10.0.0.1"]);
    setup.until(&["10.0.0.1:80"]).await;
    setup.weir.until_provider(WEB, "up").await;
}

// semantics 36
#[tokio::test]
async fn a_resolver_that_fails_takes_nothing_along() {
    let setup = running().await;
    let before = setup.weir.now().generation;
    for (mood, says) in [
        (Mood::Code(ResponseCode::ServFail), "Server Failure"),
        (Mood::Code(ResponseCode::Refused), "Query Refused"),
        (Mood::Silent, "no resolver answered in time"),
        (Mood::Garbage, "web.test A"),
    ] {
        setup.server.mood(mood);
        setup.until_state("down", says).await;
        assert_eq!(setup.weir.now().generation, before, "{says}");
        setup.server.mood(Mood::Answer);
        setup.weir.until_provider(WEB, "up").await;
        assert_eq!(setup.weir.now().generation, before, "{says}");
    }
    let events = setup.weir.get("/api/v1/events").await.to_string();
    assert!(
        events.contains("keeping the 3 addresses known")
            && events.contains("the resolver is back after"),
        "{events}"
    );
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let all: Vec<String> = (0..200).map(|n| format!("10.0.1.{n}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let prepare = |server: &DnsServer| {
        server.mood(Mood::Truncate);
        server.addresses("web.test", 30, &all);
    };
    let setup = start_with(RecordKind::A, prepare, |_| {}).await;
    let what = "all 200 are there";
    setup
        .weir
        .until(what, |model| states(model, "web").len() == 200)
        .await;
    let asked = setup.server.asked();
    assert!(
        asked.iter().any(|question| question.starts_with("tcp")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_second_resolver_stands_in_for_a_silent_one() {
    let silent = DnsServer::start().await;
    silent.mood(Mood::Silent);
    let first = silent.address;
    let prepare = |server: &DnsServer| server.addresses("web.test", 30, &["10.0.0.1"]);
    let setup = start_with(RecordKind::A, prepare, |lookup| {
        lookup.resolvers.insert(0, first)
    })
    .await;
    setup.until(&["10.0.0.1:80"]).await;
}

#[tokio::test]
async fn an_answer_that_flaps_changes_the_configuration_at_most_twice_a_second() {
    let setup = running().await;
    let before = setup.weir.now().generation;
    let begun = Instant::now();
    let mut round = 0;
    while begun.elapsed() < Duration::from_secs(3) {
        round += 1;
        let last = if round % 2 == 0 {
            "10.0.0.3"
        } else {
            "10.0.0.4"
        };
        setup
            .server
            .addresses("web.test", 0, &["10.0.0.1", "10.0.0.2", last]);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let changes = setup.weir.now().generation - before;
    assert!(changes <= 7, "{changes} changes in 3 s");
}

#[tokio::test]
async fn another_order_of_the_same_addresses_is_no_change() {
    let setup = running().await;
    let before = setup.weir.now().generation;
    setup
        .server
        .addresses("web.test", 0, &["10.0.0.2", "10.0.0.3", "10.0.0.1"]);
    setup.until_asked(3).await;
    assert_eq!(setup.weir.now().generation, before);
}

// semantics 38
#[tokio::test]
async fn an_address_that_an_answer_may_not_name_is_left_out_with_its_source() {
    let setup = running().await;
    setup
        .server
        .addresses("web.test", 0, &["10.0.0.1", "10.0.0.2", "127.0.0.1"]);
    setup.until(&["10.0.0.1:80", "10.0.0.2:80"]).await;
    let discovery = setup.weir.get("/api/v1/discovery").await;
    let problem = &discovery["problems"][0];
    assert_eq!(problem["source"], "dns web.test A", "{discovery:#}");
    assert!(problem["message"].as_str().unwrap().contains("127.0.0.1"));
}

#[tokio::test]
async fn a_loopback_address_is_taken_where_the_operator_allows_it() {
    let prepare = |server: &DnsServer| server.addresses("web.test", 30, &["127.0.0.1"]);
    let setup = start_with(RecordKind::A, prepare, |lookup| {
        lookup.allow_loopback_endpoints = true;
    })
    .await;
    setup.until(&["127.0.0.1:80"]).await;
}

// RFC 2782
#[tokio::test]
async fn srv_records_give_ports_weights_and_priorities() {
    let prepare = |server: &DnsServer| {
        server.services(
            "web.test",
            30,
            &[
                (10, 3, 8001, "a.test"),
                (10, 1, 8002, "b.test"),
                (20, 0, 8003, "c.test"),
            ],
        );
        server.addresses("a.test", 30, &["10.0.0.1"]);
        server.addresses("b.test", 30, &["10.0.0.2"]);
        server.addresses("c.test", 30, &["2001:db8::3"]);
    };
    let setup = start_with(RecordKind::Srv, prepare, |_| {}).await;
    let now = setup
        .until(&["10.0.0.1:8001", "10.0.0.2:8002", "[2001:db8::3]:8003"])
        .await;
    let service = now.model.service("web").unwrap();
    let shown: Vec<String> = service
        .endpoints
        .iter()
        .map(|e| format!("{} {}/{}", e.address, e.priority, e.weight))
        .collect();
    assert_eq!(
        shown,
        [
            "10.0.0.1:8001 0/3",
            "10.0.0.2:8002 0/1",
            "[2001:db8::3]:8003 1/1"
        ]
    );
}

#[tokio::test]
async fn an_srv_target_whose_resolver_fails_is_an_outage_and_no_stop() {
    let prepare = |server: &DnsServer| {
        server.services("web.test", 0, &[(0, 0, 80, "a.test"), (0, 0, 80, "b.test")]);
        server.addresses("a.test", 0, &["10.0.0.1"]);
        server.addresses("b.test", 0, &["10.0.0.2"]);
    };
    let setup = start_with(RecordKind::Srv, prepare, |_| {}).await;
    setup.until(&["10.0.0.1:80", "10.0.0.2:80"]).await;
    setup.server.mood(Mood::Silent);
    setup.until_state("down", "no resolver answered").await;
    assert_eq!(states(&setup.weir.now().model, "web").len(), 2);
}

// RFC 2782
#[tokio::test]
async fn an_srv_service_that_says_it_is_not_available_keeps_what_is_known() {
    let setup = start(RecordKind::Srv, |_| {}).await;
    setup.server.addresses("a.test", 0, &["10.0.0.1"]);
    setup
        .server
        .services("web.test", 0, &[(0, 0, 80, "a.test")]);
    setup.until(&["10.0.0.1:80"]).await;
    setup.server.services("web.test", 0, &[(0, 0, 0, ".")]);
    setup.until_state("holding", "not available").await;
    assert_eq!(states(&setup.weir.now().model, "web"), ["ready"]);
}
