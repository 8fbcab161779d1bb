//! What an operator sees of a request: one log line, bounded metrics, telling flags.

use serde_json::Value;
use weir_tests::config::Setup;
use weir_tests::origin::{After, Origin};
use weir_tests::ports;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

/// The access log's lines, once there are that many.
fn lines(weir: &Weir, count: usize) -> Vec<Value> {
    eventually(&format!("{count} lines in the access log"), || {
        let out = weir.stdout();
        let lines: Vec<&str> = out.lines().collect();
        (lines.len() >= count).then(|| {
            lines
                .iter()
                .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
                .collect()
        })
    })
}

#[test]
fn an_access_log_line_says_who_asked_what_and_who_answered() {
    let origin = Origin::ok("log");
    let weir = Weir::start(&Setup::to(&origin).access_log("json"));
    let mut client = weir.client();
    client.send("POST /p?q=1 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.response().status(), 200);
    let line = lines(&weir, 1).remove(0);
    let keys = [
        "ts",
        "request_id",
        "trace_id",
        "span_id",
        "protocol",
        "listener",
        "route",
        "service",
        "version",
        "endpoint",
        "method",
        "host",
        "path",
        "status",
        "flags",
        "bytes_in",
        "bytes_out",
        "duration_us",
        "upstream_us",
        "attempts",
        "client",
        "peer",
        "tls",
        "sni",
        "alpn",
        "peer_san",
    ];
    for key in keys {
        assert!(line.get(key).is_some(), "no {key} in {line}");
    }
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        (
            text("listener"),
            text("route"),
            text("service"),
            text("version")
        ),
        ("web".into(), "app".into(), "app".into(), "stable".into())
    );
    assert_eq!(
        (text("method"), text("host"), line["status"].as_u64()),
        ("POST".into(), "a.example".into(), Some(200))
    );
    assert!(text("path").starts_with("/p"), "{line}");
    assert!(text("client").starts_with("127.0.0.1"), "{line}");
    assert_eq!(line["attempts"].as_u64(), Some(1));
    assert_eq!(
        text("request_id"),
        origin.only().get("x-request-id").unwrap_or_default(),
        "the origin can be asked about the same id"
    );
}

#[test]
fn whatever_bytes_arrive_a_log_line_is_one_json_object() {
    let origin = Origin::ok("log");
    let weir = Weir::start(&Setup::to(&origin).access_log("json"));
    let nasty: [&[u8]; 5] = [
        b"GET /\"},{\"status\":200 HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"GET /\x1b[2J HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \"quoted\"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.example\r\nX: \xff\xfe\r\nX-Request-Id: a\"b\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n",
    ];
    for request in nasty {
        let mut client = weir.client();
        client.send(request);
        client.answer("GET", std::time::Duration::from_secs(2));
    }
    for line in lines(&weir, nasty.len() - 1) {
        assert!(line.is_object() && line.get("status").is_some(), "{line}");
    }
}

// semantics 46
#[test]
fn a_proxys_own_failure_is_told_from_an_origins() {
    let failing = Origin::start(|exchange| exchange.reply(503, "", "from the origin"));
    let broken = Origin::raw("garbage\r\n\r\n", After::Close);
    let setup = Setup::new()
        .access_log("json")
        .service("failing", &[("stable", failing.addr())])
        .service("broken", &[("stable", broken.addr())])
        .service("dead", &[("stable", ports::free())])
        .service("empty", &[])
        .rules(
            "failing",
            "hostnames: [failing.example]",
            &["backendRefs: [{ name: failing }]"],
        )
        .rules(
            "broken",
            "hostnames: [broken.example]",
            &["backendRefs: [{ name: broken }]"],
        )
        .rules(
            "dead",
            "hostnames: [dead.example]",
            &["backendRefs: [{ name: dead }]"],
        )
        .rules(
            "empty",
            "hostnames: [empty.example]",
            &["backendRefs: [{ name: empty }]"],
        );
    let weir = Weir::start(&setup);
    let hosts = [
        "failing.example",
        "broken.example",
        "dead.example",
        "empty.example",
        "nobody.example",
    ];
    for host in hosts {
        let _ = weir.get(host, "/");
    }
    let lines = lines(&weir, hosts.len());
    let flags = |host: &str| {
        let line = lines
            .iter()
            .find(|line| line["host"] == host)
            .unwrap_or_else(|| panic!("no line for {host}: {lines:?}"));
        line["flags"].as_str().unwrap_or_default().to_owned()
    };
    assert!(
        ["", "-"].contains(&flags("failing.example").as_str()),
        "an origin's 503 carries no flag of ours"
    );
    assert!(
        !["", "-"].contains(&flags("broken.example").as_str()),
        "a broken answer does"
    );
    assert!(
        flags("dead.example").contains("UF"),
        "{}",
        flags("dead.example")
    );
    assert!(
        flags("empty.example").contains("UH"),
        "{}",
        flags("empty.example")
    );
    assert!(
        flags("nobody.example").contains("NR"),
        "{}",
        flags("nobody.example")
    );
}

// semantics 44, 45
#[test]
fn metrics_count_requests_by_bounded_labels() {
    let origin = Origin::ok("metrics");
    let weir = Weir::start(&Setup::to(&origin));
    for n in 0..20 {
        assert_eq!(
            weir.get(&format!("host-{n}.example"), &format!("/path-{n}"))
                .status(),
            200
        );
    }
    eventually("the requests in the metrics", || {
        (weir.metric(
            "weir_requests_total",
            &["service=\"app\"", "version=\"stable\"", "2xx"],
        ) >= 20.0)
            .then_some(())
    });
    let text = weir.admin("/metrics").text();
    assert!(
        !text.contains("host-3.example") && !text.contains("path-3"),
        "raw hosts and paths are no labels"
    );
    for family in [
        "weir_requests_total",
        "weir_request_duration_seconds",
        "weir_upstream_duration_seconds",
        "weir_request_bytes_total",
        "weir_response_bytes_total",
        "weir_downstream_connections",
        "weir_config_generation",
    ] {
        assert!(text.contains(family), "no {family}");
    }
    for line in text
        .lines()
        .filter(|line| line.starts_with("weir_requests_total{"))
    {
        for label in ["listener=", "route=", "service=", "version="] {
            assert!(line.contains(label), "no {label} in {line}");
        }
    }
}

#[test]
fn connections_are_counted_up_and_down() {
    let origin = Origin::ok("metrics");
    let weir = Weir::start(&Setup::to(&origin));
    let clients: Vec<_> = (0..5)
        .map(|_| {
            let mut client = weir.client();
            assert_eq!(client.get("a.example", "/").status(), 200);
            client
        })
        .collect();
    eventually("five connections", || {
        (weir.metric("weir_downstream_connections", &[]) - 5.0)
            .abs()
            .lt(&0.5)
            .then_some(())
    });
    drop(clients);
    eventually("no connection", || {
        weir.metric("weir_downstream_connections", &[])
            .abs()
            .lt(&0.5)
            .then_some(())
    });
}
