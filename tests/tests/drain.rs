//! Starting and ending: taken ports, missing files, and a SIGTERM that harms nobody.

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use weir_tests::binary;
use weir_tests::client::Client;
use weir_tests::config::Setup;
use weir_tests::load::Load;
use weir_tests::origin::{After, Origin};
use weir_tests::wait::{eventually, within};
use weir_tests::weir::Weir;

fn slow() -> Origin {
    Origin::start(|exchange| {
        exchange.body()?;
        if exchange.head.word(1) == "/slow" {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")?;
            std::thread::sleep(Duration::from_millis(1500));
            exchange.send("later")?;
            return Ok(After::Keep);
        }
        exchange.reply(200, "", "OK")
    })
}

// semantics 35
#[test]
fn sigterm_fails_readiness_serves_through_the_grace_and_finishes_what_is_in_flight() {
    let origin = slow();
    let mut weir = Weir::start(
        &Setup::to(&origin)
            .top("gracePeriod: 800ms")
            .top("drainTimeout: 10s"),
    );
    let mut kept = weir.client();
    assert_eq!(kept.get("a.example", "/").status(), 200);
    let mut flying = weir.client();
    flying.send("GET /slow HTTP/1.1\r\nHost: a.example\r\n\r\n");
    origin.wait_for(2);
    let start = Instant::now();
    weir.signal(Signal::TERM);
    within(Duration::from_millis(700), "readiness to fail", || {
        weir.try_admin("/ready")
            .is_ok_and(|r| r.status() == 503)
            .then_some(())
    });
    assert_eq!(weir.admin("/live").status(), 200, "alive, but not ready");
    // Whoever has not heard of it yet is still served, and told to go.
    assert!(
        start.elapsed() < Duration::from_millis(750),
        "the grace period is over already"
    );
    let late = weir.get("a.example", "/late");
    assert_eq!(late.status(), 200);
    assert!(late.closes(), "a new connection is told not to stay");
    let last = kept.get("a.example", "/last");
    assert!(
        last.status() == 200 && last.closes(),
        "a kept connection is told to go"
    );
    let response = flying.response();
    assert_eq!(
        response.text(),
        "firstlater",
        "in flight when the signal came"
    );
    let status = weir.wait_exit();
    assert_eq!(status.code(), Some(0), "{}", weir.logs());
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(800) && took < Duration::from_secs(8),
        "exit when idle, not at the deadline: {took:?}"
    );
}

// semantics 35
#[test]
fn no_request_fails_while_clients_heed_the_drain() {
    let origin = Origin::ok("app");
    let mut weir = Weir::start(&Setup::to(&origin).workers(2).top("gracePeriod: 1s"));
    let load = Load::gets(weir.addr(), 4, "a.example");
    load.advance(50);
    weir.signal(Signal::TERM);
    // The clients play a balancer that looks at readiness, and leave in the grace period.
    eventually("readiness to fail", || {
        weir.try_admin("/ready")
            .is_ok_and(|r| r.status() == 503)
            .then_some(())
    });
    load.advance(20);
    let report = load.stop();
    assert!(report.failures.is_empty(), "{:?}", report.failures.first());
    assert_eq!(weir.wait_exit().code(), Some(0));
}

// semantics 35
#[test]
fn the_drain_ends_at_its_deadline_whatever_hangs() {
    let origin = Origin::start(|exchange| {
        exchange.wire.to_end()?;
        Ok(After::Close)
    });
    let mut weir = Weir::start(
        &Setup::new()
            .service("app", &[("stable", origin.addr())])
            .route(
                "app",
                "backendRefs: [{ name: app }], timeouts: { request: 0s }",
            )
            .top("gracePeriod: 100ms")
            .top("drainTimeout: 700ms"),
    );
    let mut client = weir.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    origin.wait_for(1);
    let start = Instant::now();
    weir.signal(Signal::TERM);
    weir.wait_exit();
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(700) && took < Duration::from_secs(5),
        "{took:?}"
    );
}

// semantics 35
#[test]
fn a_second_signal_exits_at_once() {
    let origin = slow();
    let mut weir = Weir::start(
        &Setup::to(&origin)
            .top("gracePeriod: 30s")
            .top("drainTimeout: 30s"),
    );
    let mut flying = weir.client();
    flying.send("GET /slow HTTP/1.1\r\nHost: a.example\r\n\r\n");
    origin.wait_for(1);
    weir.signal(Signal::TERM);
    eventually("readiness to fail", || {
        weir.try_admin("/ready")
            .is_ok_and(|r| r.status() == 503)
            .then_some(())
    });
    assert!(weir.running());
    let start = Instant::now();
    weir.signal(Signal::INT);
    weir.wait_exit();
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_hangup_does_not_end_the_process() {
    let origin = Origin::ok("app");
    let mut weir = Weir::start(&Setup::to(&origin));
    weir.signal(Signal::HUP);
    for _ in 0..20 {
        assert_eq!(weir.get("a.example", "/").status(), 200);
    }
    assert!(weir.running(), "{}", weir.logs());
}

#[test]
fn a_taken_port_is_named_with_what_to_do() {
    let origin = Origin::ok("app");
    let setup = Setup::to(&origin);
    let first = Weir::start(&setup);
    let taken = first.ports();
    for (what, text) in [
        (
            "listener",
            setup.render(weir_tests::config::Ports {
                listen: taken.listen,
                admin: weir_tests::ports::free(),
            }),
        ),
        (
            "admin",
            setup.render(weir_tests::config::Ports {
                listen: weir_tests::ports::free(),
                admin: taken.admin,
            }),
        ),
    ] {
        let mut second = Weir::spawn(|_| text.clone(), |_| {});
        let status = second.wait_exit();
        let said = second.stderr();
        assert_eq!(status.code(), Some(1), "{what}: {said}");
        let port = if what == "admin" {
            taken.admin
        } else {
            taken.listen
        };
        assert!(
            said.contains(&port.to_string()),
            "{what}: the address is named: {said}"
        );
        assert!(!said.contains("panicked"), "{said}");
    }
    assert_eq!(
        first.get("a.example", "/").status(),
        200,
        "the first one is not disturbed"
    );
}

#[test]
fn a_missing_or_broken_file_ends_with_code_3_and_a_place() {
    let run = |args: &[&str]| {
        let output = Command::new(binary::weir())
            .args(args)
            .env("NO_COLOR", "1")
            .output()
            .expect("run weir");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let dir = tempfile::tempdir().expect("a directory");
    let missing = dir.path().join("nothing.yaml");
    let (code, said) = run(&["run", "-c", &missing.to_string_lossy()]);
    assert!(code == Some(3) || code == Some(1), "{code:?}: {said}");
    assert!(said.contains("nothing.yaml"), "{said}");
    let broken = dir.path().join("broken.yaml");
    std::fs::write(
        &broken,
        "listeners:\n  - { name: web, bind: nonsense }\nroutez: []\n",
    )
    .expect("write");
    let (code, said) = run(&["run", "-c", &broken.to_string_lossy()]);
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.contains("broken.yaml:2") && said.contains("broken.yaml:3"),
        "all errors, each with its place: {said}"
    );
    let (code, _) = run(&["run", "--no-such-flag"]);
    assert_eq!(code, Some(2));
}

#[test]
fn client_commands_say_when_nobody_answers() {
    let nobody = weir_tests::ports::free();
    let output = Command::new(binary::weir())
        .args(["--admin", &format!("http://{nobody}"), "status"])
        .output()
        .expect("run weir");
    assert_eq!(
        output.status.code(),
        Some(5),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(String::from_utf8_lossy(&output.stderr).contains(&nobody.to_string()));
}

#[test]
fn the_soft_descriptor_limit_is_raised_at_the_start() {
    let origin = Origin::ok("app");
    let weir = Weir::start(&Setup::to(&origin));
    let limits =
        std::fs::read_to_string(format!("/proc/{}/limits", weir.pid())).expect("limits in /proc");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .expect("a line for open files");
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[3], words[4], "soft and hard limit: {line}");
}

#[test]
fn forward_is_a_proxy_in_one_line() {
    let origin = Origin::ok("app");
    let weir = Weir::command(|ports| {
        [
            "forward",
            "--from",
            &ports.listen.to_string(),
            "--to",
            &origin.addr().to_string(),
        ]
        .map(str::to_owned)
        .to_vec()
    });
    let response = eventually("the forwarder to serve", || {
        let mut client = Client::try_connect(weir.addr()).ok()?;
        client
            .wire
            .send("GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n")
            .ok()?;
        client.try_response("GET").ok()?
    });
    assert_eq!(
        (response.status(), response.get("x-origin")),
        (200, Some("app"))
    );
}

#[test]
fn an_idle_process_is_small() {
    let origin = Origin::ok("app");
    let weir = Weir::start(&Setup::to(&origin));
    assert_eq!(weir.get("a.example", "/").status(), 200);
    let rss = weir.rss_kib();
    weir_tests::say(&format!(
        "idle: {rss} KiB resident (debug or release, as built)"
    ));
    assert!(rss < 64 * 1024, "{rss} KiB");
}
