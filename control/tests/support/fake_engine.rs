//! An engine that does as a test tells it, over a real unix socket.

// Of each test binary some part is unused.
#[allow(dead_code)]
mod fake_cluster;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast;
use tokio::task::JoinSet;

/// What the engine answers to a question for the list.
#[derive(Clone)]
pub(crate) enum Answer {
    /// The containers, as they are.
    List,
    Status(u16, &'static str),
    /// These bytes as a body of status 200.
    Body(Vec<u8>),
    /// A body that is cut off in the middle.
    Truncated,
    /// A body that does not end before this many bytes.
    Endless(usize),
    /// The list, after this long.
    Slow(Duration),
    /// Nothing at all: the connection is closed.
    Hangup,
}

pub(crate) struct Engine {
    path: PathBuf,
    state: Arc<State>,
    tasks: Mutex<Option<JoinSet<()>>>,
}

struct State {
    containers: Mutex<BTreeMap<String, Value>>,
    /// `None`: it is no manager.
    cluster: Mutex<Option<fake_cluster::Cluster>>,
    answer: Mutex<Answer>,
    requests: Mutex<Vec<String>>,
    events: broadcast::Sender<String>,
    clock: Mutex<i64>,
}

impl Engine {
    pub(crate) fn start(path: &Path) -> Self {
        let state = State {
            containers: Mutex::default(),
            cluster: Mutex::default(),
            answer: Mutex::new(Answer::List),
            requests: Mutex::default(),
            events: broadcast::Sender::new(65_536),
            clock: Mutex::new(1_700_000_000_000_000_000),
        };
        let engine = Self {
            path: path.to_owned(),
            state: Arc::new(state),
            tasks: Mutex::default(),
        };
        engine.up();
        engine
    }

    /// Its socket.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Listens (again).
    pub(crate) fn up(&self) {
        let _ = std::fs::remove_file(&self.path);
        let listener = UnixListener::bind(&self.path).unwrap();
        let state = Arc::clone(&self.state);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&state)));
            }
        });
        *self.tasks.lock().unwrap() = Some(tasks);
    }

    /// Stops listening, breaks every connection and removes the socket.
    pub(crate) fn down(&self) {
        self.tasks.lock().unwrap().take();
        let _ = std::fs::remove_file(&self.path);
    }

    pub(crate) fn answer(&self, answer: Answer) {
        *self.state.answer.lock().unwrap() = answer;
    }

    /// Runs a container: 64 characters of id, a name, an address, labels besides `weir.enable`.
    pub(crate) fn run(&self, id: &str, address: &str, labels: &[(&str, &str)]) {
        self.put(id, address, labels);
        self.event("start", id, &[]);
    }

    /// As [`Self::run`], without an event.
    pub(crate) fn put(&self, id: &str, address: &str, labels: &[(&str, &str)]) {
        let mut all = BTreeMap::from([("weir.enable", "true"), ("weir.port", "80")]);
        all.extend(labels.iter().copied());
        let summary = json!({
            "Id": full(id), "Names": [format!("/{id}")], "Created": 1_700_000_000, "State": "running",
            "Status": "Up 1 second", "Labels": all, "Ports": [],
            "HostConfig": {"NetworkMode": "edge"},
            "NetworkSettings": {"Networks": {"edge": {"IPAddress": address}}},
        });
        self.state
            .containers
            .lock()
            .unwrap()
            .insert(full(id), summary);
    }

    /// Changes a field of the list's entry.
    pub(crate) fn change(&self, id: &str, field: &str, value: Value) {
        self.state
            .containers
            .lock()
            .unwrap()
            .get_mut(&full(id))
            .unwrap()[field] = value;
    }

    /// Drops a container from the list, without an event.
    pub(crate) fn vanish(&self, id: &str) {
        self.state.containers.lock().unwrap().remove(&full(id));
    }

    pub(crate) fn event(&self, action: &str, id: &str, attributes: &[(&str, &str)]) {
        let mut clock = self.state.clock.lock().unwrap();
        *clock += 1_000_000;
        let attributes: BTreeMap<&str, &str> = attributes.iter().copied().collect();
        let event = json!({
            "Type": "container", "Action": action, "scope": "local", "timeNano": *clock,
            "Actor": {"ID": full(id), "Attributes": attributes},
        });
        let _ = self.state.events.send(format!("{event}\n"));
    }

    pub(crate) fn raw_event(&self, text: &str) {
        let _ = self.state.events.send(text.to_owned());
    }

    /// Streams of events that are open.
    pub(crate) fn listeners(&self) -> usize {
        self.state.events.receiver_count()
    }

    /// `GET /v1.41/containers/json`, in order, without queries.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.requests.lock().unwrap().clone()
    }
}

/// A whole id from a short one.
pub(crate) fn full(id: &str) -> String {
    let hex: String = id.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex:0<64}")
}

async fn serve(stream: UnixStream, state: Arc<State>) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
        return;
    }
    let mut header = String::new();
    while stream.read_line(&mut header).await.unwrap_or(0) > 2 {
        header.clear();
    }
    let mut words = line.split(' ');
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let path = target.split('?').next().unwrap_or_default();
    state
        .requests
        .lock()
        .unwrap()
        .push(format!("{method} {path}"));
    let bare = path.strip_prefix("/v1.41").unwrap_or(path);
    let stream = stream.into_inner();
    // A client that hangs up is its own affair.
    let _ = match bare {
        "/version" => {
            respond(
                stream,
                200,
                br#"{"Version":"20.10.24","ApiVersion":"1.41"}"#,
            )
            .await
        }
        "/containers/json" => {
            let all: Vec<Value> = state.containers.lock().unwrap().values().cloned().collect();
            list(stream, &state, &all.into()).await
        }
        "/services" | "/tasks" | "/nodes" => {
            let told = state.cluster.lock().unwrap().as_ref().map(|c| c.list(bare));
            match told.flatten() {
                Some(all) => list(stream, &state, &all).await,
                None => respond(stream, 503, fake_cluster::NO_MANAGER.as_bytes()).await,
            }
        }
        "/networks" => {
            let all = br#"[{"Name":"edge","Id":"net-edge"},{"Name":"ingress","Id":"net-ingress","Ingress":true}]"#;
            respond(stream, 200, all).await
        }
        "/_ping" => respond(stream, 200, b"OK").await,
        "/events" => events(stream, &state).await,
        _ if bare.starts_with("/containers/") => {
            respond(stream, 200, br#"{"Config":{"StopSignal":"SIGUSR1"}}"#).await
        }
        _ => respond(stream, 404, b"{\"message\":\"page not found\"}").await,
    };
}

async fn list(mut stream: UnixStream, state: &State, all: &Value) -> std::io::Result<()> {
    let answer = state.answer.lock().unwrap().clone();
    let body = || serde_json::to_vec(all).unwrap();
    match answer {
        Answer::List => respond(stream, 200, &body()).await,
        Answer::Slow(wait) => {
            let body = body();
            tokio::time::sleep(wait).await;
            respond(stream, 200, &body).await
        }
        Answer::Status(status, text) => respond(stream, status, text.as_bytes()).await,
        Answer::Body(body) => respond(stream, 200, &body).await,
        Answer::Hangup => Ok(()),
        Answer::Truncated => {
            let body = body();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body[..body.len() / 2]).await
        }
        Answer::Endless(bytes) => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n[{\"a\r\n")
                .await?;
            let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
            for _ in 0..bytes / 0x10000 {
                stream.write_all(&chunk).await?;
            }
            Ok(())
        }
    }
}

async fn events(mut stream: UnixStream, state: &State) -> std::io::Result<()> {
    let mut events = state.events.subscribe();
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        .await?;
    let (mut read, mut write) = stream.split();
    let mut byte = [0];
    loop {
        tokio::select! {
            // The client sends nothing more: this is its end.
            _ = read.read(&mut byte) => return Ok(()),
            event = events.recv() => {
                let Ok(event) = event else { return Ok(()) };
                let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                write.write_all(chunk.as_bytes()).await?;
            }
        }
    }
}

async fn respond(mut stream: UnixStream, status: u16, body: &[u8]) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await
}
