//! More to do than the process can hold: memory, requests at once, descriptors.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use weir_tests::client::{Client, Response};
use weir_tests::config::Setup;
use weir_tests::origin::{After, Origin};
use weir_tests::wait::{eventually, within};
use weir_tests::weir::Weir;

/// The machine may be slow, and memory is looked at four times a second.
const PATIENCE: Duration = Duration::from_secs(30);

fn is_shed(response: &Response) -> bool {
    if response.status() != 503 {
        return false;
    }
    let again = response.get("Retry-After").and_then(|s| s.parse().ok());
    assert!(again.is_some_and(|s: u8| (1..=3).contains(&s)), "{again:?}");
    assert_eq!(response.get("x-weir-overloaded"), Some("true"));
    true
}

fn logged_flag(weir: &Weir, flag: &str) {
    let wanted = format!("\"flags\":\"{flag}\"");
    eventually("the flag in the access log", || {
        weir.stdout().contains(&wanted).then_some(())
    });
}

/// An origin that upgrades on `/tunnel` and then echoes.
fn echoing() -> Origin {
    Origin::start(|exchange| {
        exchange.body()?;
        if exchange.head.word(1) != "/tunnel" {
            return exchange.reply(200, "", "OK");
        }
        exchange.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
        )?;
        loop {
            let bytes = exchange.wire.some()?;
            if bytes.is_empty() {
                return Ok(After::Close);
            }
            exchange.send(bytes)?;
        }
    })
}

/// Opens a tunnel through Weir.
fn tunnel(weir: &Weir) -> Client {
    let mut client = weir.client();
    client.send(
        "GET /tunnel HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
    );
    let head = client.wire.head().expect("a head").expect("an answer");
    assert_eq!(head.status(), 101);
    client
}

fn echoes(client: &mut Client) {
    client.send("ping");
    let echoed = client.wire.exactly(4).expect("what was sent");
    assert_eq!(echoed, b"ping");
}

/// A connection that holds a large buffer: most of a long head, and no end of it.
fn hold(weir: &Weir) -> Client {
    let mut client = weir.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n");
    for field in 0..5 {
        client.send(format!("x-{field}: {}\r\n", "a".repeat(11_000)));
    }
    client
}

#[test]
fn full_memory_refuses_requests_until_there_is_room_and_touches_nothing_else() {
    let origin = echoing();
    let setup = Setup::to(&origin)
        .access_log("json")
        .listener("limits: { headTimeout: 5m }");
    let weir = Weir::start(&setup);
    assert_eq!(weir.get("a.example", "/").status(), 200);
    // Full at what an idle one takes and 16 MiB more.
    let idle_kib = weir.rss_kib();
    drop(weir);
    let limit_kib = (idle_kib + 16 * 1024) * 100 / 90;
    let weir = Weir::start(&setup.top(&format!(
        "overload: {{ memory: {{ limit: {limit_kib}KiB, shedAt: 90%, closeIdleAt: 89% }} }}"
    )));
    assert_eq!(weir.get("a.example", "/").status(), 200);
    let mut open = tunnel(&weir);
    let mut kept = weir.client();
    assert_eq!(kept.get("a.example", "/").status(), 200);

    let held: Vec<Client> = (0..500).map(|_| hold(&weir)).collect();
    within(PATIENCE, "memory to be full", || {
        is_shed(&weir.get("a.example", "/")).then_some(())
    });
    kept.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\n\r\nbody");
    let refused = kept.response_to("POST");
    assert!(
        is_shed(&refused) && !refused.closes(),
        "the connection stays"
    );
    assert!(is_shed(&kept.get("a.example", "/")));
    logged_flag(&weir, "OM");
    assert_eq!(weir.admin("/ready").status(), 200);
    assert!(weir.metric("weir_overload_shed_total", &["reason=\"memory\""]) >= 3.0);
    eventually("three such requests in the metrics", || {
        (weir.metric("weir_requests_total", &["flag=\"OM\""]) >= 3.0).then_some(())
    });
    assert!(weir.metric("weir_overload", &["resource=\"memory\""]) > 0.8);
    echoes(&mut open);

    drop(held);
    within(PATIENCE, "room again", || {
        (weir.get("a.example", "/").status() == 200).then_some(())
    });
    assert_eq!(kept.get("a.example", "/").status(), 200);
    echoes(&mut open);
}

#[test]
fn tight_memory_ends_connections_with_their_answer_and_refuses_nothing() {
    let origin = Origin::ok("app");
    // Weir alone takes more than 1% of that, and never all of it.
    let weir = Weir::start(
        &Setup::to(&origin)
            .top("overload: { memory: { limit: 512MiB, shedAt: 100%, closeIdleAt: 1% } }"),
    );
    within(PATIENCE, "memory to be tight", || {
        let response = weir.get("a.example", "/");
        assert_eq!(response.status(), 200);
        response.closes().then_some(())
    });
    assert!(weir.get("b.example", "/").closes());
    assert_eq!(weir.metric("weir_overload_shed_total", &[]), 0.0);
}

#[test]
fn the_cap_on_requests_is_that_of_all_workers_and_a_tunnel_is_no_request() {
    const CAP: usize = 5;
    const CLIENTS: usize = 40;
    let go = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&go);
    let origin = Origin::start(move |exchange| {
        exchange.body()?;
        if exchange.head.word(1) == "/tunnel" {
            exchange.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
            )?;
            exchange.wire.to_end()?;
            return Ok(After::Close);
        }
        while !gate.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        exchange.reply(200, "", "OK")
    });
    let weir = Weir::start(
        &Setup::to(&origin)
            .workers(2)
            .access_log("json")
            .top(&format!("overload: {{ maxRequests: {CAP} }}")),
    );
    let _tunnel = tunnel(&weir);
    let start = Barrier::new(CLIENTS);
    let outcomes: Vec<bool> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = weir.client();
                    start.wait();
                    let response = client.get("a.example", "/");
                    assert!(response.status() == 200 || is_shed(&response));
                    response.status() == 200
                })
            })
            .collect();
        within(PATIENCE, "all others to be refused", || {
            let refused = weir.metric("weir_overload_shed_total", &["reason=\"requests\""]);
            (refused as usize >= CLIENTS - CAP).then_some(())
        });
        weir.counts("weir_overload", &["resource=\"requests\""], 1.0);
        go.store(true, Ordering::SeqCst);
        clients
            .into_iter()
            .map(|client| client.join().expect("a client"))
            .collect()
    });
    let served = outcomes.iter().filter(|served| **served).count();
    assert_eq!(served, CAP, "no fewer and no more");
    logged_flag(&weir, "OM");
    assert_eq!(weir.get("a.example", "/").status(), 200, "places come back");
    eventually("no request to be counted", || {
        (weir.metric("weir_overload", &["resource=\"requests\""]) == 0.0).then_some(())
    });
}

/// The same command with 256 descriptors.
fn few_descriptors(command: &mut Command) {
    let mut limited = Command::new("prlimit");
    limited.arg("--nofile=256").arg(command.get_program());
    limited.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited.stdin(Stdio::null());
    limited.stdout(Stdio::piped()).stderr(Stdio::piped());
    *command = limited;
}

/// The share of one CPU that it takes over a second.
fn busy(weir: &Weir) -> f64 {
    let used = || -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", weir.pid())).expect("it lives");
        let after_name = stat.rsplit(") ").next().expect("a state");
        // Ticks of user and system time, the 14th and 15th of all, at 100 a second (proc_pid_stat(5)).
        let ticks = after_name.split(' ').skip(11).take(2);
        ticks
            .map(|ticks| ticks.parse::<u64>().expect("ticks"))
            .sum()
    };
    let (before, start) = (used(), Instant::now());
    std::thread::sleep(Duration::from_secs(1));
    (used() - before) as f64 / 100.0 / start.elapsed().as_secs_f64()
}

#[test]
fn clients_above_the_cap_leave_descriptors_for_admin_and_harm_nobody() {
    let origin = Origin::ok("app");
    let setup = Setup::to(&origin);
    let weir = Weir::start_with(|ports| setup.render(ports), few_descriptors);
    // Half of 256 less a quarter held back.
    const CAP: usize = 96;
    let mut first = weir.client();
    assert_eq!(first.get("a.example", "/").status(), 200);
    let mut crowd: Vec<Client> = (0..400)
        .filter_map(|_| Client::try_connect(weir.addr()).ok())
        .collect();
    eventually("those above the cap to be turned away", || {
        (weir.metric("weir_connections_rejected_total", &[]) as usize >= 401 - CAP).then_some(())
    });
    assert_eq!(
        weir.metric("weir_downstream_connections", &[]) as usize,
        CAP,
        "the cap is exact, even for connections that come at once"
    );
    weir.counts("weir_overload", &["resource=\"connections\""], 1.0);
    assert_eq!(weir.admin("/ready").status(), 200);
    assert_eq!(first.get("a.example", "/").status(), 200);
    let served = crowd
        .iter_mut()
        .filter_map(|client| {
            let request = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
            client.wire.send(request).ok()?;
            client.try_response("GET").ok().flatten()
        })
        .filter(|response| response.status() == 200)
        .count();
    assert_eq!(served, CAP - 1, "whoever was taken is served");
    let busy = busy(&weir);
    assert!(busy < 0.5, "{busy} of a CPU with nothing to do");

    drop(crowd);
    eventually("room for new clients", || {
        let mut client = Client::try_connect(weir.addr()).ok()?;
        client
            .wire
            .send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
            .ok()?;
        let response = client.try_response("GET").ok().flatten()?;
        (response.status() == 200).then_some(())
    });
}

#[test]
fn without_a_descriptor_left_accepting_waits_and_goes_on_when_there_is_one() {
    let origin = Origin::ok("app");
    let weir = Weir::start(&Setup::to(&origin));
    let mut first = weir.client();
    assert_eq!(first.get("a.example", "/").status(), 200);
    let pid = i32::try_from(weir.pid()).ok().and_then(Pid::from_raw);
    let before = getrlimit(Resource::Nofile);
    // Of what is open nothing closes; nothing more can be opened.
    let none = Rlimit {
        current: Some(3),
        maximum: before.maximum,
    };
    let full = prlimit(pid, Resource::Nofile, none).expect("lower the limit");
    let mut late = weir.client();
    late.send("GET /late HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let share = busy(&weir);
    assert!(
        share < 0.5,
        "{share} of a CPU for a connection that cannot be taken"
    );
    assert_eq!(first.get("a.example", "/").status(), 200);
    prlimit(pid, Resource::Nofile, full).expect("restore the limit");
    assert_eq!(late.response().status(), 200, "it was queued, not lost");
    assert!(weir.metric("weir_connections_rejected_total", &[]) >= 1.0);
}
