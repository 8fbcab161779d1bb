//! What is not TLS, or does not get on with it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use weir_tests::client::Client;
use weir_tests::tls::Connector;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

use super::{Site, status};

fn counted(weir: &Weir, result: &str) -> f64 {
    let result = format!("result=\"{result}\"");
    weir.metric("weir_tls_handshakes_total", &[&result])
}

#[test]
fn plain_http_is_told_to_use_https() {
    let site = Site::new();
    let identity = site.authority.server(&["a.example.com"]);
    let weir = Weir::start(&site.setup(&[&identity], ""));
    let mut client = Client::connect(weir.addr());
    // More than is read at once, so that an early close would reset the connection.
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 30000\r\n\r\n{}",
        "x".repeat(30_000)
    ));
    let response = client.response();
    assert_eq!(response.status(), 400);
    assert!(response.closes() && response.text().contains("use https"));
    eventually("it to be counted", || {
        (counted(&weir, "plain_http") == 1.0).then_some(())
    });
    assert_eq!(site.origin.count(), 0);
}

#[test]
fn a_handshake_that_is_not_finished_in_time_ends_and_holds_up_nobody() {
    let site = Site::new();
    let identity = site.authority.server(&["a.example.com"]);
    let setup = site.setup(&[&identity], "");
    let setup = setup.listener("limits: { handshakeTimeout: 300ms }");
    let weir = Weir::start(&setup.workers(1));
    // Nothing at all, and half a hello.
    let begun = Instant::now();
    let mut slow: Vec<TcpStream> = [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]
        .into_iter()
        .map(|said| {
            let mut stream = TcpStream::connect(weir.addr()).unwrap();
            stream.write_all(said).unwrap();
            stream
        })
        .collect();
    let tls = Connector::trusting(&site.authority, "a.example.com", &[]);
    assert_eq!(status(&weir, &tls, "a.example.com"), Ok(Some(200)));
    for stream in &mut slow {
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let ended = stream.read(&mut [0; 100]);
        assert!(matches!(ended, Ok(0)), "{ended:?}");
    }
    assert!(begun.elapsed() >= Duration::from_millis(300));
    eventually("both to be counted", || {
        (counted(&weir, "timeout") == 2.0).then_some(())
    });
}

#[test]
fn what_is_no_tls_is_refused_and_counted() {
    let site = Site::new();
    let identity = site.authority.server(&["a.example.com"]);
    let weir = Weir::start(&site.setup(&[&identity], ""));
    for (at, said) in [
        &b"SSH-2.0-OpenSSH\r\n"[..],
        b"\x80\x2e\x01\x00\x02",
        &[0; 200],
    ]
    .into_iter()
    .enumerate()
    {
        let mut stream = TcpStream::connect(weir.addr()).unwrap();
        stream.write_all(said).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        // A fatal alert.
        assert_eq!(answer.first(), Some(&21), "{}", said.escape_ascii());
        eventually("it to be counted", || {
            (counted(&weir, "protocol") == (at + 1) as f64).then_some(())
        });
    }
    let tls = Connector::trusting(&site.authority, "a.example.com", &[]);
    assert_eq!(status(&weir, &tls, "a.example.com"), Ok(Some(200)));
}
