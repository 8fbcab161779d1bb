//! Sizes and times, and the statuses that tell which one was passed.

use std::time::{Duration, Instant};

use weir_tests::client::Answer;
use weir_tests::config::Setup;
use weir_tests::origin::{After, Origin};
use weir_tests::weir::Weir;

/// Slack for a busy machine, above a limit that is to be held.
const SLACK: Duration = Duration::from_secs(2);

fn fields(count: usize) -> String {
    (0..count).map(|n| format!("x-{n}: v\r\n")).collect()
}

#[test]
fn heads_pass_up_to_the_limits_and_are_named_above_them() {
    let origin = Origin::ok("limits");
    let weir = Weir::start(&Setup::to(&origin));
    // "GET " and " HTTP/1.1" are 13 bytes of the request line's 8192.
    let long = |length: usize| {
        format!(
            "GET /{} HTTP/1.1\r\nHost: a.example\r\n\r\n",
            "p".repeat(length - 1)
        )
    };
    let big = |length: usize, count: usize| {
        let field = format!("x-big: {}\r\n", "b".repeat(length - 7));
        format!(
            "GET / HTTP/1.1\r\nHost: a.example\r\n{}\r\n",
            field.repeat(count)
        )
    };
    let cases = [
        ("a target within the limit", long(8_000), 200),
        ("a target over the limit", long(8_200), 414),
        ("a target far over the limit", long(100_000), 414),
        (
            "100 fields",
            format!("GET / HTTP/1.1\r\nHost: a.example\r\n{}\r\n", fields(99)),
            200,
        ),
        (
            "101 fields",
            format!("GET / HTTP/1.1\r\nHost: a.example\r\n{}\r\n", fields(100)),
            431,
        ),
        (
            "1000 fields",
            format!("GET / HTTP/1.1\r\nHost: a.example\r\n{}\r\n", fields(1000)),
            431,
        ),
        ("a field within 16 KiB", big(16_000, 1), 200),
        ("a field over 16 KiB", big(16_500, 1), 431),
        ("fields within 60 KiB", big(15_000, 4), 200),
        ("fields over 60 KiB", big(15_500, 4), 431),
        ("fields far over 60 KiB", big(15_500, 100), 431),
    ];
    for (what, request, status) in cases {
        let mut client = weir.client();
        // A refusal may close while the rest is on its way.
        let _ = client.wire.send(&request);
        assert_eq!(client.response().status(), status, "{what}");
        if status != 200 {
            assert_eq!(client.closed(), b"", "{what}: the connection closes");
        }
    }
    assert_eq!(
        origin.requests().len(),
        4,
        "only what is within the limits passes"
    );
}

#[test]
fn limits_are_settings_of_the_listener() {
    let origin = Origin::ok("limits");
    let keys = "limits: { maxHeaders: 5, maxHeaderBytes: 300, maxFieldBytes: 100, maxRequestLineBytes: 64 }";
    let weir = Weir::start(&Setup::to(&origin).listener(keys));
    let cases = [
        (
            format!(
                "GET /{} HTTP/1.1\r\nHost: a.example\r\n\r\n",
                "p".repeat(64)
            ),
            414,
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: a.example\r\n{}\r\n", fields(5)),
            431,
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: a.example\r\nx: {}\r\n\r\n",
                "v".repeat(100)
            ),
            431,
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: a.example\r\n{}\r\n",
                format!("x: {}\r\n", "v".repeat(80)).repeat(4)
            ),
            431,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a.example\r\nx: y\r\n\r\n".to_owned(),
            200,
        ),
    ];
    for (request, status) in cases {
        assert_eq!(
            weir.client().send(&request).response().status(),
            status,
            "{request:?}"
        );
    }
}

#[test]
fn a_head_that_trickles_in_ends_at_the_head_timeout() {
    let origin = Origin::ok("loris");
    let weir = Weir::start(&Setup::to(&origin).listener("limits: { headTimeout: 600ms }"));
    let start = Instant::now();
    let mut client = weir.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n");
    let mut drip = client.wire.stream().try_clone().expect("a second handle");
    let dripping = std::thread::spawn(move || {
        // Every byte is progress, and none of it extends the time.
        while std::io::Write::write_all(&mut drip, b"x: y\r\n").is_ok()
            && start.elapsed() < SLACK * 3
        {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let answer = client.answer("GET", SLACK * 2);
    let took = start.elapsed();
    assert!(
        matches!(answer.status(), Some(408) | None) && answer != Answer::Silence,
        "{answer:?}"
    );
    assert!(
        took >= Duration::from_millis(550) && took < Duration::from_millis(600) + SLACK,
        "ended after {took:?}"
    );
    dripping.join().expect("the drip");
    assert!(origin.requests().is_empty());
}

#[test]
fn a_connection_that_never_asks_is_closed_without_a_word() {
    let origin = Origin::ok("idle");
    let weir = Weir::start(
        &Setup::to(&origin).listener("limits: { idleTimeout: 500ms, headTimeout: 700ms }"),
    );
    let mut fresh = weir.client();
    let mut used = weir.client();
    assert_eq!(used.get("a.example", "/").status(), 200);
    let start = Instant::now();
    assert_eq!(used.closed(), b"", "an idle keep-alive connection");
    assert!(
        start.elapsed() >= Duration::from_millis(400),
        "closed after {:?}",
        start.elapsed()
    );
    let rest = String::from_utf8_lossy(&fresh.closed()).into_owned();
    assert!(
        rest.is_empty() || rest.starts_with("HTTP/1.1 408"),
        "a connection without a request got {rest:?}"
    );
}

#[test]
fn a_request_body_that_stalls_is_given_up() {
    let origin = Origin::start(|exchange| {
        exchange.body()?;
        exchange.reply(200, "", "never")
    });
    let weir = Weir::start(&Setup::to(&origin).listener("limits: { streamIdleTimeout: 600ms }"));
    let start = Instant::now();
    let mut client = weir.client();
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\nhello");
    let answer = client.answer("POST", SLACK * 2);
    assert!(
        matches!(answer.status(), Some(408 | 504) | None) && answer != Answer::Silence,
        "{answer:?}"
    );
    assert!(
        start.elapsed() >= Duration::from_millis(550),
        "given up after {:?}",
        start.elapsed()
    );
    weir_tests::wait::eventually("the origin's connection to close", || {
        (origin.open() == 0).then_some(())
    });
}

#[test]
fn a_response_body_that_stalls_ends_the_connection_and_is_not_completed() {
    let origin = Origin::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")?;
        exchange.wire.to_end()?;
        Ok(After::Close)
    });
    let weir = Weir::start(&Setup::to(&origin).listener("limits: { streamIdleTimeout: 600ms }"));
    let mut client = weir.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(
        client
            .wire
            .head()
            .expect("a head")
            .expect("an answer")
            .status(),
        200
    );
    let rest = client.closed();
    assert!(
        !rest.ends_with(b"0\r\n\r\n"),
        "a broken body must not look whole: {}",
        String::from_utf8_lossy(&rest)
    );
}

// semantics 25
#[test]
fn the_route_timeout_is_504_at_its_time_and_includes_all_tries() {
    let origin = Origin::start(|exchange| {
        exchange.wire.to_end()?;
        Ok(After::Close)
    });
    let setup = |timeouts: &str| {
        Setup::new()
            .service("app", &[("stable", origin.addr())])
            .route("app", &format!("backendRefs: [{{ name: app }}], timeouts: {{ {timeouts} }}, retry: {{ attempts: 3, on: [5xx] }}"))
    };
    for (timeouts, least) in [
        ("request: 500ms", 500),
        ("request: 800ms, backendRequest: 300ms", 300),
    ] {
        let weir = Weir::start(&setup(timeouts));
        let start = Instant::now();
        let response = weir.get("a.example", "/");
        let took = start.elapsed();
        assert_eq!(response.status(), 504, "{timeouts}");
        let least = Duration::from_millis(least);
        assert!(
            took + Duration::from_millis(50) >= least && took < Duration::from_millis(900) + SLACK,
            "{timeouts}: {took:?}"
        );
    }
}

#[test]
fn the_file_descriptor_limit_is_survived() {
    let origin = Origin::ok("many");
    let setup = Setup::to(&origin);
    let weir = Weir::start_with(
        |ports| setup.render(ports),
        |command| {
            // The hard limit: weir may raise the soft one, never this.
            let shell = "ulimit -n 128; exec \"$0\" \"$@\"";
            let program = command.get_program().to_owned();
            let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
            let envs: Vec<_> = command
                .get_envs()
                .map(|(k, v)| (k.to_owned(), v.map(ToOwned::to_owned)))
                .collect();
            let mut limited = std::process::Command::new("sh");
            limited.arg("-c").arg(shell).arg(program).args(args);
            for (key, value) in envs {
                match value {
                    Some(value) => limited.env(key, value),
                    None => limited.env_remove(key),
                };
            }
            limited
                .stdin(std::process::Stdio::null())
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped());
            *command = limited;
        },
    );
    let crowd: Vec<_> = (0..300)
        .filter_map(|_| weir_tests::client::Client::try_connect(weir.addr()).ok())
        .collect();
    assert!(
        crowd.len() > 128,
        "the kernel takes more connections than weir may hold"
    );
    assert_eq!(
        weir.admin("/live").status(),
        200,
        "descriptors are held back for the admin server"
    );
    drop(crowd);
    weir_tests::wait::eventually("service after the crowd has gone", || {
        let mut client = weir_tests::client::Client::try_connect(weir.addr()).ok()?;
        client.wire.patience = Duration::from_secs(1);
        client
            .wire
            .send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
            .ok()?;
        client
            .try_response("GET")
            .ok()?
            .filter(|response| response.status() == 200)
    });
}
