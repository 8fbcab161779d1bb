//! Active checks, seen from outside: who is asked, what passes, and who is told.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::Value;
use weir_tests::config::Setup;
use weir_tests::origin::Origin;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

/// An origin, and what it answers to checks.
struct Checked {
    origin: Origin,
    status: Arc<AtomicU16>,
}

impl Checked {
    /// `/healthz` is answered with this status, every other path with 200.
    fn start(status: u16) -> Self {
        let status = Arc::new(AtomicU16::new(status));
        let current = Arc::clone(&status);
        let origin = Origin::start(move |exchange| {
            exchange.body()?;
            match exchange.head.word(1) {
                "/healthz" => exchange.reply(current.load(Ordering::SeqCst), "", "state: up"),
                _ => exchange.reply(200, "", "OK"),
            }
        });
        Self { origin, status }
    }

    fn set(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// Requests for this path so far.
    fn asked(&self, path: &str) -> usize {
        let requests = self.origin.requests();
        requests.iter().filter(|seen| seen.target() == path).count()
    }

    /// Waits for that many checks more than there were.
    fn wait_for_checks(&self, count: usize) {
        let before = self.asked("/healthz");
        eventually("more checks", || {
            (self.asked("/healthz") >= before + count).then_some(())
        });
    }

    fn setup(&self, check: &str) -> Setup {
        with_check(self.origin.addr(), check)
    }
}

/// With a timeout that a busy machine does not reach, and without panic, in which the last endpoint serves even if it fails.
fn with_check(addr: SocketAddr, check: &str) -> Setup {
    Setup::new()
        .service_with(
            "app",
            &[("stable", addr)],
            &format!(
                "healthCheck: {{ timeout: 20s, {check} }}, outlierDetection: {{ minHealthPercent: 0 }}"
            ),
        )
        .route(
            "app",
            "backendRefs: [{ name: app }], retry: { attempts: 0 }",
        )
}

/// The one endpoint, as the API tells it.
fn endpoint(weir: &Weir) -> Value {
    weir.json("/api/v1/endpoints")["endpoints"][0].clone()
}

fn wait_for(weir: &Weir, state: &str, reason: &str) {
    eventually(&format!("{state}: {reason}, in {}", endpoint(weir)), || {
        let endpoint = endpoint(weir);
        let told = endpoint["reason"].as_str().unwrap_or_default().to_owned();
        (endpoint["state"] == state && told.contains(reason)).then_some(())
    });
}

fn said(weir: &Weir, text: &str) -> usize {
    weir.stderr().matches(text).count()
}

// semantics 13
#[test]
fn an_endpoint_takes_nothing_before_its_first_pass() {
    let checked = Checked::start(503);
    let weir = Weir::start(&checked.setup("http: { path: /healthz }, interval: 1s"));
    wait_for(&weir, "probing", "status 503, expected 200-299");
    assert_eq!(weir.get("a.example", "/").status(), 503);
    assert_eq!(checked.asked("/"), 0, "requests before the first pass");
    checked.set(200);
    wait_for(&weir, "ready", "status 200");
    assert_eq!(weir.get("a.example", "/").status(), 200);
}

// semantics 13
#[test]
fn the_first_check_fires_at_once_and_its_pass_admits() {
    let checked = Checked::start(200);
    let weir =
        Weir::start(&checked.setup("http: { path: /healthz }, interval: 24h, healthyThreshold: 5"));
    wait_for(&weir, "ready", "status 200");
    assert_eq!(weir.get("a.example", "/").status(), 200);
    assert_eq!(checked.asked("/healthz"), 1);
}

// semantics 15
#[test]
fn an_unexpected_status_takes_out_after_the_threshold_and_the_reason_is_told_everywhere() {
    let checked = Checked::start(202);
    let check = "http: { path: /healthz, expectedStatuses: [202, 301-302] }, interval: 100ms";
    let weir = Weir::start(&checked.setup(check));
    wait_for(&weir, "ready", "status 202");
    // A 200 is not what was asked for.
    checked.set(200);
    let before = checked.asked("/healthz");
    wait_for(&weir, "failing", "status 200, expected 202, 301-302");
    assert!(
        checked.asked("/healthz") >= before + 3,
        "out before three failures"
    );
    assert_eq!(weir.get("a.example", "/").status(), 503);
    let since = endpoint(&weir)["since"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    for args in [
        &["endpoints", "-o", "wide"][..],
        &["explain", "GET", "http://a.example/"],
    ] {
        let told = String::from_utf8_lossy(&weir.cli(args).stdout).into_owned();
        assert!(told.contains("failing"), "{args:?}: {told}");
        assert!(
            told.contains("status 200, expected 202, 301-302"),
            "{args:?}: {told}"
        );
        assert!(
            args[0] != "endpoints" || told.contains(&since),
            "{since} in {told}"
        );
    }
    checked.wait_for_checks(5);
    assert_eq!(
        said(&weir, "fails its health check"),
        1,
        "once, not once a check"
    );
    checked.set(302);
    wait_for(&weir, "ready", "status 302");
    checked.wait_for_checks(3);
    assert_eq!(
        said(&weir, "passes its health check"),
        2,
        "admitted, and back"
    );
    assert_ne!(endpoint(&weir)["since"], since.as_str());
}

// semantics 15
#[test]
fn failures_that_are_not_in_a_row_take_nobody_out() {
    let origin = {
        let asked = AtomicU16::new(0);
        Origin::start(move |exchange| {
            exchange.body()?;
            // Passes, then fails twice: over and over.
            let turn = asked.fetch_add(1, Ordering::SeqCst) % 3;
            exchange.reply(if turn == 0 { 200 } else { 500 }, "", "")
        })
    };
    let weir = Weir::start(&with_check(
        origin.addr(),
        "http: { path: / }, interval: 20ms, unhealthyThreshold: 3",
    ));
    wait_for(&weir, "ready", "status");
    let since = endpoint(&weir)["since"].clone();
    origin.wait_for(30);
    wait_for(
        &weir,
        "ready",
        "failure 2 of 3: status 500, expected 200-299",
    );
    assert_eq!(endpoint(&weir)["since"], since);
    assert_eq!(said(&weir, "fails its health check"), 0);
}

// semantics 14
#[test]
fn a_changed_check_keeps_what_is_known_and_asks_at_once() {
    let checked = Checked::start(200);
    let weir = Weir::start(&checked.setup("http: { path: /healthz }, interval: 24h"));
    wait_for(&weir, "ready", "status 200");
    let since = endpoint(&weir)["since"].clone();
    // Asked for what it is not: it stays in until it has failed as often as the new check says.
    let wrong = "expectedStatuses: [418] }, unhealthyThreshold: 2";
    weir.apply(&checked.setup(&format!("http: {{ path: /healthz, {wrong}, interval: 24h")));
    wait_for(&weir, "ready", "failure 1 of 2: status 200, expected 418");
    assert_eq!(endpoint(&weir)["since"], since);
    assert_eq!(weir.get("a.example", "/").status(), 200);
    weir.apply(&checked.setup(&format!("http: {{ path: /healthz, {wrong}, interval: 23h")));
    wait_for(&weir, "failing", "status 200, expected 418");
    // What is out stays out, too: one pass is not two.
    weir.apply(&checked.setup("http: { path: /healthz }, interval: 24h"));
    wait_for(&weir, "failing", "pass 1 of 2: status 200");
    weir.apply(&checked.setup("http: { path: /healthz, method: HEAD }, interval: 24h"));
    wait_for(&weir, "ready", "status 200");
    assert_eq!(checked.asked("/healthz"), 5, "one check for each change");
}

#[test]
fn a_body_decides_where_the_check_looks_for_one() {
    let checked = Checked::start(200);
    let looking = |text: &str| {
        let body = format!("http: {{ path: /healthz, body: {{ {text} }} }}");
        checked.setup(&format!(
            "{body}, unhealthyThreshold: 1, healthyThreshold: 1, interval: 200ms"
        ))
    };
    let weir = Weir::start(&looking("contains: 'state: up'"));
    wait_for(&weir, "ready", r#"status 200, body contains "state: up""#);
    weir.apply(&looking("regex: '^state: (down|off)$'"));
    wait_for(
        &weir,
        "failing",
        r#"body does not match "^state: (down|off)$""#,
    );
    weir.apply(&looking("regex: '^state: (up|on)$'"));
    wait_for(&weir, "ready", "body matches");
}

#[test]
fn a_check_by_tcp_can_hold_a_short_conversation() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut line = String::new();
            let copy = stream.try_clone().expect("another handle");
            // The check may have gone.
            let _ = BufReader::new(copy).read_line(&mut line);
            let answer = if line == "PING\r\n" {
                "+PONG\r\n"
            } else {
                "-ERR unknown command\r\n"
            };
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let talking = |send: &str| {
        let tcp = format!(r"tcp: {{ send: '{send}\r\n', expect: '+PONG\r\n' }}");
        with_check(
            addr,
            &format!("{tcp}, interval: 200ms, unhealthyThreshold: 1"),
        )
    };
    let weir = Weir::start(&talking("PING"));
    wait_for(&weir, "ready", r#""+PONG\r\n" came"#);
    weir.apply(&talking("PONG"));
    wait_for(
        &weir,
        "failing",
        r#"what came begins with "-ERR unknown command\r\n""#,
    );
}

#[test]
fn a_check_may_ask_at_another_port() {
    let checked = Checked::start(503);
    let serving = Origin::ok("app");
    let port = checked.origin.addr().port();
    let weir = Weir::start(&with_check(
        serving.addr(),
        &format!("http: {{ path: /healthz }}, port: {port}, interval: 200ms"),
    ));
    wait_for(&weir, "probing", "status 503");
    checked.set(200);
    wait_for(&weir, "ready", "status 200");
    assert_eq!(weir.get("a.example", "/").get("x-origin"), Some("app"));
    assert_eq!(serving.requests().len(), 1, "only the request, no check");
}
