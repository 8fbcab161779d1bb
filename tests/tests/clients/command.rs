//! curl, over everything that it speaks.

use std::path::Path;
use std::process::Command;

use weir_tests::tools;

use crate::front::Front;

/// Runs curl; what it printed, with the version of HTTP and the status behind it.
fn curl(program: &Path, args: &[&str]) -> String {
    let output = Command::new(program)
        .args([
            "-sS",
            "--max-time",
            "20",
            "-w",
            "|%{http_version} %{http_code}",
        ])
        .args(args)
        .output()
        .expect("run curl");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl {args:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn curl_speaks_every_version_in_clear_and_over_tls() {
    let Some(program) = tools::find("WEIR_CURL", &["curl"], "apt-get install curl") else {
        return;
    };
    let front = Front::start();
    let plain = format!("http://localhost:{}/", front.plain.port());
    let secure = format!("https://{}/", front.secure());
    let ca = front.ca.to_string_lossy();
    for (args, version) in [
        (&["--http1.1", &plain][..], "1.1"),
        (&["--http2-prior-knowledge", &plain], "2"),
        (&["--http1.1", "--cacert", &ca, &secure], "1.1"),
        (&["--http2", "--cacert", &ca, &secure], "2"),
        (
            &["--http2", "--tls-max", "1.2", "--cacert", &ca, &secure],
            "2",
        ),
        (&["--http2", "--tlsv1.3", "--cacert", &ca, &secure], "2"),
        // An offer to upgrade in clear is answered without taking it (RFC 9113, section 3.1).
        (&["--http2", &plain], "1.1"),
    ] {
        let answer = curl(&program, args);
        assert_eq!(answer, format!("web stable\n|{version} 200"), "{args:?}");
    }
}

#[test]
fn curl_sends_and_fetches_large_bodies_over_http_2() {
    let Some(program) = tools::find("WEIR_CURL", &["curl"], "apt-get install curl") else {
        return;
    };
    let front = Front::start();
    let (ca, secure) = (front.ca.to_string_lossy(), front.secure());
    let dir = tempfile::tempdir().expect("a directory");
    let (sent, got) = (dir.path().join("sent"), dir.path().join("got"));
    let data: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(&sent, &data).expect("write a file");
    let (upload, out) = (format!("@{}", sent.display()), got.to_string_lossy());
    let echo = format!("https://{secure}/echo");
    let base = ["--http2", "--cacert", &ca, "-o", &out];
    let status = curl(
        &program,
        &[&base[..], &["--data-binary", &upload, &echo]].concat(),
    );
    assert_eq!(status, "|2 200");
    assert!(
        std::fs::read(&got).expect("what came back") == data,
        "the body changed"
    );
    // Many at once on one connection.
    let many = format!("https://{secure}/bytes/100000?n=[1-40]");
    let parallel = [
        "--http2",
        "--cacert",
        &ca,
        "-Z",
        "--parallel-max",
        "20",
        "-o",
        "/dev/null",
        &many,
    ];
    assert_eq!(curl(&program, &parallel).matches("|2 200").count(), 40);
}
