//! Every file under `examples/` works as it stands.

use std::process::{Command, Output};

use serde_json::Value;
use weir_tests::binary::{self, workspace};
use weir_tests::client::Client;
use weir_tests::docker::{Network, Spec, available, image, unique, watching};
use weir_tests::ports;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

/// `docker-compose`, or the plugin that took its place.
fn compose(args: &[&str], envs: &[(&str, &str)]) -> Output {
    let standalone = Command::new("docker-compose")
        .arg("version")
        .output()
        .is_ok_and(|o| o.status.success());
    let mut command = if standalone {
        Command::new("docker-compose")
    } else {
        Command::new("docker")
    };
    if !standalone {
        command.arg("compose");
    }
    command
        .args(args)
        .envs(envs.iter().copied())
        .output()
        .expect("run docker-compose")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn every_configuration_passes_weir_check_without_a_warning() {
    let mut count = 0;
    for entry in std::fs::read_dir(workspace().join("examples")).expect("the examples") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let output = Command::new(binary::weir())
                .args(["check", "--strict"])
                .arg(&path)
                .output()
                .expect("run weir check");
            assert!(
                output.status.success(),
                "{}: {}",
                path.display(),
                said(&output)
            );
            count += 1;
        }
    }
    assert!(count > 0, "there is an example to check");
}

/// A service of a Compose or stack file that carries labels.
struct Labelled {
    labels: Vec<(String, String)>,
    command: Vec<String>,
}

/// The labelled services of a Compose or stack file, as Compose itself reads it.
fn labelled(file: &str) -> Vec<Labelled> {
    let path = workspace().join(file);
    let output = compose(
        &["-f", &path.to_string_lossy(), "config"],
        &[("DOCKER_GID", "0")],
    );
    assert!(output.status.success(), "{file}: {}", said(&output));
    let tree: Value = serde_saphyr::from_str(&String::from_utf8_lossy(&output.stdout))
        .expect("Compose prints YAML");
    let services = tree["services"].as_object().expect("services");
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    services
        .values()
        .filter_map(|service| {
            let labels = [&service["labels"], &service["deploy"]["labels"]]
                .into_iter()
                .find_map(Value::as_object)?;
            let labels = labels.iter().map(|(k, v)| (k.clone(), text(v))).collect();
            let command = service["command"]
                .as_array()
                .map(|list| list.iter().map(text).collect())
                .unwrap_or_default();
            Some(Labelled { labels, command })
        })
        .collect()
}

#[test]
fn the_labels_of_the_compose_and_stack_files_are_understood_and_served() {
    if !available() {
        return;
    }
    for file in ["examples/compose/compose.yaml", "examples/swarm/stack.yaml"] {
        let network = Network::create();
        let weir = Weir::start(&watching(&network));
        let service = unique("shop");
        let containers: Vec<_> = labelled(file)
            .into_iter()
            .map(|Labelled { labels, command }| {
                let version = command
                    .iter()
                    .skip_while(|word| *word != "--version")
                    .nth(1)
                    .cloned()
                    .unwrap_or_default();
                let spec = Spec::origin(&network, "shop", &version);
                // The names are this test's own, so that no other test shares them.
                let own = labels.iter().map(|(k, v)| match k.as_str() {
                    "weir.service" | "weir.host" => (k.as_str(), service.as_str()),
                    _ => (k.as_str(), v.as_str()),
                });
                own.fold(spec, |spec, (k, v)| spec.label(k, v)).run()
            })
            .collect();
        assert_eq!(containers.len(), 2, "{file}: stable and canary");
        for version in ["stable", "canary"] {
            eventually(&format!("{version} of {file}"), || {
                let response = weir.get(&service, "/");
                (response.get("x-origin-version") == Some(version)).then_some(())
            });
        }
        let canaries = (0..200)
            .filter(|_| weir.get(&service, "/").get("x-origin-version") == Some("canary"))
            .count();
        assert_eq!(canaries, 20, "{file}: one of ten");
        let status = weir.json("/api/v1/status");
        let own: Vec<&Value> = status["config"]["diagnostics"]
            .as_array()
            .map(|list| {
                list.iter()
                    .filter(|d| containers.iter().any(|c| d.to_string().contains(&c.name)))
                    .collect()
            })
            .unwrap_or_default();
        assert!(own.is_empty(), "{file}: {own:?}");
    }
}

#[test]
fn the_compose_example_comes_up_splits_scales_and_goes_down() {
    if !available() {
        return;
    }
    use std::os::unix::fs::MetadataExt as _;
    let file = workspace()
        .join("examples/compose/compose.yaml")
        .to_string_lossy()
        .into_owned();
    let project = unique("compose");
    let port = ports::free();
    let group = std::fs::metadata(weir_tests::docker::SOCKET)
        .expect("the engine's socket")
        .gid()
        .to_string();
    let envs = [
        ("WEIR_IMAGE", image()),
        ("WEIR_PORT", &port.port().to_string()),
        ("DOCKER_GID", &group),
    ];
    let run = |args: &[&str]| {
        let output = compose(&[&["-f", &file, "-p", &project], args].concat(), &envs);
        assert!(
            output.status.success(),
            "docker-compose {args:?}: {}",
            said(&output)
        );
        said(&output)
    };
    struct Down<F: Fn()>(F);
    impl<F: Fn()> Drop for Down<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    let _down = Down(|| {
        compose(
            &[
                "-f",
                &file,
                "-p",
                &project,
                "down",
                "--volumes",
                "--timeout",
                "2",
            ],
            &envs,
        );
    });
    run(&["up", "-d"]);
    let ask = || {
        let mut client = Client::try_connect(port).ok()?;
        client
            .wire
            .send("GET / HTTP/1.1\r\nHost: shop.localhost\r\nConnection: close\r\n\r\n")
            .ok()?;
        client
            .try_response("GET")
            .ok()?
            .filter(|response| response.status() == 200)
    };
    for version in ["stable", "canary"] {
        eventually(&format!("the {version} version"), || {
            ask().filter(|r| r.get("x-origin-version") == Some(version))
        });
    }
    let canaries = (0..100)
        .filter(|_| ask().is_some_and(|r| r.get("x-origin-version") == Some("canary")))
        .count();
    assert!((5..=15).contains(&canaries), "{canaries} of 100 at 10%");
    let set = run(&[
        "exec",
        "-T",
        "weir",
        "/weir",
        "canary",
        "set",
        "shop",
        "canary=100",
    ]);
    eventually("the canary alone", || {
        (0..10)
            .all(|_| ask().is_some_and(|r| r.get("x-origin-version") == Some("canary")))
            .then_some(())
    });
    assert!(set.contains("canary"), "{set}");
}
