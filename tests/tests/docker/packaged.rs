//! Weir itself as a container: the image as it is meant to run.

use std::os::unix::fs::MetadataExt as _;

use weir_tests::client;
use weir_tests::docker::{Container, Network, SOCKET, Spec, available, image, unique};
use weir_tests::wait::eventually;

fn weir_in(network: &Network, group: Option<u32>) -> Container {
    let mut spec = Spec::default()
        .option("--network", &network.name)
        .flag("--read-only")
        .option("--cap-drop", "ALL")
        .option("--security-opt", "no-new-privileges:true")
        .option("--volume", &format!("{SOCKET}:{SOCKET}:ro"))
        .option("--health-interval", "500ms");
    if let Some(group) = group {
        spec = spec.option("--group-add", &group.to_string());
    }
    spec.args(&["run", "--docker", "--network", &network.name])
        .run()
}

#[test]
fn the_image_runs_as_nobody_on_a_read_only_root_and_is_healthy() {
    if !available() {
        return;
    }
    let network = Network::create();
    let group = std::fs::metadata(SOCKET)
        .expect("the engine's socket")
        .gid();
    let weir = weir_in(&network, Some(group));
    assert_eq!(weir.inspect("{{.Config.User}}"), "65532:65532");
    let _origin = Spec::origin(&network, "inside", "stable")
        .routed(&unique("svc"), "inside.example", "stable")
        .run();
    weir.wait_healthy();
    let addr = std::net::SocketAddr::new(weir.address(&network), 8080);
    let response = eventually("a request through the container", || {
        let mut client = client::Client::try_connect(addr).ok()?;
        client
            .wire
            .send("GET / HTTP/1.1\r\nHost: inside.example\r\n\r\n")
            .ok()?;
        client
            .try_response("GET")
            .ok()?
            .filter(|response| response.status() == 200)
    });
    assert_eq!(response.get("x-origin-name"), Some("inside"));
    let stopped = std::time::Instant::now();
    weir_tests::docker::docker(&["stop", "--time", "20", &weir.name]);
    assert!(
        stopped.elapsed() < std::time::Duration::from_secs(15),
        "SIGTERM is heeded by process 1"
    );
    assert_eq!(weir.inspect("{{.State.ExitCode}}"), "0", "{}", weir.logs());
}

#[test]
fn a_socket_without_permission_is_named_with_what_to_do() {
    if !available() {
        return;
    }
    let group = std::fs::metadata(SOCKET)
        .expect("the engine's socket")
        .gid();
    if group == 65532 {
        return;
    }
    let network = Network::create();
    let weir = weir_in(&network, None);
    eventually("words about the permission, and what to do", || {
        let logs = weir.logs();
        let whole = ["permission denied", SOCKET, &format!("--group-add {group}")]
            .iter()
            .all(|part| logs.contains(part));
        whole.then_some(())
    });
}

#[test]
fn the_image_holds_one_file_and_no_shell() {
    if !available() {
        return;
    }
    let output = weir_tests::docker::try_docker(&[
        "run",
        "--rm",
        "--entrypoint",
        "/bin/sh",
        image(),
        "-c",
        "true",
    ]);
    assert!(!output.status.success());
    let version = weir_tests::docker::docker(&["run", "--rm", image(), "--version"]);
    assert!(version.starts_with("weir "), "{version}");
}
