//! Long streams, which go through a pipe in the kernel: that they do so, and that nothing else can tell.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use weir_tests::config::Setup;
use weir_tests::wait::{eventually, within};
use weir_tests::weir::{Weir, under};
use weir_tests::wire::Wire;

use super::support::{TcpOrigin, connect, echo, log_lines};

const MIB: usize = 1 << 20;

/// The nth MiB of a stream, unlike any other: what is lost, doubled or out of order does not equal it.
fn pattern(n: usize) -> Vec<u8> {
    static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let byte = |n: usize| ((n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8;
        (0..MIB).map(byte).collect()
    });
    let mut bytes = NOISE.clone();
    bytes.rotate_left(n * 4099 % MIB);
    bytes
}

/// Sends so many MiB of the pattern, as long as somebody takes them.
fn send_pattern(wire: &mut Wire, mib: usize) -> usize {
    for at in 0..mib {
        if wire.send(pattern(at)).is_err() {
            return at;
        }
    }
    mib
}

/// Reads so many MiB of the pattern, from one place on.
fn expect_pattern(wire: &mut Wire, from_mib: usize, mib: usize) {
    for at in from_mib..from_mib + mib {
        let got = wire
            .exactly(MIB)
            .unwrap_or_else(|e| panic!("MiB {at}: {e}"));
        assert!(got == pattern(at), "MiB {at} is another");
    }
}

fn setup(origin: &TcpOrigin) -> Setup {
    Setup::new()
        .protocol("tcp")
        .workers(1)
        .access_log("json")
        .service("db", &[("stable", origin.addr())])
        .stream("db", "backendRefs: [{ name: db }]")
}

/// Pipes that the process has open, by descriptor.
fn pipe_ends(weir: &Weir) -> usize {
    let dir = format!("/proc/{}/fd", weir.pid());
    let entries = std::fs::read_dir(dir).expect("it lives");
    entries
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|link| link.to_string_lossy().starts_with("pipe:"))
        .count()
}

/// Reads until the stream stands still in a pipe, and gives the MiB that were read.
fn read_into_splice(weir: &Weir, wire: &mut Wire, before: usize) -> usize {
    for mib in 0..64 {
        expect_pattern(wire, mib, 1);
        // While nobody reads, what is under way stays where it is.
        if mib > 2 && pipe_ends(weir) > before {
            return mib + 1;
        }
    }
    panic!("64 MiB, and never through a pipe");
}

#[test]
fn a_long_stream_goes_through_a_pipe_and_arrives_whole_both_ways() {
    let origin = TcpOrigin::start(|mut wire| echo(&mut wire));
    let weir = Weir::start(&setup(&origin));
    let before = pipe_ends(&weir);
    let mut client = connect(&weir);
    let mut writer = Wire::new(client.stream().try_clone().expect("a second handle"), None);
    let writing = std::thread::spawn(move || {
        assert_eq!(send_pattern(&mut writer, 96), 96);
        writer.finish().expect("end");
    });
    let read = read_into_splice(&weir, &mut client, before);
    expect_pattern(&mut client, read, 96 - read);
    assert_eq!(client.to_end().expect("the end"), b"");
    writing.join().expect("the writer");
    let line = log_lines(&weir, 1).remove(0);
    for key in ["bytes_in", "bytes_out"] {
        assert_eq!(line[key].as_u64(), Some(96 * MIB as u64), "{key}: {line}");
    }
    assert_eq!(line["flags"], "-");
}

#[test]
fn an_end_amid_a_long_stream_ends_one_way_only() {
    let (told, heard) = std::sync::mpsc::channel();
    let told = Mutex::new(told);
    let origin = TcpOrigin::start(move |mut wire| {
        send_pattern(&mut wire, 80);
        let _ = wire.finish();
        let rest = wire.to_end().unwrap_or_default();
        let told = told.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = told.send(rest);
    });
    let weir = Weir::start(&setup(&origin));
    let before = pipe_ends(&weir);
    let mut client = connect(&weir);
    let read = read_into_splice(&weir, &mut client, before);
    expect_pattern(&mut client, read, 80 - read);
    assert_eq!(client.to_end().expect("the end"), b"");
    // The other way goes on, long after, and as long.
    assert_eq!(send_pattern(&mut client, 20), 20);
    client.finish().expect("end");
    let rest = heard
        .recv_timeout(Duration::from_secs(60))
        .expect("the rest");
    let want = (0..20).flat_map(pattern).collect::<Vec<u8>>();
    assert!(rest == want, "{} bytes", rest.len());
}

#[test]
fn a_reader_that_stops_holds_the_writer_back_and_costs_no_memory() {
    let sent = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&sent);
    let origin = TcpOrigin::start(move |mut wire| {
        for at in 0..256 {
            if wire.send(pattern(at)).is_err() {
                return;
            }
            *counted.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        }
    });
    let sent = || *sent.lock().unwrap_or_else(PoisonError::into_inner);
    let weir = Weir::start(&setup(&origin));
    let (before, memory) = (pipe_ends(&weir), weir.rss_kib());
    let mut client = connect(&weir);
    let read = read_into_splice(&weir, &mut client, before);
    let mut last = usize::MAX;
    within(Duration::from_secs(30), "the writer to stand still", || {
        std::thread::sleep(Duration::from_millis(300));
        (std::mem::replace(&mut last, sent()) == sent()).then_some(())
    });
    // What the sockets of both sides hold, up to 6 MiB each by default, and not the rest.
    assert!(last < read + 40, "{last} MiB sent, {read} read");
    let grown = weir.rss_kib().saturating_sub(memory);
    assert!(grown < 2048, "{grown} KiB more than before");
    expect_pattern(&mut client, read, 256 - read);
}

#[test]
fn what_a_broken_stream_left_in_its_pipe_is_in_no_other() {
    let origin = TcpOrigin::start(|mut wire| {
        send_pattern(&mut wire, 64);
    });
    let weir = Weir::start(&setup(&origin));
    let before = pipe_ends(&weir);
    for _ in 0..3 {
        let mut client = connect(&weir);
        read_into_splice(&weir, &mut client, before);
        client.stream().peek(&mut [0]).expect("more is under way");
        client.reset_on_close();
    }
    let mut client = connect(&weir);
    let read = read_into_splice(&weir, &mut client, before);
    expect_pattern(&mut client, read, 64 - read);
    let lines = log_lines(&weir, 3);
    assert!(lines.iter().all(|line| line["flags"] == "DC"), "{lines:?}");
    drop(client);
    eventually("free pipes to be closed in time", || {
        (pipe_ends(&weir) <= before + 2).then_some(())
    });
}

// semantics 33, 35
#[test]
fn a_long_stream_outlives_changes_and_a_drain() {
    let origin = TcpOrigin::start(|mut wire| {
        send_pattern(&mut wire, 96);
    });
    let setup = setup(&origin)
        .top("gracePeriod: 100ms")
        .top("drainTimeout: 60s");
    let mut weir = Weir::start(&setup);
    let before = pipe_ends(&weir);
    let mut client = connect(&weir);
    let read = read_into_splice(&weir, &mut client, before);
    for n in 0..5 {
        let extra = format!("extra-{n}");
        weir.apply(&setup.clone().service(&extra, &[("stable", origin.addr())]));
        expect_pattern(&mut client, read + n, 1);
    }
    weir.signal(Signal::TERM);
    within(Duration::from_secs(10), "no more connections", || {
        std::net::TcpStream::connect(weir.addr())
            .is_err()
            .then_some(())
    });
    expect_pattern(&mut client, read + 5, 96 - read - 5);
    assert_eq!(client.to_end().expect("the end"), b"");
    drop(client);
    assert_eq!(weir.wait_exit().code(), Some(0));
}

#[test]
fn a_long_stream_ends_when_nothing_moves_and_not_while_a_little_does() {
    let origin = TcpOrigin::start(|mut wire| {
        send_pattern(&mut wire, 200);
    });
    let setup = setup(&origin).listener("limits: { streamIdleTimeout: 1s }");
    let weir = Weir::start(&setup);
    let before = pipe_ends(&weir);
    let mut client = connect(&weir);
    let read = read_into_splice(&weir, &mut client, before);
    let start = Instant::now();
    let mut at = read;
    while start.elapsed() < Duration::from_secs(3) {
        expect_pattern(&mut client, at, 1);
        at += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(log_lines(&weir, 1)[0]["flags"], "SI");
    let left = client.to_end().unwrap_or_default();
    assert!(left.len() < (200 - at) * MIB, "it was cut off");
}

#[test]
fn without_descriptors_for_pipes_a_long_stream_is_copied() {
    let origin = TcpOrigin::start(|mut wire| {
        send_pattern(&mut wire, 48);
    });
    let setup = setup(&origin);
    let weir = Weir::start_with(
        |ports| setup.render(ports),
        |command| under(command, &["prlimit".into(), "--nofile=256:256".into()]),
    );
    let before = pipe_ends(&weir);
    let mut client = connect(&weir);
    for at in 0..48 {
        expect_pattern(&mut client, at, 1);
        assert_eq!(pipe_ends(&weir), before);
    }
    assert_eq!(client.to_end().expect("the end"), b"");
}
