mod grpc;
mod http;
mod tls;

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use weir_config::model::TcpProbe;

use super::*;

/// Long enough for what must end by itself, on any machine.
const PATIENT: Duration = Duration::from_secs(60);

/// Short, for what must end by its timeout.
const BRIEF: Duration = Duration::from_millis(500);

fn of(probe: HealthProbe, timeout: Duration) -> HealthCheck {
    HealthCheck {
        probe,
        timeout,
        ..HealthCheck::default()
    }
}

fn tcp(send: &str, expect: &str) -> HealthProbe {
    let bytes = |text: &str| (!text.is_empty()).then(|| Arc::from(text.as_bytes()));
    HealthProbe::Tcp(TcpProbe {
        send: bytes(send),
        expect: bytes(expect),
    })
}

/// What an origin does after it has said its parts.
#[derive(Clone, Copy, PartialEq)]
enum After {
    Close,
    Hang,
}

/// Checks an origin that reads once, writes these parts in turn, each in a packet of its own, and then does as it is told.
/// Returns the outcome and what it read.
async fn ask(
    probe: HealthProbe,
    timeout: Duration,
    parts: &[&[u8]],
    after: After,
) -> (Result<String, String>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let parts: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
    let silent = matches!(&probe, HealthProbe::Tcp(TcpProbe { send: None, .. }));
    let origin = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut request = vec![0; 4096];
        let length = match silent {
            true => 0,
            false => stream.read(&mut request).await.unwrap(),
        };
        request.truncate(length);
        for part in parts {
            // The check may have heard enough.
            if stream.write_all(&part).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if after == After::Hang {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
        String::from_utf8(request).unwrap()
    });
    let outcome = run(address, &of(probe, timeout), None).await;
    let request = origin.await.unwrap();
    (outcome, request.replace(&address.to_string(), "ADDRESS"))
}

async fn says(probe: HealthProbe, parts: &[&[u8]], expected: Result<&str, &str>) {
    let (outcome, _) = ask(probe, PATIENT, parts, After::Close).await;
    let outcome = outcome.as_deref().map_err(String::as_str);
    let parts: Vec<_> = parts.iter().map(|part| quoted(part)).collect();
    assert_eq!(outcome, expected, "after {parts:?}");
}

async fn is_late(probe: HealthProbe, parts: Vec<&[u8]>, expected: &str) {
    let (outcome, _) = ask(probe, BRIEF, &parts, After::Hang).await;
    assert_eq!(outcome, Err(format!("timed out after 500ms {expected}")));
}

#[tokio::test]
async fn tcp_passes_on_a_connection_or_on_what_comes() {
    says(tcp("", ""), &[], Ok("connected")).await;
    let (outcome, request) = ask(
        tcp("PING\r\n", "+PONG\r\n"),
        PATIENT,
        &[b"+PO", b"NG\r\n"],
        After::Hang,
    )
    .await;
    assert_eq!(outcome.as_deref(), Ok("\"+PONG\\r\\n\" came"));
    assert_eq!(request, "PING\r\n");
    says(
        tcp("", "220 "),
        &[b"banner\n", b"220 mail"],
        Ok("\"220 \" came"),
    )
    .await;
    says(
        tcp("PING\r\n", "+PONG"),
        &[b"-NOAUTH"],
        Err("closed before \"+PONG\" came; what came begins with \"-NOAUTH\""),
    )
    .await;
    says(tcp("x", "y"), &[], Err("closed before \"y\" came")).await;
    is_late(
        tcp("PING\r\n", "+PONG"),
        vec![b"-LOADING \x1b[31m"],
        "waiting for \"+PONG\"; what came begins with \"-LOADING \\x1b[31m\"",
    )
    .await;
    let flood = vec![b'x'; 2 * MAX_LOOKED_AT];
    let (outcome, _) = ask(tcp("", "y"), PATIENT, &[&flood], After::Hang).await;
    let why = outcome.unwrap_err();
    assert!(
        why.starts_with("\"y\" did not come within 64 KiB; what came begins with \"xxx"),
        "{why}"
    );
    assert!(why.len() < 120, "{why}");
}

#[tokio::test]
async fn another_port_is_asked_at_the_same_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let elsewhere = listener.local_addr().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let check = HealthCheck {
        port: std::num::NonZeroU16::new(elsewhere.port()),
        ..of(HealthProbe::default(), PATIENT)
    };
    assert_eq!(run(nobody, &check, None).await.as_deref(), Ok("connected"));
    let check = of(HealthProbe::default(), PATIENT);
    assert_eq!(
        run(nobody, &check, None).await,
        Err("connection refused".to_owned())
    );
}
