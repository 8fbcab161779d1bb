//! A control plane with an authority, and sidecars that join it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use weir_tests::binary;
use weir_tests::client::{Client, Response};
use weir_tests::pki::{Authority, Files};
use weir_tests::ports;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

/// The trust domain of all tests.
pub(crate) const DOMAIN: &str = "test.mesh";

/// A service of the mesh: where its app is, and where its sidecar takes connections.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) app: SocketAddr,
    pub(crate) inbound: SocketAddr,
    /// What stands in the braces of `mesh`, beside the port.
    pub(crate) mesh: String,
}

impl Member {
    pub(crate) fn new(name: &'static str, app: SocketAddr) -> Self {
        Self {
            name,
            app,
            inbound: ports::free(),
            mesh: String::new(),
        }
    }

    pub(crate) fn with(mut self, mesh: &str) -> Self {
        self.mesh = mesh.to_owned();
        self
    }

    /// Its entry under `services`.
    fn text(&self) -> String {
        format!(
            "  - name: {}\n    mesh: {{ port: {}{} }}\n    endpoints: [{{ address: \"{}\" }}]\n",
            self.name,
            self.inbound.port(),
            self.mesh,
            self.app
        )
    }
}

/// A running control plane.
pub(crate) struct Plane {
    pub(crate) xds: SocketAddr,
    pub(crate) authority: Authority,
    /// Of that authority; a plane without has made one of its own.
    root: Option<Files>,
    weir: Option<Weir>,
    dir: TempDir,
    members: Vec<Member>,
    /// Further lines of the file, and of its `mesh` section.
    more: String,
    section: String,
}

impl Plane {
    /// One whose authority the test has the key of.
    pub(crate) fn start(members: &[Member], section: &str, more: &str) -> Self {
        Self::launch(ports::free(), members, section, more, true)
    }

    /// One at an address that others than this machine reach.
    pub(crate) fn start_at(xds: SocketAddr, members: &[Member]) -> Self {
        Self::launch(xds, members, "", "", true)
    }

    /// One that is its own authority.
    pub(crate) fn sovereign(members: &[Member]) -> Self {
        Self::launch(ports::free(), members, "", "", false)
    }

    fn launch(xds: SocketAddr, members: &[Member], section: &str, more: &str, given: bool) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let authority = Authority::new("the mesh");
        let root = given.then(|| authority.write_issuer(dir.path(), "root"));
        let mut plane = Self {
            xds,
            authority,
            root,
            weir: None,
            dir,
            members: members.to_vec(),
            more: more.to_owned(),
            section: section.to_owned(),
        };
        plane.write();
        plane.resume();
        plane
    }

    fn write(&self) {
        let ca = self.root.as_ref().map_or_else(String::new, |root| {
            let (cert, key) = (root.cert.display(), root.key.display());
            format!("  ca: {{ cert: \"{cert}\", key: \"{key}\" }}\n")
        });
        let services: String = self.members.iter().map(Member::text).collect();
        let text = format!(
            "control: {{ bind: \"{}\" }}\nmesh:\n  trustDomain: {DOMAIN}\n{ca}{}services:\n{services}{}",
            self.xds, self.section, self.more
        );
        let new = self.dir.path().join(".new");
        fs::write(&new, text).expect("write the configuration");
        fs::rename(&new, self.file()).expect("put the configuration in place");
    }

    /// Another file, with these members and these further lines.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Vec<Member>, &mut String)) {
        change(&mut self.members, &mut self.more);
        self.write();
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        self.weir = None;
    }

    /// Starts it (again).
    pub(crate) fn resume(&mut self) {
        let (file, state) = (self.file(), self.dir.path().join("state"));
        let mut weir = Weir::command(|ports| {
            let admin = ports.admin.to_string();
            let (file, state) = (file.display().to_string(), state.display().to_string());
            [
                "control",
                "-c",
                &file,
                "--admin-listen",
                &admin,
                "--state-dir",
                &state,
            ]
            .map(str::to_owned)
            .to_vec()
        });
        weir.wait_ready()
            .unwrap_or_else(|why| panic!("weir control {why}\n{}", weir.logs()));
        self.weir = Some(weir);
    }

    /// The process.
    pub(crate) fn weir(&self) -> &Weir {
        self.weir.as_ref().expect("it runs")
    }

    /// A token for one workload of a service.
    pub(crate) fn token(&self, service: &str) -> String {
        let mut create = self
            .weir()
            .cli_command(&["token", "create", "--service", service]);
        create.env("WEIR_STATE_DIR", self.dir.path().join("state"));
        let made = create.output().expect("run weir token");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        String::from_utf8_lossy(&made.stdout).trim().to_owned()
    }

    /// A command that changes who may call whom, or who certifies.
    pub(crate) fn order(&self, args: &[&str]) {
        let mut change = self.weir().cli_command(args);
        change.env("WEIR_STATE_DIR", self.dir.path().join("state"));
        let done = change.output().expect("run weir");
        assert!(
            done.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    }

    pub(crate) fn member(&self, name: &str) -> &Member {
        let found = self.members.iter().find(|member| member.name == name);
        found.expect("a member of that name")
    }

    /// A sidecar that has joined and serves.
    pub(crate) fn sidecar(&self, name: &str) -> Sidecar {
        let mut sidecar = self.join(name, &self.token(name), &[]);
        sidecar.ready();
        sidecar
    }

    /// A sidecar with that token, not waited for.
    pub(crate) fn join(&self, name: &str, token: &str, more: &[&str]) -> Sidecar {
        self.join_by(binary::weir(), name, token, more)
    }

    /// The same by another binary.
    pub(crate) fn join_by(&self, by: &Path, name: &str, token: &str, more: &[&str]) -> Sidecar {
        let member = self.member(name).clone();
        let dir = tempfile::tempdir().expect("a directory");
        let weir = Sidecar::run(by, self.xds, &member, dir.path(), token, more);
        Sidecar {
            weir,
            dir,
            control: self.xds,
            member,
        }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("weir.yaml")
    }
}

/// A running sidecar.
pub(crate) struct Sidecar {
    pub(crate) weir: Weir,
    dir: TempDir,
    control: SocketAddr,
    member: Member,
}

impl Sidecar {
    /// Ends it without a word, and starts it again on what it kept.
    pub(crate) fn resume(self) -> Self {
        let Self {
            weir,
            dir,
            control,
            member,
        } = self;
        drop(weir);
        let weir = Self::run(binary::weir(), control, &member, dir.path(), "", &[]);
        let mut sidecar = Self {
            weir,
            dir,
            control,
            member,
        };
        sidecar.ready();
        sidecar
    }

    fn run(
        by: &Path,
        control: SocketAddr,
        member: &Member,
        dir: &Path,
        token: &str,
        more: &[&str],
    ) -> Weir {
        let state = dir.display().to_string();
        let (app, inbound) = (member.app.to_string(), member.inbound.to_string());
        let control = format!("https://{control}");
        Weir::command_of(Command::new(by), |ports| {
            let (admin, outbound) = (ports.admin.to_string(), ports.listen.to_string());
            let own = [
                "sidecar",
                "--service",
                member.name,
                "--app",
                &app,
                "--control",
                &control,
                "--inbound",
                &inbound,
                "--outbound",
                &outbound,
                "--admin-listen",
                &admin,
                "--state-dir",
                &state,
            ];
            let token: &[&str] = match token {
                "" => &[],
                token => &["--join-token", token],
            };
            own.iter()
                .chain(token)
                .chain(more)
                .map(ToString::to_string)
                .collect()
        })
    }

    pub(crate) fn ready(&mut self) {
        self.weir
            .wait_ready()
            .unwrap_or_else(|why| panic!("weir sidecar {why}\n{}", self.weir.logs()));
    }

    /// What the app beside it gets when it asks for another service.
    pub(crate) fn ask(&self, service: &str, path: &str) -> Response {
        self.weir.get(service, path)
    }

    /// The same, until it is answered with that status.
    pub(crate) fn ask_until(&self, service: &str, path: &str, status: u16) -> Response {
        eventually(&format!("{status} of {service}"), || {
            let mut client = Client::try_connect(self.weir.addr()).ok()?;
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: {service}\r\nConnection: close\r\n\r\n");
            client.wire.send(request).ok()?;
            let answer = client.try_response("GET").ok()??;
            (answer.status() == status).then_some(answer)
        })
    }

    /// Where its certificate, its key and what it was told are.
    pub(crate) fn state(&self) -> &Path {
        self.dir.path()
    }
}
