//! Too little of something: descriptors, memory, an origin's strength.

use std::io::Read as _;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use weir_tests::client::Client;
use weir_tests::load::Load;
use weir_tests::origin::{After, Origin};
use weir_tests::wait::{eventually, within};
use weir_tests::weir::{MemoryGroup, Weir, under};

use super::{GET, fault, routed, timed};

#[test]
fn out_of_descriptors_it_does_not_spin_serves_whom_it_has_and_recovers() {
    let origin = Origin::ok("app");
    let setup = routed(&[origin.addr()], "", "");
    let weir = Weir::start_with(
        |ports| setup.render(ports),
        |command| under(command, &["prlimit".into(), "--nofile=256:256".into()]),
    );
    let mut kept: Vec<_> = (0..4).map(|_| weir.client()).collect();
    for client in &mut kept {
        assert_eq!(client.get("a.example", "/").status(), 200);
    }
    let herd: Vec<_> = (0..400)
        .filter_map(|_| Client::try_connect(weir.addr()).ok())
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    let (cpu, clock) = (weir.cpu(), Instant::now());
    std::thread::sleep(Duration::from_secs(3));
    let busy = (weir.cpu() - cpu).as_secs_f64() / clock.elapsed().as_secs_f64();
    let mut good = 0;
    for _ in 0..25 {
        for client in &mut kept {
            good += usize::from(client.get("a.example", "/").status() == 200);
        }
    }
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", weir.pid()))
        .expect("the process lives")
        .count();
    let rejected = weir.metric("weir_connections_rejected_total", &[]);
    drop(herd);
    let gone = Instant::now();
    eventually("an answer to a newcomer", || {
        let mut client = Client::try_connect(weir.addr()).ok()?;
        client.wire.send(GET).ok()?;
        let response = client.try_response("GET").ok()??;
        (response.status() == 200).then_some(())
    });
    let recovered = gone.elapsed();
    fault(
        "256 descriptors, 400 clients that stay and say nothing, beside 4 that work",
        "under 50% of a core while held, all of 100 requests of the 4 answered, newcomers served once the 400 are gone",
        &format!(
            "{:.1}% of a core, {good} of 100, {descriptors} descriptors in use, {rejected} connections rejected, recovered after {recovered:?}",
            busy * 100.0
        ),
    );
    assert!(busy < 0.5, "{busy}");
    assert_eq!(good, 100);
    assert!(rejected > 0.0);
    // Clients take half of what is left beside a reserve, however many of them come at once.
    assert!(descriptors < 160, "{descriptors} descriptors");
}

const MIB: usize = 1024 * 1024;

#[test]
fn five_hundred_slow_readers_of_big_answers_do_not_exhaust_128_mib() {
    let Some(group) = MemoryGroup::of(128 * MIB as u64) else {
        return;
    };
    let body = Arc::new(vec![b'x'; 10 * MIB]);
    let origin = Origin::start(move |exchange| {
        exchange.body()?;
        if exchange.head.word(1) != "/big" {
            return exchange.reply(200, "", "OK");
        }
        exchange.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ))?;
        exchange.send(&*body)?;
        Ok(After::Keep)
    });
    let setup = routed(&[origin.addr()], "", "");
    let mut weir = Weir::start_with(
        |ports| setup.render(ports),
        |command| group.confine(command),
    );
    let idle = weir.rss_kib();
    let mut herd: Vec<_> = (0..500)
        .map(|_| {
            let mut client = weir.client();
            client.send("GET /big HTTP/1.1\r\nHost: a.example\r\n\r\n");
            client
        })
        .collect();
    within(Duration::from_secs(30), "all of the big requests", || {
        (origin.count() >= 500).then_some(())
    });
    let mut most = 0;
    let (mut good, mut slowest) = (0, Duration::ZERO);
    for _ in 0..100 {
        let (response, took) = timed(&weir);
        good += usize::from(response.status() == 200);
        slowest = slowest.max(took);
        most = most.max(weir.rss_kib());
        std::thread::sleep(Duration::from_millis(10));
    }
    let peak = group.peak().map(|bytes| bytes / MIB as u64);
    assert!(weir.running(), "killed: {}", weir.logs());
    // One of them reads on after all, and gets it whole.
    let mut last = herd.pop().expect("a slow reader");
    let head = last.wire.head().expect("a head").expect("an answer");
    let whole = last.wire.exactly(10 * MIB).map(|body| body.len());
    let mut rest = [0; 1];
    last.wire
        .stream()
        .set_nonblocking(true)
        .expect("no waiting");
    let more = last.wire.stream().read(&mut rest);
    drop(herd);
    fault(
        &format!(
            "500 clients read nothing of 10 MiB answers; a cgroup (v{}) of 128 MiB",
            group.version
        ),
        "not killed, others served, a slow reader gets it whole in the end",
        &format!(
            "{good} of 100 others answered (slowest {slowest:?}), resident {} -> {} MiB, peak of the group {peak:?} MiB, {} with {whole:?} bytes",
            idle / 1024,
            most / 1024,
            head.status()
        ),
    );
    assert_eq!(good, 100);
    assert_eq!(whole.expect("the whole body"), 10 * MIB);
    assert!(more.is_err(), "nothing behind the body: {more:?}");
    assert!(most < 100 * 1024, "{most} KiB");
}

/// Works on a few requests at a time, each for a while; the others wait for their turn at the origin.
fn with_strength(at_once: usize, each: Duration) -> Origin {
    let free = (Mutex::new(at_once), Condvar::new());
    Origin::start(move |exchange| {
        exchange.body()?;
        let (lock, turn) = &free;
        let mut places = lock.lock().expect("no panic");
        while *places == 0 {
            places = turn.wait(places).expect("no panic");
        }
        *places -= 1;
        drop(places);
        std::thread::sleep(each);
        *lock.lock().expect("no panic") += 1;
        turn.notify_one();
        exchange.reply(200, "", "OK")
    })
}

/// Good answers a second of a load during that time; the rest is refused.
fn goodput(load: Load, time: Duration) -> (f64, usize, usize) {
    let clock = Instant::now();
    std::thread::sleep(time);
    let seconds = clock.elapsed().as_secs_f64();
    let report = load.stop();
    assert!(report.failures.is_empty(), "{:?}", report.failures.first());
    let good = report.kinds.get("200").copied().unwrap_or(0);
    (good as f64 / seconds, good, report.good - good)
}

#[test]
fn three_times_what_the_origin_can_do_leaves_it_doing_what_it_can() {
    let long = std::env::var_os("WEIR_LONG_TESTS").is_some_and(|value| value == "1");
    let time = Duration::from_secs(if long { 60 } else { 10 });
    // 200 requests a second.
    let origin = with_strength(4, Duration::from_millis(20));
    let keys = "connectionPool: { http: { http2MaxRequests: 8 } }";
    let weir = Weir::start(&routed(&[origin.addr()], keys, ""));
    let judge = |response: &weir_tests::client::Response| match response.status() {
        200 => Ok("200".to_owned()),
        503 if response.get("x-weir-overloaded").is_some() => Ok("refused".to_owned()),
        status => Err(format!("{status}: {}", response.text())),
    };
    let (peak, ..) = goodput(
        Load::start(weir.addr(), 8, GET, judge),
        Duration::from_secs(3),
    );
    // 600 a second are asked for: 60 clients, ten times a second each.
    let rest = Duration::from_millis(100);
    let load = Load::paced(weir.addr(), 60, rest, GET, judge);
    let (under_load, good, refused) = goodput(load, time);
    fault(
        &format!(
            "3x overload for {time:?}: 600/s for an origin of 200/s, at most 8 requests let through"
        ),
        "goodput at least 90% of the peak",
        &format!(
            "peak {peak:.0}/s, {under_load:.0}/s under overload ({:.0}%), {good} answered, {refused} refused",
            100.0 * under_load / peak
        ),
    );
    assert!(
        refused > good / 2,
        "no overload: {good} good, {refused} refused"
    );
    assert!(under_load >= peak * 0.9, "{under_load} of {peak}");
}
