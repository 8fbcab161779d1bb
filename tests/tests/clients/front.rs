//! What the clients talk to: a proxy with a plain and a TLS listener, in front of three origins.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use tempfile::TempDir;
use weir_tests::origin::Origin;
use weir_tests::pki::{Authority, Files};
use weir_tests::program::Program;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;
use weir_tests::{ports, tools};

/// Paths under this reach the test's own origin.
pub(crate) const PAGES: &str = "/pages/";

/// Paths of gRPC, which reach an origin over HTTP/2.
const GRPC: [&str; 2] = ["/weir.origin.v1.Echo/", "/grpc.health.v1.Health/"];

/// A proxy with its origins. It is known as `localhost`.
pub(crate) struct Front {
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    /// The authority that signed its certificate.
    pub(crate) authority: Authority,
    pub(crate) ca: PathBuf,
    _weir: Option<Weir>,
    _haproxy: Option<Haproxy>,
    origins: Origins,
    _dir: TempDir,
}

struct Origins {
    web: Program,
    grpc: Program,
    pages: Option<Origin>,
}

struct Haproxy(Child);

impl Drop for Haproxy {
    fn drop(&mut self) {
        // Either fails when it is gone already, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Front {
    /// In front of `weir origin`, over HTTP/1.1 and, for gRPC, over HTTP/2.
    pub(crate) fn start() -> Self {
        Self::with(None)
    }

    /// With an origin of the test's own under [`PAGES`].
    pub(crate) fn with_pages(pages: Origin) -> Self {
        Self::with(Some(pages))
    }

    fn with(pages: Option<Origin>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let authority = Authority::new("Weir test authority");
        let identity = authority.server(&["localhost", "127.0.0.1"]);
        let files = identity.write(dir.path(), "server");
        let ca = authority.write(dir.path(), "ca");
        let origins = Origins {
            web: Program::origin(&["--name", "web"]),
            grpc: Program::origin(&["--name", "grpc"]),
            pages,
        };
        let other = std::env::var("WEIR_FRONT").is_ok_and(|name| name == "haproxy");
        let (weir, haproxy, plain, tls) = match other {
            true => haproxy(&dir, &files, &origins),
            false => weir(&files, &origins),
        };
        Self {
            plain,
            tls,
            authority,
            ca,
            _weir: weir,
            _haproxy: haproxy,
            origins,
            _dir: dir,
        }
    }

    /// The test's own origin.
    ///
    /// # Panics
    /// When there is none.
    pub(crate) fn pages(&self) -> &Origin {
        self.origins.pages.as_ref().expect("an origin of pages")
    }

    /// `localhost:PORT` of the TLS listener.
    pub(crate) fn secure(&self) -> String {
        format!("localhost:{}", self.tls.port())
    }
}

type Started = (Option<Weir>, Option<Haproxy>, SocketAddr, SocketAddr);

fn weir(files: &Files, origins: &Origins) -> Started {
    // A taken port is answered by another try, with another one.
    let secure = Mutex::new(ports::free());
    let weir = Weir::start_text(|ports| {
        let tls = ports::free();
        *secure.lock().expect("one at a time") = tls;
        let (cert, key) = (files.cert.display(), files.key.display());
        let mut services = String::new();
        let mut routes = String::new();
        let mut to = |name: &str, addr: SocketAddr, keys: &str, paths: &[&str]| {
            let endpoint = format!("endpoints: [{{ address: \"{addr}\" }}]");
            writeln!(services, "  - {{ name: {name}, {endpoint}{keys} }}").expect("a string");
            let path = |p: &&str| {
                let p = if *p == "/" {
                    p
                } else {
                    p.trim_end_matches('/')
                };
                format!("{{ path: {{ type: PathPrefix, value: \"{p}\" }} }}")
            };
            let paths: Vec<String> = paths.iter().map(path).collect();
            let rule = format!(
                "matches: [{}], backendRefs: [{{ name: {name} }}]",
                paths.join(", ")
            );
            writeln!(routes, "  - {{ name: {name}, rules: [{{ {rule} }}] }}").expect("a string");
        };
        to("web", origins.web.addr(), "", &["/"]);
        to("grpc", origins.grpc.addr(), ", appProtocol: grpc", &GRPC);
        if let Some(pages) = &origins.pages {
            to("pages", pages.addr(), "", &[PAGES]);
        }
        format!(
            "admin: {{ bind: \"{}\" }}\nworkers: 2\naccessLog: json\nlisteners:\n  - {{ name: web, bind: \"{}\", protocol: http }}\n\
             \x20 - {{ name: websecure, bind: \"{tls}\", protocol: https, tls: {{ certificates: [{{ cert: \"{cert}\", key: \"{key}\" }}] }} }}\n\
             services:\n{services}routes:\n{routes}",
            ports.admin, ports.listen
        )
    });
    let (plain, tls) = (weir.addr(), *secure.lock().expect("one at a time"));
    (Some(weir), None, plain, tls)
}

fn haproxy(dir: &TempDir, files: &Files, origins: &Origins) -> Started {
    let program = tools::find("WEIR_HAPROXY", &["haproxy"], "apt-get install haproxy");
    let program = program.expect("the proxy that WEIR_FRONT names");
    let (plain, tls) = (ports::free(), ports::free());
    let both = dir.path().join("both.pem");
    let pem =
        [&files.cert, &files.key].map(|file| std::fs::read_to_string(file).expect("a PEM file"));
    std::fs::write(&both, pem.concat()).expect("write both");
    let both = both.display();
    let (web, grpc) = (origins.web.addr(), origins.grpc.addr());
    let mut config = format!(
        "global\n  nbthread 2\n  ssl-default-bind-curves X25519:prime256v1:secp384r1\n\
         \x20 ssl-default-bind-ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305\n\
         defaults\n  mode http\n  timeout connect 3s\n  timeout client 60s\n  timeout server 60s\n\
         frontend web\n  bind {plain}\n  bind {tls} ssl crt {both} alpn h2,http/1.1 ssl-min-ver TLSv1.2\n  use_backend grpc if {{ path_beg {} {} }}\n\
         \x20 use_backend pages if {{ path_beg {PAGES} }}\n  default_backend web\n\
         backend web\n  server one {web}\nbackend grpc\n  server one {grpc} proto h2\nbackend pages\n",
        GRPC[0], GRPC[1]
    );
    if let Some(pages) = &origins.pages {
        writeln!(config, "  server one {}", pages.addr()).expect("a string");
    }
    let file = dir.path().join("haproxy.cfg");
    std::fs::write(&file, config).expect("write the configuration");
    let child = Command::new(program)
        .args(["-db", "-q", "-f"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("start haproxy");
    eventually("haproxy", || std::net::TcpStream::connect(tls).ok());
    (None, Some(Haproxy(child)), plain, tls)
}
