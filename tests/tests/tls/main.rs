//! TLS of listeners and towards endpoints.

mod authorization;
mod clients;
mod flag;
mod forwarded;
mod hostile;
mod hsts;
mod mounts;
mod names;
mod ocsp;
mod rotate;
mod spellings;
mod upstream;

use std::io::{Read, Write};
use std::net::TcpStream;

use tempfile::TempDir;
use weir_tests::config::Setup;
use weir_tests::origin::Origin;
use weir_tests::pki::{Authority, Identity};
use weir_tests::tls::{Connector, Session};
use weir_tests::weir::Weir;

/// What a client got on a connection of its own.
struct Got {
    /// `None` where the connection ended without an answer.
    status: Option<u16>,
    session: Session,
}

/// One GET for that host. The error is TLS's or the socket's, whenever it came: with TLS 1.3 a client learns that its certificate is
/// refused after it has asked.
fn ask(weir: &Weir, tls: &Connector, host: &str) -> Result<Got, String> {
    let told = |error: std::io::Error| error.to_string();
    let tcp = TcpStream::connect(weir.addr()).map_err(told)?;
    let mut channel = tls.connect(tcp).map_err(told)?;
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    channel.write_all(request.as_bytes()).map_err(told)?;
    let mut answer = Vec::new();
    channel.read_to_end(&mut answer).map_err(told)?;
    let text = String::from_utf8_lossy(&answer);
    let status = text
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3));
    Ok(Got {
        status: status.and_then(|status| status.parse().ok()),
        session: channel.session().expect("a session"),
    })
}

fn status(weir: &Weir, tls: &Connector, host: &str) -> Result<Option<u16>, String> {
    ask(weir, tls, host).map(|got| got.status)
}

/// What hosts a test has, and where its files are.
struct Site {
    dir: TempDir,
    authority: Authority,
    origin: Origin,
}

impl Site {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a directory for certificates"),
            authority: Authority::new("site authority"),
            origin: Origin::ok("origin"),
        }
    }

    /// A listener with these certificates, in this order, and more keys of `tls`; everything goes to the origin.
    fn setup(&self, identities: &[&Identity], keys: &str) -> Setup {
        let files = identities.iter().enumerate();
        let files: Vec<_> = files
            .map(|(at, identity)| identity.write(self.dir.path(), &format!("site{at}")))
            .collect();
        let files: Vec<_> = files.iter().collect();
        Setup::to(&self.origin).https_with(&files, keys)
    }
}
