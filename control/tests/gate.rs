//! The gate in front of an engine: what is passed, what is not, and what never leaves.

#[expect(dead_code, reason = "other tests ask more of it")]
#[path = "support/fake_engine.rs"]
mod fake_engine;

use std::path::{Path, PathBuf};
use std::time::Duration;

use fake_engine::{Answer, Engine, full};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use weir_control::gate::Gate;

/// Nothing that is waited for takes longer than this, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(20);

struct Setup {
    engine: Engine,
    gate: PathBuf,
    stop: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Drop for Setup {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn start() -> Setup {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start(&dir.path().join("docker.sock"));
    let gate = dir.path().join("gate.sock");
    let stop = CancellationToken::new();
    let listener = UnixListener::bind(&gate).unwrap();
    let serving = Gate::new(&format!("unix://{}", engine.path().display())).unwrap();
    tokio::spawn(serving.serve(listener, stop.clone()));
    Setup {
        engine,
        gate,
        stop,
        _dir: dir,
    }
}

/// What comes back until the connection ends.
async fn exchange(socket: &Path, request: &[u8]) -> String {
    let talk = async {
        let mut stream = UnixStream::connect(socket).await.unwrap();
        // The other side may have answered and gone before it read all.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    tokio::time::timeout(PATIENCE, talk)
        .await
        .expect("an answer")
}

fn body(answer: &str) -> Value {
    let text = answer.split_once("\r\n\r\n").expect("a head").1;
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {answer}"))
}

impl Setup {
    async fn get(&self, target: &str) -> String {
        let request = format!("GET {target} HTTP/1.1\r\nHost: docker\r\n\r\n");
        exchange(&self.gate, request.as_bytes()).await
    }
}

#[tokio::test]
async fn an_attack_is_refused_and_the_engine_sees_nothing_of_it() {
    let setup = start();
    let id = full("a1");
    let host = "Host: docker\r\n";
    let mut attacks: Vec<(String, u16)> = Vec::new();
    for method in [
        "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "get", "BREW",
    ] {
        attacks.push((
            format!("{method} /containers/json HTTP/1.1\r\n{host}\r\n"),
            403,
        ));
    }
    for path in [
        "/containers/create",
        "/info",
        "/secrets",
        "/configs",
        "/swarm",
        "/swarm/unlockkey",
        "/images/json",
        "/volumes",
        "/plugins",
        "/system/df",
        "/session",
        "/grpc",
        "/build",
        "/auth",
        "/services/web",
        "/services/web/logs",
        "/tasks/t1/logs",
        "//containers/json",
        "/./containers/json",
        "/containers/./json",
        "/containers/../secrets",
        "/containers/..%2fsecrets",
        "/containers/%2e%2e/secrets",
        "/%63ontainers/json",
        "/containers/json%00",
        "/containers/json;x",
        "/containers//json",
        "/v1.41//containers/json",
        "/v1.41/v1.41/containers/json",
        "/v1.41/../secrets",
        "/v1.41",
        "/v1.41/secrets",
        "/v2.0/containers/json",
        "/containers/json?all=1",
        "/containers/json?size=true",
        "/containers/web/json",
    ] {
        attacks.push((format!("GET {path} HTTP/1.1\r\n{host}\r\n"), 403));
    }
    for tail in [
        "logs?stdout=1",
        "archive?path=/",
        "export",
        "top",
        "attach/ws",
        "stats",
        "exec",
        "changes",
    ] {
        attacks.push((
            format!("GET /containers/{id}/{tail} HTTP/1.1\r\n{host}\r\n"),
            403,
        ));
    }
    let hijack = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
    attacks.extend([
        (format!("GET http://docker/containers/json HTTP/1.1\r\n{host}\r\n"), 403),
        (format!("GET /containers/json HTTP/1.1\r\n{host}{hijack}\r\n"), 403),
        (format!("POST /containers/{id}/attach?stream=1 HTTP/1.1\r\n{host}{hijack}\r\n"), 403),
        (format!("GET /containers/json HTTP/1.1\r\n{host}Content-Length: 2\r\n\r\n{{}}"), 403),
        (format!("GET /events HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 403),
        (format!("GET /containers/json HTTP/1.1\r\n{host}Expect: 100-continue\r\n\r\n"), 403),
        (format!("CONNECT docker:80 HTTP/1.1\r\n{host}\r\n"), 403),
        // What is no request at all.
        (format!("GET containers/json HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET /containers/json HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), 400),
        (format!("GET /containers/json\u{0} HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET /{} HTTP/1.1\r\n{host}\r\n", "a".repeat(20_000)), 431),
        // Another protocol: the connection ends without a word.
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 0),
    ]);
    for (attack, status) in &attacks {
        let shown: String = attack.chars().take(120).collect();
        let answer = exchange(&setup.gate, attack.as_bytes()).await;
        let refusals = [format!("HTTP/1.1 {status} "), format!("HTTP/1.0 {status} ")];
        // A line that is too long is either, by whether the path or the head is.
        let too_long = *status == 431 && answer.starts_with("HTTP/1.1 414 ");
        let silent = *status == 0 && answer.is_empty();
        assert!(
            too_long || silent || refusals.iter().any(|r| answer.starts_with(r)),
            "{shown:?}: {answer}"
        );
        if *status == 403 && !attack.starts_with("HEAD") {
            let told = body(&answer);
            let message = told["message"].as_str().unwrap();
            assert!(message.starts_with("weir docker-gate: "), "{told}");
        }
    }
    assert_eq!(
        setup.engine.requests(),
        [""; 0],
        "of {} attacks",
        attacks.len()
    );
    assert!(
        setup
            .get("/containers/json")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    assert_eq!(setup.engine.requests(), ["GET /containers/json"]);
}

/// Two requests on one connection: the second is never read.
#[tokio::test]
async fn a_connection_is_good_for_one_request() {
    let setup = start();
    let twice = "GET /version HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2);
    let answer = exchange(&setup.gate, twice.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
    assert_eq!(setup.engine.requests(), ["GET /version"]);
}

#[tokio::test]
async fn nothing_that_the_client_sends_beside_the_path_reaches_the_engine() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, gate) = (dir.path().join("docker.sock"), dir.path().join("gate.sock"));
    let listener = UnixListener::bind(&engine).unwrap();
    let front = UnixListener::bind(&gate).unwrap();
    let stop = CancellationToken::new();
    let serving = Gate::new(&engine.to_string_lossy()).unwrap();
    tokio::spawn(serving.serve(front, stop.clone()));
    let seen = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let answer =
            b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nServer: Docker\r\nContent-Length: 2\r\n\r\n[]";
        stream.write_all(answer).await.unwrap();
        String::from_utf8(head).unwrap()
    });
    let request = "GET /v1.41/services HTTP/1.1\r\nHost: evil\r\nX-Registry-Auth: hush\r\nCookie: hush\r\n\r\n";
    let answer = exchange(&gate, request.as_bytes()).await;
    assert!(answer.ends_with("\r\n\r\n[]"), "{answer}");
    assert!(!answer.to_lowercase().contains("cookie"), "{answer}");
    assert_eq!(
        seen.await.unwrap(),
        "GET /v1.41/services HTTP/1.1\r\nhost: docker\r\n\r\n"
    );
    stop.cancel();
}

#[tokio::test]
async fn what_tasks_and_services_have_in_their_environment_never_leaves() {
    let setup = start();
    setup.engine.manage();
    setup
        .engine
        .service("web", &[("weir.host", "web.test"), ("db.password", "hush")]);
    setup.engine.task("t1", "web", 1, "10.9.0.1");
    setup
        .engine
        .put("a1", "10.9.0.9", &[("db.password", "hush")]);
    setup
        .engine
        .change("a1", "Command", json!("/run --password hush"));
    setup
        .engine
        .change("a1", "Mounts", json!([{"Source": "/hush"}]));
    for path in ["/services", "/tasks", "/containers/json", "/v1.41/tasks"] {
        let direct = exchange(
            setup.engine.path(),
            format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(),
        )
        .await;
        assert!(direct.contains("hush"), "{path}: {direct}");
        let answer = setup.get(path).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(
            !answer.contains("hush") && !answer.contains("Env"),
            "{answer}"
        );
        assert_eq!(body(&answer).as_array().unwrap().len(), 1);
    }
    let services = body(&setup.get("/services").await);
    let labels = &services[0]["Spec"]["Labels"];
    assert_eq!(labels["weir.host"], "web.test", "{services}");
    assert!(labels["db.password"].is_null(), "{services}");
}

#[tokio::test]
async fn events_come_one_by_one_and_only_those_that_discovery_hears() {
    let setup = start();
    let mut stream = UnixStream::connect(&setup.gate).await.unwrap();
    stream
        .write_all(b"GET /events?since=5.0 HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let listening = async {
        while setup.engine.listeners() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, listening).await.unwrap();
    setup.engine.event("exec_start: sh -c hush", "a1", &[]);
    setup
        .engine
        .event("kill", "a1", &[("signal", "15"), ("password", "hush")]);
    let mut seen = String::new();
    let mut chunk = [0; 4096];
    while !seen.contains("kill") {
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut chunk));
        let count = read.await.expect("an event").unwrap();
        assert!(count > 0, "the stream ended: {seen}");
        seen.push_str(&String::from_utf8_lossy(&chunk[..count]));
    }
    assert!(seen.starts_with("HTTP/1.1 200 "), "{seen}");
    assert!(seen.contains("\"signal\":\"15\""), "{seen}");
    assert!(!seen.contains("hush") && !seen.contains("exec"), "{seen}");
    // A client that leaves takes its stream at the engine along.
    drop(stream);
    let leaving = async {
        while setup.engine.listeners() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, leaving)
        .await
        .expect("the engine's stream ends, too");
}

#[tokio::test]
async fn an_engine_that_fails_is_told_in_its_own_words_or_ours() {
    let setup = start();
    for (answer, status, says) in [
        (
            Answer::Status(500, r#"{"message":"server is busy"}"#),
            500,
            "server is busy",
        ),
        (Answer::Status(301, ""), 502, ""),
        (Answer::Body(b"not json".to_vec()), 502, "no JSON"),
        (Answer::Body(b"[]x".to_vec()), 502, "no JSON"),
        (Answer::Body(b"[".repeat(100_000)), 502, "no JSON"),
        (Answer::Truncated, 502, "broke off"),
        (Answer::Hangup, 502, "weir docker-gate"),
        (Answer::Endless(80 * 1024 * 1024), 502, "broke off"),
    ] {
        setup.engine.put("a1", "10.9.0.9", &[]);
        setup.engine.answer(answer);
        let answer = setup.get("/containers/json").await;
        let expected = format!("HTTP/1.1 {status} ");
        assert!(
            answer.starts_with(&expected) && answer.contains(says),
            "{says}: {answer}"
        );
    }
    setup.engine.answer(Answer::List);
    let id = full("a1");
    let missing = setup.get(&format!("/containers/{id}/json")).await;
    assert!(missing.starts_with("HTTP/1.1 200 "), "{missing}");
    setup.engine.down();
    let gone = setup.get("/containers/json").await;
    assert!(
        gone.starts_with("HTTP/1.1 502 ") && gone.contains("there is no Docker socket at"),
        "{gone}"
    );
}

#[tokio::test]
async fn more_connections_than_there_are_places_wait_and_are_served() {
    let setup = start();
    let mut idle = Vec::new();
    for _ in 0..64 {
        idle.push(UnixStream::connect(&setup.gate).await.unwrap());
    }
    let gate = setup.gate.clone();
    let waiting =
        tokio::spawn(
            async move { exchange(&gate, b"GET /_ping HTTP/1.1\r\nHost: a\r\n\r\n").await },
        );
    let early = tokio::time::timeout(Duration::from_millis(300), async { waiting.is_finished() });
    assert!(!early.await.unwrap());
    drop(idle);
    let answer = waiting.await.unwrap();
    assert!(answer.ends_with("OK"), "{answer}");
}
