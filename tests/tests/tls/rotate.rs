//! Certificates that change under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use weir_tests::client::Client;
use weir_tests::pki::Identity;
use weir_tests::tls::Connector;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

use super::{Site, ask};

const ROTATIONS: usize = 100;

#[test]
fn certificates_rotated_a_hundred_times_fail_no_handshake_and_no_request() {
    let site = Site::new();
    let name = "a.example.com";
    let weir = Weir::start(&site.setup(&[&site.authority.server(&[name])], ""));
    let tls = Connector::trusting(&site.authority, name, &[]);
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let (weir, tls, stop, done) = (&weir, &tls, &stop, &done);
        // New connections, with sessions to be resumed now and then, and one that lasts.
        let fresh = scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let got = ask(weir, tls, name).expect("a handshake");
                assert_eq!(got.status, Some(200));
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
        let lasting = scope.spawn(move || {
            let mut client = Client::connect_tls(weir.addr(), tls);
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(client.get(name, "/").status(), 200);
            }
        });
        for _ in 0..ROTATIONS {
            let next = site.authority.server(&[name]);
            next.write(site.dir.path(), "site0");
            // Without a session that it could resume, a client sees the new one.
            eventually("the new certificate to be shown", || {
                let stranger = Connector {
                    config: Arc::new({
                        let mut config = (*tls.config).clone();
                        config.resumption = rustls::client::Resumption::disabled();
                        config
                    }),
                    ..tls.clone()
                };
                let got = ask(weir, &stranger, name).expect("a handshake");
                (got.session.peer.first() == Some(next.leaf())).then_some(())
            });
        }
        stop.store(true, Ordering::Relaxed);
        fresh.join().expect("new connections");
        lasting.join().expect("the lasting connection");
    });
    assert!(done.into_inner() > ROTATIONS);
    let failed = |result: &str| weir.metric("weir_tls_handshakes_total", &[result]);
    for result in [
        "protocol",
        "incompatible",
        "unusable",
        "timeout",
        "rejected",
    ] {
        assert_eq!(failed(&format!("result=\"{result}\"")), 0.0, "{result}");
    }
}

#[test]
fn a_bad_replacement_is_told_and_the_old_certificate_shown() {
    let site = Site::new();
    let name = "a.example.com";
    let old = site.authority.server(&[name]);
    let weir = Weir::start(&site.setup(&[&old], ""));
    let write = |file: &str, text: &str| {
        std::fs::write(site.dir.path().join(file), text).expect("write the replacement");
    };
    let is_shown = |identity: &Identity| {
        let tls = Connector::trusting(&site.authority, name, &[]);
        let got = ask(&weir, &tls, name).expect("a handshake");
        assert_eq!(got.status, Some(200));
        got.session.peer.first() == Some(identity.leaf())
    };
    let another = site.authority.server(&[name]);
    for (file, text, reason) in [
        ("site0.key", &*another.key_pem, "does not belong"),
        ("site0.key", "garbage", "there is no private key in it"),
        ("site0.crt", "garbage", "there is no certificate in it"),
        ("site0.crt", "", "there is no certificate in it"),
    ] {
        write(file, text);
        eventually(reason, || {
            let said = weir.cli(&["certs"]);
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            said.contains(reason).then_some(())
        });
        assert!(is_shown(&old), "{reason}");
        eventually("the reason in the log", || {
            let log = weir.stderr();
            let told = |line: &str| line.contains("certificate refused") && line.contains(reason);
            log.lines().any(told).then_some(())
        });
        old.write(site.dir.path(), "site0");
        eventually("nothing to be said", || {
            let certs = weir.json("/api/v1/certs");
            certs["certs"][0]["problem"].is_null().then_some(())
        });
    }
    let refused = weir.metric("weir_certificates_rejected_total", &[]);
    assert!(refused >= 4.0, "{refused}");
    another.write(site.dir.path(), "site0");
    eventually("the good replacement", || is_shown(&another).then_some(()));
}
