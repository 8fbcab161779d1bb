use weir_wire::{Kind, Resource};

use super::*;
use crate::message::{Request, Variant};
use crate::testing::{
    assignment, cluster, delta, listener, response, routes, strange_cluster, whole,
};

/// A client, a clock, and a data plane that takes everything but ports that are taken.
struct Proxy {
    client: Client,
    now: Instant,
    taken: Vec<(String, String)>,
    /// How often something was published.
    published: usize,
    counted: Vec<Reason>,
    nonce: u32,
}

impl Proxy {
    fn new(variant: Variant) -> (Self, Vec<Request>) {
        Self::with(variant, Limits::default())
    }

    fn with(variant: Variant, limits: Limits) -> (Self, Vec<Request>) {
        let mut proxy = Self {
            client: Client::new(crate::node("edge-1", None, "0"), limits),
            now: Instant::now(),
            taken: Vec::new(),
            published: 0,
            counted: Vec::new(),
            nonce: 0,
        };
        let first = proxy.client.connected(variant);
        (proxy, first)
    }

    /// One that serves the whole set.
    fn serving() -> Self {
        let (mut proxy, _) = Self::new(Variant::Delta);
        let set = whole();
        for kind in Kind::ALL {
            let given: Vec<Resource> = set.of(kind).map(|it| Resource::clone(it)).collect();
            if !given.is_empty() {
                assert_eq!(
                    refusals(&proxy.hear(kind, &given, &[])),
                    Vec::<String>::new()
                );
            }
        }
        assert_eq!(
            proxy.published, 1,
            "it is published when it is whole, and once"
        );
        proxy
    }

    fn hear(&mut self, kind: Kind, given: &[Resource], removed: &[&str]) -> Vec<Request> {
        self.nonce += 1;
        let nonce = self.nonce.to_string();
        self.take(delta(kind, &nonce, given, removed))
    }

    fn take(&mut self, response: crate::message::Response) -> Vec<Request> {
        self.counted.extend(self.client.receive(response));
        self.settle()
    }

    fn settle(&mut self) -> Vec<Request> {
        if let Some(candidate) = self.client.candidate(self.now) {
            let verdict = candidate.judge();
            self.published += usize::from(verdict.publish().is_some());
            self.counted
                .extend(self.client.applied(verdict, &self.taken));
        }
        self.client.answers().requests
    }

    fn ports(&self, service: &str) -> Vec<u16> {
        let model = self.client.model();
        let service = model.service(service);
        let endpoints = service.map_or(&[][..], |service| &service.endpoints);
        endpoints.iter().map(|it| it.address.port()).collect()
    }
}

/// The reasons in those requests that refuse something.
fn refusals(requests: &[Request]) -> Vec<String> {
    requests
        .iter()
        .filter_map(|it| it.refused.clone())
        .collect()
}

/// What is asked for by name, as type and names.
fn asked(requests: &[Request]) -> Vec<(&'static str, Vec<String>, Vec<String>)> {
    let changes = |it: &&Request| !it.subscribe.is_empty() || !it.unsubscribe.is_empty();
    requests
        .iter()
        .filter(changes)
        .map(|it| (it.type_url, it.subscribe.clone(), it.unsubscribe.clone()))
        .collect()
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

#[test]
fn it_asks_for_all_clusters_and_listeners_and_by_name_for_what_they_name() {
    let (mut proxy, first) = Proxy::new(Variant::Delta);
    let types: Vec<_> = first.iter().map(|it| it.type_url).collect();
    assert_eq!(types, [Kind::Cluster.type_url(), Kind::Listener.type_url()]);
    assert_eq!(first[0].node.as_ref().unwrap().id, "edge-1");
    assert!(first[1].node.is_none(), "once is enough");
    let said = proxy.hear(Kind::Cluster, &[cluster("shop"), cluster("blog")], &[]);
    assert_eq!(said[0].nonce, "1");
    assert_eq!(said[0].refused, None);
    let endpoint = Kind::Endpoint.type_url();
    assert_eq!(
        asked(&said),
        [(endpoint, names(&["blog", "shop"]), names(&[]))]
    );
    let said = proxy.hear(Kind::Cluster, &[], &["blog"]);
    assert_eq!(asked(&said), [(endpoint, names(&[]), names(&["blog"]))]);
    let said = proxy.hear(Kind::Listener, &[listener("web", 8080, "web")], &[]);
    assert_eq!(
        asked(&said),
        [(Kind::Route.type_url(), names(&["web"]), names(&[]))]
    );
    assert_eq!(proxy.published, 0, "nothing is whole yet");
}

#[test]
fn a_change_of_endpoints_is_in_force_at_once() {
    let mut proxy = Proxy::serving();
    assert_eq!(proxy.ports("shop"), [9001, 9002]);
    let said = proxy.hear(Kind::Endpoint, &[assignment("shop", &[9003])], &[]);
    assert_eq!((said.len(), refusals(&said)), (1, vec![]));
    assert_eq!((proxy.ports("shop"), proxy.published), (vec![9003], 2));
    // The same again changes nothing, and is answered.
    let said = proxy.hear(Kind::Endpoint, &[assignment("shop", &[9003])], &[]);
    assert_eq!((said.len(), proxy.published), (1, 2));
}

#[test]
fn a_refused_resource_is_named_with_its_field_and_keeps_its_last_state() {
    let mut proxy = Proxy::serving();
    let strange = strange_cluster("shop");
    let said = proxy.hear(Kind::Cluster, &[strange.clone(), cluster("blog")], &[]);
    let refused = refusals(&said);
    assert_eq!(refused.len(), 1, "{said:?}");
    assert!(refused[0].starts_with("Cluster shop: "), "{refused:?}");
    assert!(!refused[0].contains("blog"), "{refused:?}");
    assert_eq!(proxy.counted, [Reason::Unsupported]);
    assert_eq!(proxy.ports("shop"), [9001, 9002]);
    assert_eq!(proxy.client.troubles().len(), 1);
    // The rest of the response is in force.
    proxy.hear(Kind::Endpoint, &[assignment("blog", &[9100])], &[]);
    assert_eq!(proxy.ports("blog"), [9100]);
    // Sent again it is refused again; a good one ends it.
    assert_eq!(
        refusals(&proxy.hear(Kind::Cluster, &[strange], &[])).len(),
        1
    );
    let said = proxy.hear(Kind::Cluster, &[cluster("shop")], &[]);
    assert_eq!(refusals(&said), Vec::<String>::new());
    assert_eq!(proxy.client.troubles(), Vec::<String>::new());
}

#[test]
fn a_listener_waits_for_its_routes_and_is_answered_with_them() {
    let mut proxy = Proxy::serving();
    let said = proxy.hear(Kind::Listener, &[listener("more", 8081, "more")], &[]);
    assert_eq!(proxy.published, 1);
    assert!(
        said.iter().all(|it| it.nonce.is_empty()),
        "answered too soon: {said:?}"
    );
    let said = proxy.hear(Kind::Route, &[routes("more", "shop")], &[]);
    assert_eq!(proxy.published, 2);
    let nonces: Vec<_> = said.iter().map(|it| &*it.nonce).collect();
    assert_eq!(
        nonces.iter().filter(|it| !it.is_empty()).count(),
        2,
        "{said:?}"
    );
    assert_eq!(proxy.client.model().listeners.len(), 2);
}

#[test]
fn what_never_comes_holds_the_others_up_for_fifteen_seconds_and_no_longer() {
    let mut proxy = Proxy::serving();
    proxy.hear(Kind::Listener, &[listener("more", 8081, "never")], &[]);
    proxy.hear(Kind::Endpoint, &[assignment("shop", &[9003])], &[]);
    assert_eq!(
        (proxy.published, proxy.ports("shop")),
        (1, vec![9001, 9002])
    );
    assert_eq!(proxy.client.awaited(), ["Route never"]);
    assert!(proxy.client.deadline().is_some());
    proxy.now += WARMING;
    let said = proxy.settle();
    assert_eq!(proxy.ports("shop"), [9003]);
    assert_eq!(
        proxy.client.model().listeners.len(),
        1,
        "a listener without routes"
    );
    assert!(
        said.iter().any(|it| !it.nonce.is_empty()),
        "it is answered now"
    );
    // What did not come then holds nobody up again.
    proxy.hear(Kind::Endpoint, &[assignment("shop", &[9004])], &[]);
    assert_eq!(proxy.ports("shop"), [9004]);
    proxy.hear(Kind::Route, &[routes("never", "shop")], &[]);
    assert_eq!(proxy.client.model().listeners.len(), 2);
}

#[test]
fn a_listener_keeps_its_routes_until_the_new_ones_are_there() {
    let mut proxy = Proxy::serving();
    let said = proxy.hear(Kind::Listener, &[listener("web", 8080, "next")], &[]);
    let route = Kind::Route.type_url();
    assert_eq!(asked(&said), [(route, names(&["next"]), names(&[]))]);
    assert_eq!(proxy.client.model().routes.len(), 1);
    let said = proxy.hear(Kind::Route, &[routes("next", "shop")], &[]);
    assert_eq!(asked(&said), [(route, names(&[]), names(&["web"]))]);
    assert_eq!(proxy.client.model().routes.len(), 1);
}

#[test]
fn a_set_without_listeners_clusters_or_endpoints_is_not_believed() {
    for (kind, given, removed) in [
        (Kind::Listener, vec![], &["web"][..]),
        (Kind::Endpoint, vec![assignment("shop", &[])], &[]),
    ] {
        let mut proxy = Proxy::serving();
        let said = proxy.hear(kind, &given, removed);
        assert_eq!(proxy.published, 1, "{kind:?}");
        assert_eq!(proxy.client.model().listeners.len(), 1);
        assert_eq!(proxy.ports("shop"), [9001, 9002]);
        assert_eq!(proxy.counted, [Reason::Empty], "{kind:?}");
        let refused = refusals(&said);
        assert!(refused[0].contains("is not believed"), "{kind:?}: {said:?}");
        // Whatever it says next counts.
        proxy.hear(Kind::Listener, &[listener("other", 8090, "web")], &["web"]);
        proxy.hear(Kind::Endpoint, &[assignment("shop", &[9009])], &[]);
        assert_eq!(proxy.client.model().listeners[0].name.as_str(), "other");
        assert_eq!(proxy.ports("shop"), [9009]);
    }
}

#[test]
fn an_empty_state_of_the_world_is_not_believed() {
    let mut proxy = Proxy::serving();
    proxy.client.disconnected();
    proxy.client.connected(Variant::StateOfTheWorld);
    let whole = |kind, nonce| response(Variant::StateOfTheWorld, kind, nonce, &[], &[]);
    // Routes to a cluster that is gone would be waited for, but no listener is left that has them.
    proxy.take(whole(Kind::Cluster, "1"));
    let said = proxy.take(whole(Kind::Listener, "2"));
    assert!(refusals(&said)[0].contains("is not believed"), "{said:?}");
    assert_eq!(
        (proxy.published, proxy.ports("shop")),
        (1, vec![9001, 9002])
    );
}

#[test]
fn the_state_of_the_world_removes_what_it_does_not_name_and_says_all_names() {
    let (mut proxy, first) = Proxy::new(Variant::StateOfTheWorld);
    assert_eq!(first.len(), 2);
    let sotw = Variant::StateOfTheWorld;
    let both = [cluster("shop"), cluster("blog")];
    let said = proxy.take(response(sotw, Kind::Cluster, "1", &both, &[]));
    assert_eq!((&*said[0].version, &*said[0].nonce), ("v1", "1"));
    assert_eq!(said[1].names, names(&["blog", "shop"]));
    let given = [assignment("shop", &[9001]), assignment("blog", &[9100])];
    proxy.take(response(sotw, Kind::Endpoint, "2", &given, &[]));
    proxy.take(response(
        sotw,
        Kind::Listener,
        "3",
        &[listener("web", 8080, "web")],
        &[],
    ));
    proxy.take(response(
        sotw,
        Kind::Route,
        "4",
        &[routes("web", "shop")],
        &[],
    ));
    assert_eq!(proxy.ports("blog"), [9100]);
    // Endpoints that are not named stay; clusters do not.
    proxy.take(response(
        sotw,
        Kind::Endpoint,
        "5",
        &[assignment("shop", &[9002])],
        &[],
    ));
    assert_eq!(
        (proxy.ports("shop"), proxy.ports("blog")),
        (vec![9002], vec![9100])
    );
    let said = proxy.take(response(sotw, Kind::Cluster, "6", &[cluster("shop")], &[]));
    assert_eq!(proxy.ports("blog"), [0_u16; 0]);
    let endpoints = said
        .iter()
        .find(|it| it.type_url == Kind::Endpoint.type_url());
    assert_eq!(endpoints.unwrap().names, names(&["shop"]));
    // A refusal names the version that is in force.
    let said = proxy.take(response(
        sotw,
        Kind::Cluster,
        "7",
        &[strange_cluster("shop")],
        &[],
    ));
    assert_eq!((&*said[0].version, &*said[0].nonce), ("v6", "7"));
    assert!(said[0].refused.is_some());
    assert_eq!(proxy.ports("shop"), [9002]);
}

#[test]
fn a_response_that_comes_again_is_ignored_and_counted() {
    let mut proxy = Proxy::serving();
    let old = delta(Kind::Endpoint, "90", &[assignment("shop", &[9003])], &[]);
    proxy.take(old.clone());
    proxy.take(delta(
        Kind::Endpoint,
        "91",
        &[assignment("shop", &[9004])],
        &[],
    ));
    let said = proxy.take(old);
    assert_eq!(said, []);
    assert_eq!(proxy.counted, [Reason::Replayed]);
    assert_eq!(proxy.ports("shop"), [9004]);
}

#[test]
fn an_older_generation_of_one_of_ours_is_ignored_and_a_strangers_version_means_nothing() {
    for (who, ports, counted) in [
        ("weir", [9004], vec![Reason::Replayed]),
        ("somebody", [9005], vec![]),
    ] {
        let mut proxy = Proxy::serving();
        for (version, nonce, port) in [("12", "90", 9004), ("11", "91", 9005)] {
            let mut response = delta(Kind::Endpoint, nonce, &[assignment("shop", &[port])], &[]);
            response.control_plane = who.into();
            response.version = version.into();
            proxy.take(response);
        }
        assert_eq!(proxy.ports("shop"), ports, "{who}");
        assert_eq!(proxy.counted, counted, "{who}");
    }
}

/// What the run of that name tells of `shop`, under that number.
fn told(run: &str, generation: u64, nonce: &str, port: u16) -> crate::message::Response {
    let mut response = delta(Kind::Endpoint, nonce, &[assignment("shop", &[port])], &[]);
    response.control_plane = format!("weir/{run}");
    response.version = generation.to_string();
    response
}

#[test]
fn a_control_plane_whose_numbers_begin_anew_is_followed_and_a_replay_of_the_last_one_is_not() {
    let mut proxy = Proxy::serving();
    proxy.take(told("a", 50, "90", 9004));
    assert_eq!(proxy.client.generation(), 50);
    // The same run on another stream, and something older than it told.
    proxy.client.disconnected();
    proxy.client.connected(Variant::Delta);
    proxy.take(told("a", 49, "1", 9005));
    assert_eq!(
        (proxy.ports("shop"), proxy.client.generation()),
        (vec![9004], 50)
    );
    assert_eq!(proxy.counted, [Reason::Replayed]);
    // Its directory was wiped: another run, whose first generation is 1. What is in force stays until that comes.
    proxy.client.disconnected();
    proxy.client.connected(Variant::Delta);
    assert_eq!(proxy.ports("shop"), [9004]);
    proxy.take(told("b", 1, "1", 9006));
    assert_eq!(
        (proxy.ports("shop"), proxy.client.generation()),
        (vec![9006], 1)
    );
    assert_eq!(
        (proxy.client.told_generation(), proxy.client.run()),
        (1, "b")
    );
    // A stream has one control plane at its other end.
    proxy.take(told("a", 60, "2", 9007));
    assert_eq!(proxy.ports("shop"), [9006]);
    assert_eq!(proxy.counted, [Reason::Replayed, Reason::Replayed]);
}

#[test]
fn what_was_in_force_before_a_restart_is_the_least_that_its_run_may_tell() {
    for (run, ports, counted) in [("a", [9001, 9002], 1), ("b", [9004, 9004], 0)] {
        let (mut proxy, _) = Proxy::new(Variant::Delta);
        let model = weir_wire::decode(&whole()).unwrap();
        proxy.client.resume(&whole(), Arc::new(model), 7, "a");
        proxy.client.connected(Variant::Delta);
        proxy.take(told(run, 6, "1", 9004));
        assert_eq!(proxy.counted.len(), counted, "{run}");
        let (first, last) = (proxy.ports("shop")[0], *proxy.ports("shop").last().unwrap());
        assert_eq!([first, last], ports, "{run}");
    }
}

#[test]
fn after_a_reconnect_it_says_what_it_has_and_only_what_is_new_comes() {
    let mut proxy = Proxy::serving();
    proxy.client.disconnected();
    assert_eq!(proxy.ports("shop"), [9001, 9002]);
    let first = proxy.client.connected(Variant::Delta);
    let of = |kind: Kind| {
        first
            .iter()
            .find(|it| it.type_url == kind.type_url())
            .unwrap()
    };
    let version = |kind, name: &str| whole().get(kind, name).unwrap().version.clone();
    assert_eq!(
        of(Kind::Cluster).known["shop"],
        version(Kind::Cluster, "shop")
    );
    assert_eq!(
        of(Kind::Endpoint).known["shop"],
        version(Kind::Endpoint, "shop")
    );
    assert_eq!(of(Kind::Endpoint).subscribe, names(&["shop"]));
    assert_eq!(of(Kind::Route).known["web"], version(Kind::Route, "web"));
    // Nonces of the stream before mean nothing on this one.
    let said = proxy.take(delta(
        Kind::Endpoint,
        "1",
        &[assignment("shop", &[9003])],
        &[],
    ));
    assert_eq!((said.len(), proxy.ports("shop")), (1, vec![9003]));
}

#[test]
fn a_port_that_is_taken_is_reported_with_its_listener_and_so_is_the_end_of_it() {
    let mut proxy = Proxy::serving();
    proxy.taken = vec![("more".into(), "127.0.0.1:8081 is taken".into())];
    proxy.hear(Kind::Listener, &[listener("more", 8081, "web")], &[]);
    assert_eq!(proxy.published, 2, "the rest is in force");
    assert_eq!(proxy.counted, [Reason::Unbound]);
    let said = proxy.hear(Kind::Listener, &[listener("more", 8081, "web")], &[]);
    assert_eq!(refusals(&said), ["Listener more: 127.0.0.1:8081 is taken"]);
    // After a reconnect the server is to send it again, and so to hear of it.
    proxy.client.disconnected();
    let first = proxy.client.connected(Variant::Delta);
    let listeners = first
        .iter()
        .find(|it| it.type_url == Kind::Listener.type_url());
    let known = &listeners.unwrap().known;
    assert!(
        known.contains_key("web") && !known.contains_key("more"),
        "{known:?}"
    );
    assert_eq!(proxy.client.bound(&[]), []);
    let said = proxy.client.answers().requests;
    assert_eq!(
        asked(&said),
        [(Kind::Listener.type_url(), names(&["more"]), names(&[]))]
    );
    let said = proxy.hear(Kind::Listener, &[listener("more", 8081, "web")], &[]);
    assert_eq!(refusals(&said), Vec::<String>::new());
    assert_eq!(proxy.client.troubles(), Vec::<String>::new());
}

#[test]
fn no_more_is_held_than_the_limits_say() {
    let limits = Limits {
        resources: 2,
        total_bytes: 600,
        name_bytes: 8,
        ..Limits::default()
    };
    let (mut proxy, _) = Proxy::with(Variant::Delta, limits);
    let given = [
        cluster("a"),
        cluster("b"),
        cluster("c"),
        cluster("a-long-name"),
    ];
    let said = proxy.hear(Kind::Cluster, &given, &[]);
    let refused = refusals(&said).remove(0);
    assert!(
        refused.contains("Cluster c: there are 2 of its type already"),
        "{refused}"
    );
    assert!(
        refused.contains("a-long-name: its name is longer than 8 bytes"),
        "{refused}"
    );
    assert_eq!(proxy.counted, [Reason::TooMany, Reason::TooLarge]);
    let ports: Vec<u16> = (1..200).collect();
    let said = proxy.hear(Kind::Endpoint, &[assignment("a", &ports)], &[]);
    assert!(
        refusals(&said)[0].contains("more than 600 bytes"),
        "{said:?}"
    );
}

#[test]
fn what_is_not_what_it_says_is_refused() {
    let mut proxy = Proxy::serving();
    let mut response = delta(Kind::Cluster, "80", &[cluster("shop")], &[]);
    response.given[0].body.as_mut().unwrap().type_url = Kind::Listener.type_url().into();
    assert!(refusals(&proxy.take(response))[0].contains("of type"));
    let mut response = delta(Kind::Cluster, "81", &[cluster("blog")], &[]);
    response.given[0].name = "shop".into();
    assert!(refusals(&proxy.take(response))[0].contains("names itself \"blog\""));
    let mut response = delta(Kind::Cluster, "82", &[], &[]);
    response.type_url = "type.googleapis.com/unknown".into();
    assert_eq!(proxy.take(response), []);
    assert_eq!(proxy.counted, [Reason::Malformed; 3]);
    // A sign of life without content keeps what is there.
    let mut response = delta(Kind::Endpoint, "83", &[assignment("shop", &[])], &[]);
    response.given[0].body = None;
    assert_eq!(refusals(&proxy.take(response)), Vec::<String>::new());
    assert_eq!(proxy.ports("shop"), [9001, 9002]);
}

#[test]
fn a_reason_has_a_bounded_length() {
    let (mut proxy, _) = Proxy::new(Variant::Delta);
    let given: Vec<Resource> = (0..300)
        .map(|at| strange_cluster(&format!("{}-{at}", "x".repeat(300))))
        .collect();
    let said = proxy.hear(Kind::Cluster, &given, &[]);
    let refused = refusals(&said).remove(0);
    assert!(
        refused.len() < crate::limits::REASON_BYTES + 100,
        "{}",
        refused.len()
    );
    assert!(refused.ends_with("and 280 more"), "{refused}");
}
