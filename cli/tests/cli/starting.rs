//! Starting: what keeps a Weir from it, and `forward` and `demo`.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;

use crate::common::{Running, eventually, file, free_port, get, origin, run, text, weir};

#[test]
fn a_taken_admin_port_is_named_with_its_setting_and_how_to_find_its_holder() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let (_dir, path) = file(
        "weir.yaml",
        "listeners: [{ name: web, bind: 127.0.0.1:0 }]\n",
    );
    let output = run(&["run", "-c", &path, "--admin-listen", &taken]);
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    for part in [&taken, "in use", "--admin-listen", "ss -ltnp"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_taken_listener_port_ends_the_start() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let (dir, path) = file(
        "weir.yaml",
        &format!("listeners: [{{ name: web, bind: \"{taken}\" }}]\n"),
    );
    let state = dir.path().join("state");
    let args = [
        "run",
        "-c",
        &path,
        "--admin-listen",
        "127.0.0.1:0",
        "--state-dir",
        state.to_str().unwrap(),
    ];
    let output = run(&args);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let message = text(&output.stderr);
    assert!(
        message.contains("listener web") && message.contains(&taken),
        "{message}"
    );
    assert!(message.contains("ss -ltnp"), "{message}");
}

#[test]
fn a_state_directory_that_cannot_be_used_is_named() {
    let (_dir, path) = file(
        "weir.yaml",
        "listeners: [{ name: web, bind: 127.0.0.1:0 }]\n",
    );
    let output = run(&[
        "run",
        "-c",
        &path,
        "--admin-listen",
        "127.0.0.1:0",
        "--state-dir",
        "/proc/weir",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("/proc/weir"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_forwarder_balances_without_any_configuration() {
    let (_origin, at) = origin(&["--listen", "127.0.0.1:0", "--count", "2"], 2);
    let from = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut command = weir();
    command.args([
        "forward",
        "--from",
        &from.to_string(),
        "--access-log",
        "off",
        "--workers",
        "1",
        "--to",
    ]);
    command
        .args(at.iter().map(ToString::to_string))
        .stderr(Stdio::null());
    let _weir = Running(command.spawn().unwrap());
    eventually("an answer", || std::net::TcpStream::connect(from).is_ok());
    let answers: Vec<String> = (0..20).map(|_| get(from, "/")).collect();
    for name in ["origin-1", "origin-2"] {
        assert!(
            answers.iter().any(|answer| answer.contains(name)),
            "{answers:?}"
        );
    }
}

#[test]
fn a_forwarder_names_the_target_it_cannot_resolve_and_the_port_it_cannot_take() {
    let output = run(&["forward", "--from", "127.0.0.1:0", "--to", "no-port"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("--to no-port"),
        "{}",
        text(&output.stderr)
    );
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let output = run(&["forward", "--from", &taken, "--to", "127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains(&taken),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn the_demo_serves_both_versions_on_ports_that_are_free_and_cleans_up() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().port().to_string();
    let tmp = tempfile::tempdir().unwrap();
    let mut command = weir();
    command
        .args(["demo", "--port", &taken, "--admin-port", "0"])
        .env("TMPDIR", tmp.path());
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut demo = Running(command.spawn().unwrap());
    let mut welcome = String::new();
    let mut lines = BufReader::new(demo.0.stdout.take().unwrap());
    while !welcome.contains("Ctrl-C") {
        assert!(
            lines.read_line(&mut welcome).unwrap() > 0,
            "it ended with {welcome:?}"
        );
    }
    assert!(
        welcome.contains(&format!("port {taken} is taken")),
        "{welcome}"
    );
    assert!(welcome.contains("canary set shop canary=25"), "{welcome}");
    let url = welcome.split("proxy       http://").nth(1).unwrap();
    let web: SocketAddr = url.split('/').next().unwrap().parse().unwrap();
    let answers: Vec<String> = (0..10).map(|_| get(web, "/")).collect();
    let canary = answers
        .iter()
        .filter(|answer| answer.ends_with("shop-canary-1 canary\n"))
        .count();
    assert_eq!(canary, 1, "10% of 10: {answers:?}");
    demo.terminate();
    assert_eq!(demo.end(), Some(0));
    assert_eq!(
        std::fs::read_dir(tmp.path()).unwrap().count(),
        0,
        "nothing is left behind"
    );
}

#[test]
fn the_demo_ends_by_itself_when_told() {
    let mut command = weir();
    command.args(["demo", "--port", "0", "--admin-port", "0", "--for", "100ms"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut demo = Running(command.spawn().unwrap());
    assert_eq!(demo.end(), Some(0));
}
