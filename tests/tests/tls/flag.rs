//! TLS by one flag, for development.

use std::net::SocketAddr;

use weir_tests::client::Client;
use weir_tests::config::Setup;
use weir_tests::origin::Origin;
use weir_tests::ports;
use weir_tests::tls::{Connector, Session};
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

/// The first answer from there over TLS, as soon as there is one; the certificate is taken as it comes.
fn answer(at: SocketAddr) -> (u16, Session) {
    let tls = Connector::blind("localhost", &["http/1.1"]);
    let mut client = eventually("somebody to speak TLS", || {
        Client::try_connect_tls(at, &tls).ok()
    });
    let status = client.get("localhost", "/").status();
    (status, client.wire.session().expect("a session"))
}

#[test]
fn run_serves_over_tls_and_shows_the_same_certificate_after_a_restart() {
    let origin = Origin::ok("origin");
    let setup = Setup::to(&origin);
    let state = tempfile::tempdir().unwrap();
    let shown = || {
        let secure = ports::free();
        let weir = Weir::start_with(
            |ports| setup.render(ports),
            |command| {
                command.args(["--https", &secure.to_string(), "--state-dir"]);
                command.arg(state.path());
            },
        );
        // What the file says is served beside it.
        assert_eq!(weir.get("localhost", "/").status(), 200);
        let (status, session) = answer(secure);
        assert_eq!(status, 200);
        session.peer
    };
    let first = shown();
    assert_eq!(first.len(), 1);
    assert_eq!(first, shown());
}

#[test]
fn a_forwarder_and_the_demo_serve_over_tls() {
    let origin = Origin::ok("origin");
    let to = origin.addr().to_string();
    let weir = Weir::command(|ports| {
        let from = ports.listen.to_string();
        ["forward", "--from", &from, "--to", &to, "--https"]
            .map(str::to_owned)
            .into()
    });
    assert_eq!(answer(weir.addr()).0, 200);
    let demo = Weir::command(|ports| {
        let (port, admin) = (ports.listen.port(), ports.admin.port());
        vec![
            "demo".to_owned(),
            "--port=0".to_owned(),
            format!("--admin-port={admin}"),
            format!("--https={port}"),
        ]
    });
    assert_eq!(answer(demo.addr()).0, 200);
    // It serves a moment before it says so.
    let url = format!("https://localhost:{}/", demo.addr().port());
    eventually("the address of the demo", || {
        demo.stdout().contains(&url).then_some(())
    });
}
