//! Limits on requests and connections: exact over all workers, and at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use weir_tests::client::Response;
use weir_tests::origin::{After, Origin};
use weir_tests::wait::{PATIENCE, eventually};
use weir_tests::weir::Weir;

use super::{fault, routed, state, timed};

/// An origin that holds every request but those for `/quick` until it is opened, and knows the most it held at once.
struct Gate {
    origin: Origin,
    open: Arc<AtomicBool>,
    most: Arc<AtomicUsize>,
}

impl Gate {
    fn closed() -> Self {
        let (open, most) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (opened, top, held) = (Arc::clone(&open), Arc::clone(&most), AtomicUsize::new(0));
        let origin = Origin::start(move |exchange| {
            exchange.body()?;
            let now = held.fetch_add(1, Ordering::SeqCst) + 1;
            top.fetch_max(now, Ordering::SeqCst);
            let start = Instant::now();
            while !opened.load(Ordering::SeqCst) && start.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(2));
            }
            held.fetch_sub(1, Ordering::SeqCst);
            exchange.reply(200, "", "OK")
        });
        Self { origin, open, most }
    }

    fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

type Asked = JoinHandle<(Response, Duration)>;

/// A GET of that path by each of that many clients at the same time.
fn ask(weir: &Weir, clients: usize, path: &str) -> Vec<Asked> {
    let addr = weir.addr();
    let one = |_| {
        let path = path.to_owned();
        std::thread::spawn(move || {
            let mut client = weir_tests::client::Client::connect(addr);
            let start = Instant::now();
            let response = client.get("a.example", &path);
            (response, start.elapsed())
        })
    };
    (0..clients).map(one).collect()
}

/// What is there of the answers, once that many have come.
fn ended(asked: &[Asked]) -> usize {
    asked.iter().filter(|one| one.is_finished()).count()
}

fn answers(asked: Vec<Asked>) -> Vec<(Response, Duration)> {
    asked
        .into_iter()
        .map(|one| one.join().expect("a client"))
        .collect()
}

fn is_overload(response: &Response) -> bool {
    response.status() == 503 && response.get("x-weir-overloaded") == Some("true")
}

fn requests(limit: usize) -> String {
    format!("connectionPool: {{ http: {{ http2MaxRequests: {limit} }} }}, outlierDetection: {{}}")
}

// semantics 9
#[test]
fn as_many_requests_as_allowed_are_let_through_by_all_workers_and_the_rest_is_refused_at_once() {
    let gate = Gate::closed();
    let setup = |limit| routed(&[gate.origin.addr()], &requests(limit), "").access_log("json");
    let weir = Weir::start(&setup(20));
    let asked = ask(&weir, 60, "/");
    eventually("the refusals", || (ended(&asked) >= 40).then_some(()));
    gate.origin.wait_for(20);
    // A limit that is raised lets as many more through, without a restart.
    weir.apply(&setup(25));
    let more = ask(&weir, 10, "/");
    eventually("the refusals", || (ended(&more) >= 5).then_some(()));
    gate.origin.wait_for(25);
    let open = weir.metric("weir_circuit_open", &["limit=\"requests\""]);
    gate.open();
    let (asked, more) = (answers(asked), answers(more));
    let good = asked.iter().filter(|(r, _)| r.status() == 200).count();
    let refused: Vec<_> = asked.iter().filter(|(r, _)| is_overload(r)).collect();
    let slowest = refused
        .iter()
        .map(|(_, took)| *took)
        .max()
        .expect("a refusal");
    let good_after = more.iter().filter(|(r, _)| r.status() == 200).count();
    let counted = weir.metric("weir_circuit_rejected_total", &["limit=\"requests\""]);
    eventually("the flag in the log", || {
        (weir.stdout().matches("\"flags\":\"UO\"").count() >= 45).then_some(())
    });
    fault(
        "60 requests that stay, at a limit of 20 over two workers; then 10 more at a limit of 25",
        "exactly 20 let through, 40 refused at once with 503 UO; then exactly 5; nothing charged to the endpoint",
        &format!(
            "{good} let through, {} refused (slowest {slowest:?}), then {good_after}; most at the origin {}, {counted} counted, endpoint {}",
            refused.len(),
            gate.most(),
            state(&weir, gate.origin.addr())
        ),
    );
    assert_eq!((good, refused.len(), good_after), (20, 40, 5));
    assert_eq!((gate.most(), counted, open), (25, 45.0, 1.0));
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    assert_eq!(state(&weir, gate.origin.addr()), "ready");
    assert_eq!(timed(&weir).0.status(), 200);
}

#[test]
fn who_finds_no_connection_waits_in_line_and_beyond_the_line_is_refused() {
    let gate = Gate::closed();
    let keys =
        "connectionPool: { tcp: { maxConnections: 1 }, http: { http1MaxPendingRequests: 5 } }";
    let setup = routed(&[gate.origin.addr()], keys, "")
        .workers(1)
        .access_log("json");
    let weir = Weir::start(&setup);
    let mut line = Vec::new();
    for place in 0..6 {
        line.extend(ask(&weir, 1, &format!("/{place}")));
        // The next one comes once this one has its place.
        eventually("a place", || {
            let inflight = weir.metric("weir_inflight_requests", &[]);
            (inflight >= f64::from(place + 1)).then_some(())
        });
    }
    let beyond = answers(ask(&weir, 4, "/beyond"));
    let slowest = beyond
        .iter()
        .map(|(_, took)| *took)
        .max()
        .expect("a refusal");
    gate.open();
    let good = answers(line)
        .iter()
        .filter(|(r, _)| r.status() == 200)
        .count();
    let seen = gate.origin.requests();
    let order: Vec<_> = seen.iter().map(weir_tests::origin::Seen::target).collect();
    let counted = weir.metric("weir_circuit_rejected_total", &["limit=\"pending\""]);
    fault(
        "one connection, a line of 5: 6 requests that stay, then 4 more",
        "all 6 answered in the order in which they came, 4 refused at once with 503 UO",
        &format!("{good} answered in the order {order:?}, {counted} refused, slowest {slowest:?}"),
    );
    assert_eq!(good, 6);
    assert_eq!(order, ["/0", "/1", "/2", "/3", "/4", "/5"]);
    assert!(beyond.iter().all(|(r, _)| is_overload(r)), "{beyond:?}");
    assert_eq!((counted, gate.most()), (4.0, 1));
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    eventually("the flag in the log", || {
        (weir.stdout().matches("\"flags\":\"UO\"").count() == 4).then_some(())
    });
}

#[test]
fn those_who_wait_on_one_worker_are_not_forgotten_for_those_of_another() {
    let most = Arc::new(AtomicUsize::new(0));
    let (top, held) = (Arc::clone(&most), AtomicUsize::new(0));
    let origin = Origin::start(move |exchange| {
        exchange.body()?;
        let now = held.fetch_add(1, Ordering::SeqCst) + 1;
        top.fetch_max(now, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(5));
        held.fetch_sub(1, Ordering::SeqCst);
        exchange.reply(200, "", "OK")
    });
    let keys = "connectionPool: { tcp: { maxConnections: 2 } }";
    let weir = Weir::start(&routed(&[origin.addr()], keys, ""));
    let (addr, until) = (weir.addr(), Instant::now() + Duration::from_secs(5));
    let clients: Vec<_> = (0..16)
        .map(|_| {
            std::thread::spawn(move || {
                let mut client = weir_tests::client::Client::connect(addr);
                let (mut good, mut bad, mut longest) = (0, 0, Duration::ZERO);
                while Instant::now() < until {
                    let (response, took) = super::timed_on(&mut client);
                    match response.status() {
                        200 => good += 1,
                        _ => bad += 1,
                    }
                    longest = longest.max(took);
                }
                (good, bad, longest)
            })
        })
        .collect();
    let told: Vec<_> = clients
        .into_iter()
        .map(|c| c.join().expect("a client"))
        .collect();
    let (good, bad): (usize, usize) = (
        told.iter().map(|t| t.0).sum(),
        told.iter().map(|t| t.1).sum(),
    );
    let least = told.iter().map(|t| t.0).min().expect("a client");
    let longest = told.iter().map(|t| t.2).max().expect("a client");
    fault(
        "16 clients of two workers on 2 connections, answers in 5 ms, for 5 s",
        "no failure, nobody waits for seconds (fair: 40 ms), never more than 2 at the origin",
        &format!(
            "{good} answered, {bad} failed, longest wait {longest:?}, least of one client {least}, most at once {}",
            most.load(Ordering::SeqCst)
        ),
    );
    assert_eq!((bad, most.load(Ordering::SeqCst)), (0, 2));
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    assert!(least * 10 > good / 16, "{told:?}");
}

// semantics 10
#[test]
fn a_websocket_counts_as_a_connection_and_not_as_a_request() {
    let origin = Origin::start(|exchange| {
        exchange.body()?;
        if exchange.head.word(1) != "/ws" {
            return exchange.reply(200, "", "OK");
        }
        exchange.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        )?;
        exchange.wire.to_end()?;
        Ok(After::Close)
    });
    let keys = "connectionPool: { http: { http2MaxRequests: 1, http1MaxPendingRequests: 1 }, tcp: { maxConnections: 3 } }";
    let weir = Weir::start(&routed(&[origin.addr()], keys, "").workers(1));
    let mut sockets: Vec<_> = (0..2).map(|_| weir.client()).collect();
    for socket in &mut sockets {
        socket.send(
            "GET /ws HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        assert_eq!(socket.response().status(), 101);
    }
    let beside = weir.get("a.example", "/").status();
    let mut third = weir.client();
    third.send(
        "GET /ws HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    let upgraded = third.response().status();
    let waiting = ask(&weir, 1, "/");
    eventually("one that waits for a connection", || {
        let full = weir.metric("weir_circuit_open", &["limit=\"requests\""]);
        (full == 1.0).then_some(())
    });
    let full = weir.get("a.example", "/");
    drop(sockets.pop());
    let waited = answers(waiting)[0].0.status();
    fault(
        "three WebSockets at a limit of one request and three connections",
        "requests go on beside two of them (200); beside three one waits until one of them ends (200), and the next is refused (503 UO)",
        &format!(
            "{beside}, third upgrade {upgraded}; {waited} and {}",
            full.status()
        ),
    );
    assert_eq!((beside, upgraded, waited), (200, 101, 200));
    assert!(is_overload(&full), "{full:?}");
}

#[test]
fn a_rotation_goes_on_over_waits_for_the_one_connection() {
    let (first, second) = (Origin::ok("first"), Origin::ok("second"));
    let aside = Origin::ok("aside");
    let one = "connectionPool: { tcp: { maxConnections: 1 } }";
    let keys = format!("loadBalancer: {{ simple: ROUND_ROBIN }}, {one}");
    let setup = routed(&[first.addr(), second.addr()], &keys, "")
        .service_with("aside", &[("stable", aside.addr())], one)
        .route(
            "aside",
            "matches: [{ path: { type: PathPrefix, value: /aside } }], backendRefs: [{ name: aside }]",
        );
    let weir = Weir::start(&setup);
    let ask = |client: &mut weir_tests::client::Client, path: &str| {
        let response = client.get("a.example", path);
        assert_eq!(response.status(), 200);
        response.get("x-origin").expect("a name").to_owned()
    };
    // The worker of one finds the one connection idle on the worker of the other, each time, and waits until it is closed.
    let mut one = weir.client();
    let mut other = eventually("a client of the other worker", || {
        let mut other = weir.client();
        ask(&mut one, "/aside");
        let before = aside.accepted();
        ask(&mut other, "/aside");
        (aside.accepted() > before).then_some(other)
    });
    let mut told = [Vec::new(), Vec::new()];
    for _ in 0..6 {
        told[0].push(ask(&mut one, "/"));
        told[1].push(ask(&mut other, "/"));
    }
    fault(
        "two endpoints in rotation, one connection for both, asked by two workers in turn",
        "each worker gives to the two in turn",
        &format!("{told:?}"),
    );
    for told in told {
        assert!(told.windows(2).all(|two| two[0] != two[1]), "{told:?}");
    }
}
