//! A client of gRPC that knows a service by `xds:///shop` and nothing else.

use std::process::Command;

use weir_tests::binary::workspace;
use weir_tests::program::Program;
use weir_tests::tools;

use super::plane::{Plane, open};

#[test]
fn a_grpc_client_balances_by_what_the_control_plane_says() {
    let Some(python) = tools::python(&["grpc"]) else {
        return;
    };
    let origins: Vec<Program> = ["a", "b", "c"]
        .map(|name| Program::origin(&["--name", name]))
        .into_iter()
        .collect();
    let text = |at, origins: &[Program]| {
        let list: Vec<String> = origins
            .iter()
            .map(|origin| format!("{{ address: \"{}\" }}", origin.addr()))
            .collect();
        format!(
            "{}listeners: [{{ name: web, bind: 127.0.0.1:1 }}]
services:
  - name: shop
    appProtocol: grpc
    loadBalancer: {{ simple: ROUND_ROBIN }}
    endpoints: [{}]
routes: [{{ name: shop, rules: [{{ backendRefs: [{{ name: shop }}] }}] }}]
",
            open(at),
            list.join(", ")
        )
    };
    let plane = Plane::start(|at| text(at, &origins[..2]));
    let mut child = Command::new(python)
        .arg("-B")
        .arg(workspace().join("tests/clients/xds.py"))
        .args([
            plane.at.xds.to_string(),
            "shop".into(),
            "2".into(),
            "3".into(),
        ])
        .env("no_proxy", "*")
        .env("GRPC_VERBOSITY", "ERROR")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("run the script");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(
        child.stdout.take().expect("stdout is a pipe"),
    ));
    let mut line = || lines.next().and_then(Result::ok).unwrap_or_default();
    assert_eq!(line(), "2 answer");
    // While it is connected: what has left says no more of itself.
    let known = plane.proxy("grpc-1").expect("the client is known");
    assert!(
        known["version"].as_str().unwrap().starts_with("gRPC"),
        "{known}"
    );
    plane.rewrite(&text(plane.at, &origins));
    assert_eq!(line(), "3 answer");
    assert_eq!(line(), "ok");
    assert!(child.wait().expect("the end of the script").success());
}
