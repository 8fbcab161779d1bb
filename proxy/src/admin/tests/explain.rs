use rand::SeedableRng;
use rand::rngs::SmallRng;
use weir_decide::outlier::Streak;

use super::*;
use crate::admin::types::{ErrorReply, Explanation};
use crate::upstream::endpoint::{Operator, Wish};
use crate::upstream::service::Limit;

/// Asks about a URL; `more` is further parameters, such as `&header=..`.
async fn explain(plane: Plane, url: &str, more: &str) -> Explanation {
    let url = percent_encoding::utf8_percent_encode(url, percent_encoding::NON_ALPHANUMERIC);
    read(plane, &format!("/api/v1/explain?url={url}{more}")).await
}

#[tokio::test]
async fn a_split_is_explained_with_its_shares_and_draws_nothing() {
    let explanation = explain(Plane::new(), "http://shop.example.com:8080/cart?x=1", "").await;
    assert_eq!(
        explanation.verdict,
        "split: 25% to shop (canary), 75% to shop (stable)"
    );
    assert_eq!((explanation.status, explanation.generation), (None, 7));
    let matched = explanation.matched.unwrap();
    assert_eq!(
        (&*matched.route, matched.rule, &*matched.condition),
        ("shop", 4, "PathPrefix /")
    );
    let request = &explanation.request;
    assert_eq!(
        (request.listener.as_deref(), &*request.listener_reason),
        (Some("web"), "its port is the URL's")
    );
    let outcomes: Vec<_> = explanation
        .tried
        .iter()
        .map(|tried| (tried.rule, &*tried.outcome))
        .collect();
    assert!(
        outcomes.contains(&(1, "path /cart is not under /api")),
        "{outcomes:?}"
    );
    assert!(outcomes.contains(&(4, "matched")), "{outcomes:?}");
    let destination = explanation.destination.unwrap();
    assert_eq!(
        (destination.pick.leaf, destination.pick.available),
        (None, 3)
    );
    let stable = destination
        .leaves
        .iter()
        .find(|leaf| leaf.version.as_deref() == Some("stable"))
        .unwrap();
    assert_eq!(
        (stable.share, stable.available, stable.candidates.len()),
        (75.0, 2, 2)
    );
}

// semantics 22
#[tokio::test]
async fn a_header_that_leads_to_the_canary_is_explained() {
    let more = "&header=X-Canary:%20always&method=POST";
    let explanation = explain(Plane::new(), "http://shop.example.com/api/x", more).await;
    assert_eq!(
        explanation.verdict,
        "forwarded to shop (canary) at 127.0.0.1:9002"
    );
    assert_eq!(explanation.request.listener_reason, "a rule of it matches");
    let pick = explanation.destination.unwrap().pick;
    assert_eq!(pick.endpoint.as_deref(), Some("shop@127.0.0.1:9002"));
    let without = explain(Plane::new(), "http://shop.example.com/api/x", "").await;
    assert!(
        without
            .tried
            .iter()
            .any(|tried| tried.rule == 1 && tried.outcome == "header x-canary is absent")
    );
}

// semantics 24
#[tokio::test]
async fn a_dead_version_is_explained_by_who_gets_its_share() {
    let plane = Plane::new();
    plane.endpoint(9002).set_operator(Some(drained()));
    let explanation = explain(plane, "http://shop.example.com/", "").await;
    let problem = "none of its endpoints takes requests now; its share goes to stable";
    assert_eq!(
        explanation.verdict,
        format!("split: 25% to shop (canary: {problem}), 75% to shop (stable)")
    );

    let plane = Plane::new();
    plane.endpoint(9002).set_operator(Some(drained()));
    let named = explain(
        plane,
        "http://shop.example.com/api",
        "&header=x-canary:always",
    )
    .await;
    assert_eq!(
        (named.status, named.flag.as_deref()),
        (Some(503), Some("UH"))
    );
    assert_eq!(
        named.verdict,
        "503: no endpoint of the service can take a request now"
    );
}

// semantics 20
#[tokio::test]
async fn a_sticky_client_is_told_its_version() {
    let asked = |value: u32| {
        explain(
            Plane::new(),
            "http://shop.example.com/sticky",
            value_of(value),
        )
    };
    fn value_of(value: u32) -> &'static str {
        [
            "&header=cookie:a%3Db;%20bucket%3Done",
            "&header=cookie:bucket%3Dtwo",
        ][value as usize % 2]
    }
    let (first, again) = (asked(0).await, asked(0).await);
    let (destination, again) = (first.destination.unwrap(), again.destination.unwrap());
    assert_eq!(
        (&destination.pick, &destination.sticky),
        (&again.pick, &again.sticky),
        "the same client, the same answer"
    );
    let sticky = destination.sticky.unwrap();
    assert_eq!(
        (&*sticky.key, sticky.value.as_deref()),
        ("cookie bucket", Some("one"))
    );
    assert_eq!(destination.pick.version_by, "by bucket");
    assert!(destination.pick.leaf.is_some() && sticky.bucket.is_some());
    let fresh = explain(Plane::new(), "http://shop.example.com/sticky", "")
        .await
        .destination
        .unwrap();
    assert_eq!(
        (fresh.pick.leaf, fresh.sticky.unwrap().bucket),
        (None, None)
    );
    assert_ne!(
        asked(1).await.destination.unwrap().sticky.unwrap().bucket,
        sticky.bucket
    );
}

// semantics 29, 30
#[tokio::test]
async fn refusals_are_explained_with_their_status() {
    for (url, status, flag, verdict) in [
        (
            "http://shop.example.com/../x",
            400,
            "DPE",
            "400: the path leaves the root",
        ),
        (
            "http://shop.example.com/a%2fb",
            400,
            "DPE",
            "400: the path holds an encoded slash or backslash",
        ),
        (
            "http://other.example.com/",
            404,
            "NR",
            "404: no route matches this host and path",
        ),
        (
            "http://shop.example.com/old/x",
            301,
            "DI",
            "301 by a filter: redirect scheme to https (301)",
        ),
    ] {
        let explanation = explain(Plane::new(), url, "").await;
        let seen = (
            explanation.status,
            explanation.flag.as_deref(),
            &*explanation.verdict,
        );
        assert_eq!(seen, (Some(status), Some(flag), verdict), "{url}");
        assert_eq!(
            explanation.request.path_error.is_some(),
            status == 400,
            "{url}"
        );
        assert_eq!(
            explanation.request.canonical_path.is_none(),
            status == 400,
            "{url}"
        );
    }
}

#[tokio::test]
async fn a_path_is_matched_in_its_canonical_form() {
    let explanation = explain(Plane::new(), "http://SHOP.example.com/x/../%6fld//y", "").await;
    assert_eq!(
        explanation.request.canonical_path.as_deref(),
        Some("/old/y")
    );
    assert_eq!(explanation.status, Some(301));
}

#[tokio::test]
async fn a_listener_may_be_named() {
    let explanation = explain(Plane::new(), "http://shop.example.com/", "&listener=inner").await;
    assert_eq!(
        (explanation.status, &*explanation.request.listener_reason),
        (Some(404), "asked for")
    );
    let (status, _, body) = get(Plane::new(), "/api/v1/explain?url=http://h/&listener=nope").await;
    let error: Reply<ErrorReply> = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &*error.body.error.code), (404, "not_found"));
    assert_eq!(
        error.body.error.message,
        "there is no listener nope; known: inner, web"
    );
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_a_400() {
    let (status, _, body) = get(Plane::new(), "/api/v1/explain?method=GET").await;
    let error: Reply<ErrorReply> = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, &*error.body.error.code, &*error.api_version),
        (400, "invalid", "weir/v1")
    );
}

/// A service of its own for what is balanced and judged.
const BALANCED: &str = r#"
listeners: [{ name: web, bind: 127.0.0.1:8080 }]
services:
  - name: shop
    endpoints:
      - { address: 127.0.0.1:9001 }
      - { address: 127.0.0.1:9002 }
      - { address: 127.0.0.1:9003 }
BALANCER
routes:
  - { name: shop, rules: [{ backendRefs: [{ name: shop }] }] }
"#;

fn balanced(keys: &str) -> Plane {
    Plane::of(&BALANCED.replace("BALANCER", keys))
}

async fn only_leaf(plane: Plane, more: &str) -> (Explanation, crate::admin::types::Leaf) {
    let explanation = explain(plane, "http://shop.example.com/", more).await;
    let destination = explanation.destination.clone().unwrap();
    let [leaf] = <[_; 1]>::try_from(destination.leaves).unwrap();
    (explanation, leaf)
}

fn at(leaf: &crate::admin::types::Leaf, port: u16) -> &crate::admin::types::Candidate {
    let ends = format!(":{port}");
    let mut candidates = leaf.candidates.iter();
    candidates.find(|c| c.address.ends_with(&ends)).unwrap()
}

#[tokio::test]
async fn each_candidate_is_told_the_number_it_is_judged_by() {
    let plane = balanced("");
    let busy = plane.endpoint(9001);
    assert!(busy.begin(None) && busy.begin(None));
    let (explanation, leaf) = only_leaf(plane, "").await;
    assert_eq!(
        explanation.verdict,
        "forwarded to shop (stable), one of 3 endpoints by LEAST_REQUEST"
    );
    assert!(at(&leaf, 9001).judged.contains("2 in flight"), "{leaf:?}");
    assert_ne!(at(&leaf, 9001).judged, at(&leaf, 9002).judged);
    let (_, leaf) = only_leaf(balanced("    loadBalancer: { simple: RANDOM }"), "").await;
    assert_eq!(at(&leaf, 9003).judged, "33.33% of requests");
    let (_, leaf) = only_leaf(balanced("    loadBalancer: { simple: PEAK_EWMA }"), "").await;
    assert!(
        at(&leaf, 9001).judged.starts_with("not measured"),
        "{leaf:?}"
    );
}

#[tokio::test]
async fn a_key_leads_to_one_endpoint_and_past_one_that_is_out() {
    let keyed = "    loadBalancer: { consistentHash: { httpHeaderName: x-user } }";
    let user = "&header=x-user:ann";
    let (explanation, leaf) = only_leaf(balanced(keyed), user).await;
    let first = leaf.endpoint.clone().unwrap();
    let chosen = leaf.candidates.iter().find(|c| c.id == first).unwrap();
    assert_eq!(chosen.judged, "choice 1 of the key");
    assert!(
        explanation.verdict.contains(&chosen.address),
        "{explanation:?}"
    );
    assert_eq!(leaf.key.as_ref().unwrap().by, "header x-user");

    let plane = balanced(keyed);
    let out = plane.endpoints().find(|e| e.id.as_str() == first).unwrap();
    out.set_health(Health::Failing, "connection refused");
    out.set_operator(Some(drained()));
    let (_, leaf) = only_leaf(plane, user).await;
    let second = leaf.endpoint.clone().unwrap();
    assert_ne!(second, first);
    let skipped = leaf.candidates.iter().find(|c| c.id == first).unwrap();
    assert_eq!(skipped.judged, "out: draining");
    let chosen = leaf.candidates.iter().find(|c| c.id == second).unwrap();
    assert_eq!(chosen.judged, "choice 2 of the key");

    let (_, leaf) = only_leaf(balanced(keyed), "").await;
    assert_eq!((leaf.endpoint, leaf.key.unwrap().value), (None, None));
}

fn drained() -> Operator {
    Operator {
        wish: Wish::Drain,
        by: "disk swap, by cli".into(),
        since: std::time::SystemTime::now(),
        ends: None,
    }
}

// semantics 6
#[tokio::test]
async fn panic_is_explained_and_who_is_in_for_it() {
    let plane = balanced("");
    for port in [9001, 9002] {
        let state = plane.endpoint(port);
        state.home.eject(&state.id, "by cli", None, true).unwrap();
    }
    let (_, leaf) = only_leaf(plane, "").await;
    assert!(leaf.groups[0].panic, "{leaf:?}");
    assert_eq!((leaf.groups[0].available, leaf.groups[0].endpoints), (1, 3));
    assert_eq!(
        leaf.available, 3,
        "those that are ejected are chosen among too"
    );
    let ejected = at(&leaf, 9001);
    assert_eq!((&*ejected.state, ejected.ejections), ("ejected", 1));
    assert!(
        ejected.judged.ends_with("in only because of panic"),
        "{ejected:?}"
    );
}

#[tokio::test]
async fn an_outlier_that_stays_in_is_told_why() {
    let plane =
        balanced("    outlierDetection: { consecutive5xxErrors: 1, maxEjectionPercent: 40 }");
    let mut random = SmallRng::seed_from_u64(7);
    for port in [9001, 9002] {
        let state = plane.endpoint(port);
        let stable = weir_config::model::VersionName::stable();
        let home = Arc::clone(&state.home);
        home.on_streak(&stable, &state.id, Streak::FiveXx, &mut random);
    }
    let (_, leaf) = only_leaf(plane, "").await;
    assert_eq!(at(&leaf, 9001).state, "ejected");
    assert!(at(&leaf, 9001).until.is_some());
    let kept = at(&leaf, 9002);
    let why = kept.not_ejected.as_deref().unwrap_or_default();
    assert!(kept.available && why.contains("not ejected"), "{kept:?}");
}

// semantics 9, 26
#[tokio::test]
async fn limits_are_told_with_what_is_taken_and_refused() {
    let plane = balanced("    connectionPool: { http: { http2MaxRequests: 7 } }");
    let table = &plane.snapshot.services[0];
    assert!(table.state.breakers.requests.try_acquire(7));
    table.state.breakers.refuse(Limit::Retries);
    let (explanation, _) = only_leaf(plane, "").await;
    let limits = &explanation.destination.unwrap().limits[0];
    let seen: Vec<_> = limits
        .limits
        .iter()
        .map(|l| (&*l.limit, l.taken, l.allowed, l.refused))
        .collect();
    assert_eq!(limits.service, "shop");
    assert!(seen.contains(&("requests", 1, 7, 0)), "{seen:?}");
    assert!(seen.contains(&("retries", 0, 3, 1)), "{seen:?}");
}

#[tokio::test]
async fn levels_are_told_with_their_shares() {
    let plane = Plane::of(
        &BALANCED
            .replace("9003 }", "9003, priority: 1 }")
            .replace("BALANCER", ""),
    );
    let (explanation, leaf) = only_leaf(plane, "").await;
    let groups: Vec<_> = leaf.groups.iter().map(|g| (g.level, g.share)).collect();
    assert_eq!(groups, [(0, 100.0), (1, 0.0)], "{explanation:?}");
    assert!(
        at(&leaf, 9003).judged.contains("only when those before it"),
        "{leaf:?}"
    );
}
