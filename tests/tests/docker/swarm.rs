//! A Swarm of one node, from stack files.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use weir_tests::binary::workspace;
use weir_tests::client::{Client, Response};
use weir_tests::config::Ports;
use weir_tests::docker::{Engine, Kind, image};
use weir_tests::load::Load;
use weir_tests::ports;
use weir_tests::wait::within;
use weir_tests::weir::Weir;

/// A Swarm takes its time for each step.
const PATIENCE: Duration = Duration::from_secs(150);

/// A stack of `examples/swarm` on an engine of its own.
struct Stack {
    engine: Engine,
    name: &'static str,
    addr: SocketAddr,
}

impl Stack {
    fn deploy(file: &str, name: &'static str) -> Option<Self> {
        let engine = Engine::start(Kind::Swarm)?;
        if !engine.swarm() {
            return None;
        }
        let addr = ports::free();
        let file = workspace().join("examples/swarm").join(file);
        let file = file.to_string_lossy();
        let mut deploy = engine.command(&[
            "stack",
            "deploy",
            "--resolve-image=never",
            "--compose-file",
            &file,
            name,
        ]);
        deploy
            .env("WEIR_IMAGE", image())
            .env("WEIR_PORT", addr.port().to_string())
            .env("DOCKER_SOCKET", engine.socket())
            // The socket of an engine of a test's own is root's.
            .env("DOCKER_GID", "0");
        let output = deploy.output().expect("run docker stack deploy");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker stack deploy: {said}");
        Some(Self { engine, name, addr })
    }

    /// A 200, or `None`.
    fn ask(&self, host: &str, path: &str) -> Option<Response> {
        let mut client = Client::try_connect(self.addr).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        client.wire.send(request).ok()?;
        let response = client.try_response("GET").ok()??;
        (response.status() == 200).then_some(response)
    }

    /// Answers of the canary among 100.
    fn canaries(&self) -> usize {
        (0..100)
            .filter(|_| {
                self.ask(HOST, "/")
                    .is_some_and(|r| r.get("x-origin-version") == Some("canary"))
            })
            .count()
    }

    /// Of the containers that run for a service, whatever is asked of each.
    fn running(&self, service: &str, what: &str) -> BTreeSet<String> {
        let filter = format!(
            "label=com.docker.swarm.service.name={}_{service}",
            self.name
        );
        let args = ["ps", "--no-trunc", "--filter", &filter, "--format", what];
        let told = self.engine.docker(&args);
        told.split_whitespace().map(str::to_owned).collect()
    }

    /// The ids of a service's tasks that run, as Weir shows them.
    fn tasks(&self, service: &str) -> BTreeSet<String> {
        let ids = self.running(service, "{{.Label \"com.docker.swarm.task.id\"}}");
        ids.iter().map(|id| id.chars().take(12).collect()).collect()
    }

    /// What `weir` in its own task prints.
    fn weir(&self, args: &[&str]) -> String {
        let container = self
            .running("weir", "{{.ID}}")
            .pop_first()
            .expect("a task of Weir");
        self.engine
            .docker(&[&["exec", &container, "/weir"], args].concat())
    }

    /// Waits until Weir balances over that many tasks of a service.
    fn wait_ready(&self, service: &str, count: usize) {
        within(
            PATIENCE,
            &format!("{count} ready tasks of {service}"),
            || {
                let tasks = self.tasks(service);
                let listed = self.weir(&["endpoints"]);
                let ready = tasks.iter().filter(|id| {
                    listed
                        .lines()
                        .any(|line| line.contains(*id) && line.contains("ready"))
                });
                (tasks.len() == count && ready.count() == count).then_some(())
            },
        );
    }

    fn update(&self, args: &[&str]) {
        let all = [&["service", "update", "--detach"], args].concat();
        self.engine.docker(&all);
    }
}

const HOST: &str = "shop.example.com";

/// GETs of `/` at that host, labelled with what names the origin that answered.
fn load(stack: &Stack, host: &str, by: &'static str) -> Load {
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    Load::start(stack.addr, 3, &request, move |response| {
        match response.status() {
            200 => Ok(response.get(by).unwrap_or("none").to_owned()),
            status => Err(format!("{status}: {}", response.text())),
        }
    })
}

#[test]
fn the_stack_file_serves_scales_reweighs_and_rolls_without_a_failed_request() {
    let Some(stack) = Stack::deploy("stack.yaml", "shop") else {
        return;
    };
    for version in ["stable", "canary"] {
        within(PATIENCE, &format!("an answer of {version}"), || {
            let response = stack.ask(HOST, "/")?;
            (response.get("x-origin-version") == Some(version)).then_some(())
        });
    }
    stack.wait_ready("stable", 3);
    assert!((8..=12).contains(&stack.canaries()), "one of ten");
    for told in [
        "swarm: up",
        "shop_stable ",
        "3 of 3 tasks run",
        "shop_stable.1 ",
        "on node ",
        "shop_weir ",
    ] {
        within(PATIENCE, &format!("{told:?} in what is discovered"), || {
            stack.weir(&["discovery"]).contains(told).then_some(())
        });
    }
    let load = load(&stack, HOST, "x-origin-version");
    load.advance(100);

    // The labels are the service's: new ones count at once, and replace no task.
    let before = stack.tasks("canary");
    stack.update(&["--label-add", "weir.weight=50", "shop_canary"]);
    within(PATIENCE, "half of the requests at the canary", || {
        (45..=55).contains(&stack.canaries()).then_some(())
    });
    assert_eq!(stack.tasks("canary"), before);

    // Two go at once: a request that meets both in the moment between signal and event has one try left.
    for count in [4, 2] {
        let scale = format!("shop_stable={count}");
        stack
            .engine
            .docker(&["service", "scale", "--detach", &scale]);
        stack.wait_ready("stable", count);
        load.advance(200);
    }

    // semantics 34
    let old = stack.tasks("stable");
    stack.update(&["--force", "--update-delay", "0s", "shop_stable"]);
    within(PATIENCE, "a new task for each old one", || {
        stack.tasks("stable").is_disjoint(&old).then_some(())
    });
    stack.wait_ready("stable", 2);
    load.advance(200);

    // A service that no longer opts in gets nothing, though its tasks run on.
    stack.update(&["--label-rm", "weir.enable", "shop_canary"]);
    within(PATIENCE, "an end of the canary", || {
        (stack.canaries() == 0).then_some(())
    });
    assert_eq!(stack.tasks("canary"), before);
    load.advance(100);

    // A whole service that is removed is believed at once, and harms nobody else.
    stack.engine.docker(&["service", "rm", "shop_canary"]);
    within(PATIENCE, "the end of its tasks", || {
        (!stack.weir(&["discovery"]).contains("shop_canary")).then_some(())
    });
    load.stop_unharmed();
}

/// What is called where `addresses: vip` is asked for. Nothing is sent there: that takes IPVS in the kernel, and a place in the
/// overlay network.
fn virtual_addresses_are_the_managers(stack: &Stack) {
    let socket = stack.engine.socket();
    let network = format!("{}_app-network", stack.name);
    let yaml = |ports: Ports| {
        format!(
            "admin: {{ bind: \"{}\" }}\nlisteners: [{{ name: web, bind: \"{}\" }}]\ndiscovery:\n  swarm: {{ endpoint: \"unix://{}\", network: {network}, addresses: vip }}\n",
            ports.admin,
            ports.listen,
            socket.display()
        )
    };
    let weir = Weir::spawn(yaml, |_| {});
    for (service, tasks) in [("web", 3), ("api", 2)] {
        let name = format!("{}_{service}", stack.name);
        let format = "{{range .Endpoint.VirtualIPs}}{{.Addr}} {{end}}";
        let told = stack
            .engine
            .docker(&["service", "inspect", "--format", format, &name]);
        let addresses: Vec<&str> = told.split_whitespace().collect();
        let known = addresses
            .iter()
            .filter_map(|address| Some(format!("{}:8080", address.split_once('/')?.0)));
        let known: Vec<String> = known.collect();
        within(
            PATIENCE,
            &format!("the virtual IP of {name}: {known:?}"),
            || {
                let listed = weir.cli(&["discovery"]);
                let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
                let line = listed.lines().find(|line| {
                    line.contains(&format!("the virtual IP of {tasks} running tasks"))
                })?;
                known
                    .iter()
                    .any(|address| line.contains(address))
                    .then_some(())
            },
        );
    }
}

#[test]
fn the_stacks_of_guides_are_served_by_path_and_updated_one_by_one() {
    let Some(stack) = Stack::deploy("samples.yaml", "samples") else {
        return;
    };
    let host = "www.example.com";
    for (path, name) in [("/", "web"), ("/api/cart", "api")] {
        within(PATIENCE, &format!("an answer of {name}"), || {
            let response = stack.ask(host, path)?;
            (response.get("x-origin-name") == Some(name)).then_some(())
        });
    }
    stack.wait_ready("web", 3);
    stack.wait_ready("api", 2);
    let found = stack.weir(&["discovery"]);
    let db = found
        .lines()
        .find(|line| line.starts_with("samples_db "))
        .unwrap_or(&found);
    assert!(db.contains("it does not opt in"), "{db}");
    virtual_addresses_are_the_managers(&stack);

    // One by one and each stopped before its successor starts, as Swarm does by default: two of three are always there.
    let load = load(&stack, host, "x-origin-name");
    load.advance(100);
    let old = stack.tasks("web");
    stack.update(&["--force", "--update-delay", "1s", "samples_web"]);
    within(PATIENCE, "a new task for each old one", || {
        stack.tasks("web").is_disjoint(&old).then_some(())
    });
    stack.wait_ready("web", 3);
    load.advance(200);
    load.stop_unharmed();
}
