//! A Swarm of one node, from its stack file.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use weir_tests::binary::workspace;
use weir_tests::client::{Client, Response};
use weir_tests::docker::{Engine, Kind, image};
use weir_tests::load::Load;
use weir_tests::ports;
use weir_tests::wait::within;

/// A Swarm takes its time for each step.
const PATIENCE: Duration = Duration::from_secs(60);

const HOST: &str = "shop.example.com";

/// The stack of `examples/swarm` on an engine of its own.
struct Stack {
    engine: Engine,
    addr: SocketAddr,
}

impl Stack {
    fn deploy() -> Option<Self> {
        let engine = Engine::start(Kind::Swarm)?;
        if !engine.swarm() {
            return None;
        }
        let addr = ports::free();
        let file = workspace().join("examples/swarm/stack.yaml");
        let file = file.to_string_lossy();
        let mut deploy = engine.command(&[
            "stack",
            "deploy",
            "--resolve-image=never",
            "--compose-file",
            &file,
            "shop",
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
        Some(Self { engine, addr })
    }

    /// A 200, or `None`.
    fn ask(&self) -> Option<Response> {
        let mut client = Client::try_connect(self.addr).ok()?;
        let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
        client.wire.send(request).ok()?;
        let response = client.try_response("GET").ok()??;
        (response.status() == 200).then_some(response)
    }

    /// Answers of the canary among 100.
    fn canaries(&self) -> usize {
        (0..100)
            .filter(|_| {
                self.ask()
                    .is_some_and(|r| r.get("x-origin-version") == Some("canary"))
            })
            .count()
    }

    /// The short ids of the containers that run for a service.
    fn tasks(&self, service: &str) -> BTreeSet<String> {
        let filter = format!("label=com.docker.swarm.service.name={service}");
        let ids = self.engine.docker(&["ps", "--quiet", "--filter", &filter]);
        ids.split_whitespace().map(str::to_owned).collect()
    }

    /// What `weir` in its own task prints.
    fn weir(&self, args: &[&str]) -> String {
        let task = self.tasks("shop_weir").pop_first().expect("a task of Weir");
        self.engine
            .docker(&[&["exec", &task, "/weir"], args].concat())
    }

    /// Waits until Weir balances over that many tasks of `stable`, all of them healthy.
    fn wait_stable(&self, count: usize) {
        within(PATIENCE, &format!("{count} ready tasks of stable"), || {
            let tasks = self.tasks("shop_stable");
            let listed = self.weir(&["endpoints"]);
            let ready = tasks.iter().filter(|id| {
                listed
                    .lines()
                    .any(|line| line.contains(*id) && line.contains("ready"))
            });
            (tasks.len() == count && ready.count() == count).then_some(())
        });
    }
}

#[test]
fn the_stack_file_serves_scales_reweighs_and_rolls_without_a_failed_request() {
    let Some(stack) = Stack::deploy() else { return };
    for version in ["stable", "canary"] {
        within(PATIENCE, &format!("an answer of {version}"), || {
            let response = stack.ask()?;
            (response.get("x-origin-version") == Some(version)).then_some(())
        });
    }
    stack.wait_stable(3);
    assert!((8..=12).contains(&stack.canaries()), "one of ten");
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let load = Load::start(stack.addr, 3, &request, |response| {
        match response.status() {
            200 => Ok(response
                .get("x-origin-version")
                .unwrap_or("none")
                .to_owned()),
            status => Err(format!("{status}: {}", response.text())),
        }
    });
    load.advance(100);

    // The labels are the service's: new ones count at once, and replace no task.
    let before = stack.tasks("shop_canary");
    let update = |args: &[&str]| {
        stack
            .engine
            .docker(&[&["service", "update", "--detach"], args].concat())
    };
    update(&["--label-add", "weir.weight=50", "shop_canary"]);
    within(PATIENCE, "half of the requests at the canary", || {
        (45..=55).contains(&stack.canaries()).then_some(())
    });
    assert_eq!(stack.tasks("shop_canary"), before);

    // Two go at once: a request that meets both in the moment between signal and event has one try left.
    for count in [4, 2] {
        let scale = format!("shop_stable={count}");
        stack
            .engine
            .docker(&["service", "scale", "--detach", &scale]);
        stack.wait_stable(count);
        load.advance(200);
    }

    // semantics 34
    let old = stack.tasks("shop_stable");
    update(&["--force", "--update-delay", "0s", "shop_stable"]);
    within(PATIENCE, "a new task for each old one", || {
        stack.tasks("shop_stable").is_disjoint(&old).then_some(())
    });
    stack.wait_stable(2);
    load.advance(200);

    // A service that no longer opts in gets nothing, though its tasks run on.
    update(&["--label-rm", "weir.enable", "shop_canary"]);
    within(PATIENCE, "an end of the canary", || {
        (stack.canaries() == 0).then_some(())
    });
    assert_eq!(stack.tasks("shop_canary"), before);
    load.advance(100);
    load.stop_unharmed();
}
