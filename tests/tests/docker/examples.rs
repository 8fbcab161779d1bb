//! Every file under `examples/` works as it stands.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use weir_tests::binary::{self, workspace};
use weir_tests::client::{Client, Response};
use weir_tests::docker::{Network, Spec, available, image, unique, watching};
use weir_tests::pki::Authority;
use weir_tests::ports;
use weir_tests::tls::Connector;
use weir_tests::wait::{eventually, within};
use weir_tests::weir::Weir;

/// Whether there is `docker-compose`, and not the plugin that took its place.
pub(crate) fn standalone() -> bool {
    Command::new("docker-compose")
        .arg("version")
        .output()
        .is_ok_and(|o| o.status.success())
}

/// `docker-compose`, or the plugin that took its place.
pub(crate) fn compose(args: &[&str], envs: &[(&str, &str)]) -> Output {
    let standalone = standalone();
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

pub(crate) fn said(output: &Output) -> String {
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

/// A project of Compose, until it drops.
struct Project {
    file: String,
    name: String,
    envs: Vec<(&'static str, String)>,
}

impl Project {
    /// Of the file, with the image of this tree and free ports for these variables.
    fn up(file: &Path, ports: &[(&'static str, SocketAddr)]) -> Self {
        Self::up_in(file, ports, &[])
    }

    /// The same, with more variables.
    fn up_in(
        file: &Path,
        ports: &[(&'static str, SocketAddr)],
        more: &[(&'static str, String)],
    ) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let socket = std::fs::metadata(weir_tests::docker::SOCKET).expect("the engine's socket");
        let mut envs = vec![
            ("WEIR_IMAGE", image().to_owned()),
            ("DOCKER_GID", socket.gid().to_string()),
        ];
        let ports = ports
            .iter()
            .map(|(name, at)| (*name, at.port().to_string()));
        envs.extend(ports);
        envs.extend(more.iter().cloned());
        let project = Self {
            file: file.to_string_lossy().into_owned(),
            name: unique("compose"),
            envs,
        };
        project.run(&["up", "-d"]);
        project
    }

    fn compose(&self, args: &[&str]) -> Output {
        let envs: Vec<(&str, &str)> = self.envs.iter().map(|(k, v)| (*k, v.as_str())).collect();
        compose(
            &[&["-f", &self.file, "-p", &self.name], args].concat(),
            &envs,
        )
    }

    /// What a command that must succeed says.
    fn run(&self, args: &[&str]) -> String {
        let output = self.compose(args);
        let said = said(&output);
        assert!(output.status.success(), "docker-compose {args:?}: {said}");
        said
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        self.compose(&["down", "--volumes", "--timeout", "2"]);
    }
}

/// The answer to a GET on a connection of its own, if it is 200.
fn answer(client: std::io::Result<Client>) -> Option<Response> {
    let mut client = client.ok()?;
    client
        .wire
        .send("GET / HTTP/1.1\r\nHost: shop.localhost\r\nConnection: close\r\n\r\n")
        .ok()?;
    let response = client.try_response("GET").ok()??;
    (response.status() == 200).then_some(response)
}

#[test]
fn the_compose_example_comes_up_splits_scales_and_goes_down() {
    if !available() {
        return;
    }
    let port = ports::free();
    let file = workspace().join("examples/compose/compose.yaml");
    let project = Project::up(&file, &[("WEIR_PORT", port)]);
    let ask = || answer(Client::try_connect(port));
    for version in ["stable", "canary"] {
        eventually(&format!("the {version} version"), || {
            ask().filter(|r| r.get("x-origin-version") == Some(version))
        });
    }
    let canaries = (0..100)
        .filter(|_| ask().is_some_and(|r| r.get("x-origin-version") == Some("canary")))
        .count();
    assert!((5..=15).contains(&canaries), "{canaries} of 100 at 10%");
    let set = ["canary", "set", "shop", "canary=100"];
    let set = project.run(&[&["exec", "-T", "weir", "/weir"][..], &set].concat());
    eventually("the canary alone", || {
        (0..10)
            .all(|_| ask().is_some_and(|r| r.get("x-origin-version") == Some("canary")))
            .then_some(())
    });
    assert!(set.contains("canary"), "{set}");
}

#[test]
fn the_example_with_a_gate_serves_and_only_the_gate_has_the_socket() {
    if !available() {
        return;
    }
    let port = ports::free();
    let file = workspace().join("examples/compose/gate.yaml");
    let project = Project::up(&file, &[("WEIR_PORT", port)]);
    eventually("an answer", || answer(Client::try_connect(port)));
    let weir = |args: &[&str]| project.run(&[&["exec", "-T", "weir", "/weir"], args].concat());
    let found = weir(&["discovery"]);
    assert!(
        found.contains("docker: up (unix:///run/weir/gate.sock"),
        "{found}"
    );
    let socket = weir_tests::docker::SOCKET;
    let mounts = |service: &str| {
        let id = project.run(&["ps", "--quiet", service]);
        let id = id.lines().last().unwrap_or_default().to_owned();
        weir_tests::docker::docker(&["inspect", "--format", "{{json .Mounts}}", &id])
    };
    assert!(mounts("gate").contains(socket));
    assert!(!mounts("weir").contains(socket), "{}", mounts("weir"));
}

/// What the README of `examples/split` runs, with ports and a network of this test's own.
#[test]
fn the_example_of_three_proxies_follows_one_control_plane_and_goes_on_without_it() {
    if !available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder for the example");
    for name in ["compose.yaml", "weir.yaml", "certificates.sh"] {
        let from = workspace().join("examples/split").join(name);
        std::fs::copy(from, folder.path().join(name)).expect("copy the example");
    }
    use std::os::unix::fs::PermissionsExt as _;
    for (path, mode) in [
        (folder.path().to_owned(), 0o755),
        (folder.path().join("weir.yaml"), 0o644),
    ] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
    }
    let made = std::process::Command::new(folder.path().join("certificates.sh")).status();
    assert!(
        made.expect("run certificates.sh; it needs openssl")
            .success()
    );
    let edges = [ports::free(), ports::free(), ports::free()];
    let names = ["WEIR_PORT_1", "WEIR_PORT_2", "WEIR_PORT_3"];
    let ports: Vec<_> = names.into_iter().zip(edges).collect();
    let project = Project::up_in(
        &folder.path().join("compose.yaml"),
        &ports,
        &[("WEIR_NETWORK", unique("split"))],
    );
    let version = |at| {
        answer(Client::try_connect(at))?
            .get("x-origin-version")
            .map(str::to_owned)
    };
    for at in edges {
        eventually("an answer of each proxy", || version(at));
    }
    let control =
        |args: &[&str]| project.run(&[&["exec", "-T", "control", "/weir"], args].concat());
    let proxies = eventually("three proxies that are up to date", || {
        let proxies = control(&["proxies"]);
        (proxies.matches("synced").count() == 3).then_some(proxies)
    });
    for name in ["edge-1", "edge-2", "edge-3"] {
        assert!(proxies.contains(name), "{proxies}");
    }
    control(&["canary", "set", "shop", "canary=100"]);
    for at in edges {
        eventually("the canary alone, on each", || {
            (0..5)
                .all(|_| version(at).as_deref() == Some("canary"))
                .then_some(())
        });
    }
    project.run(&["stop", "--timeout", "2", "control"]);
    for at in edges {
        assert_eq!(
            version(at).as_deref(),
            Some("canary"),
            "without a control plane"
        );
    }
    project.run(&["restart", "--timeout", "2", "edge-2"]);
    eventually(
        "the last good state of a proxy that was started again",
        || (version(edges[1]).as_deref() == Some("canary")).then_some(()),
    );
    project.run(&["start", "control"]);
    // Each asks again at a time of its own, half a minute apart at most.
    within(Duration::from_secs(60), "all of them again", || {
        (control(&["proxies"]).matches("synced").count() == 3).then_some(())
    });
}

#[test]
fn the_https_example_takes_certificate_and_key_from_secrets_and_renews_them() {
    if !available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder for the example");
    for name in ["compose.yaml", "weir.yaml"] {
        let from = workspace().join("examples/https-secrets").join(name);
        std::fs::copy(from, folder.path().join(name)).expect("copy the example");
    }
    // Weir is not root, and Compose mounts files as they are.
    use std::os::unix::fs::PermissionsExt as _;
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
    };
    open(folder.path(), 0o755);
    open(&folder.path().join("weir.yaml"), 0o644);
    let authority = Authority::new("of the example");
    let put = || {
        let identity = authority.server(&["shop.localhost"]);
        for (name, text) in [
            ("tls.key", &identity.key_pem),
            ("tls.crt", &identity.cert_pem),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("write a secret");
            open(&path, 0o644);
        }
        identity
    };
    let first = put();
    let (plain, secure) = (ports::free(), ports::free());
    let ports = [("WEIR_PORT", plain), ("WEIR_HTTPS_PORT", secure)];
    let _project = Project::up(&folder.path().join("compose.yaml"), &ports);
    let tls = Connector::trusting(&authority, "shop.localhost", &["http/1.1"]);
    let ask = || answer(Client::try_connect_tls(secure, &tls));
    let response = eventually("an answer over TLS", ask);
    assert_eq!(
        response.get("strict-transport-security"),
        Some("max-age=300")
    );
    let moved = weir_tests::client::get(plain, "shop.localhost", "/cart?id=1");
    assert_eq!(moved.status(), 308);
    let to = format!("https://shop.localhost:{}/cart?id=1", secure.port());
    assert_eq!(moved.get("location"), Some(&*to));
    let shown = || {
        let fresh = Connector::trusting(&authority, "shop.localhost", &["http/1.1"]);
        let client = Client::try_connect_tls(secure, &fresh).ok()?;
        client.wire.session()?.peer.first().cloned()
    };
    assert_eq!(shown().as_ref(), Some(first.leaf()));
    let second = put();
    eventually("the renewed certificate", || {
        (shown().as_ref() == Some(second.leaf())).then_some(())
    });
}
