//! OCSP answers as OpenSSL makes them, stapled to handshakes as OpenSSL reads them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use weir_tests::config::Setup;
use weir_tests::pki::Files;
use weir_tests::tls::Connector;
use weir_tests::tools;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

use super::{Site, status};

const NAME: &str = "a.example.com";

/// An authority's responder.
struct Responder {
    openssl: PathBuf,
    issuer: Files,
}

impl Responder {
    /// `None` where there is no OpenSSL.
    fn of(site: &Site) -> Option<Self> {
        let openssl = tools::find("WEIR_OPENSSL", &["openssl"], "apt-get install openssl")?;
        let issuer = site.authority.write_issuer(site.dir.path(), "issuer");
        Some(Self { openssl, issuer })
    }

    /// What OpenSSL says to these arguments.
    fn run(&self, args: &[&str], files: &[(&str, &Path)]) -> String {
        let mut command = Command::new(&self.openssl);
        command.args(args).stdin(Stdio::null());
        for (option, file) in files {
            command.arg(option).arg(file);
        }
        let output = command.output().expect("run openssl");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(output.status.success(), "{args:?}: {said}");
        said
    }

    /// An answer about a certificate, good for as many days. `state` is OpenSSL's: V is valid, R is revoked.
    fn answer(&self, cert: &Path, state: &str, days: u8) -> Vec<u8> {
        let said = self.run(&["x509", "-noout", "-serial"], &[("-in", cert)]);
        let serial = said.trim().strip_prefix("serial=").expect("a serial");
        let revoked = if state == "R" { "260101000000Z" } else { "" };
        let (index, to) = (cert.with_extension("index"), cert.with_extension("answer"));
        let line = format!("{state}\t491231000000Z\t{revoked}\t{serial}\tunknown\t/CN=x\n");
        std::fs::write(&index, line).expect("write the index");
        let days = days.to_string();
        let files = [
            ("-index", &*index),
            ("-CA", &self.issuer.cert),
            ("-rsigner", &self.issuer.cert),
            ("-rkey", &self.issuer.key),
            ("-issuer", &self.issuer.cert),
            ("-cert", cert),
            ("-respout", &to),
        ];
        self.run(&["ocsp", "-ndays", &days], &files);
        std::fs::read(to).expect("read the answer")
    }

    /// What a client that asks for an answer is told in a handshake.
    fn stapled(&self, weir: &Weir) -> Stapled {
        let at = weir.addr().to_string();
        let asked = ["s_client", "-status", "-verify_return_error", "-servername"];
        let args = [&asked[..], &[NAME, "-connect", &at]].concat();
        let said = self.run(&args, &[("-CAfile", &self.issuer.cert)]);
        assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
        if said.contains("OCSP response: no response sent") {
            return Stapled::default();
        }
        let line = |name: &str| {
            let rest = said.split_once(name).unwrap_or_else(|| panic!("{said}")).1;
            rest.lines().next().unwrap_or_default().trim().to_owned()
        };
        assert!(line("OCSP Response Status:").starts_with("successful"));
        Stapled {
            status: line("Cert Status:"),
            until: line("Next Update:"),
        }
    }
}

/// Empty, where there is none.
#[derive(Debug, Default, PartialEq)]
struct Stapled {
    status: String,
    until: String,
}

#[test]
fn an_answer_is_stapled_replaced_and_kept_and_a_bad_one_never_shown() {
    let site = Site::new();
    let Some(responder) = Responder::of(&site) else {
        return;
    };
    let dir = site.dir.path();
    let files = site.authority.server(&[NAME]).write(dir, "site");
    let other = site.authority.server(&[NAME]).write(dir, "other");
    let answer = dir.join("site.ocsp");
    let write = |bytes: &[u8]| std::fs::write(&answer, bytes).expect("write the answer");
    // A site that starts with one that cannot be used is served without.
    write(b"garbage");
    let tls = format!(
        "tls: {{ certificates: [{{ cert: \"{}\", key: \"{}\", ocsp: \"{}\" }}] }}",
        files.cert.display(),
        files.key.display(),
        answer.display()
    );
    let setup = Setup::to(&site.origin).protocol("https").listener(&tls);
    let weir = Weir::start(&setup);
    let trusting = Connector::trusting(&site.authority, NAME, &[]);
    assert_eq!(status(&weir, &trusting, NAME), Ok(Some(200)));
    assert_eq!(responder.stapled(&weir), Stapled::default());
    eventually("the reason", || {
        let status = weir.json("/api/v1/status").to_string();
        status.contains("; nothing is stapled").then_some(())
    });

    let becomes = |what: &str, fits: &dyn Fn(&Stapled) -> bool| {
        eventually(what, || {
            Some(responder.stapled(&weir)).filter(|it| fits(it))
        })
    };
    write(&responder.answer(&files.cert, "V", 1));
    let first = becomes("an answer", &|it| it.status == "good");
    write(&responder.answer(&files.cert, "V", 5));
    let second = becomes("the next answer", &|it| it.until != first.until);
    assert_eq!(second.status, "good");

    for (bad, reason) in [
        (Vec::new(), "it is empty"),
        (b"garbage".to_vec(), "no answer of an OCSP responder"),
        (std::fs::read(&files.cert).unwrap(), "it is PEM text"),
        (
            responder.answer(&other.cert, "V", 5),
            "it is about the certificate",
        ),
    ] {
        write(&bad);
        eventually(reason, || {
            let said = weir.cli(&["certs"]);
            let said = String::from_utf8_lossy(&said.stdout);
            said.contains(reason).then_some(())
        });
        assert_eq!(responder.stapled(&weir), second, "{reason}");
        assert!(weir.stderr().contains(reason), "{}", weir.stderr());
    }

    write(&responder.answer(&files.cert, "R", 5));
    becomes("a revocation", &|it| it.status.starts_with("revoked"));
    // The next certificate begins without the answer about the last.
    let files = site.authority.server(&[NAME]).write(dir, "site");
    becomes("no answer", &|it| *it == Stapled::default());
    write(&responder.answer(&files.cert, "V", 1));
    becomes("an answer about the next", &|it| it.status == "good");
}
