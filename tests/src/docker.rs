//! A real container engine, through its command line, and a relay in front of its socket.
//!
//! Networks, containers and names are a test's own and go with it; a labelled container of another
//! test is in another network, so that no `weir` of this one can take it for an endpoint.

mod engine;
mod relay;

pub use engine::{Engine, Kind};
pub use relay::Relay;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::binary::workspace;
use crate::config::Setup;
use crate::wait::eventually;

/// Where the engine listens.
pub const SOCKET: &str = "/var/run/docker.sock";

/// Whether there is an engine; in continuous integration it is a failure if not.
///
/// # Panics
/// When there is none under `CI`.
pub fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    let available = *AVAILABLE.get_or_init(|| {
        Command::new("docker")
            .arg("info")
            .output()
            .is_ok_and(|o| o.status.success())
    });
    assert!(available || !crate::in_ci(), "no Docker engine answers");
    if !available {
        crate::say("LEFT OUT: no Docker engine answers");
    }
    available
}

/// Runs a docker command that must succeed, and gives what it printed.
///
/// # Panics
/// When it fails.
pub fn docker(args: &[&str]) -> String {
    let output = try_docker(args);
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(
        output.status.success(),
        "docker {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Runs a docker command.
///
/// # Panics
/// When there is no docker command.
#[must_use]
pub fn try_docker(args: &[&str]) -> Output {
    Command::new("docker")
        .args(args)
        .output()
        .expect("run docker")
}

/// The image of this tree, built by the documented path once a process; `$WEIR_TEST_IMAGE` names one
/// that is there already.
///
/// # Panics
/// When it cannot be built.
pub fn image() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| {
        if let Ok(image) = std::env::var("WEIR_TEST_IMAGE") {
            return image;
        }
        let this = std::env::current_exe().expect("the path of this test");
        let target = this
            .ancestors()
            .nth(3)
            .expect("a test lies in target/<profile>/deps");
        let mut build = Command::new(workspace().join("deploy/image.sh"));
        let output = build
            .arg("weir:test")
            .env("WEIR_PROFILE", "dev")
            .env("CARGO_TARGET_DIR", target)
            .output()
            .expect("run deploy/image.sh");
        assert!(
            output.status.success(),
            "deploy/image.sh: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        "weir:test".to_owned()
    })
}

/// A name that no other test and no other run has.
#[must_use]
pub fn unique(what: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!(
        "weirtest-{what}-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// A bridge network, removed when dropped.
#[derive(Debug)]
pub struct Network {
    pub name: String,
}

impl Network {
    /// A new one, with a subnet of the engine's choice.
    #[must_use]
    pub fn create() -> Self {
        let name = unique("net");
        docker(&["network", "create", &name]);
        Self { name }
    }

    /// An address of it that the engine does not hand out soon.
    ///
    /// # Panics
    /// When the engine does not tell the subnet.
    #[must_use]
    pub fn address(&self, last: u8) -> String {
        let subnet = docker(&[
            "network",
            "inspect",
            &self.name,
            "--format",
            "{{(index .IPAM.Config 0).Subnet}}",
        ]);
        let prefix = subnet.rsplit_once('.').expect("an IPv4 subnet").0;
        format!("{prefix}.{last}")
    }

    /// A network of the same engine whose subnet is given, so that containers may choose addresses.
    #[must_use]
    pub fn with_own_subnet() -> Self {
        Self::with_options(&[])
    }

    /// As [`Network::with_own_subnet`], on a bridge device of that name, at most 15 characters.
    #[must_use]
    pub fn on_bridge(device: &str) -> Self {
        let option = format!("com.docker.network.bridge.name={device}");
        Self::with_options(&["--opt", &option])
    }

    fn with_options(options: &[&str]) -> Self {
        let name = unique("net");
        // Somebody else may hold a subnet: the next one is tried.
        eventually("a free subnet", || {
            let third = rand::random_range(0..=255);
            let subnet = format!("10.213.{third}.0/24");
            let args = [
                &["network", "create", "--subnet", &subnet],
                options,
                &[&name],
            ]
            .concat();
            try_docker(&args).status.success().then_some(())
        });
        Self { name }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Whatever is left is left; a failing removal must not hide the test's own failure.
        let _ = try_docker(&["network", "rm", &self.name]);
    }
}

/// What a container is started with.
#[derive(Debug, Clone, Default)]
pub struct Spec {
    options: Vec<String>,
    command: Vec<String>,
}

impl Spec {
    /// `weir origin` of that name and version in this network, checked often.
    #[must_use]
    pub fn origin(network: &Network, name: &str, version: &str) -> Self {
        Self::origin_in(&network.name, name, version)
    }

    /// As [`Spec::origin`], in a network by its name: one of another engine, say.
    #[must_use]
    pub fn origin_in(network: &str, name: &str, version: &str) -> Self {
        Self::unchecked(network, name, version).option("--health-interval", "300ms")
    }

    /// As [`Spec::origin`], without a HEALTHCHECK.
    #[must_use]
    pub fn without_healthcheck(network: &Network, name: &str, version: &str) -> Self {
        Self::unchecked(&network.name, name, version).flag("--no-healthcheck")
    }

    fn unchecked(network: &str, name: &str, version: &str) -> Self {
        // The image's HEALTHCHECK asks `/ready` at this address: the origin's own.
        let mut spec = Self::default()
            .option("--network", network)
            .option("--env", "WEIR_ADMIN=http://127.0.0.1:8080");
        spec.command = [
            "origin",
            "--listen",
            "0.0.0.0:8080",
            "--name",
            name,
            "--version",
            version,
        ]
        .map(str::to_owned)
        .to_vec();
        spec
    }

    /// An option with its value.
    #[must_use]
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.options.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// An option without value.
    #[must_use]
    pub fn flag(mut self, name: &str) -> Self {
        self.options.push(name.to_owned());
        self
    }

    /// A label.
    #[must_use]
    pub fn label(self, name: &str, value: &str) -> Self {
        self.option("--label", &format!("{name}={value}"))
    }

    /// Opts in, for this service, host and version, on port 8080.
    #[must_use]
    pub fn routed(self, service: &str, host: &str, version: &str) -> Self {
        self.label("weir.enable", "true")
            .label("weir.service", service)
            .label("weir.host", host)
            .label("weir.version", version)
            .label("weir.port", "8080")
    }

    /// More arguments of the command.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.command.extend(args.iter().map(|a| (*a).to_owned()));
        self
    }

    /// Starts it.
    #[must_use]
    pub fn run(&self) -> Container {
        let name = unique("c");
        let id = docker(&self.arguments(&name));
        Container { id, name }
    }

    /// `run` and what follows it, for a container of that name.
    fn arguments<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        let mut args = vec!["run", "--detach", "--name", name];
        args.extend(self.options.iter().map(String::as_str));
        args.push(image());
        args.extend(self.command.iter().map(String::as_str));
        args
    }
}

/// A container, removed by force when dropped.
#[derive(Debug)]
pub struct Container {
    pub id: String,
    pub name: String,
}

impl Container {
    /// One value of `docker inspect`, by its Go template.
    #[must_use]
    pub fn inspect(&self, template: &str) -> String {
        docker(&["inspect", "--format", template, &self.name])
    }

    /// Waits until its HEALTHCHECK passes.
    pub fn wait_healthy(&self) {
        eventually(&format!("the health of {}", self.name), || {
            (self.inspect("{{.State.Health.Status}}") == "healthy").then_some(())
        });
    }

    /// Its address in a network.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn address(&self, network: &Network) -> IpAddr {
        let template = format!(
            "{{{{(index .NetworkSettings.Networks \"{}\").IPAddress}}}}",
            network.name
        );
        self.inspect(&template).parse().expect("an address")
    }

    /// Where its origin listens.
    #[must_use]
    pub fn origin(&self, network: &Network) -> SocketAddr {
        SocketAddr::new(self.address(network), 8080)
    }

    /// What it printed.
    #[must_use]
    pub fn logs(&self) -> String {
        let output = try_docker(&["logs", &self.name]);
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = try_docker(&["rm", "--force", "--volumes", &self.name]);
    }
}

/// A `weir` on this host that watches the engine's socket and reaches containers in this network.
#[must_use]
pub fn watching(network: &Network) -> Setup {
    watching_at(Path::new(SOCKET), &network.name)
}

/// As [`watching`], through another socket.
#[must_use]
pub fn watching_at(socket: &Path, network: &str) -> Setup {
    Setup::new().top(&format!(
        "discovery: {{ docker: {{ endpoint: \"unix://{}\", network: {network} }} }}",
        socket.display(),
    ))
}
