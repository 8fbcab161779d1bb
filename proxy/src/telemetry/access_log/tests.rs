use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, SystemTime};

use super::*;
use crate::http::h1::head::Method;
use crate::snapshot::{Interner, SeriesIds};
use crate::telemetry::metrics::Gauges;
use crate::telemetry::{Flag, Record, Sample, Spoken};

/// Sends what is written, and waits before it for the gate where there is one.
struct Pipe {
    gate: Option<Receiver<()>>,
    out: Sender<Vec<u8>>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(gate) = &self.gate {
            let _ = gate.recv_timeout(Duration::from_secs(20));
        }
        self.out
            .send(bytes.to_vec())
            .map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(
    format: AccessLogFormat,
    gate: Option<Receiver<()>>,
) -> (AccessLog, Receiver<Vec<u8>>, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new(Arc::new(Interner::default())));
    let (out, written) = channel();
    let log = AccessLog::to(format, Box::new(Pipe { gate, out }), Arc::clone(&metrics)).unwrap();
    (log, written, metrics)
}

fn record() -> Record<'static> {
    let client = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    Record {
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_794_000_896_007),
        sample: Sample {
            series: SeriesIds::default(),
            method: Method::Get,
            protocol: Spoken::Http11,
            status: 200,
            flag: Flag::None,
            bytes_in: 120,
            bytes_out: 2345,
            duration: Duration::from_micros(1500),
            upstream: Some(Duration::from_micros(900)),
        },
        listener: "web",
        route: "shop",
        service: "shop",
        version: "canary",
        endpoint: Some("0123456789ab:8080"),
        method: b"GET",
        host: b"shop.example.com",
        path: b"/a/b",
        grpc_status: None,
        attempts: 1,
        policy: "",
        client,
        peer: (Ipv4Addr::LOCALHOST, 4711).into(),
        request_id: b"a1b2",
        trace_id: None,
        span_id: None,
        tls: None,
    }
}

fn line_of(format: AccessLogFormat, record: Record<'_>) -> String {
    let (log, written, _) = open(format, None);
    log.shard().log(|| record);
    assert!(log.flush(Duration::from_secs(10)));
    String::from_utf8(written.try_iter().flatten().collect()).unwrap()
}

fn dropped(metrics: &Metrics) -> u64 {
    let text = metrics.encode("", &Gauges::default());
    text.lines()
        .find_map(|line| line.strip_prefix("weir_log_dropped_total ")?.parse().ok())
        .unwrap()
}

#[test]
fn a_json_line_has_the_documented_keys_in_order() {
    let line = line_of(AccessLogFormat::Json, record());
    assert_eq!(
        line,
        concat!(
            r#"{"ts":"2026-11-06T21:34:56.007Z","request_id":"a1b2","trace_id":null,"span_id":null,"protocol":"HTTP/1.1","listener":"web","route":"shop","#,
            r#""service":"shop","version":"canary","endpoint":"0123456789ab:8080","method":"GET","#,
            r#""host":"shop.example.com","path":"/a/b","status":200,"grpc_status":null,"flags":"-","bytes_in":120,"bytes_out":2345,"#,
            r#""duration_us":1500,"upstream_us":900,"attempts":1,"policy":null,"client":"192.0.2.1","peer":"127.0.0.1:4711","tls":null,"sni":null,"alpn":null,"peer_san":null}"#,
            "\n",
        )
    );
}

#[test]
fn addresses_of_both_families_are_written_as_everywhere() {
    for peer in [
        "192.0.2.255:65535",
        "10.0.0.1:80",
        "[2001:db8::1]:443",
        "[::ffff:192.0.2.1]:1",
    ] {
        let peer: std::net::SocketAddr = peer.parse().unwrap();
        let record = Record {
            client: peer.ip(),
            peer,
            ..record()
        };
        let line: serde_json::Value =
            serde_json::from_str(&line_of(AccessLogFormat::Json, record)).unwrap();
        assert_eq!(line["client"], peer.ip().to_string());
        assert_eq!(line["peer"], peer.to_string());
    }
}

// semantics 46
#[test]
fn an_answer_of_our_own_says_so() {
    let record = Record {
        sample: Sample {
            status: 503,
            flag: Flag::UH,
            upstream: None,
            ..record().sample
        },
        endpoint: None,
        version: "",
        ..record()
    };
    let line: serde_json::Value =
        serde_json::from_str(&line_of(AccessLogFormat::Json, record)).unwrap();
    assert_eq!(
        (&line["flags"], &line["status"]),
        (&"UH".into(), &503.into())
    );
    for key in ["upstream_us", "endpoint", "version"] {
        assert_eq!(line.get(key), Some(&serde_json::Value::Null), "{key}");
    }
}

#[test]
fn hostile_bytes_stay_inside_one_line() {
    let path = [&b"/\"},\n{\"x\":\"\x00\xff\\"[..], &[b'a'; 100_000]].concat();
    let record = Record {
        path: &path,
        host: b"h\r\nx",
        method: b"G\"T",
        request_id: b"\xe2\x28",
        ..record()
    };
    for format in [
        AccessLogFormat::Json,
        AccessLogFormat::Common,
        AccessLogFormat::Combined,
    ] {
        let line = line_of(format, record.clone());
        assert_eq!(line.matches('\n').count(), 1, "{format:?}");
        assert!(line.len() < 4096, "{format:?} wrote {} bytes", line.len());
        if format == AccessLogFormat::Json {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(line["host"], "h\r\nx");
        }
    }
}

#[test]
fn the_common_formats_are_as_httpd_writes_them() {
    let common = r#"192.0.2.1 - - [06/Nov/2026:21:34:56 +0000] "GET /a/b HTTP/1.1" 200 2345"#;
    assert_eq!(
        line_of(AccessLogFormat::Common, record()),
        format!("{common}\n")
    );
    let rest = r#""-" "-" "shop.example.com" "-" 1500 "0123456789ab:8080" "a1b2""#;
    assert_eq!(
        line_of(AccessLogFormat::Combined, record()),
        format!("{common} {rest}\n")
    );
    let refused = Record {
        method: b"",
        path: b"",
        sample: Sample {
            status: 400,
            ..record().sample
        },
        ..record()
    };
    assert!(line_of(AccessLogFormat::Common, refused).contains(r#"] "-" 400 "#));
}

#[test]
fn off_writes_nothing_and_starts_nothing() {
    let (log, written, metrics) = open(AccessLogFormat::Off, None);
    let shard = log.shard();
    shard.log(record);
    shard.flush();
    assert!(log.flush(Duration::from_secs(1)));
    assert!(written.try_recv().is_err());
    assert_eq!(dropped(&metrics), 0);
}

#[test]
fn a_stuck_output_costs_lines_that_are_counted_and_never_waits() {
    let (open_gate, gate) = channel();
    let (log, written, metrics) = open(AccessLogFormat::Json, Some(gate));
    let shard = log.shard();
    let lines = 100_000;
    // Had the worker waited for the output, this would not end before the gate's 20 s.
    let start = Instant::now();
    for _ in 0..lines {
        shard.log(record);
    }
    assert!(start.elapsed() < Duration::from_secs(15));
    assert!(!log.flush(Duration::from_millis(10)), "the queue is full");
    drop(shard);
    drop(open_gate);
    assert!(log.flush(Duration::from_secs(10)));
    let text: Vec<u8> = written.try_iter().flatten().collect();
    let out = text.iter().filter(|b| **b == b'\n').count() as u64;
    assert!(dropped(&metrics) > 0 && out > 0);
    assert_eq!(out + dropped(&metrics), lines);
}

#[test]
fn lines_for_an_output_that_is_gone_are_counted() {
    let (log, written, metrics) = open(AccessLogFormat::Json, None);
    drop(written);
    log.shard().log(record);
    assert!(log.flush(Duration::from_secs(10)));
    assert_eq!(dropped(&metrics), 1);
}

#[test]
fn workers_do_not_mix_their_lines() {
    let (log, written, metrics) = open(AccessLogFormat::Json, None);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let shard = log.shard();
                for turn in 0..500 {
                    shard.log(record);
                    if turn % 100 == 0 {
                        shard.flush();
                    }
                }
            });
        }
    });
    assert!(log.flush(Duration::from_secs(10)));
    let text = String::from_utf8(written.try_iter().flatten().collect()).unwrap();
    assert!(
        text.lines()
            .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
    );
    assert_eq!(text.lines().count() as u64 + dropped(&metrics), 1500);
}
