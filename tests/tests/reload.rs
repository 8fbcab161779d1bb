//! Changing the configuration of a running process: nobody notices but those it is about.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use weir_tests::client::Client;
use weir_tests::config::{Ports, Setup};
use weir_tests::load::Load;
use weir_tests::origin::{After, Exchange, Origin};
use weir_tests::wait::{eventually, within};
use weir_tests::weir::Weir;

const UPGRADE: &str =
    "GET /ws HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

fn echo_bytes(exchange: &mut Exchange<'_>) -> std::io::Result<After> {
    exchange.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    )?;
    loop {
        let some = exchange.wire.some()?;
        if some.is_empty() {
            return Ok(After::Close);
        }
        exchange.send(some)?;
    }
}

/// Answers at once, echoes on `/ws`, and drips a body without end on `/stream` until it is told to stop.
fn versatile(name: &'static str, stop: &Arc<AtomicBool>) -> Origin {
    let stop = Arc::clone(stop);
    Origin::start(move |exchange| match exchange.head.word(1) {
        "/ws" => echo_bytes(exchange),
        "/stream" => {
            exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            while !stop.load(Ordering::SeqCst) {
                exchange.send("5\r\ndrip\n\r\n")?;
                std::thread::sleep(Duration::from_millis(5));
            }
            exchange.send("0\r\n\r\n")?;
            Ok(After::Keep)
        }
        _ => {
            exchange.body()?;
            exchange.reply(200, &format!("x-origin: {name}\r\n"), "OK")
        }
    })
}

/// Reads a chunked body to its end on a thread of its own.
fn read_stream(mut client: Client) -> std::thread::JoinHandle<std::io::Result<usize>> {
    std::thread::spawn(move || {
        client
            .wire
            .send("GET /stream HTTP/1.1\r\nHost: a.example\r\n\r\n")?;
        client.wire.head()?;
        client.wire.chunked().map(|body| body.chunks.len())
    })
}

/// Replaces the file, and waits until the new one is in force.
fn apply_text(weir: &Weir, yaml: &str) {
    let before = weir.generation();
    weir.rewrite_text(yaml);
    eventually("the new configuration in force", || {
        (weir.generation() > before).then_some(())
    });
}

/// Every stable endpoint with that weight.
fn weighted(yaml: &str, weight: u32) -> String {
    let with_weight = yaml.replace(
        "version: stable }",
        &format!("version: stable, weight: {weight} }}"),
    );
    assert_ne!(with_weight, yaml, "no endpoint to give a weight");
    with_weight
}

// semantics 32, 33
#[test]
fn a_thousand_changes_under_load_fail_no_request_and_close_no_connection() {
    let stop = Arc::new(AtomicBool::new(false));
    let stable = versatile("stable", &stop);
    let coming_and_going = versatile("other", &stop);
    // Every change differs from the one before: a route comes and goes, an endpoint too, weights move.
    let variant = |n: usize| {
        let (endpoints, versions) = match n % 2 {
            0 => (vec![("stable", stable.addr())], "versions: []".to_owned()),
            _ => (
                vec![
                    ("stable", stable.addr()),
                    ("canary", coming_and_going.addr()),
                ],
                format!("versions: [{{ name: canary, weight: {} }}]", n % 50),
            ),
        };
        let setup = Setup::new()
            .workers(2)
            .service_with("app", &endpoints, &versions)
            .route(
                "app",
                "backendRefs: [{ name: app }], timeouts: { request: 0s }",
            );
        match n % 3 {
            0 => setup.rules(
                "extra",
                &format!("hostnames: [extra-{n}.example]"),
                &["backendRefs: [{ name: app }]"],
            ),
            _ => setup,
        }
    };
    let weir = Weir::start(&variant(0));
    let mut socket = weir.client();
    assert_eq!(socket.send(UPGRADE).response().status(), 101);
    let streams: Vec<_> = (0..2).map(|_| read_stream(weir.client())).collect();
    let load = Load::gets(weir.addr(), 6, "a.example");
    load.advance(100);
    let mut memory = Vec::new();
    let mut applied = 0;
    for n in 1..=1000 {
        let before = weir.generation();
        weir.rewrite(&variant(n));
        // A debounce may join two changes, so not each has to be seen alone; but it goes on.
        within(
            Duration::from_secs(5),
            "the change to come into force",
            || (weir.generation() > before).then_some(()),
        );
        applied += 1;
        if n % 50 == 0 {
            let text = format!("still here at {n}");
            assert_eq!(
                socket
                    .send(&text)
                    .wire
                    .exactly(text.len())
                    .expect("the echo"),
                text.as_bytes()
            );
        }
        if n % 100 == 0 {
            memory.push(weir.rss_kib());
        }
    }
    assert_eq!(applied, 1000);
    stop.store(true, Ordering::SeqCst);
    for stream in streams {
        let chunks = stream
            .join()
            .expect("the reader")
            .expect("the long body arrives whole");
        assert!(chunks > 100, "{chunks} chunks");
    }
    let report = load.stop_unharmed();
    weir_tests::say(&format!(
        "1000 changes: {} requests, none failed; memory in KiB {memory:?}",
        report.good
    ));
    let (early, late) = (memory[2], memory[9]);
    assert!(
        late < early + 4 * 1024,
        "memory grows with changes: {memory:?} KiB"
    );
}

// semantics 32
#[test]
fn a_listener_that_stays_never_stops_accepting() {
    let origin = Origin::ok("app");
    let setup = Setup::to(&origin);
    let weir = Weir::start(&setup);
    let stop = Arc::new(AtomicBool::new(false));
    let connecting = {
        let (stop, addr) = (Arc::clone(&stop), weir.addr());
        std::thread::spawn(move || {
            let mut failures = Vec::new();
            let mut good = 0;
            while !stop.load(Ordering::SeqCst) {
                let answer = Client::try_connect(addr).and_then(|mut client| {
                    client
                        .wire
                        .send("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")?;
                    client.try_response("GET")
                });
                match answer {
                    Ok(Some(response)) if response.status() == 200 => good += 1,
                    other => failures.push(format!("{other:?}")),
                }
            }
            (good, failures)
        })
    };
    for n in 0..100 {
        weir.apply(&setup.clone().rules(
            "extra",
            &format!("hostnames: [h{n}.example]"),
            &["backendRefs: [{ name: app }]"],
        ));
    }
    stop.store(true, Ordering::SeqCst);
    let (good, failures) = connecting.join().expect("the connecting thread");
    assert!(
        failures.is_empty() && good > 0,
        "{good} good, failed: {failures:?}"
    );
}

// semantics 38
#[test]
fn a_file_that_does_not_parse_changes_nothing_and_says_so_everywhere() {
    let origin = Origin::ok("app");
    let setup = Setup::to(&origin);
    let weir = Weir::start(&setup);
    let generation = weir.generation();
    let mut client = weir.client();
    assert_eq!(client.get("a.example", "/").status(), 200);
    weir.rewrite_text("listeners: [ { name: web, bind: ");
    eventually("the rejected configuration in the metrics", || {
        (weir.metric("weir_config_rejected_total", &[]) >= 1.0).then_some(())
    });
    assert_eq!(
        client.get("a.example", "/").status(),
        200,
        "the old one serves on, on the same connection"
    );
    assert_eq!(weir.generation(), generation, "no new generation");
    eventually("a message", || {
        weir.stderr().contains("weir.yaml").then_some(())
    });
    let status = weir.cli(&["status"]);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&status.stdout),
        String::from_utf8_lossy(&status.stderr)
    );
    assert!(
        text.contains("weir.yaml"),
        "weir status says what is wrong and where: {text}"
    );
    weir.apply(&setup.rules(
        "extra",
        "hostnames: [b.example]",
        &["backendRefs: [{ name: app }]"],
    ));
    assert_eq!(
        client.get("b.example", "/").status(),
        200,
        "and the next good file is taken"
    );
}

// semantics 38
#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let origin = Origin::ok("app");
    let setup = Setup::to(&origin);
    let weir = Weir::start(&setup);
    let typo = setup
        .render(weir.ports())
        .replace("backendRefs", "backendRef");
    weir.rewrite_text(&typo);
    eventually("the rejected configuration in the metrics", || {
        (weir.metric("weir_config_rejected_total", &[]) >= 1.0).then_some(())
    });
    assert_eq!(weir.get("a.example", "/").status(), 200);
    let check = std::process::Command::new(weir_tests::binary::weir())
        .arg("check")
        .arg(weir.config())
        .output()
        .expect("weir check");
    let said = String::from_utf8_lossy(&check.stdout).into_owned()
        + &String::from_utf8_lossy(&check.stderr);
    assert_eq!(check.status.code(), Some(3), "{said}");
    assert!(
        said.contains("backendRefs") && said.contains("weir.yaml"),
        "{said}"
    );
}

// semantics 33
#[test]
fn a_removed_endpoint_takes_nothing_new_and_finishes_what_it_has() {
    let (begin, begun) = std::sync::mpsc::channel();
    let (finish, finished) = std::sync::mpsc::channel::<()>();
    let (begin, finished) = (
        std::sync::Mutex::new(begin),
        std::sync::Mutex::new(finished),
    );
    let leaving = Origin::start(move |exchange| {
        exchange.body()?;
        if exchange.head.word(1) == "/slow" {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")?;
            begin
                .lock()
                .expect("one at a time")
                .send(())
                .expect("the test listens");
            finished
                .lock()
                .expect("one at a time")
                .recv()
                .expect("the test goes on");
            exchange.send("later")?;
            return Ok(After::Keep);
        }
        exchange.reply(200, "x-origin: leaving\r\n", "OK")
    });
    let staying = Origin::ok("staying");
    let both = Setup::new()
        .service_with(
            "app",
            &[("stable", leaving.addr()), ("stable", staying.addr())],
            "loadBalancer: { simple: ROUND_ROBIN }",
        )
        .route("app", "backendRefs: [{ name: app }]");
    let one = Setup::new()
        .service_with(
            "app",
            &[("stable", staying.addr())],
            "loadBalancer: { simple: ROUND_ROBIN }",
        )
        .route("app", "backendRefs: [{ name: app }]");
    let only_leaving = Setup::new()
        .service_with(
            "app",
            &[("stable", leaving.addr())],
            "loadBalancer: { simple: ROUND_ROBIN }",
        )
        .route("app", "backendRefs: [{ name: app }]");
    let weir = Weir::start(&only_leaving);
    let mut slow = weir.client();
    slow.send("GET /slow HTTP/1.1\r\nHost: a.example\r\n\r\n");
    begun
        .recv_timeout(weir_tests::wait::PATIENCE)
        .expect("the slow request began");
    weir.apply(&both);
    weir.apply(&one);
    let count = leaving.requests().len();
    for _ in 0..20 {
        assert_eq!(weir.get("a.example", "/").get("x-origin"), Some("staying"));
    }
    assert_eq!(
        leaving.requests().len(),
        count,
        "nothing new for the removed endpoint"
    );
    finish.send(()).expect("the origin waits");
    assert_eq!(
        slow.response().text(),
        "firstlater",
        "what it had is finished"
    );
    eventually("the connections to the removed endpoint to close", || {
        (leaving.open() == 0).then_some(())
    });
}

// semantics 33
#[test]
fn a_removed_endpoint_is_cut_off_at_its_drain_timeout() {
    let leaving = Origin::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")?;
        exchange.wire.to_end()?;
        Ok(After::Close)
    });
    let staying = Origin::ok("staying");
    let with = |addr| {
        Setup::new()
            .service_with("app", &[("stable", addr)], "drainTimeout: 500ms")
            .route("app", "backendRefs: [{ name: app }]")
    };
    let weir = Weir::start(&with(leaving.addr()));
    let mut client = weir.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    client.wire.head().expect("a head").expect("an answer");
    let start = std::time::Instant::now();
    weir.apply(&with(staying.addr()));
    let rest = client.closed();
    let took = start.elapsed();
    assert!(
        !rest.ends_with(b"0\r\n\r\n"),
        "a body that was cut must not look whole"
    );
    assert!(
        took >= Duration::from_millis(400) && took < Duration::from_secs(5),
        "cut off after {took:?}"
    );
}

// semantics 32
#[test]
fn a_listener_can_come_and_go_without_disturbing_another() {
    let origin = Origin::ok("app");
    let setup = Setup::to(&origin);
    let weir = Weir::start(&setup);
    let second = weir_tests::ports::free();
    let with_second = setup.render(weir.ports()).replace(
        "listeners:\n",
        &format!("listeners:\n  - {{ name: second, bind: \"{second}\", protocol: http }}\n"),
    );
    let load = Load::gets(weir.addr(), 2, "a.example");
    load.advance(20);
    weir.rewrite_text(&with_second);
    eventually("the second listener", || Client::try_connect(second).ok());
    assert_eq!(
        weir_tests::client::get(second, "a.example", "/").status(),
        200
    );
    weir.rewrite(&setup);
    eventually("the end of the second listener", || {
        Client::try_connect(second).is_err().then_some(())
    });
    load.advance(20);
    load.stop_unharmed();
}

#[test]
fn a_file_replaced_by_writing_or_by_renaming_or_behind_a_link_is_noticed() {
    let origin = Origin::ok("app");
    let setup = Setup::to(&origin);
    let weir = Weir::start(&setup);
    let route = |host: &str| {
        setup.clone().rules(
            "extra",
            &format!("hostnames: [{host}]"),
            &["filters: [{ type: DirectResponse, directResponse: { status: 299 } }]"],
        )
    };
    let seen = |host: &str| {
        eventually(&format!("the route for {host}"), || {
            (weir.get(host, "/").status() == 299).then_some(())
        })
    };
    std::fs::write(weir.config(), route("written.example").render(weir.ports()))
        .expect("write in place");
    seen("written.example");
    weir.rewrite(&route("renamed.example"));
    seen("renamed.example");
    // As a mounted ConfigMap or secret changes: the name is a link to a file elsewhere.
    let elsewhere = tempfile::tempdir().expect("a directory");
    let target = elsewhere.path().join("data.yaml");
    std::fs::write(&target, route("linked.example").render(weir.ports())).expect("write elsewhere");
    let link = weir.config().with_extension("link");
    std::os::unix::fs::symlink(&target, &link).expect("a link");
    std::fs::rename(&link, weir.config()).expect("put the link in place");
    seen("linked.example");
}

// semantics 32
#[test]
fn a_wider_bind_on_the_same_port_goes_on_serving_there() {
    let origin = Origin::ok("app");
    let setup = Setup::to(&origin);
    let weir = Weir::start(&setup);
    let narrow = weir.addr();
    // Reached only through the wider bind.
    let other = SocketAddr::from(([127, 0, 0, 2], narrow.port()));
    assert_eq!(weir.get("a.example", "/").status(), 200);
    assert!(Client::try_connect(other).is_err());
    apply_text(
        &weir,
        &setup.render(Ports {
            listen: SocketAddr::from(([0, 0, 0, 0], narrow.port())),
            ..weir.ports()
        }),
    );
    for addr in [narrow, other] {
        within(Duration::from_secs(1), "the wider bind", || {
            Client::try_connect(addr).ok()
        });
    }
    for _ in 0..20 {
        for addr in [narrow, other] {
            let answer = weir_tests::client::get(addr, "a.example", "/");
            assert_eq!(answer.status(), 200, "at {addr}");
        }
    }
}

// semantics 14
#[test]
fn a_check_that_is_added_to_a_serving_service_loses_no_request() {
    let origin = Origin::ok("app");
    let with = |keys: &str| {
        Setup::new()
            .workers(2)
            .service_with("app", &[("stable", origin.addr())], keys)
            .route(
                "app",
                "backendRefs: [{ name: app }], retry: { attempts: 0 }",
            )
    };
    let weir = Weir::start(&with(""));
    let load = Load::gets(weir.addr(), 4, "a.example");
    load.advance(50);
    weir.apply(&with(
        "healthCheck: { http: { path: /healthy }, interval: 200ms }",
    ));
    eventually("a few checks", || {
        let requests = origin.requests();
        let checks = requests.iter().filter(|seen| seen.target() == "/healthy");
        (checks.count() >= 3).then_some(())
    });
    load.advance(50);
    load.stop_unharmed();
}

// semantics 33
#[test]
fn an_idle_client_is_not_closed_for_an_endpoint_that_once_refused_it() {
    let dead = weir_tests::ports::free();
    let alive = Origin::ok("alive");
    let with = |addr| {
        Setup::new()
            .service_with("app", &[("stable", addr)], "drainTimeout: 500ms")
            .route(
                "app",
                "backendRefs: [{ name: app }], retry: { attempts: 0 }",
            )
    };
    let weir = Weir::start(&with(dead));
    let mut client = weir.client();
    let refused = client.get("a.example", "/");
    assert_eq!(refused.status(), 503, "{}", refused.text());
    assert!(
        !refused.closes(),
        "a refusal of the endpoint, not of the client"
    );
    weir.apply(&with(alive.addr()));
    // Three times the drain timeout, and a margin for the timer's sweep.
    let rest = client
        .wire
        .arriving(Duration::from_millis(1800))
        .expect("an open connection");
    assert_eq!(rest, b"");
    let again = client.get("a.example", "/");
    assert_eq!(again.get("x-origin"), Some("alive"));
}

// semantics 16
#[test]
fn an_endpoint_whose_weight_changes_keeps_its_connections() {
    let origin = Origin::ok("app");
    let setup = Setup::to(&origin);
    let weir = Weir::start(&setup);
    let mut client = weir.client();
    assert_eq!(client.get("a.example", "/").status(), 200);
    for weight in [5, 2, 9] {
        apply_text(&weir, &weighted(&setup.render(weir.ports()), weight));
        assert_eq!(client.get("a.example", "/").status(), 200);
    }
    assert_eq!(origin.accepted(), 1, "connections opened");
}

// semantics 33
#[test]
fn a_quiet_stream_on_an_endpoint_weighted_anew_and_then_removed_is_cut_too() {
    let leaving = Origin::start(|exchange| {
        if exchange.head.word(1) != "/quiet" {
            return exchange.reply(200, "", "OK");
        }
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")?;
        exchange.wire.to_end()?;
        Ok(After::Close)
    });
    let staying = Origin::ok("staying");
    let with = |addr| {
        Setup::new()
            .service_with("app", &[("stable", addr)], "drainTimeout: 500ms")
            .route("app", "backendRefs: [{ name: app }]")
    };
    let weir = Weir::start(&with(leaving.addr()));
    let mut client = weir.client();
    client.send("GET /quiet HTTP/1.1\r\nHost: a.example\r\n\r\n");
    client.wire.head().expect("a head").expect("an answer");
    let before = with(leaving.addr()).render(weir.ports());
    apply_text(&weir, &weighted(&before, 5));
    // Every worker has taken the new weight up once it has answered by it.
    assert_eq!(weir.get("a.example", "/").status(), 200);
    let start = std::time::Instant::now();
    weir.apply(&with(staying.addr()));
    let rest = client.closed();
    let took = start.elapsed();
    assert!(
        !rest.ends_with(b"0\r\n\r\n"),
        "a body that was cut must not look whole"
    );
    assert!(
        took >= Duration::from_millis(400) && took < Duration::from_secs(5),
        "cut off after {took:?}"
    );
}
