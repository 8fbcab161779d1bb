//! Taking endpoints out by hand, and giving them back, under load.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use weir_tests::config::Setup;
use weir_tests::load::Load;
use weir_tests::origin::{After, Origin};
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;
use weir_tests::{binary, ports};

/// Answers with its name; `/slow` in two parts.
fn named(name: &'static str) -> Origin {
    Origin::start(move |exchange| {
        exchange.body()?;
        if exchange.head.word(1) == "/slow" {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")?;
            std::thread::sleep(Duration::from_millis(1500));
            exchange.send("later")?;
            return Ok(After::Keep);
        }
        exchange.reply(200, &format!("x-origin: {name}\r\n"), "OK")
    })
}

struct Pair {
    a: Origin,
    b: Origin,
}

impl Pair {
    fn new() -> Self {
        Self {
            a: named("a"),
            b: named("b"),
        }
    }

    fn setup(&self) -> Setup {
        Setup::new()
            .service(
                "app",
                &[("stable", self.a.addr()), ("stable", self.b.addr())],
            )
            .route("app", "backendRefs: [{ name: app }]")
    }

    fn a(&self) -> String {
        self.a.addr().to_string()
    }

    fn b(&self) -> String {
        self.b.addr().to_string()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `weir endpoint ...`, which must succeed.
fn operate(weir: &Weir, args: &[&str]) -> String {
    let output = weir.cli(&[&["endpoint"], args].concat());
    assert_eq!(
        output.status.code(),
        Some(0),
        "{args:?}: {}",
        stderr(&output)
    );
    stdout(&output)
}

fn endpoint(weir: &Weir, address: &str) -> Value {
    let all = weir.json("/api/v1/endpoints");
    let list = all["endpoints"].as_array().expect("a list of endpoints");
    let found = list.iter().find(|endpoint| endpoint["address"] == address);
    found.expect("the endpoint").clone()
}

fn state(weir: &Weir, address: &str) -> String {
    let endpoint = endpoint(weir, address);
    endpoint["state"].as_str().unwrap_or_default().to_owned()
}

/// Who answers a hundred requests.
fn answers(weir: &Weir) -> BTreeMap<String, usize> {
    let load = Load::gets(weir.addr(), 2, "a.example");
    load.advance(100);
    load.stop_unharmed().kinds
}

fn recorded(weir: &Weir, text: &str) -> bool {
    let events = weir.json("/api/v1/events");
    let list = events["events"].as_array().expect("a list of events");
    list.iter().any(|event| {
        let told = event["text"].as_str().unwrap_or_default();
        event["kind"] == "endpoint" && told.contains(text)
    })
}

// semantics 33
#[test]
fn a_drain_under_load_moves_all_requests_and_fails_none() {
    let pair = Pair::new();
    let weir = Weir::start(&pair.setup().workers(2));
    let load = Load::gets(weir.addr(), 4, "a.example");
    load.advance(100);
    // One that is in flight there finishes.
    let mut flying = weir.client();
    flying.send("GET /slow HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let slow_at = |origin: &Origin| origin.requests().iter().any(|r| r.target() == "/slow");
    eventually("the slow request", || {
        (slow_at(&pair.a) || slow_at(&pair.b)).then_some(())
    });
    let (drained, other) = match slow_at(&pair.a) {
        true => (pair.a(), "b"),
        false => (pair.b(), "a"),
    };
    let told = operate(&weir, &["drain", &drained, "--reason", "new kernel"]);
    assert!(told.contains("is draining (new kernel, by cli)"), "{told}");
    assert_eq!(flying.response().text(), "firstlater");
    // Those that were on their way when the drain began have arrived.
    eventually("nothing in flight", || {
        (endpoint(&weir, &drained)["inFlight"] == 0).then_some(())
    });
    let before = endpoint(&weir, &drained)["requests"].clone();
    load.advance(300);
    assert_eq!(endpoint(&weir, &drained)["requests"], before);
    let report = load.stop_unharmed();
    assert!(report.kinds[other] > 300, "{:?}", report.kinds);
    assert!(recorded(&weir, "(new kernel) by cli"));

    operate(&weir, &["ready", &drained]);
    assert_eq!(state(&weir, &drained), "ready");
    assert_eq!(answers(&weir).len(), 2, "it takes requests again");
}

#[test]
fn what_is_taken_out_for_a_time_comes_back_by_itself() {
    let pair = Pair::new();
    let weir = Weir::start(&pair.setup());
    for (action, out) in [
        ("drain", "draining"),
        ("maint", "maintenance"),
        ("eject", "ejected"),
    ] {
        // Long enough to be seen out by a machine that is busy.
        let told = operate(&weir, &[action, &pair.a(), "--for", "3s"]);
        assert!(told.contains(&format!("is {out} until 20")), "{told}");
        assert!(endpoint(&weir, &pair.a())["until"].is_string());
        eventually("it is back", || {
            (state(&weir, &pair.a()) == "ready").then_some(())
        });
        assert_eq!(answers(&weir).len(), 2, "{action}");
    }
}

#[test]
fn checks_of_an_endpoint_in_maintenance_say_nothing() {
    let pair = Pair::new();
    let setup = Setup::new()
        .service_with(
            "app",
            &[("stable", pair.a.addr()), ("stable", pair.b.addr())],
            "healthCheck: { http: { path: / }, interval: 100ms, timeout: 20s }",
        )
        .route("app", "backendRefs: [{ name: app }]");
    let weir = Weir::start(&setup);
    let Pair { a, b } = pair;
    let (addr_a, addr_b) = (a.addr().to_string(), b.addr().to_string());
    for addr in [&addr_a, &addr_b] {
        eventually("both pass", || {
            (state(&weir, addr) == "ready").then_some(())
        });
    }
    operate(&weir, &["maint", &addr_a]);
    let accepted = a.accepted();
    drop(a);
    assert!(accepted > 0);
    // It is known, and no news, that it does not answer: the other one answers all.
    let kinds = answers(&weir);
    assert_eq!(kinds.keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(state(&weir, &addr_a), "maintenance");
    assert_eq!(weir.stderr().matches("fails its health check").count(), 0);
    // What checks know of it counts as soon as it is given back.
    eventually("failing when it is given back", || {
        operate(&weir, &["ready", &addr_a]);
        let failing = state(&weir, &addr_a) == "failing";
        failing.then_some(())
    });
    drop(b);
}

#[test]
fn the_last_one_is_ejected_by_force_alone() {
    let pair = Pair::new();
    let weir = Weir::start(&pair.setup());
    operate(&weir, &["eject", &pair.a()]);
    assert_eq!(answers(&weir).keys().collect::<Vec<_>>(), ["b"]);
    let refused = weir.cli(&["endpoint", "eject", &pair.b()]);
    assert_eq!(refused.status.code(), Some(6), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("--force"), "{}", stderr(&refused));
    assert_eq!(state(&weir, &pair.b()), "ready");
    assert!(recorded(&weir, "was refused"));

    let forced = weir.cli(&["endpoint", "eject", &pair.b(), "--force"]);
    assert_eq!(forced.status.code(), Some(0), "{}", stderr(&forced));
    assert!(stderr(&forced).contains("panic"), "{}", stderr(&forced));
    assert_eq!(state(&weir, &pair.b()), "ejected");
    // semantics 6
    assert_eq!(weir.get("a.example", "/").status(), 200, "served in panic");
    let told = operate(&weir, &["uneject", &pair.b()]);
    assert!(told.contains("is ready"), "{told}");
    let again = operate(&weir, &["uneject", &pair.b()]);
    assert!(again.contains("there was nothing to end"), "{again}");
}

// semantics 14
#[test]
fn a_reload_keeps_what_was_asked_and_a_restart_forgets_it() {
    let pair = Pair::new();
    let mut weir = Weir::start(&pair.setup());
    operate(&weir, &["drain", &pair.a()]);
    weir.apply(&pair.setup().rules(
        "second",
        "hostnames: [b.example]",
        &["backendRefs: [{ name: app }]"],
    ));
    assert_eq!(state(&weir, &pair.a()), "draining");
    assert_eq!(answers(&weir).keys().collect::<Vec<_>>(), ["b"]);
    weir.restart();
    assert_eq!(state(&weir, &pair.a()), "ready");
}

#[test]
fn an_ejected_endpoint_is_explained_and_listed_with_its_reason_and_end() {
    let pair = Pair::new();
    let weir = Weir::start(&pair.setup());
    operate(
        &weir,
        &["eject", &pair.a(), "--for", "1h", "--reason", "odd answers"],
    );
    let explained = stdout(&weir.cli(&["explain", "GET", "http://a.example/"]));
    let line = explained
        .lines()
        .find(|line| line.contains(&format!("  {}  ", pair.a())))
        .unwrap_or_else(|| panic!("no line of the endpoint in {explained}"));
    for part in ["ejected (odd answers, by cli)", "until 20", "out: ejected"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(explained.contains("0 of 1024 requests"), "{explained}");
    assert!(
        explained.starts_with(&format!("forwarded to app (stable) at {}", pair.b())),
        "{explained}"
    );
    let wide = stdout(&weir.cli(&["endpoints", "-o", "wide"]));
    let row = wide.lines().find(|line| line.contains(&pair.a()));
    let row = row.unwrap_or_else(|| panic!("no row of the endpoint in {wide}"));
    assert!(
        wide.contains("UNTIL") && wide.contains("EJECTIONS"),
        "{wide}"
    );
    assert!(row.contains("odd answers, by cli"), "{row}");
    let json = endpoint(&weir, &pair.a());
    assert_eq!(json["ejections"], 1);
    assert!(json["until"].is_string() && json["since"].is_string());
}

#[test]
fn names_that_do_not_exist_and_missing_tokens_end_with_their_codes() {
    let pair = Pair::new();
    let weir = Weir::start(&pair.setup());
    let unknown = weir.cli(&["endpoint", "drain", "nobody"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(stderr(&unknown).contains(&pair.a()), "{}", stderr(&unknown));
    // Both ids start with the service's name.
    let several = weir.cli(&["endpoint", "drain", "app@127"]);
    assert_eq!(several.status.code(), Some(1));
    assert!(
        stderr(&several).contains("is 2 endpoints"),
        "{}",
        stderr(&several)
    );
    let mut stranger = weir.cli_command(&["endpoint", "drain", &pair.a()]);
    let stranger = stranger.env("WEIR_TOKEN", "0".repeat(64)).output();
    assert_eq!(stranger.expect("run it").status.code(), Some(8));
    assert_eq!(state(&weir, &pair.a()), "ready");
    let nobody = Command::new(binary::weir())
        .args(["--admin", &format!("http://{}", ports::free())])
        .args(["endpoint", "ready", "x"])
        .output();
    assert_eq!(nobody.expect("run it").status.code(), Some(5));
}
