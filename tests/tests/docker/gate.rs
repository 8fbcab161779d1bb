//! The gate in front of the real engine.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use weir_tests::binary;
use weir_tests::docker::{Network, Spec, available, docker, unique, watching_at};
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

use crate::{discovery, load, served, served_by};

/// A process of `weir docker-gate`.
struct Gate {
    child: Child,
    dir: tempfile::TempDir,
}

impl Gate {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory for the socket");
        let listen = format!("unix://{}", dir.path().join("gate.sock").display());
        let child = Command::new(binary::weir())
            .args(["docker-gate", "--listen", &listen])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start weir docker-gate");
        let gate = Self { child, dir };
        eventually("a gate that listens", || {
            UnixStream::connect(gate.socket()).ok()
        });
        gate
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("gate.sock")
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = UnixStream::connect(self.socket()).expect("connect to the gate");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a limit");
        stream.write_all(request.as_bytes()).expect("ask the gate");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // Either fails when it is gone already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn through_the_gate_containers_are_served_rolled_and_stopped_without_a_failed_request() {
    if !available() {
        return;
    }
    let gate = Gate::start();
    let network = Network::create();
    let weir = Weir::start(&watching_at(&gate.socket(), &network.name));
    let (service, host) = (unique("svc"), "gate.example");
    let spec = |name: &str| Spec::origin(&network, name, "stable").routed(&service, host, "stable");
    let first = spec("one").run();
    served_by(&weir, host, "one");
    let load = load(&weir, 3, host);
    load.advance(50);
    let _second = spec("two").run();
    served_by(&weir, host, "two");
    load.advance(50);
    // semantics 34: the event that says so passes the gate.
    docker(&["stop", &first.name]);
    load.advance(100);
    load.stop_unharmed();
    assert!(
        discovery(&weir).contains("docker: up"),
        "{}",
        discovery(&weir)
    );
}

#[test]
fn what_containers_have_in_their_environment_does_not_pass_and_orders_do_not_either() {
    if !available() {
        return;
    }
    let gate = Gate::start();
    let network = Network::create();
    let secret = unique("secret");
    let container = Spec::origin(&network, &secret, "stable")
        .option("--env", &format!("PASSWORD={secret}"))
        .label("db.password", &secret)
        .routed(&unique("svc"), "secret.example", "stable")
        .run();
    let get = |path: &str| gate.ask(&format!("GET {path} HTTP/1.1\r\nHost: docker\r\n\r\n"));
    let inspect = format!("/containers/{}/json", container.id);
    for path in ["/containers/json", "/v1.41/containers/json", &inspect] {
        let answer = get(path);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        assert!(answer.contains(&container.id), "{path}: {answer}");
        assert!(!answer.contains(&secret), "{path}: {answer}");
    }
    for request in [
        format!(
            "POST /containers/{}/stop HTTP/1.1\r\nHost: docker\r\n\r\n",
            container.id
        ),
        format!(
            "DELETE /containers/{} HTTP/1.1\r\nHost: docker\r\n\r\n",
            container.id
        ),
        format!(
            "GET /containers/{}/logs?stdout=1 HTTP/1.1\r\nHost: docker\r\n\r\n",
            container.id
        ),
    ] {
        let answer = gate.ask(&request);
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
    assert_eq!(container.inspect("{{.State.Running}}"), "true");
    // The engine's own client understands the refusal.
    let socket = format!("unix://{}", gate.socket().display());
    let stop = Command::new("docker")
        .args(["--host", &socket, "stop", &container.name])
        .output()
        .expect("run docker");
    let said = String::from_utf8_lossy(&stop.stderr);
    assert!(
        !stop.status.success() && said.contains("weir docker-gate"),
        "{said}"
    );
}

#[test]
fn a_gate_that_goes_and_comes_back_is_an_outage_like_any() {
    if !available() {
        return;
    }
    let gate = Gate::start();
    let network = Network::create();
    let socket = gate.socket();
    let weir = Weir::start(&watching_at(&socket, &network.name));
    let _container = Spec::origin(&network, "steady", "stable")
        .routed(&unique("svc"), "steady.example", "stable")
        .run();
    served(&weir, "steady.example");
    let mut gate = gate;
    gate.child.kill().expect("end the gate");
    gate.child.wait().expect("its end");
    eventually("the outage in weir discovery", || {
        discovery(&weir).contains("docker: DOWN").then_some(())
    });
    assert_eq!(weir.get("steady.example", "/").status(), 200);
    // The socket that it left behind is replaced.
    let listen = format!("unix://{}", socket.display());
    gate.child = Command::new(binary::weir())
        .args(["docker-gate", "--listen", &listen])
        .stderr(Stdio::null())
        .spawn()
        .expect("start it again");
    eventually("the end of the outage", || {
        discovery(&weir).contains("docker: up").then_some(())
    });
}
