//! A real engine, and what a test leaves there, which is nothing.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;

use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// Where the engine listens, unless `DOCKER_HOST` says otherwise.
const SOCKET: &str = "/var/run/docker.sock";

/// Containers and networks of one test, all named with one random prefix. Dropping it removes them.
pub(crate) struct Docker {
    pub(crate) prefix: String,
    networks: std::cell::RefCell<Vec<String>>,
}

/// The engine, or `None` when there is none here. In CI there must be one.
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
pub(crate) fn engine() -> Option<Docker> {
    if let Ok(out) = Command::new("docker").arg("version").output()
        && out.status.success()
    {
        image();
        let prefix = format!("weir-test-{:08x}", rand::random::<u32>());
        return Some(Docker {
            prefix,
            networks: Vec::new().into(),
        });
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "CI needs a Docker engine for this test"
    );
    eprintln!("LEFT OUT: there is no Docker engine here");
    None
}

/// The test image, made once per run of the tests without any registry.
fn image() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/inhabitant.rs");
        let program = dir.path().join("inhabitant");
        let rustc = Command::new("rustc")
            .args(["--edition", "2024", "-O", "-C", "target-feature=+crt-static", "-C", "strip=symbols", "-o"])
            .arg(&program)
            .arg(source)
            .output()
            .expect("rustc runs");
        assert!(rustc.status.success(), "{}", text(&rustc.stderr));
        let dockerfile = "FROM scratch\nCOPY inhabitant /inhabitant\nENTRYPOINT [\"/inhabitant\"]\nEXPOSE 8080\n";
        std::fs::write(dir.path().join("Dockerfile"), dockerfile).expect("the Dockerfile is written");
        let name = "weir-test-inhabitant";
        run(&["build", "-q", "-t", name, path(dir.path())]);
        name.into()
    })
}

fn checked_image() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let check = "HEALTHCHECK --interval=500ms --timeout=5s --retries=1 CMD [\"/inhabitant\", \"check\"]";
        let dockerfile = format!("FROM {}\n{check}\n", image());
        std::fs::write(dir.path().join("Dockerfile"), dockerfile).expect("the Dockerfile is written");
        let name = "weir-test-inhabitant-checked";
        run(&["build", "-q", "-t", name, path(dir.path())]);
        name.into()
    })
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

fn try_run(args: &[&str]) -> Output {
    Command::new("docker")
        .args(args)
        .output()
        .expect("docker runs")
}

/// Runs `docker` with these arguments, and returns what it printed.
pub(crate) fn run(args: &[&str]) -> String {
    let out = try_run(args);
    assert!(
        out.status.success(),
        "docker {args:?}: {}",
        text(&out.stderr)
    );
    text(&out.stdout)
}

impl Docker {
    /// The name of a container, network or service of this test.
    pub(crate) fn name(&self, short: &str) -> String {
        format!("{}-{short}", self.prefix)
    }

    /// Runs a container that opted in; returns its full id.
    pub(crate) fn container(&self, short: &str, options: &[&str]) -> String {
        let name = self.name(short);
        let mut args = vec!["run", "-d", "--name", &name, "--label", "weir.enable=true"];
        args.extend(options);
        args.push(image());
        run(&args)
    }

    /// As [`Self::container`], of an image whose HEALTHCHECK runs the inhabitant itself: `--health-cmd` would need
    /// a shell.
    pub(crate) fn checked_container(&self, short: &str, options: &[&str]) -> String {
        let (name, image) = (self.name(short), checked_image());
        let mut args = vec!["run", "-d", "--name", &name, "--label", "weir.enable=true"];
        args.extend(options);
        args.push(image);
        run(&args)
    }

    /// Makes a network; some engines here have few address ranges left, so a test makes few.
    pub(crate) fn network(&self, short: &str, options: &[&str]) -> String {
        let name = self.name(short);
        let mut args = vec!["network", "create"];
        args.extend(options);
        args.push(&name);
        run(&args);
        self.networks.borrow_mut().push(name.clone());
        name
    }
}

impl Drop for Docker {
    /// Also while a failed test unwinds: so nothing in here may panic.
    fn drop(&mut self) {
        let filter = format!("name={}", self.prefix);
        let Ok(listed) = Command::new("docker")
            .args(["ps", "-aq", "--filter", &filter])
            .output()
        else {
            return;
        };
        let ids = text(&listed.stdout);
        if !ids.is_empty() {
            let _ = Command::new("docker")
                .args(["rm", "-f"])
                .args(ids.lines())
                .output();
        }
        for network in self.networks.borrow().iter() {
            let _ = Command::new("docker")
                .args(["network", "rm", network])
                .output();
        }
    }
}

/// Stands between Weir and the engine, and can be cut.
pub(crate) struct Relay {
    path: std::path::PathBuf,
    task: Option<JoinHandle<()>>,
}

impl Relay {
    pub(crate) fn new(path: &Path) -> Self {
        let mut relay = Self {
            path: path.to_owned(),
            task: None,
        };
        relay.up();
        relay
    }

    pub(crate) fn up(&mut self) {
        let listener = UnixListener::bind(&self.path).expect("the relay listens");
        self.task = Some(tokio::spawn(async move {
            let mut pairs = tokio::task::JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                pairs.spawn(async move {
                    let Ok(mut far) = UnixStream::connect(SOCKET).await else {
                        return;
                    };
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        }));
    }

    /// Breaks every connection and removes the socket, as an engine's restart does.
    pub(crate) fn cut(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}
