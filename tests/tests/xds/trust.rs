//! Who a proxy follows, and as whom: certificates and tokens, read anew for each connection.

use weir_tests::origin::Origin;
use weir_tests::pki::Authority;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;
use weir_tests::{client::Client, ports};

use crate::cluster::{proxy, whole};
use crate::management::{Management, path};

struct Scene {
    server: Management,
    _origin: Origin,
    web: std::net::SocketAddr,
    dir: tempfile::TempDir,
    authority: Authority,
}

impl Scene {
    /// A server over TLS that wants a token, or a certificate.
    fn start(token: Option<&str>, wants_certificate: bool) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let authority = Authority::new("Control");
        let ca = authority.write(dir.path(), "ca");
        let files = authority.server(&["localhost"]).write(dir.path(), "server");
        let (cert, key, ca) = (path(&files.cert), path(&files.key), path(&ca));
        let mut args = vec!["--variant", "delta", "--cert", &cert, "--key", &key];
        if wants_certificate {
            args.extend(["--client-ca", &ca]);
        }
        args.extend(token.into_iter().flat_map(|token| ["--token", token]));
        let mut server = Management::start_with(&args)?;
        let (origin, web) = (Origin::ok("shop"), ports::free());
        server.put(&whole(web, &[origin.addr()]));
        Some(Self {
            server,
            _origin: origin,
            web,
            dir,
            authority,
        })
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.server.addr().port())
    }

    fn proxy(&self, more: &[&str]) -> Weir {
        proxy(&[self.url()], &self.dir.path().join("state"), more)
    }

    fn file(&self, name: &str) -> String {
        path(&self.dir.path().join(name))
    }
}

/// Waits until the proxy says why it does not follow.
fn why(weir: &Weir, part: &str) {
    eventually("the reason in the status", || {
        let status = weir.try_admin("/api/v1/status").ok()?.text();
        status.contains(part).then_some(())
    });
    assert_eq!(weir.admin("/ready").status(), 503);
}

#[test]
fn a_token_over_tls_is_let_in_and_a_wrong_one_is_not_until_its_file_is_right() {
    let Some(scene) = Scene::start(Some("secret-of-edge-1"), false) else {
        return;
    };
    let (ca, token) = (scene.file("ca.pem"), scene.file("token"));
    std::fs::write(&token, "wrong").expect("write a token");
    let mut weir = scene.proxy(&["--ca", &ca, "--token-file", &token]);
    why(&weir, "refused by the control plane");
    assert!(scene.server.count(|it| it["event"] == "unauthenticated") > 0);
    // Read again for each connection: nothing has to be restarted.
    std::fs::write(&token, "secret-of-edge-1\n").expect("write the token");
    weir.wait_ready()
        .unwrap_or_else(|why| panic!("weir {why}\n{}", weir.logs()));
    assert_eq!(
        Client::connect(scene.web).get("shop.example", "/").status(),
        200
    );
    assert!(
        !weir.logs().contains("secret-of-edge-1"),
        "the token is in the log"
    );
}

#[test]
fn a_control_plane_of_another_authority_is_not_followed() {
    let Some(scene) = Scene::start(None, false) else {
        return;
    };
    let stranger = Authority::new("Stranger").write(scene.dir.path(), "stranger");
    let weir = scene.proxy(&["--ca", &path(&stranger)]);
    why(&weir, "cannot connect");
    // Nor without any: the machine does not know it.
    drop(weir);
    let weir = scene.proxy(&[]);
    why(&weir, "cannot connect");
    assert_eq!(scene.server.count(|it| it["event"] == "stream"), 0);
}

#[test]
fn a_certificate_of_the_node_is_shown_and_read_again_when_it_was_renewed() {
    let Some(scene) = Scene::start(None, true) else {
        return;
    };
    let (ca, cert, key) = (
        scene.file("ca.pem"),
        scene.file("edge.crt"),
        scene.file("edge.key"),
    );
    let put = |authority: &Authority| {
        let files = authority
            .client(&["edge-1"])
            .write(scene.dir.path(), "edge");
        assert_eq!(
            (path(&files.cert), path(&files.key)),
            (cert.clone(), key.clone())
        );
    };
    // One of a stranger's is refused; what is wrong with it is seen in the status.
    put(&Authority::new("Stranger"));
    let mut weir = scene.proxy(&["--ca", &ca, "--cert", &cert, "--key", &key]);
    eventually("attempts", || {
        let tried = weir.try_admin("/metrics").ok()?.text();
        let line = tried
            .lines()
            .find(|it| it.starts_with("weir_xds_connects_total{result=\"error\"}"))?;
        (!line.ends_with(" 0")).then_some(())
    });
    assert_eq!(weir.admin("/ready").status(), 503);
    put(&scene.authority);
    weir.wait_ready()
        .unwrap_or_else(|why| panic!("weir {why}\n{}", weir.logs()));
    assert_eq!(
        Client::connect(scene.web).get("shop.example", "/").status(),
        200
    );
}

#[test]
fn what_cannot_work_is_refused_at_once() {
    let state = tempfile::tempdir().expect("a directory");
    for (args, code, part) in [
        (
            &["--control", "http://198.18.0.1:9902"][..],
            2,
            "--insecure",
        ),
        (&["--control", "control:9902"], 2, "https://HOST:PORT"),
        (
            &["--control", "https://control:9902", "--cert", "x"],
            2,
            "--key",
        ),
    ] {
        let output = std::process::Command::new(weir_tests::binary::weir())
            .args([
                "proxy",
                "--node",
                "edge-1",
                "--admin-listen",
                "127.0.0.1:0",
                "--state-dir",
            ])
            .arg(state.path())
            .args(args)
            .output()
            .expect("run weir");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
        assert!(error.contains(part), "{args:?}: {error}");
    }
}
