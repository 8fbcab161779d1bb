//! A running `tests/xds/management.py`: orders go in, what it hears comes out.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use weir_tests::binary::workspace;
use weir_tests::tools;
use weir_tests::wait::eventually;

/// A management server, ended when dropped.
pub(crate) struct Management {
    child: Child,
    orders: ChildStdin,
    events: Arc<Mutex<Vec<Value>>>,
    port: u16,
}

impl Management {
    /// One that speaks these variants of the protocol: `delta`, `sotw` or `both`. `None`, and a word on it, without a Python that
    /// has Envoy's protos.
    pub(crate) fn start(variant: &str) -> Option<Self> {
        Self::start_with(&["--variant", variant])
    }

    pub(crate) fn start_with(args: &[&str]) -> Option<Self> {
        let python = tools::python(&["grpc", "envoy.service.discovery.v3.ads_pb2"])?;
        let mut child = Command::new(python)
            .arg("-B")
            .arg(workspace().join("tests/xds/management.py"))
            .args(args)
            .env("no_proxy", "*")
            .env("GRPC_VERBOSITY", "NONE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("start the management server");
        let orders = child.stdin.take().expect("stdin is a pipe");
        let lines = BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines();
        let events: Arc<Mutex<Vec<Value>>> = Arc::default();
        let into = Arc::clone(&events);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or(json!({ "noise": line }));
                into.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(event);
            }
        });
        let mut this = Self {
            child,
            orders,
            events,
            port: 0,
        };
        let listening = this.wait("the management server to listen", |it| {
            it["event"] == "listening"
        });
        let port = listening["port"].as_u64().expect("a port");
        this.port = u16::try_from(port).expect("a port");
        Some(this)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// As `--control` takes it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    pub(crate) fn put(&mut self, resources: &[Value]) {
        self.order(&json!({ "do": "put", "resources": resources }));
    }

    pub(crate) fn drop(&mut self, resources: &[(&str, &str)]) {
        self.order(&json!({ "do": "drop", "resources": resources }));
    }

    pub(crate) fn raw(&mut self, what: &str) {
        self.order(&json!({ "do": "raw", "what": what }));
    }

    /// Gives an order, and waits until it is carried out.
    pub(crate) fn order(&mut self, order: &Value) {
        let done = |it: &&Value| it["event"] == "done";
        let before = self.events().iter().filter(done).count();
        self.begin(order);
        eventually("the order to be carried out", || {
            (self.events().iter().filter(done).count() > before).then_some(())
        });
    }

    /// Gives an order without waiting for its end.
    pub(crate) fn begin(&mut self, order: &Value) {
        writeln!(self.orders, "{order}").expect("the management server lives");
    }

    /// All that it told so far.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many such events there were.
    pub(crate) fn count(&self, is: impl Fn(&Value) -> bool) -> usize {
        self.events().iter().filter(|it| is(it)).count()
    }

    /// Waits for such an event.
    pub(crate) fn wait(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.wait_after(0, what, is)
    }

    /// Waits for such an event behind the first `seen` ones.
    pub(crate) fn wait_after(&self, seen: usize, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let started = std::time::Instant::now();
        loop {
            let events = self.events();
            if let Some(found) = events.iter().skip(seen).find(|it| is(it)) {
                return found.clone();
            }
            assert!(
                started.elapsed() < 2 * weir_tests::wait::PATIENCE,
                "waited in vain for {what}; it told {events:#?}"
            );
            std::thread::sleep(std::time::Duration::from_millis(3));
        }
    }

    /// Ends it as the kernel ends what has used up the memory.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("kill the management server");
        self.child.wait().expect("its end");
    }
}

impl Drop for Management {
    fn drop(&mut self) {
        // Either fails when it is gone already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether an event is a refusal, or the acceptance, of a type of resource.
pub(crate) fn is(event: &Value, name: &str, kind: &str) -> bool {
    event["event"] == name && event["type"] == kind
}

/// The files that a test hands to both ends.
pub(crate) fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
