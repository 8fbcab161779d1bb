use super::*;
use crate::admin::types::{ErrorReply, Explanation};

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
    plane.fail(9002);
    let explanation = explain(plane, "http://shop.example.com/", "").await;
    let problem = "none of its endpoints takes requests now; its share goes to stable";
    assert_eq!(
        explanation.verdict,
        format!("split: 25% to shop (canary: {problem}), 75% to shop (stable)")
    );

    let plane = Plane::new();
    plane.fail(9002);
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
    assert_eq!(first, again, "the same client, the same answer");
    let destination = first.destination.unwrap();
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
