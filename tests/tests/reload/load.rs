//! A thousand changes while requests, a stream and a WebSocket go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use weir_tests::client::Client;
use weir_tests::config::Setup;
use weir_tests::load::Load;
use weir_tests::origin::{After, Exchange, Origin};
use weir_tests::wait::within;
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
