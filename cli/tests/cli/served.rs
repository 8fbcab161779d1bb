//! Commands that ask and change a running `weir run`.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::common::{Running, eventually, free_port, get, origin, text, weir};

/// A Weir in front of two origins, split 90 to 10.
struct Served {
    weir: Running,
    _origins: [Running; 2],
    dir: TempDir,
    web: SocketAddr,
    admin: String,
}

impl Served {
    fn start() -> Self {
        Self::with_admin(|_| format!("127.0.0.1:{}", free_port()))
    }

    /// `admin` makes the address of the admin server, as `--admin-listen` takes it.
    fn with_admin(admin: impl Fn(&TempDir) -> String) -> Self {
        let (stable, at_stable) = origin(&["--listen", "127.0.0.1:0", "--version", "stable"], 1);
        let (canary, at_canary) = origin(&["--listen", "127.0.0.1:0", "--version", "canary"], 1);
        let dir = tempfile::tempdir().unwrap();
        let web = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let listen = admin(&dir);
        std::fs::write(
            dir.path().join("weir.yaml"),
            yaml(web, at_stable[0], at_canary[0]),
        )
        .unwrap();
        let mut command = weir();
        command.env("WEIR_STATE_DIR", dir.path().join("state"));
        command.args([
            "run",
            "--workers",
            "1",
            "--access-log",
            "off",
            "--admin-listen",
            &listen,
        ]);
        command.arg("-c").arg(dir.path().join("weir.yaml"));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let running = Running(command.spawn().unwrap());
        let admin = if listen.starts_with("unix:") {
            listen
        } else {
            format!("http://{listen}")
        };
        let served = Self {
            weir: running,
            _origins: [stable, canary],
            dir,
            web,
            admin,
        };
        eventually("readiness", || {
            served.cli(&["healthcheck"]).status.success()
        });
        served
    }

    /// A client command that knows the address and nothing of the state directory.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = weir();
        command
            .env_remove("WEIR_STATE_DIR")
            .args(["--admin", &self.admin])
            .args(args);
        command
    }

    fn cli(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.cli(args);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{args:?}: {}",
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    fn json(&self, args: &[&str]) -> Value {
        let value: Value =
            serde_json::from_str(&self.ok(&[args, &["-o", "json"]].concat())).unwrap();
        assert_eq!(value["apiVersion"], "weir/v1", "{args:?}");
        value
    }

    fn config(&self) -> std::path::PathBuf {
        self.dir.path().join("weir.yaml")
    }
}

fn yaml(web: SocketAddr, stable: SocketAddr, canary: SocketAddr) -> String {
    format!(
        "gracePeriod: 0s
drainTimeout: 2s
listeners: [{{ name: web, bind: {web} }}]
services:
  - name: shop
    endpoints:
      - {{ address: {stable}, version: stable }}
      - {{ address: {canary}, version: canary }}
routes:
  - name: shop
    rules:
      - matches: [{{ headers: [{{ name: x-canary, value: always }}] }}]
        backendRefs: [{{ name: shop, version: canary }}]
      - backendRefs:
          - {{ name: shop, version: stable, weight: 90 }}
          - {{ name: shop, version: canary, weight: 10 }}
"
    )
}

#[test]
fn what_runs_is_shown_as_tables_and_as_json() {
    let served = Served::start();
    for (command, plural, part) in [
        ("routes", "routes", "shop/stable 90%, shop/canary 10%"),
        ("services", "services", "canary 1/1, stable 1/1"),
        ("endpoints", "endpoints", "ready"),
        ("listeners", "listeners", "bound"),
    ] {
        let table = served.ok(&[command]);
        assert!(table.contains(part), "{table}");
        let wide = served.ok(&[command, "-o", "wide"]);
        assert!(
            wide.lines().next().unwrap().len() > table.lines().next().unwrap().len(),
            "{wide}"
        );
        assert!(
            !served.json(&[command])[plural]
                .as_array()
                .unwrap()
                .is_empty()
        );
    }
    let status = served.ok(&["status"]);
    assert!(
        status.contains("in force") && status.contains("ok since"),
        "{status}"
    );
    assert_eq!(served.json(&["status"])["config"]["state"], "ok");
    assert!(
        served
            .ok(&["services", "get", "shop"])
            .contains("name: shop")
    );
    let missing = served.cli(&["services", "get", "shpo"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        text(&missing.stderr).contains("there is: shop"),
        "{}",
        text(&missing.stderr)
    );
}

// semantics 18, 22
#[test]
fn a_canary_is_set_by_hand_observed_and_given_back() {
    let served = Served::start();
    let said = served.ok(&["canary", "set", "shop", "canary=50"]);
    assert!(
        said.contains("canary 10% -> 50%") && said.contains("stable 90% -> 50%"),
        "{said}"
    );
    let canary = (0..20)
        .filter(|_| get(served.web, "/").ends_with("canary\n"))
        .count();
    assert_eq!(canary, 10, "an even split alternates");
    let tree = served.ok(&["canary", "get", "shop"]);
    for part in [
        "configured 10%, set to 50%, observed 50%",
        "set by hand: by cli",
        "ready",
    ] {
        assert!(tree.contains(part), "{tree}");
    }
    let rollout = served.json(&["canary", "get", "shop"])["rollout"].clone();
    assert_eq!(rollout["versions"][0]["override"], 50.0);
    assert!(served.ok(&["canary", "list"]).contains("50%"));
    let explained = served.ok(&["explain", "GET", "http://shop/", "-H", "x-canary: always"]);
    assert!(
        explained.starts_with("forwarded to shop (canary)"),
        "{explained}"
    );
    let said = served.ok(&["canary", "clear", "shop"]);
    assert!(said.contains("canary 50% -> 10%"), "{said}");
}

#[test]
fn a_change_that_makes_no_sense_is_refused_and_changes_nothing() {
    let served = Served::start();
    let refused = served.cli(&["canary", "set", "shop", "nope=1"]);
    assert_eq!(refused.status.code(), Some(6));
    assert!(
        text(&refused.stderr).contains("canary, stable"),
        "{}",
        text(&refused.stderr)
    );
    assert_eq!(
        served
            .cli(&["canary", "set", "nope", "canary=1"])
            .status
            .code(),
        Some(1)
    );
    assert_eq!(served.json(&["status"])["overrides"], 0);
}

#[test]
fn a_change_needs_the_token() {
    let served = Served::start();
    let wrong = served
        .command(&["canary", "set", "shop", "canary=1"])
        .env("WEIR_TOKEN", "not-the-token-at-all")
        .output();
    let wrong = wrong.unwrap();
    assert_eq!(wrong.status.code(), Some(8), "{}", text(&wrong.stderr));
    assert!(
        text(&wrong.stderr).contains("--token-file"),
        "{}",
        text(&wrong.stderr)
    );
    let file = served.dir.path().join("state/admin.token");
    served.ok(&[
        "--token-file",
        file.to_str().unwrap(),
        "canary",
        "set",
        "shop",
        "canary=1",
    ]);
}

#[test]
fn a_file_that_breaks_is_reported_loudly_and_serves_on() {
    let served = Served::start();
    let good = std::fs::read_to_string(served.config()).unwrap();
    std::fs::write(served.config(), good.replace("name: web", "nam: web")).unwrap();
    eventually("the report", || {
        served.json(&["status"])["config"]["state"] == "rejected"
    });
    let status = served.ok(&["status"]);
    assert!(
        status.contains("THE LAST CONFIGURATION WAS REJECTED"),
        "{status}"
    );
    assert!(
        status.contains("unknown key \"nam\"") && status.contains("weir.yaml:3:"),
        "{status}"
    );
    assert!(get(served.web, "/").starts_with("HTTP/1.1 200"));
    std::fs::write(served.config(), good.replace("weight: 10", "weight: 20")).unwrap();
    eventually("the new weights", || {
        served.ok(&["routes"]).contains("shop/canary 18.2%")
    });
}

#[test]
fn a_diff_with_the_running_configuration_shows_what_a_file_would_change() {
    let served = Served::start();
    let file = served.config();
    let file = file.to_str().unwrap();
    assert_eq!(served.ok(&["diff", file, "--exit-code"]), "no difference\n");
    let good = std::fs::read_to_string(file).unwrap();
    let new = served.dir.path().join("new.yaml");
    std::fs::write(&new, good.replace("weight: 10", "weight: 30")).unwrap();
    let output = served.cli(&["diff", new.to_str().unwrap(), "--exit-code"]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout).contains("10 -> 30"),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn a_unix_socket_serves_the_whole_admin_api_and_goes_with_the_process() {
    let mut served =
        Served::with_admin(|dir| format!("unix://{}/admin.sock", dir.path().display()));
    assert!(served.ok(&["endpoints"]).contains("ready"));
    served.ok(&["canary", "set", "shop", "canary=5"]);
    assert_eq!(
        served.cli(&["healthcheck", "--live"]).status.code(),
        Some(0)
    );
    served.weir.terminate();
    assert_eq!(served.weir.end(), Some(0));
    assert!(!served.dir.path().join("admin.sock").exists());
}

#[test]
fn a_watched_list_prints_what_changed() {
    let served = Served::start();
    let mut command = served.command(&["canary", "list", "--watch", "--interval", "100ms"]);
    let mut watching = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(watching.0.stdout.take().unwrap()).lines();
    let mut until = |what: &str| {
        lines
            .find(|line| line.as_ref().unwrap().contains(what))
            .is_some()
    };
    assert!(until("10%"));
    served.ok(&["canary", "set", "shop", "canary=33"]);
    assert!(until("33%"), "the change was not shown");
}

// semantics 35
#[test]
fn sigterm_drains_and_ends_with_0() {
    let mut served = Served::start();
    served.weir.terminate();
    assert_eq!(served.weir.end(), Some(0));
    assert_eq!(served.cli(&["status"]).status.code(), Some(5));
}

#[test]
fn a_hangup_ends_nothing() {
    let mut served = Served::start();
    served.weir.signal(rustix::process::Signal::HUP);
    assert!(get(served.web, "/").starts_with("HTTP/1.1 200"));
    assert!(served.weir.0.try_wait().unwrap().is_none());
    assert!(served.ok(&["status"]).contains("in force"));
}

// semantics 35
#[test]
fn a_second_signal_leaves_at_once() {
    let mut served = Served::start();
    let mut held = crate::common::connect(served.web);
    held.write_all(b"GET /hang HTTP/1.1\r\nhost: t\r\n\r\n")
        .unwrap();
    eventually("the request in flight", || {
        served
            .ok(&["canary", "get", "shop"])
            .contains("1 in flight")
    });
    served.weir.terminate();
    eventually("draining", || {
        !served.cli(&["healthcheck"]).status.success()
    });
    served.weir.terminate();
    assert_eq!(served.weir.end(), Some(1));
}

#[test]
fn metrics_of_both_halves_are_on_one_page() {
    let served = Served::start();
    get(served.web, "/");
    let page = get(
        served.admin.trim_start_matches("http://").parse().unwrap(),
        "/metrics",
    );
    for family in [
        "weir_requests_total",
        "weir_config_generation",
        "weir_route_weight",
    ] {
        assert!(page.contains(&format!("# TYPE {family} ")), "no {family}");
    }
}
