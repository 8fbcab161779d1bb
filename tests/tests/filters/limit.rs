//! Rate limits: exact over all workers, apart by key, and kept over a change of the configuration.

use std::net::SocketAddr;
use std::sync::Barrier;

use weir_tests::client::Client;
use weir_tests::config::Setup;
use weir_tests::origin::Origin;
use weir_tests::weir::Weir;

use crate::wait_logged;

/// A route `app` under a limit, given by its keys.
fn limited(origin: &Origin, limit: &str) -> Setup {
    let filter = format!("{{ type: RateLimit, rateLimit: {{ {limit} }} }}");
    Setup::new()
        .service("app", &[("stable", origin.addr())])
        .route(
            "app",
            &format!("filters: [{filter}], backendRefs: [{{ name: app }}]"),
        )
}

/// How many of these requests, each with its own fields, are answered with 200; all others are 429.
fn admitted(client: &mut Client, fields: &[String]) -> usize {
    let statuses = fields.iter().map(|fields| {
        client
            .send(format!("GET / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"))
            .response()
            .status()
    });
    statuses
        .inspect(|status| assert!(matches!(status, 200 | 429), "{status}"))
        .filter(|status| *status == 200)
        .count()
}

fn plain(count: usize) -> Vec<String> {
    vec![String::new(); count]
}

/// Admitted of `clients` connections with `each` requests on every one, all at once.
fn at_once(addr: SocketAddr, clients: usize, each: usize) -> usize {
    let ready = Barrier::new(clients);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::connect(addr);
                    ready.wait();
                    admitted(&mut client, &plain(each))
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    })
}

#[test]
fn requests_at_once_over_all_workers_get_exactly_the_burst() {
    let origin = Origin::ok("app");
    let setup = limited(&origin, "requests: 1, per: 1h, burst: 40").workers(2);
    let weir = Weir::start(&setup);
    assert_eq!(at_once(weir.addr(), 16, 10), 40);
    assert_eq!(origin.requests().len(), 40, "what is refused asks nobody");
}

#[test]
fn a_refusal_is_429_with_retry_after_and_its_own_flag() {
    let origin = Origin::ok("app");
    let weir = Weir::start(&limited(&origin, "requests: 2, per: 1h").access_log("json"));
    let mut client = weir.client();
    assert_eq!(admitted(&mut client, &plain(2)), 2);
    let refused = client.get("a.example", "/");
    assert_eq!((refused.status(), refused.closes()), (429, false));
    let seconds: u64 = refused.get("retry-after").unwrap().parse().unwrap();
    // Half an hour brings one request back.
    assert!((1700..=1800).contains(&seconds), "{seconds}");
    // The body of a refused request is not taken for the next one.
    let posted = client
        .send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello")
        .response();
    assert_eq!(posted.status(), 429);
    wait_logged(
        &weir,
        "\"status\":429,\"grpc_status\":null,\"flags\":\"RL\"",
    );
    weir.counts("weir_requests_total", &["flag=\"RL\""], 2.0);
}

#[test]
fn what_was_taken_comes_back_with_time() {
    let origin = Origin::ok("app");
    let weir = Weir::start(&limited(&origin, "requests: 20, per: 1s, burst: 1"));
    let mut client = weir.client();
    let start = std::time::Instant::now();
    let mut count = 0;
    while count < 11 {
        count += admitted(&mut client, &plain(1));
        assert!(start.elapsed().as_secs() < 15, "only {count} of 11");
    }
    // One at once, and ten more at 20 a second.
    assert!(start.elapsed().as_millis() >= 495, "{:?}", start.elapsed());
}

#[test]
fn each_client_has_a_bucket_of_its_own() {
    let origin = Origin::ok("app");
    let weir = Weir::start(&limited(
        &origin,
        "requests: 1, per: 1h, burst: 3, key: ClientIp",
    ));
    for source in ["127.0.0.1", "127.0.0.2", "127.0.0.3"] {
        for _ in 0..2 {
            let mut client = Client::connect_from(source.parse().unwrap(), weir.addr());
            admitted(&mut client, &plain(2));
        }
        let seen = origin.requests().len();
        assert_eq!(seen % 3, 0, "{source}: {seen} requests in all");
    }
    assert_eq!(origin.requests().len(), 9);
}

#[test]
fn each_value_of_a_header_has_a_bucket_of_its_own_and_its_absence_one_too() {
    let origin = Origin::ok("app");
    let weir = Weir::start(&limited(
        &origin,
        "requests: 1, per: 1h, burst: 2, key: Header, header: X-Api-Key",
    ));
    let mut client = weir.client();
    for fields in ["x-api-key: a\r\n", "X-API-Key: b\r\n", ""] {
        let five = vec![fields.to_owned(); 5];
        assert_eq!(admitted(&mut client, &five), 2, "{fields:?}");
    }
    let doubled = "x-api-key: c\r\nx-api-key: d\r\n".to_owned();
    assert_eq!(admitted(&mut client, &[doubled]), 0, "it counts as none");
}

#[test]
fn made_up_keys_take_bounded_memory_and_push_out_nobody() {
    let origin = Origin::ok("app");
    let weir = Weir::start(&limited(
        &origin,
        "requests: 1, per: 1h, burst: 2, key: Header, header: x-api-key, maxKeys: 100",
    ));
    let mut client = weir.client();
    let busy = vec!["x-api-key: busy\r\n".to_owned(); 3];
    assert_eq!(admitted(&mut client, &busy), 2);
    let before = weir.rss_kib();
    let made_up: Vec<String> = (0..5000).map(|n| format!("x-api-key: {n}\r\n")).collect();
    assert_eq!(admitted(&mut client, &made_up), 5000);
    assert_eq!(admitted(&mut client, &busy), 0, "still at its limit");
    let grown = weir.rss_kib().saturating_sub(before);
    assert!(grown < 20_000, "{grown} KiB");
}

#[test]
fn several_limits_of_a_rule_hold_together() {
    let origin = Origin::ok("app");
    let all = "{ type: RateLimit, rateLimit: { requests: 1, per: 1h, burst: 5 } }";
    let each = "{ type: RateLimit, rateLimit: { requests: 1, per: 1h, burst: 2, key: ClientIp } }";
    let weir = Weir::start(
        &Setup::new()
            .service("app", &[("stable", origin.addr())])
            .route(
                "app",
                &format!("filters: [{each}, {all}], backendRefs: [{{ name: app }}]"),
            ),
    );
    let of = |source: &str| {
        let mut client = Client::connect_from(source.parse().unwrap(), weir.addr());
        admitted(&mut client, &plain(4))
    };
    let got = ["127.0.0.1", "127.0.0.2", "127.0.0.3"].map(of);
    assert_eq!(got, [2, 2, 1]);
}

#[test]
fn a_redirect_is_limited_too() {
    let filters = "{ type: RateLimit, rateLimit: { requests: 1, per: 1h } }, { type: RequestRedirect, requestRedirect: { scheme: https } }";
    let weir = Weir::start(&Setup::new().route("app", &format!("filters: [{filters}]")));
    let mut client = weir.client();
    let statuses = [(); 2].map(|()| client.get("a.example", "/").status());
    assert_eq!(statuses, [302, 429]);
}

// In the spirit of semantics 14: what is observed outlives a generation.
#[test]
fn a_change_elsewhere_keeps_the_bucket_and_a_change_of_the_limit_starts_anew() {
    let origin = Origin::ok("app");
    let limit = "requests: 1, per: 1h, burst: 3";
    let weir = Weir::start(&limited(&origin, limit));
    let mut client = weir.client();
    assert_eq!(admitted(&mut client, &plain(2)), 2);
    let more = limited(&origin, limit)
        .service("other", &[("stable", origin.addr())])
        .rules(
            "other",
            "hostnames: [other.example]",
            &["backendRefs: [{ name: other }]"],
        );
    weir.apply(&more);
    assert_eq!(admitted(&mut client, &plain(5)), 1, "one was left");
    weir.apply(&limited(&origin, "requests: 1, per: 1h, burst: 4"));
    assert_eq!(admitted(&mut client, &plain(9)), 4, "another limit");
}
