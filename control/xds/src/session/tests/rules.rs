//! The protocol's rules, one by one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use envoy_types::pb::google::rpc::Status;
use weir_wire::{Kind, Resource, Resources};

use crate::limits::{BATCH_RESOURCES, ENDPOINTS_GRACE, SETTLING};
use crate::session::{Broken, Heard, Protocol, Push, Session};
use crate::view::View;

use Kind::{Cluster, Endpoint, Listener, Route, Secret};

fn resources(all: &[(Kind, &str, &str)]) -> Resources {
    let mut out = Resources::default();
    for (kind, name, body) in all {
        let body = body.as_bytes().to_vec();
        out.insert(Arc::new(Resource::new(*kind, *name, body)));
    }
    out
}

/// A session at a table, and the clock of the room.
struct Table {
    session: Session,
    view: Arc<View>,
    now: Instant,
}

impl Table {
    fn new(protocol: Protocol, all: &[(Kind, &str, &str)]) -> Self {
        let view = Arc::new(View::new(1, resources(all)));
        Self {
            session: Session::new(protocol, Arc::clone(&view)),
            view,
            now: Instant::now(),
        }
    }

    fn publish(&mut self, all: &[(Kind, &str, &str)]) {
        let generation = self.view.generation() + 1;
        self.view = Arc::new(self.view.next(generation, &resources(all)));
        self.session.retarget(Arc::clone(&self.view));
    }

    fn delta(&mut self, kind: Kind, request: DeltaDiscoveryRequest) -> Heard {
        let request = DeltaDiscoveryRequest {
            type_url: kind.type_url().into(),
            ..request
        };
        self.session.on_delta(&request, self.now).unwrap()
    }

    fn subscribe(&mut self, kind: Kind, names: &[&str]) {
        let names = names.iter().map(ToString::to_string).collect();
        self.delta(
            kind,
            DeltaDiscoveryRequest {
                resource_names_subscribe: names,
                ..DeltaDiscoveryRequest::default()
            },
        );
    }

    fn unsubscribe(&mut self, kind: Kind, names: &[&str]) {
        let names = names.iter().map(ToString::to_string).collect();
        self.delta(
            kind,
            DeltaDiscoveryRequest {
                resource_names_unsubscribe: names,
                ..DeltaDiscoveryRequest::default()
            },
        );
    }

    /// A client that comes back with these.
    fn resume(&mut self, kind: Kind, names: &[&str], has: &[(&str, &str)]) {
        let version = |body: &str| Resource::new(kind, "x", body.as_bytes().to_vec()).version;
        let has = has
            .iter()
            .map(|(name, body)| ((*name).to_owned(), version(body)));
        self.delta(
            kind,
            DeltaDiscoveryRequest {
                resource_names_subscribe: names.iter().map(ToString::to_string).collect(),
                initial_resource_versions: has.collect(),
                ..DeltaDiscoveryRequest::default()
            },
        );
    }

    fn answer(&mut self, push: &Push, error: Option<&str>) -> Heard {
        self.delta(
            push.kind,
            DeltaDiscoveryRequest {
                response_nonce: push.nonce.to_string(),
                error_detail: error.map(|message| Status {
                    message: message.into(),
                    ..Status::default()
                }),
                ..DeltaDiscoveryRequest::default()
            },
        )
    }

    fn sotw(&mut self, kind: Kind, names: &[&str], nonce: &str) -> Heard {
        let request = DiscoveryRequest {
            type_url: kind.type_url().into(),
            resource_names: names.iter().map(ToString::to_string).collect(),
            response_nonce: nonce.into(),
            ..DiscoveryRequest::default()
        };
        self.session.on_sotw(&request, self.now).unwrap()
    }

    fn next(&mut self) -> Option<Push> {
        self.session.next(self.now)
    }

    /// What comes, each answered at once: `cluster +a +b`, `route -r`.
    fn drain(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        while let Some(push) = self.next() {
            out.push(told(&push));
            assert_eq!(self.answer(&push, None), Heard::Ack);
        }
        out
    }
}

fn told(push: &Push) -> String {
    let steps = push.moves.iter().map(|step| {
        let sign = if step.to.is_some() { '+' } else { '-' };
        format!(" {sign}{}", step.name)
    });
    format!("{:?}{}", push.kind, steps.collect::<String>())
}

/// The names in a response of the state of the world, whose bodies are names here.
fn listed(push: Push) -> Vec<String> {
    let response = push.into_sotw("run-1");
    let bodies = response.resources.into_iter().map(|any| any.value);
    bodies
        .map(|body| String::from_utf8(body).unwrap())
        .collect()
}

const SHOP: [(Kind, &str, &str); 5] = [
    (Cluster, "shop", "1"),
    (Endpoint, "shop", "1"),
    (Secret, "crt", "1"),
    (Listener, "web", "1"),
    (Route, "web", "1"),
];

#[test]
fn additions_come_in_order_and_wait_for_what_they_refer_to_to_be_taken() {
    let mut table = Table::new(Protocol::Delta, &SHOP);
    for kind in [Route, Listener, Secret, Endpoint, Cluster] {
        table.subscribe(kind, &["*"]);
    }
    let first: Vec<Push> = std::iter::from_fn(|| table.next()).collect();
    let kinds: Vec<Kind> = first.iter().map(|push| push.kind).collect();
    assert_eq!(
        kinds,
        [Cluster, Endpoint, Secret],
        "listeners and routes wait"
    );
    table.answer(&first[0], None);
    assert!(table.next().is_none(), "endpoints are not taken");
    table.answer(&first[1], None);
    assert_eq!(
        told(&table.next().unwrap()),
        "Route +web",
        "which needs no secret"
    );
    table.answer(&first[2], None);
    assert_eq!(told(&table.next().unwrap()), "Listener +web");
}

#[test]
fn removals_come_last_and_what_refers_goes_first() {
    let mut table = Table::new(Protocol::Delta, &SHOP);
    for kind in Kind::ALL {
        table.subscribe(kind, &["*"]);
    }
    table.drain();
    table.publish(&[
        (Cluster, "cart", "1"),
        (Endpoint, "cart", "1"),
        (Listener, "web", "2"),
        (Route, "web", "2"),
    ]);
    assert_eq!(
        table.drain(),
        [
            "Cluster +cart",
            "Endpoint +cart",
            "Listener +web",
            "Route +web",
            "Secret -crt",
            "Cluster -shop",
            "Endpoint -shop",
        ]
    );
}

#[test]
fn only_what_changed_is_sent_and_changes_meanwhile_are_folded_into_one() {
    let mut table = Table::new(Protocol::Delta, &[(Cluster, "a", "1"), (Cluster, "b", "1")]);
    table.subscribe(Cluster, &[]);
    let first = table.next().unwrap();
    table.publish(&[(Cluster, "a", "2"), (Cluster, "b", "1")]);
    table.publish(&[(Cluster, "a", "3"), (Cluster, "b", "1")]);
    assert!(table.next().is_none(), "one response is unanswered");
    table.answer(&first, None);
    let second = table.next().unwrap();
    assert_eq!((told(&second), second.generation), ("Cluster +a".into(), 3));
    let response = second.into_delta("run-1");
    assert_eq!(response.resources[0].resource.as_ref().unwrap().value, b"3");
    assert_eq!(response.system_version_info, "3");
}

#[test]
fn a_client_that_comes_back_is_sent_only_what_differs() {
    let mut table = Table::new(
        Protocol::Delta,
        &[
            (Cluster, "same", "1"),
            (Cluster, "changed", "2"),
            (Endpoint, "same", "1"),
            (Endpoint, "changed", "1"),
        ],
    );
    table.resume(
        Cluster,
        &[],
        &[("same", "1"), ("changed", "1"), ("gone", "1")],
    );
    table.resume(
        Endpoint,
        &["same", "changed"],
        &[("same", "1"), ("changed", "1")],
    );
    // A changed cluster is warmed again, so that its endpoints come too. What is gone waits: who knows what the client has that
    // refers to it, before it has asked for routes?
    assert_eq!(table.drain(), ["Cluster +changed", "Endpoint +changed"]);
    assert_eq!(table.session.deadline(), Some(table.now + SETTLING));
    table.now += SETTLING;
    assert_eq!(table.drain(), ["Cluster -gone"]);
}

#[test]
fn a_client_that_comes_back_with_everything_is_sent_nothing_and_counts_as_synced() {
    let mut table = Table::new(Protocol::Delta, &SHOP);
    for (kind, name, body) in SHOP {
        let names: &[&str] = match kind {
            Cluster | Listener => &[],
            _ => &[name],
        };
        table.resume(kind, names, &[(name, body)]);
    }
    assert!(table.next().is_none());
    assert_eq!(table.session.progress().acked, Some(1));
}

#[test]
fn the_first_question_for_all_is_answered_even_if_there_is_nothing() {
    for protocol in [Protocol::Delta, Protocol::Sotw] {
        let mut table = Table::new(protocol, &[]);
        match protocol {
            Protocol::Delta => table.subscribe(Cluster, &[]),
            Protocol::Sotw => {
                table.sotw(Cluster, &[], "");
            }
        }
        let push = table.next().unwrap();
        assert!(push.moves.is_empty() && push.kind == Cluster);
        assert!(table.next().is_none());
    }
}

#[test]
fn a_name_that_does_not_exist_is_said_to_be_gone_and_comes_when_it_exists() {
    let mut table = Table::new(Protocol::Delta, &[]);
    table.subscribe(Endpoint, &["later"]);
    assert_eq!(table.drain(), ["Endpoint -later"]);
    table.publish(&[(Endpoint, "later", "1"), (Endpoint, "other", "1")]);
    assert_eq!(table.drain(), ["Endpoint +later"]);
}

#[test]
fn a_name_that_is_asked_for_again_is_sent_again() {
    let mut table = Table::new(Protocol::Delta, &[(Endpoint, "shop", "1")]);
    table.subscribe(Endpoint, &["shop"]);
    assert_eq!(table.drain(), ["Endpoint +shop"]);
    table.subscribe(Endpoint, &["shop"]);
    assert_eq!(table.drain(), ["Endpoint +shop"]);
    table.unsubscribe(Endpoint, &["shop"]);
    table.publish(&[(Endpoint, "shop", "2")]);
    assert!(table.drain().is_empty());
}

#[test]
fn who_wants_all_and_lets_go_of_one_hears_of_it_once_more() {
    let mut table = Table::new(Protocol::Delta, &[(Cluster, "a", "1")]);
    table.subscribe(Cluster, &["*", "a", "b"]);
    assert_eq!(table.drain(), ["Cluster -b +a"]);
    table.unsubscribe(Cluster, &["a", "b"]);
    assert_eq!(table.drain(), ["Cluster +a -b"]);
    table.unsubscribe(Cluster, &["*"]);
    table.publish(&[(Cluster, "a", "2")]);
    assert!(
        table.drain().is_empty(),
        "an acknowledgement without names is not a wish for all"
    );
}

#[test]
fn an_answer_to_a_response_that_was_replaced_is_ignored() {
    let mut table = Table::new(Protocol::Delta, &[(Cluster, "a", "1")]);
    table.subscribe(Cluster, &[]);
    let first = table.next().unwrap();
    assert_eq!(table.answer(&first, None), Heard::Ack);
    assert_eq!(table.answer(&first, Some("late")), Heard::Stale);
    assert_eq!(table.session.progress().refused, []);

    let mut table = Table::new(Protocol::Sotw, &[(Cluster, "a", "a")]);
    table.sotw(Cluster, &[], "");
    table.next().unwrap();
    assert_eq!(table.sotw(Cluster, &["b"], "17"), Heard::Stale);
    assert_eq!(table.sotw(Cluster, &[], "1"), Heard::Ack);
    table.publish(&[(Cluster, "a", "c")]);
    assert_eq!(
        listed(table.next().unwrap()),
        ["c"],
        "the stale wish changed nothing"
    );
}

#[test]
fn the_one_that_is_refused_is_found_and_the_others_get_through() {
    let names: Vec<String> = (0..9).map(|i| format!("c{i}")).collect();
    let all: Vec<_> = names
        .iter()
        .map(|name| (Cluster, name.as_str(), "1"))
        .collect();
    let mut table = Table::new(Protocol::Delta, &all);
    table.subscribe(Cluster, &[]);
    table.subscribe(Route, &["*"]);
    let mut taken = Vec::new();
    while let Some(push) = table.next() {
        let bad = push.moves.iter().any(|step| step.name == "c4");
        table.answer(&push, bad.then_some("c4:\nno such balancer"));
        if !bad && push.kind == Cluster {
            taken.extend(push.moves.into_iter().map(|step| step.name));
        }
        assert_ne!(push.kind, Route, "routes may refer to what was refused");
    }
    taken.sort();
    assert_eq!(taken.len(), 8);
    let progress = table.session.progress();
    let refused: Vec<String> = progress.refused.iter().map(ToString::to_string).collect();
    assert_eq!(refused, ["cluster c4: c4: no such balancer"]);
    assert_eq!((progress.acked, progress.is_moving), (None, false));
    // What was refused is not sent again until it is something else; what else changes goes on.
    let mut later = all.clone();
    later[0].2 = "2";
    table.publish(&later);
    assert_eq!(table.drain()[0], "Cluster +c0");
    later[4].2 = "2";
    table.publish(&later);
    assert_eq!(table.drain(), ["Cluster +c4", "Route"]);
    assert_eq!(table.session.progress().acked, Some(3));
}

#[test]
fn nothing_is_removed_while_something_that_may_refer_to_it_is_refused() {
    let mut table = Table::new(Protocol::Delta, &[(Cluster, "a", "1"), (Route, "web", "a")]);
    table.subscribe(Cluster, &[]);
    table.subscribe(Route, &["web"]);
    table.drain();
    table.now += SETTLING;
    table.publish(&[(Cluster, "b", "1"), (Route, "web", "b")]);
    while let Some(push) = table.next() {
        let refuses = push.kind == Route;
        table.answer(&push, refuses.then_some("no"));
        assert_ne!(told(&push), "Cluster -a");
    }
    table.publish(&[(Cluster, "b", "1"), (Route, "web", "b2")]);
    assert_eq!(table.drain(), ["Route +web", "Cluster -a"]);
}

#[test]
fn routes_wait_for_a_client_to_ask_for_the_endpoints_of_a_new_cluster_but_not_for_ever() {
    let one = [
        (Cluster, "a", "1"),
        (Endpoint, "a", "1"),
        (Route, "web", "a"),
    ];
    let two = [
        (Cluster, "a", "1"),
        (Endpoint, "a", "1"),
        (Cluster, "b", "1"),
        (Endpoint, "b", "1"),
        (Route, "web", "a b"),
    ];
    for asks in [true, false] {
        let mut table = Table::new(Protocol::Delta, &one);
        table.subscribe(Cluster, &[]);
        table.subscribe(Endpoint, &["a"]);
        table.subscribe(Route, &["web"]);
        table.drain();
        table.publish(&two);
        assert_eq!(table.drain(), ["Cluster +b"], "the route waits");
        if asks {
            table.subscribe(Endpoint, &["b"]);
            assert_eq!(table.drain(), ["Endpoint +b", "Route +web"]);
        } else {
            assert_eq!(table.session.deadline(), Some(table.now + ENDPOINTS_GRACE));
            table.now += ENDPOINTS_GRACE + Duration::from_millis(1);
            assert_eq!(table.drain(), ["Route +web"]);
        }
    }
}

#[test]
fn many_resources_come_in_several_responses_and_none_twice() {
    let count = BATCH_RESOURCES * 2 + 5;
    let names: Vec<String> = (0..count).map(|i| format!("c{i:05}")).collect();
    let mut all: Vec<_> = names
        .iter()
        .map(|name| (Cluster, name.as_str(), "1"))
        .collect();
    let mut table = Table::new(Protocol::Delta, &all);
    table.subscribe(Cluster, &[]);
    let first = table.next().unwrap();
    assert_eq!(first.moves.len(), BATCH_RESOURCES);
    // What changes meanwhile: one that was sent, one that was not.
    all[0].2 = "2";
    all[count - 1].2 = "2";
    table.publish(&all);
    table.answer(&first, None);
    let mut seen: Vec<String> = Vec::new();
    while let Some(push) = table.next() {
        table.answer(&push, None);
        seen.extend(push.moves.into_iter().map(|step| step.name));
    }
    assert_eq!(seen.len(), count - BATCH_RESOURCES + 1);
    assert!(seen.contains(&names[0]));
    assert_eq!(table.session.progress().acked, Some(2));
}

#[test]
fn in_the_state_of_the_world_clusters_come_whole_and_endpoints_alone() {
    let mut table = Table::new(
        Protocol::Sotw,
        &[
            (Cluster, "a", "a"),
            (Cluster, "b", "b"),
            (Endpoint, "a", "a"),
            (Endpoint, "b", "b"),
        ],
    );
    table.sotw(Cluster, &[], "");
    assert_eq!(listed(table.next().unwrap()), ["a", "b"]);
    table.sotw(Cluster, &[], "1");
    table.sotw(Endpoint, &["a", "b"], "");
    assert_eq!(listed(table.next().unwrap()), ["a", "b"]);
    table.sotw(Endpoint, &["a", "b"], "2");
    table.publish(&[
        (Cluster, "a", "a"),
        (Cluster, "b", "b2"),
        (Endpoint, "a", "a2"),
        (Endpoint, "b", "b"),
    ]);
    assert_eq!(listed(table.next().unwrap()), ["a", "b2"]);
    // `b` changed, so that its endpoints are warmed again.
    assert_eq!(listed(table.next().unwrap()), ["a2", "b"]);
}

#[test]
fn in_the_state_of_the_world_a_cluster_that_is_gone_stays_until_its_routes_are_gone() {
    let mut table = Table::new(Protocol::Sotw, &[(Cluster, "a", "a"), (Route, "web", "a")]);
    table.sotw(Cluster, &[], "");
    table.next().unwrap();
    table.sotw(Cluster, &[], "1");
    table.sotw(Route, &["web"], "");
    table.next().unwrap();
    table.sotw(Route, &["web"], "2");
    table.now += SETTLING;
    table.publish(&[(Cluster, "b", "b"), (Route, "web", "b")]);
    assert_eq!(listed(table.next().unwrap()), ["a", "b"]);
    table.sotw(Cluster, &[], "3");
    assert_eq!(listed(table.next().unwrap()), ["b"], "the route");
    assert!(table.next().is_none(), "the route is not taken yet");
    table.sotw(Route, &["web"], "4");
    assert_eq!(
        listed(table.next().unwrap()),
        ["b"],
        "the clusters without a"
    );
}

#[test]
fn in_the_state_of_the_world_endpoints_that_do_not_exist_are_none() {
    use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
    use prost::Message as _;
    let mut table = Table::new(Protocol::Sotw, &[]);
    table.sotw(Endpoint, &["nowhere"], "");
    table.sotw(Route, &["nowhere"], "");
    let response = table.next().unwrap().into_sotw("run-1");
    let empty = ClusterLoadAssignment::decode(response.resources[0].value.as_slice()).unwrap();
    assert_eq!(
        (empty.cluster_name.as_str(), empty.endpoints.len()),
        ("nowhere", 0)
    );
    assert!(table.next().is_none(), "of routes nothing can be said");
    table.sotw(Endpoint, &["nowhere"], "1");
    assert_eq!(table.session.progress().acked, Some(1));
}

#[test]
fn in_the_state_of_the_world_an_empty_list_after_names_means_none() {
    let mut table = Table::new(Protocol::Sotw, &[(Cluster, "a", "a"), (Cluster, "b", "b")]);
    table.sotw(Cluster, &["*", "a"], "");
    assert_eq!(listed(table.next().unwrap()), ["a", "b"]);
    table.sotw(Cluster, &["a"], "1");
    table.publish(&[(Cluster, "a", "a2"), (Cluster, "b", "b2")]);
    assert_eq!(listed(table.next().unwrap()), ["a2"]);
    table.sotw(Cluster, &[], "2");
    table.publish(&[(Cluster, "a", "a3")]);
    assert!(table.next().is_none());
}

#[test]
fn a_type_that_is_not_served_and_names_without_end_are_told_apart_from_wishes() {
    let mut table = Table::new(Protocol::Delta, &[]);
    let request = DeltaDiscoveryRequest {
        type_url: "type.googleapis.com/envoy.service.runtime.v3.Runtime".into(),
        ..DeltaDiscoveryRequest::default()
    };
    assert_eq!(
        table.session.on_delta(&request, table.now),
        Ok(Heard::Unserved)
    );
    let request = DeltaDiscoveryRequest {
        type_url: Cluster.type_url().into(),
        resource_names_subscribe: vec!["x".repeat(2_000)],
        ..DeltaDiscoveryRequest::default()
    };
    assert_eq!(
        table.session.on_delta(&request, table.now),
        Err(Broken::LongName)
    );
}
