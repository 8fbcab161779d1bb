//! Scripted origins: statuses, heads, bodies, trickles.

use std::sync::Arc;

use weir_config::model::{BodyMatch, HttpProbe, ProbeMethod, StatusRange};

use super::*;

fn http(edit: impl FnOnce(&mut HttpProbe)) -> HealthProbe {
    let mut probe = HttpProbe::get("/healthz");
    edit(&mut probe);
    HealthProbe::Http(probe)
}

fn containing(text: &str) -> HealthProbe {
    http(|probe| probe.body = Some(BodyMatch::Contains(Arc::from(text))))
}

fn matching(pattern: &str) -> HealthProbe {
    let regex = regex::bytes::Regex::new(pattern).unwrap();
    http(|probe| probe.body = Some(BodyMatch::Regex(regex)))
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nall is well\n";

#[tokio::test]
async fn a_request_asks_as_it_is_told() {
    let (outcome, request) = ask(http(|_| {}), PATIENT, &[OK], After::Close).await;
    assert_eq!(outcome.as_deref(), Ok("status 200"));
    assert_eq!(
        request,
        "GET /healthz HTTP/1.1\r\nHost: ADDRESS\r\nUser-Agent: weir-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    let probe = http(|probe| {
        probe.method = ProbeMethod::Head;
        probe.host = Some(Arc::from("shop.internal"));
        probe.headers = [("x-probe", "1"), ("user-agent", "own")]
            .map(|(name, value)| (Arc::from(name), Arc::from(value)))
            .to_vec();
    });
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n";
    let (outcome, request) = ask(probe, PATIENT, &[head], After::Hang).await;
    assert_eq!(
        outcome.as_deref(),
        Ok("status 200"),
        "a HEAD has no body to wait for"
    );
    assert_eq!(
        request,
        "HEAD /healthz HTTP/1.1\r\nHost: shop.internal\r\nAccept: */*\r\nx-probe: 1\r\nuser-agent: own\r\nConnection: close\r\n\r\n"
    );
}

// semantics 15
#[tokio::test]
async fn an_unexpected_status_fails_as_configured() {
    says(
        http(|_| {}),
        &[b"HTTP/1.1 503 x\r\n\r\n"],
        Err("status 503, expected 200-299"),
    )
    .await;
    says(http(|_| {}), &[b"HTTP/1.0 204 x\r\n\r\n"], Ok("status 204")).await;
    let others = || {
        http(|probe| {
            probe.expected = [(200, 200), (300, 399)]
                .map(|(low, high)| StatusRange { low, high })
                .to_vec();
        })
    };
    says(others(), &[b"HTTP/1.1 302 x\r\n\r\n"], Ok("status 302")).await;
    says(
        others(),
        &[b"HTTP/1.1 204 x\r\n\r\n"],
        Err("status 204, expected 200, 300-399"),
    )
    .await;
    let interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    says(http(|_| {}), &[interim, interim, OK], Ok("status 200")).await;
    says(
        http(|_| {}),
        &[&interim.repeat(9)],
        Err("more than 8 interim heads"),
    )
    .await;
}

#[tokio::test]
async fn a_head_that_is_none_says_why() {
    says(
        http(|_| {}),
        &[b"SSH-2.0-OpenSSH\r\n"],
        Err(r#"the HTTP version is not supported; what came begins with "SSH-2.0-OpenSSH\r\n""#),
    )
    .await;
    says(http(|_| {}), &[], Err("closed without an answer")).await;
    says(
        http(|_| {}),
        &[b"HTTP/1.1 200 OK\r\n"],
        Err("closed within the head"),
    )
    .await;
    let ambiguous = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
    let (outcome, _) = ask(http(|_| {}), PATIENT, &[ambiguous], After::Close).await;
    assert!(outcome.unwrap_err().starts_with("the framing is ambiguous"));
    let endless = format!("X-Pad: {}\r\n", "a".repeat(1000)).repeat(30);
    says(
        http(|_| {}),
        &[b"HTTP/1.1 200 OK\r\n", endless.as_bytes()],
        Err("the head has more than 100 fields or 16 KiB"),
    )
    .await;
}

#[tokio::test]
async fn a_trickle_is_late_wherever_it_stops() {
    let pieces: Vec<&[u8]> = OK.chunks(1).collect();
    says(http(|_| {}), &pieces, Ok("status 200")).await;
    let (head, body) = OK.split_at(OK.len() - 12);
    let (no_head, no_body) = ("waiting for the head", "waiting for the body");
    tokio::join!(
        is_late(http(|_| {}), vec![], no_head),
        is_late(http(|_| {}), vec![&head[..20]], no_head),
        is_late(containing("well"), vec![head, &body[..5]], no_body),
        is_late(matching("well"), vec![head, &body[..11]], no_body),
    );
}

#[tokio::test]
async fn a_body_is_searched_across_reads_and_chunks() {
    let (head, _) = OK.split_at(OK.len() - 12);
    let found = Ok("status 200, body contains \"is well\"");
    says(containing("is well"), &[OK], found).await;
    says(
        containing("is well"),
        &[head, b"all i", b"s we", b"ll\n"],
        found,
    )
    .await;
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    says(
        containing("is well"),
        &[chunked, b"5\r\nall i\r", b"\n7\r\ns well\n\r\n0\r\n\r\n"],
        found,
    )
    .await;
    // Not what is around the data: a chunk's size is no part of the body.
    says(
        containing("7"),
        &[chunked, b"5\r\nall i\r\n7\r\ns well\n\r\n0\r\n\r\n"],
        Err("body does not contain \"7\""),
    )
    .await;
    let until_close = b"HTTP/1.1 200 OK\r\n\r\nall is ";
    says(containing("is well"), &[until_close, b"well"], found).await;
    says(
        matching("^all.*well\n$"),
        &[head, b"all is ", b"well\n"],
        Ok("status 200, body matches \"^all.*well\\n$\""),
    )
    .await;
    let (outcome, _) = ask(containing("all"), PATIENT, &[head, b"all"], After::Hang).await;
    assert!(
        outcome.is_ok(),
        "what is found is not waited for: {outcome:?}"
    );
}

#[tokio::test]
async fn a_body_without_what_is_wanted_fails() {
    says(containing("ok"), &[OK], Err("body does not contain \"ok\"")).await;
    says(matching("^is"), &[OK], Err("body does not match \"^is\"")).await;
    says(
        containing("ok"),
        &[b"HTTP/1.1 204 x\r\n\r\n"],
        Err("body does not contain \"ok\""),
    )
    .await;
    says(
        containing("all"),
        &[b"HTTP/1.1 503 x\r\nContent-Length: 3\r\n\r\nall"],
        Err("status 503, expected 200-299"),
    )
    .await;
    let (head, _) = OK.split_at(OK.len() - 12);
    says(
        containing("ok"),
        &[head, b"all"],
        Err("the body broke off after 3 bytes"),
    )
    .await;
    let broken = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n";
    says(
        containing("ok"),
        &[broken],
        Err("a chunk size is malformed or too large"),
    )
    .await;
}

#[tokio::test]
async fn no_more_than_64_kib_of_a_body_are_looked_at() {
    let head = b"HTTP/1.1 200 OK\r\n\r\n";
    let padding = vec![b'x'; MAX_LOOKED_AT - 2];
    let inside = [&head[..], &padding, b"ok"].concat();
    let (outcome, _) = ask(containing("ok"), PATIENT, &[&inside], After::Hang).await;
    assert_eq!(outcome.as_deref(), Ok("status 200, body contains \"ok\""));
    let across = [&head[..], &padding, b"xok", &padding].concat();
    for (probe, why) in [
        (
            containing("ok"),
            "body does not contain \"ok\" within 64 KiB",
        ),
        (matching("ok"), "body does not match \"ok\" within 64 KiB"),
    ] {
        let (outcome, _) = ask(probe, PATIENT, &[&across], After::Hang).await;
        assert_eq!(
            outcome,
            Err(why.to_owned()),
            "it does not wait for the rest"
        );
    }
}
