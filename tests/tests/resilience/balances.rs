//! Who gets the requests: by latency, load, key, place and age.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use weir_tests::client::Client;
use weir_tests::config::Setup;
use weir_tests::load::{Load, Report};
use weir_tests::origin::Origin;
use weir_tests::weir::Weir;

use super::{GET, fault, gets, routed, to_app, wait_for_state};

/// Load of that many clients, whatever the answers are, by who gave them.
fn by_origin(weir: &Weir, clients: usize, count: usize) -> Report {
    let load = Load::start(weir.addr(), clients, GET, |response| {
        Ok(response.get("x-origin").unwrap_or("nobody").to_owned())
    });
    load.advance(count);
    load.stop()
}

fn share(report: &Report, name: &str) -> f64 {
    report.kinds.get(name).copied().unwrap_or(0) as f64 / report.good as f64
}

#[test]
fn by_peak_latency_a_slow_endpoint_gets_far_less_than_its_share() {
    let slow = Origin::slow("slow", Duration::from_millis(60));
    let fast = ["one", "two"].map(|name| Origin::slow(name, Duration::from_millis(3)));
    let addrs = [slow.addr(), fast[0].addr(), fast[1].addr()];
    let keys = "loadBalancer: { simple: PEAK_EWMA }";
    let weir = Weir::start(&routed(&addrs, keys, ""));
    let report = by_origin(&weir, 8, 1500);
    let share = share(&report, "slow");
    fault(
        "one of three takes 60 ms and not 3 ms; PEAK_EWMA, 8 clients",
        "under 10% of the requests for the slow one (a third is its share)",
        &format!(
            "{:.1}% of {}; {:?}",
            share * 100.0,
            report.good,
            report.kinds
        ),
    );
    assert!(share < 0.1, "{:?}", report.kinds);
    assert!(report.failures.is_empty());
}

// semantics 11
#[test]
fn an_endpoint_that_fails_fast_does_not_attract_load() {
    let failing = Origin::answering("failing", |_| (503, Duration::ZERO));
    let well = ["one", "two"].map(|name| Origin::slow(name, Duration::from_millis(10)));
    let addrs = [failing.addr(), well[0].addr(), well[1].addr()];
    for balancer in ["LEAST_REQUEST", "PEAK_EWMA"] {
        let keys = format!("loadBalancer: {{ simple: {balancer} }}");
        let weir = Weir::start(&routed(&addrs, &keys, "retry: { attempts: 0 }"));
        let report = by_origin(&weir, 12, 1500);
        let share = share(&report, "failing");
        fault(
            &format!(
                "one of three answers 503 at once, the others in 10 ms; {balancer}, 12 clients, no ejection"
            ),
            "less than its share of a third for the one that fails",
            &format!(
                "{:.1}% of {}; {:?}",
                share * 100.0,
                report.good,
                report.kinds
            ),
        );
        assert!(share < 0.33, "{:?}", report.kinds);
    }
}

/// A way for a client to bring its key.
type Bring = fn(SocketAddr, usize) -> Option<String>;

fn answered_by(addr: SocketAddr, from: IpAddr, target: &str, fields: &str) -> Option<String> {
    let mut client = Client::connect_from(from, addr);
    let request = format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n");
    let response = client.send(request).response();
    response.get("x-origin").map(str::to_owned)
}

fn home() -> IpAddr {
    IpAddr::V4(Ipv4Addr::LOCALHOST)
}

const BRINGS: [(&str, Bring); 5] = [
    ("httpHeaderName: x-user", |addr, n| {
        answered_by(addr, home(), "/", &format!("X-User: u{n}\r\n"))
    }),
    ("httpCookie: { name: user }", |addr, n| {
        answered_by(addr, home(), "/", &format!("Cookie: a=b; user=u{n}\r\n"))
    }),
    ("httpQueryParameterName: user", |addr, n| {
        answered_by(addr, home(), &format!("/?a=b&user=u{n}"), "")
    }),
    ("useSourceIp: true", |addr, n| {
        let from = Ipv4Addr::new(127, 0, 1, u8::try_from(n + 1).expect("few keys"));
        answered_by(addr, IpAddr::V4(from), "/", "")
    }),
    ("httpHeaderName: x-user, maglev: {}", |addr, n| {
        answered_by(addr, home(), "/", &format!("X-User: u{n}\r\n"))
    }),
];

const KEYS: usize = 60;

// semantics 23
#[test]
fn a_key_keeps_its_endpoint_over_workers_and_restarts_and_only_a_dead_ones_keys_move() {
    for (by, bring) in BRINGS {
        let mut origins: Vec<_> = (0..5).map(|n| Origin::ok(&format!("o{n}"))).collect();
        let addrs: Vec<_> = origins.iter().map(Origin::addr).collect();
        let keys = format!(
            "loadBalancer: {{ consistentHash: {{ {by} }} }}, outlierDetection: {{ consecutive5xxErrors: 1, successRate: {{ enabled: false }} }}"
        );
        let mut weir = Weir::start(&routed(&addrs, &keys, ""));
        let map = |weir: &Weir| -> Vec<Option<String>> {
            (0..KEYS).map(|n| bring(weir.addr(), n)).collect()
        };
        let first = map(&weir);
        let moved_by_workers = (0..3).map(|_| differing(&first, &map(&weir))).max();
        weir.restart();
        let moved_by_restart = differing(&first, &map(&weir));
        let dead = origins.remove(2);
        let dead_addr = dead.addr();
        drop(dead);
        let after = map(&weir);
        let of_dead = first.iter().filter(|o| o.as_deref() == Some("o2")).count();
        let (moved, unanswered) = (
            differing(&first, &after),
            after.iter().filter(|o| o.is_none()).count(),
        );
        let mut spread = BTreeMap::<_, usize>::new();
        for name in first.iter().flatten() {
            *spread.entry(name.as_str()).or_default() += 1;
        }
        fault(
            &format!(
                "five endpoints by {by}, {KEYS} keys; asked again over both workers, a restart, one dead"
            ),
            "0 keys move, 0 by the restart, only those of the dead one by its death, none unanswered",
            &format!(
                "{moved_by_workers:?}, {moved_by_restart}, {moved} of its {of_dead}, {unanswered}; spread {spread:?}, {dead_addr} dead"
            ),
        );
        assert_eq!((moved_by_workers, moved_by_restart), (Some(0), 0), "{by}");
        assert_eq!((moved, unanswered), (of_dead, 0), "{by}");
        assert!(of_dead > 0 && spread.len() == 5, "{by}: {spread:?}");
    }
}

fn differing(a: &[Option<String>], b: &[Option<String>]) -> usize {
    a.iter().zip(b).filter(|(a, b)| a != b).count()
}

#[test]
fn a_client_without_the_cookie_gets_one_and_stays_where_it_was() {
    let origins: Vec<_> = (0..4).map(|n| Origin::ok(&format!("o{n}"))).collect();
    let addrs: Vec<_> = origins.iter().map(Origin::addr).collect();
    let keys = "loadBalancer: { consistentHash: { httpCookie: { name: user, ttl: 60s } } }";
    let weir = Weir::start(&routed(&addrs, keys, ""));
    let (mut stayed, mut homes) = (0, BTreeMap::<String, usize>::new());
    for _ in 0..20 {
        let first = weir.get("a.example", "/");
        let set = first.get("set-cookie").expect("a cookie is set").to_owned();
        assert!(set.contains("user=") && set.contains("Max-Age=60"), "{set}");
        let pair = set.split(';').next().unwrap_or_default();
        let home = first.get("x-origin").map(str::to_owned);
        let same = (0..5).all(|_| {
            answered_by(
                weir.addr(),
                self::home(),
                "/",
                &format!("Cookie: {pair}\r\n"),
            ) == home
        });
        stayed += usize::from(same);
        *homes.entry(home.unwrap_or_default()).or_default() += 1;
    }
    fault(
        "20 clients without the hash cookie, each back 5 times with the one it was given",
        "all stay where they were, and they are spread",
        &format!("{stayed} stayed, homes {homes:?}"),
    );
    assert!(stayed == 20 && homes.len() >= 2, "{stayed}, {homes:?}");
}

/// Answers checks with 500 while it fails.
struct Checked {
    origin: Origin,
    failing: Arc<AtomicBool>,
}

impl Checked {
    fn start(name: &str) -> Self {
        let failing = Arc::new(AtomicBool::new(false));
        let fails = Arc::clone(&failing);
        let origin = Origin::answering(name, move |head| {
            let bad = head.word(1) == "/healthz" && fails.load(Ordering::SeqCst);
            (if bad { 500 } else { 200 }, Duration::ZERO)
        });
        Self { origin, failing }
    }
}

// semantics 7
#[test]
fn the_second_priority_takes_what_the_first_cannot() {
    let first: Vec<_> = (0..8).map(|_| Checked::start("p0")).collect();
    let second: Vec<_> = (0..2).map(|_| Checked::start("p1")).collect();
    let at = |all: &[Checked], priority: u8| -> Vec<String> {
        let keys =
            |one: &Checked| format!("address: \"{}\", priority: {priority}", one.origin.addr());
        all.iter().map(keys).collect()
    };
    let endpoints = [at(&first, 0), at(&second, 1)].concat();
    let keys = "healthCheck: { http: { path: /healthz }, interval: 100ms, timeout: 10s }";
    let setup = Setup::new().workers(2).service_of("app", &endpoints, keys);
    let weir = Weir::start(&to_app(setup, ""));
    for one in first.iter().chain(&second) {
        wait_for_state(&weir, one.origin.addr(), "ready");
    }
    // Of 8: 100%, 75%, 62.5% and 50% healthy, times 1.4.
    for (down, least, most) in [
        (0, 0.0, 0.0),
        (2, 0.0, 0.0),
        (3, 0.09, 0.16),
        (4, 0.26, 0.34),
    ] {
        for one in &first[..down] {
            one.failing.store(true, Ordering::SeqCst);
        }
        for one in &first[..down] {
            wait_for_state(&weir, one.origin.addr(), "failing");
        }
        let report = by_origin(&weir, 4, 2000);
        let spilled = share(&report, "p1");
        fault(
            &format!("{down} of 8 endpoints of priority 0 fail their checks; overprovisioning 1.4"),
            &format!(
                "{:.0}% to {:.0}% to priority 1",
                least * 100.0,
                most * 100.0
            ),
            &format!("{:.1}% of {}", spilled * 100.0, report.good),
        );
        assert!((least..=most).contains(&spilled), "{down}: {spilled}");
    }
}

#[test]
fn the_nearest_locality_is_asked_first_and_a_farther_one_when_it_is_gone() {
    let (near, far) = (Checked::start("near"), Checked::start("far"));
    let endpoints = [(&near, "eu/a"), (&far, "eu/b")]
        .map(|(one, place)| format!("address: \"{}\", locality: {place}", one.origin.addr()));
    let keys = "loadBalancer: { localityLbSetting: { enabled: true } }, outlierDetection: {}, healthCheck: { http: { path: /healthz }, interval: 100ms, timeout: 10s }";
    let setup = Setup::new()
        .workers(2)
        .top("locality: eu/a")
        .service_of("app", &endpoints, keys);
    let weir = Weir::start(&to_app(setup, ""));
    wait_for_state(&weir, near.origin.addr(), "ready");
    wait_for_state(&weir, far.origin.addr(), "ready");
    let both = by_origin(&weir, 2, 200);
    near.failing.store(true, Ordering::SeqCst);
    wait_for_state(&weir, near.origin.addr(), "failing");
    let one = by_origin(&weir, 2, 200);
    fault(
        "one endpoint in the proxy's zone, one in the next; then the near one fails its checks",
        "all to the near one; then all to the other",
        &format!("{:?}; then {:?}", both.kinds, one.kinds),
    );
    assert_eq!(share(&both, "near"), 1.0, "{:?}", both.kinds);
    assert_eq!(share(&one, "far"), 1.0, "{:?}", one.kinds);
}

// semantics 17
#[test]
fn one_that_joins_warm_ones_begins_with_a_small_share() {
    let origins = ["one", "two", "new"].map(Origin::ok);
    let addrs = origins.each_ref().map(Origin::addr);
    let keys = "loadBalancer: { simple: ROUND_ROBIN, warmup: { duration: 4s } }";
    let weir = Weir::start(&routed(&addrs[..2], keys, ""));
    let at_start = gets(&weir, 40);
    let at_start = at_start
        .iter()
        .filter(|r| r.get("x-origin") == Some("one"))
        .count();
    // Warm are those who have served that long.
    std::thread::sleep(Duration::from_millis(4200));
    weir.apply(&routed(&addrs, keys, ""));
    let joined = std::time::Instant::now();
    let early = gets(&weir, 100);
    let early = early
        .iter()
        .filter(|r| r.get("x-origin") == Some("new"))
        .count();
    let took = joined.elapsed();
    std::thread::sleep(Duration::from_millis(4500).saturating_sub(joined.elapsed()));
    let late = gets(&weir, 90);
    let late = late
        .iter()
        .filter(|r| r.get("x-origin") == Some("new"))
        .count();
    fault(
        "a third endpoint joins two warm ones, warm-up 4 s; the first 100 requests, and 90 after it",
        "no ramp at the start (20 of 40); far under a third at first, a third after",
        &format!("{at_start} of 40; {early} of 100 in {took:?}; {late} of 90"),
    );
    assert!((18..=22).contains(&at_start), "{at_start} of 40");
    assert!(
        took > Duration::from_secs(2) || early <= 20,
        "{early} of 100 in {took:?}"
    );
    assert!((28..=32).contains(&late), "{late} of 90");
}
