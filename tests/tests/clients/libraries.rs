//! Libraries of Python: httpx, grpcio and websockets (tests/clients).

use std::process::Command;

use weir_tests::binary::workspace;
use weir_tests::tools;

use crate::front::Front;

/// Runs a script that prints `ok` at its end.
fn script(modules: &[&str], name: &str, args: &[&str]) {
    let Some(python) = tools::python(modules) else {
        return;
    };
    let output = Command::new(python)
        .arg("-B")
        .arg(workspace().join("tests/clients").join(name))
        .args(args)
        // A name of this machine needs no proxy on the way.
        .env("no_proxy", "*")
        .env("GRPC_VERBOSITY", "ERROR")
        .output()
        .expect("run the script");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{name} {args:?}: {out}{err}");
    assert_eq!(out, "ok\n");
}

#[test]
fn httpx_speaks_http_2() {
    let front = Front::start();
    let ca = front.ca.to_string_lossy();
    script(&["httpx", "h2"], "http2.py", &[&front.secure(), &ca]);
}

#[test]
fn grpcio_makes_every_kind_of_call_in_clear() {
    let front = Front::start();
    script(&["grpc"], "calls.py", &[&front.plain.to_string()]);
}

#[test]
fn grpcio_makes_every_kind_of_call_over_tls() {
    let front = Front::start();
    let ca = front.ca.to_string_lossy();
    script(&["grpc"], "calls.py", &[&front.secure(), &ca]);
}

#[test]
fn websockets_speaks_over_http_1_in_clear_and_over_tls() {
    let front = Front::start();
    let ca = front.ca.to_string_lossy();
    let plain = format!("ws://{}/ws", front.plain);
    let secure = format!("wss://{}/ws", front.secure());
    script(&["websockets"], "websocket.py", &[&plain]);
    script(&["websockets"], "websocket.py", &[&secure, &ca]);
}
