//! The split between versions: smooth, exact, independent of replicas.

use weir_tests::client::{Client, Response};
use weir_tests::config::Setup;
use weir_tests::origin::Origin;
use weir_tests::weir::Weir;

fn pair() -> (Origin, Origin) {
    (Origin::ok("stable"), Origin::ok("canary"))
}

fn setup(stable: &Origin, canary: &Origin, weights: (&str, &str)) -> Setup {
    Setup::new().service("shop", &[("stable", stable.addr()), ("canary", canary.addr())]).rules(
        "shop",
        "",
        &[
            "matches: [{ headers: [{ name: x-canary, value: always }] }, { headers: [{ name: cookie, type: RegularExpression, value: \"(.*; ?)?canary=yes(;.*)?\" }] }], backendRefs: [{ name: shop, version: canary }]",
            &format!(
                "backendRefs: [{{ name: shop, version: stable, weight: {} }}, {{ name: shop, version: canary, weight: {} }}]",
                weights.0, weights.1
            ),
        ],
    )
}

fn who(response: &Response) -> char {
    assert_eq!(response.status(), 200, "{}", response.text());
    response
        .get("x-origin")
        .and_then(|name| name.chars().next())
        .expect("an origin's name")
}

/// Who answered, in order: `s` or `c`.
fn answers(client: &mut Client, count: usize) -> String {
    (0..count)
        .map(|_| who(&client.get("a.example", "/")))
        .collect()
}

// semantics 18
#[test]
fn fifty_fifty_alternates() {
    let (stable, canary) = pair();
    let weir = Weir::start(&setup(&stable, &canary, ("50", "50")));
    let sequence = answers(&mut weir.client(), 100);
    assert!(
        !sequence.contains("ss") && !sequence.contains("cc"),
        "{sequence}"
    );
}

// semantics 18
#[test]
fn ten_percent_is_one_in_every_ten() {
    let (stable, canary) = pair();
    let weir = Weir::start(&setup(&stable, &canary, ("90", "10")));
    let sequence = answers(&mut weir.client(), 200);
    for window in sequence.as_bytes().chunks(10) {
        let canaries = window.iter().filter(|&&b| b == b'c').count();
        assert_eq!(canaries, 1, "{sequence}");
    }
}

// semantics 18
#[test]
fn a_weight_of_zero_is_never_picked_and_a_tenth_of_a_percent_is() {
    let (stable, canary) = pair();
    let none = Weir::start(&setup(&stable, &canary, ("100", "0")));
    assert_eq!(answers(&mut none.client(), 2_000).matches('c').count(), 0);
    let few = Weir::start(&setup(&stable, &canary, ("99.9", "0.1")));
    assert_eq!(answers(&mut few.client(), 5_000).matches('c').count(), 5);
}

// semantics 18
#[test]
fn the_split_counts_requests_not_connections() {
    let (stable, canary) = pair();
    let weir = Weir::start(&setup(&stable, &canary, ("75", "25")));
    let mut clients: Vec<Client> = (0..4).map(|_| weir.client()).collect();
    let canaries = (0..400)
        .filter(|n| who(&clients[n % 4].get("a.example", "/")) == 'c')
        .count();
    assert_eq!(canaries, 100);
}

// semantics 19
#[test]
fn the_share_of_a_version_does_not_depend_on_its_replicas() {
    let origins: Vec<Origin> = ["stable", "stable", "stable", "stable", "canary"]
        .iter()
        .map(|name| Origin::ok(name))
        .collect();
    let endpoints: Vec<(&str, std::net::SocketAddr)> = origins
        .iter()
        .enumerate()
        .map(|(n, o)| (if n == 4 { "canary" } else { "stable" }, o.addr()))
        .collect();
    let setup = Setup::new()
        .service("shop", &endpoints)
        .route("shop", "backendRefs: [{ name: shop, version: stable, weight: 50 }, { name: shop, version: canary, weight: 50 }]");
    let weir = Weir::start(&setup);
    assert_eq!(answers(&mut weir.client(), 400).matches('c').count(), 200);
    assert!(
        origins[..4].iter().all(|o| !o.requests().is_empty()),
        "every replica of stable serves"
    );
}

// semantics 18
#[test]
fn a_reference_without_versions_follows_the_services_own_weights() {
    let (stable, canary) = pair();
    let setup = Setup::new()
        .service_with(
            "shop",
            &[("stable", stable.addr()), ("canary", canary.addr())],
            "versions: [{ name: canary, weight: 20 }]",
        )
        .route("shop", "backendRefs: [{ name: shop }]");
    let weir = Weir::start(&setup);
    assert_eq!(answers(&mut weir.client(), 100).matches('c').count(), 20);
}

// semantics 22
#[test]
fn a_header_or_a_cookie_leads_to_the_canary_at_any_weight() {
    let (stable, canary) = pair();
    for weights in [("100", "0"), ("0", "100"), ("99.9", "0.1")] {
        let weir = Weir::start(&setup(&stable, &canary, weights));
        let mut client = weir.client();
        for field in [
            "x-canary: always",
            "X-CANARY: always",
            "cookie: a=b; canary=yes",
            "Cookie: canary=yes; c=d",
        ] {
            let response = client
                .send(format!(
                    "GET / HTTP/1.1\r\nHost: a.example\r\n{field}\r\n\r\n"
                ))
                .response();
            assert_eq!(who(&response), 'c', "{field} at {weights:?}");
        }
        for field in [
            "x-canary: never",
            "cookie: xcanary=yes",
            "cookie: canary=yesno",
        ] {
            let response = client
                .send(format!(
                    "GET / HTTP/1.1\r\nHost: a.example\r\n{field}\r\n\r\n"
                ))
                .response();
            if weights == ("100", "0") {
                assert_eq!(who(&response), 's', "{field}");
            }
        }
    }
}

// semantics 19: with several workers the share is held by each, so it holds for all.
#[test]
fn several_workers_keep_the_share_together() {
    let (stable, canary) = pair();
    let weir = Weir::start(&setup(&stable, &canary, ("90", "10")).workers(4));
    let mut clients: Vec<Client> = (0..40).map(|_| weir.client()).collect();
    let canaries = (0..4_000)
        .filter(|n| who(&clients[n % 40].get("a.example", "/")) == 'c')
        .count();
    assert!(
        (390..=410).contains(&canaries),
        "{canaries} of 4000 at 10% with four workers"
    );
}
