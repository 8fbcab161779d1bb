//! Commands that need no running Weir: exit codes, messages, JSON.

use crate::common::{file, run, text, weir};
use serde_json::Value;

const GOOD: &str = "
listeners: [{ name: web, bind: 127.0.0.1:8080 }]
services:
  - name: shop
    endpoints:
      - { address: 127.0.0.1:9001, version: stable }
      - { address: 127.0.0.1:9002, version: canary }
routes:
  - name: shop
    rules:
      - backendRefs:
          - { name: shop, version: stable, weight: 95 }
          - { name: shop, version: canary, weight: 5 }
";

#[test]
fn a_command_that_does_not_exist_is_a_usage_error() {
    for args in [
        &["rollback"][..],
        &["apply"],
        &["history", "get"],
        &["top"],
        &["sidecar"],
        &["check"],
        &["canary", "set", "shop"],
        &[],
    ] {
        let output = run(args);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn a_good_file_passes_and_says_what_it_holds() {
    let (_dir, path) = file("weir.yaml", GOOD);
    let output = run(&["check", &path]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "ok: 1 listener, 1 service, 1 route\n");
}

#[test]
fn a_bad_file_ends_with_3_and_shows_every_error_with_its_line() {
    let (_dir, path) = file(
        "weir.yaml",
        "listners: []\nservices: [{ name: a, endpoints: [{ adress: x }] }]\n",
    );
    let output = run(&["check", &path]);
    assert_eq!(output.status.code(), Some(3));
    let errors = text(&output.stderr);
    assert!(
        errors.contains("listners") && errors.contains("did you mean \"listeners\"?"),
        "{errors}"
    );
    assert!(errors.contains("adress"), "{errors}");
    assert!(errors.contains(&format!("{path}:1:1")), "{errors}");
    assert_eq!(text(&output.stdout), "", "findings are not output");
}

#[test]
fn check_reads_a_destination_rule_and_names_what_it_does_not_act_on() {
    let rule = |policy: &str| {
        format!(
            "{GOOD}---
apiVersion: networking.istio.io/v1beta1
kind: DestinationRule
metadata: {{ name: shop-limits }}
spec: {{ host: shop.prod.svc.cluster.local, trafficPolicy: {{ {policy} }} }}
"
        )
    };
    for (policy, exit, part) in [
        ("connectionPool: { tcp: { maxConnections: 5 } }", 0, ""),
        ("tunnel: {}", 4, "trafficPolicy.tunnel"),
        ("tls: { mode: SIMPLE }", 0, ""),
        ("tls: { mode: ISTIO_MUTUAL }", 3, "tls mode ISTIO_MUTUAL"),
        (
            "tls: { mode: SIMPLE, caCertificates: /nowhere/ca.pem }",
            3,
            "/nowhere/ca.pem: there is no such file",
        ),
        ("connectionPol: {}", 3, "did you mean \"connectionPool\"?"),
    ] {
        let (dir, path) = file("weir.yaml", &rule(policy));
        let folder = dir.path().display().to_string();
        for path in [path, folder] {
            let output = run(&["check", "--strict", &path]);
            let errors = text(&output.stderr);
            assert_eq!(output.status.code(), Some(exit), "{policy}: {errors}");
            assert!(errors.contains(part), "{policy}: {errors}");
        }
    }
}

#[test]
fn check_warns_of_a_certificate_that_has_expired() {
    let certs = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/tests/golden/certs");
    let tls = |name: &str| {
        format!(
            "protocol: https, tls: {{ certificates: [{{ cert: {certs}/{name}.crt, key: {certs}/{name}.key }}] }}"
        )
    };
    let config = |name: &str| {
        format!(
            "listeners: [{{ name: web, bind: 127.0.0.1:1, {} }}]\n",
            tls(name)
        )
    };
    for (name, exit, part) in [
        ("expired", 4, "the certificate expired on 2021-01-01"),
        ("nowhere", 3, "there is no such file"),
    ] {
        let (_dir, path) = file("weir.yaml", &config(name));
        let output = run(&["check", "--strict", &path]);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{name}: {errors}");
        assert!(errors.contains(part), "{name}: {errors}");
    }
}

#[test]
fn check_reports_as_json_for_a_pipeline() {
    let (_dir, path) = file("weir.yaml", "listners: []\n");
    for args in [
        &["check", "--json", &path][..],
        &["check", "-o", "json", &path],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(3));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["apiVersion"], "weir/v1");
        assert_eq!(report["valid"], false);
        assert_eq!(report["diagnostics"][0]["severity"], "error");
        assert!(
            report["diagnostics"][0]["source"]
                .as_str()
                .unwrap()
                .ends_with(":1:1")
        );
    }
}

#[test]
fn a_missing_file_is_an_error_of_the_configuration() {
    let output = run(&["check", "/nonexistent/weir.yaml"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("/nonexistent/weir.yaml"));
}

#[test]
fn standard_input_is_read_as_a_file() {
    let mut command = weir();
    command.args(["check", "-"]);
    let output = crate::common::with_input(command, "listners: []\n");
    assert_eq!(output.status.code(), Some(3));
    assert!(
        text(&output.stderr).contains("<stdin>:1:1"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn warnings_fail_only_when_asked() {
    // Discovery may bring the service in a moment, so that it is missing is only a warning.
    let unknown = "discovery: { docker: {} }\nlisteners: [{ name: web, bind: 127.0.0.1:8080 }]\n\
                   routes: [{ name: shop, rules: [{ backendRefs: [{ name: shop }] }] }]\n";
    let (_dir, path) = file("weir.yaml", unknown);
    let output = run(&["check", &path]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout).contains("0 errors, 1 warning"),
        "{}",
        text(&output.stdout)
    );
    assert_eq!(run(&["check", "--strict", &path]).status.code(), Some(4));
}

#[test]
fn a_diff_between_files_names_what_changes() {
    let (_old_dir, old) = file("old.yaml", GOOD);
    let (_new_dir, new) = file(
        "new.yaml",
        &GOOD
            .replace("9002", "9003")
            .replace("weight: 95", "weight: 90"),
    );
    let output = run(&["diff", &new, "--against", &old]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let lines = text(&output.stdout);
    assert!(
        lines.contains("+ endpoint shop/shop@127.0.0.1:9003"),
        "{lines}"
    );
    assert!(
        lines.contains("- endpoint shop/shop@127.0.0.1:9002"),
        "{lines}"
    );
    assert!(
        lines.contains("~ route shop") && lines.contains("95 -> 90"),
        "{lines}"
    );
    let code = run(&["diff", &new, "--against", &old, "--exit-code"])
        .status
        .code();
    assert_eq!(code, Some(4));
    let same = run(&["diff", &old, "--against", &old, "--exit-code"]);
    assert_eq!(
        (same.status.code(), text(&same.stdout).as_str()),
        (Some(0), "no difference\n")
    );
    let data = run(&["diff", &new, "--against", &old, "-o", "json"]);
    let value: Value = serde_json::from_slice(&data.stdout).unwrap();
    assert_eq!(value["apiVersion"], "weir/v1");
    assert!(value["changes"].as_array().unwrap().len() >= 3, "{value}");
}

#[test]
fn the_schema_is_json_that_knows_the_sections() {
    let schema: Value = serde_json::from_slice(&run(&["schema"]).stdout).unwrap();
    for section in ["listeners", "services", "routes", "admin", "discovery"] {
        assert!(schema["properties"].get(section).is_some(), "no {section}");
    }
}

#[test]
fn every_shell_gets_a_completion_script() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completion", shell]);
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains("canary"), "{shell}");
    }
}

#[test]
fn an_unreachable_admin_api_ends_with_5_and_names_the_address() {
    let address = format!("http://127.0.0.1:{}", crate::common::free_port());
    for command in [
        &["status"][..],
        &["routes"],
        &["canary", "list"],
        &["discovery", "-o", "json"],
    ] {
        let output = weir()
            .args(["--admin", &address])
            .args(command)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(5), "{command:?}");
        let message = text(&output.stderr);
        assert!(
            message.contains(&address) && message.contains("help:"),
            "{message}"
        );
    }
    let output = run(&["--admin", "unix:///nonexistent/admin.sock", "status"]);
    assert_eq!(output.status.code(), Some(5));
    assert!(text(&output.stderr).contains("unix:///nonexistent/admin.sock"));
}

#[test]
fn a_healthcheck_of_nobody_is_1_as_docker_wants_it() {
    let address = format!("http://127.0.0.1:{}", crate::common::free_port());
    let output = run(&["--admin", &address, "healthcheck"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
}

#[test]
fn an_admin_address_that_is_none_is_a_usage_error() {
    let output = run(&["--admin", "https://127.0.0.1:9900", "status"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("http://HOST:PORT or unix:///PATH"));
}

#[test]
fn a_weight_that_is_none_is_a_usage_error() {
    for share in ["canary", "canary=lots", "canary=0.55", "=5"] {
        let output = run(&["canary", "set", "shop", share]);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{share}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn a_broken_configuration_does_not_start() {
    let (_dir, path) = file("weir.yaml", "listners: []\nroutes: [{ nam: x }]\n");
    let output = run(&["run", "-c", &path]);
    assert_eq!(output.status.code(), Some(3));
    let errors = text(&output.stderr);
    assert!(
        errors.contains("listners") && errors.contains("\"nam\""),
        "{errors}"
    );
}

#[test]
fn a_missing_engine_socket_is_named_at_the_start() {
    let output = run(&["run", "--docker=unix:///nonexistent/docker.sock"]);
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(
        message.contains("unix:///nonexistent/docker.sock") && message.contains("-c FILE"),
        "{message}"
    );
}

#[test]
fn output_carries_no_escape_sequence_when_piped() {
    let (_dir, path) = file("weir.yaml", "listners: []\n");
    for args in [&["check", path.as_str()][..], &["--help"], &["nonsense"]] {
        let output = run(args);
        assert!(
            !output.stdout.contains(&0x1b) && !output.stderr.contains(&0x1b),
            "{args:?}"
        );
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    use std::process::Stdio;
    let mut child = weir()
        .arg("schema")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
}
