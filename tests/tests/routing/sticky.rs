//! Sticky versions: a hash bucket, not a memory.

use std::collections::BTreeMap;

use weir_tests::client::Client;
use weir_tests::config::Setup;
use weir_tests::origin::Origin;
use weir_tests::stats::binomial_999;
use weir_tests::weir::Weir;

fn setup(stable: &Origin, canary: &Origin, percent: u32, sticky: &str) -> Setup {
    let rule = format!(
        "backendRefs: [{{ name: shop, version: stable, weight: {} }}, {{ name: shop, version: canary, weight: {percent} }}], sticky: {{ {sticky} }}",
        100 - percent
    );
    Setup::new()
        .service(
            "shop",
            &[("stable", stable.addr()), ("canary", canary.addr())],
        )
        .route("shop", &rule)
}

/// Which of these users the canary serves.
fn on_canary(client: &mut Client, users: &[String], field: &str) -> Vec<bool> {
    users
        .iter()
        .map(|user| {
            let response = client
                .send(format!(
                    "GET / HTTP/1.1\r\nHost: a.example\r\n{field}{user}\r\n\r\n"
                ))
                .response();
            assert_eq!(response.status(), 200);
            response.get("x-origin") == Some("canary")
        })
        .collect()
}

/// Checks rule 20 over a walk of weights, for a given way to tell users apart.
fn walk(sticky: &str, field: &str, users: &[String]) {
    let (stable, canary) = (Origin::ok("stable"), Origin::ok("canary"));
    let weir = Weir::start(&setup(&stable, &canary, 10, sticky));
    let mut client = weir.client();
    let mut before: Option<(u32, Vec<bool>)> = None;
    for percent in [10, 20, 50, 20, 5, 0, 10] {
        if before.is_some() {
            weir.apply(&setup(&stable, &canary, percent, sticky));
        }
        let now = on_canary(&mut client, users, field);
        assert!(
            now == on_canary(&mut client, users, field),
            "at {percent}% a user's version stays"
        );
        let share = now.iter().filter(|&&c| c).count();
        let expected = binomial_999(users.len(), f64::from(percent) / 100.0);
        assert!(
            expected.contains(&share),
            "{share} of {} users at {percent}%, expected {expected:?}",
            users.len()
        );
        if let Some((last, then)) = before {
            let moved = |from: bool| {
                then.iter()
                    .zip(&now)
                    .filter(|&(&a, &b)| a == from && b != from)
                    .count()
            };
            match percent > last {
                true => assert_eq!(
                    moved(true),
                    0,
                    "{last}% -> {percent}% moved users from canary to stable"
                ),
                false => assert_eq!(
                    moved(false),
                    0,
                    "{last}% -> {percent}% moved users from stable to canary"
                ),
            }
        }
        before = Some((percent, now));
    }
}

// semantics 20
#[test]
fn raising_a_weight_moves_nobody_back_and_lowering_moves_only_the_top_slice() {
    let users: Vec<String> = (0..1000).map(|n| format!("user-{n}")).collect();
    walk("header: x-user", "x-user: ", &users);
}

// semantics 20
#[test]
fn a_cookie_that_weir_gave_keeps_its_version_through_changes() {
    let (stable, canary) = (Origin::ok("stable"), Origin::ok("canary"));
    let giver = Weir::start(&setup(&stable, &canary, 10, "cookie: weir-bucket"));
    let mut client = giver.client();
    let cookies: Vec<String> = (0..1000)
        .map(|_| {
            let response = client.get("a.example", "/");
            let cookie = response
                .get("set-cookie")
                .expect("a cookie for a client without one");
            cookie.split(';').next().expect("a pair").to_owned()
        })
        .collect();
    let mut distinct = cookies.clone();
    distinct.sort();
    distinct.dedup();
    assert!(distinct.len() > 900, "cookies are as good as unique");
    walk("cookie: weir-bucket", "Cookie: other=1; ", &cookies);
}

// semantics 20, 21
#[test]
fn the_cookie_is_set_once_with_careful_attributes_and_decides_the_first_answer_too() {
    let (stable, canary) = (Origin::ok("stable"), Origin::ok("canary"));
    let weir = Weir::start(&setup(
        &stable,
        &canary,
        50,
        "cookie: weir-bucket, maxAge: 1h",
    ));
    let mut client = weir.client();
    for _ in 0..20 {
        let first = client.get("a.example", "/");
        let set = first.get("set-cookie").expect("a cookie").to_owned();
        let attributes: BTreeMap<String, String> = set
            .split(';')
            .skip(1)
            .map(|part| part.trim().split_once('=').unwrap_or((part.trim(), "")))
            .map(|(k, v)| (k.to_ascii_lowercase(), v.to_owned()))
            .collect();
        assert!(set.starts_with("weir-bucket="), "{set}");
        assert!(
            attributes.contains_key("httponly") && attributes.contains_key("samesite"),
            "{set}"
        );
        assert_eq!(
            attributes.get("path").map(String::as_str),
            Some("/"),
            "{set}"
        );
        assert_eq!(
            attributes.get("max-age").map(String::as_str),
            Some("3600"),
            "{set}"
        );
        let pair = set.split(';').next().expect("a pair");
        let again = client
            .send(format!(
                "GET / HTTP/1.1\r\nHost: a.example\r\nCookie: {pair}\r\n\r\n"
            ))
            .response();
        assert_eq!(again.get("set-cookie"), None, "the client has it already");
        assert_eq!(
            again.get("x-origin"),
            first.get("x-origin"),
            "the cookie stands for the version that gave it"
        );
    }
}

// semantics 20
#[test]
fn the_clients_address_can_be_the_key() {
    let (stable, canary) = (Origin::ok("stable"), Origin::ok("canary"));
    let weir = Weir::start(&setup(&stable, &canary, 50, "clientIp: true"));
    let mut seen = BTreeMap::new();
    for last in 1..=60u8 {
        let source = std::net::IpAddr::from([127, 0, 7, last]);
        let mut client = Client::connect_from(source, weir.addr());
        let answers: Vec<String> = (0..4)
            .map(|_| {
                client
                    .get("a.example", "/")
                    .get("x-origin")
                    .expect("an origin")
                    .to_owned()
            })
            .collect();
        assert!(
            answers.iter().all(|a| *a == answers[0]),
            "{source}: {answers:?}"
        );
        *seen.entry(answers[0].clone()).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 2, "both versions serve: {seen:?}");
}

// semantics 20
#[test]
fn a_request_without_the_key_is_split_as_if_nothing_were_sticky() {
    let (stable, canary) = (Origin::ok("stable"), Origin::ok("canary"));
    let weir = Weir::start(&setup(&stable, &canary, 25, "header: x-user"));
    let mut client = weir.client();
    let canaries = (0..400)
        .filter(|_| client.get("a.example", "/").get("x-origin") == Some("canary"))
        .count();
    assert_eq!(canaries, 100);
}
