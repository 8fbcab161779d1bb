//! Who may follow, what each sees, what is told of each, and a control plane that goes away.

use weir_tests::client;
use weir_tests::origin::Origin;
use weir_tests::pki::Authority;
use weir_tests::wait::{eventually, within};

use super::envoy::{DELTA, Envoy, Options};
use super::plane::{Addresses, Plane, open};
use super::serves::who;

fn app(origin: &Origin) -> String {
    format!(
        "services: [{{ name: app, endpoints: [{{ address: \"{}\" }}] }}]\n\
         routes: [{{ name: app, rules: [{{ backendRefs: [{{ name: app }}] }}] }}]\n",
        origin.addr()
    )
}

#[test]
fn a_control_plane_that_comes_back_sends_nothing_to_who_has_everything() {
    let origin = Origin::ok("app");
    let text = |at: Addresses| {
        let listen = at.listen;
        format!(
            "{}listeners: [{{ name: web, bind: \"{listen}\" }}]\n{}",
            open(at),
            app(&origin)
        )
    };
    let mut plane = Plane::start(text);
    let Some(envoy) = Envoy::start(plane.at.xds, &Options::default()) else {
        return;
    };
    envoy.wait_for(plane.at.listen);
    plane.synced("edge-1");
    let pushed = |plane: &Plane, kind: &str| {
        plane
            .weir()
            .metric("weir_xds_resources_total", &[&format!("type=\"{kind}\"")])
    };
    assert!(pushed(&plane, "cluster") >= 1.0);
    plane.kill();
    assert_eq!(
        client::get(plane.at.listen, "a", "/").status(),
        200,
        "without a control plane"
    );
    plane.resume();
    plane.synced("edge-1");
    for kind in ["cluster", "endpoint", "secret", "listener", "route"] {
        assert!(pushed(&plane, kind).abs() < 0.5, "{kind} was sent again");
    }
    assert_eq!(client::get(plane.at.listen, "a", "/").status(), 200);
}

#[test]
fn a_proxy_is_let_in_by_its_certificate_and_sees_its_own_listeners_alone() {
    let origin = Origin::ok("app");
    let (own, other) = (Authority::new("clients"), Authority::new("strangers"));
    let dir = tempfile::tempdir().expect("a directory");
    let server = own.server(&["localhost"]).write(dir.path(), "control");
    let ca = own.write(dir.path(), "ca");
    let text = |at: Addresses| {
        format!(
            "control:
  bind: \"{}\"
  tls: {{ cert: {}, key: {}, clientCa: {} }}
  nodes: [{{ name: \"edge-*\", listeners: [web] }}]
listeners:
  - {{ name: web, bind: \"{}\" }}
  - {{ name: inner, bind: 127.0.0.1:1 }}
{}  - {{ name: secret, listeners: [inner], rules: [{{ backendRefs: [{{ name: vault }}] }}] }}
",
            at.xds,
            server.cert.display(),
            server.key.display(),
            ca.display(),
            at.listen,
            format_args!(
                "services:
  - {{ name: app, endpoints: [{{ address: \"{0}\" }}] }}
  - {{ name: vault, endpoints: [{{ address: \"{0}\" }}] }}
routes:
  - {{ name: app, listeners: [web], rules: [{{ backendRefs: [{{ name: app }}] }}] }}
",
                origin.addr()
            )
        )
    };
    let plane = Plane::start(text);
    let certificate = |authority: &Authority, name: &str| {
        authority
            .client(&[name])
            .write(dir.path(), &format!("{name}-{}", authority.pem().len()))
    };
    let edge = certificate(&own, "edge-1");
    let options = |node, files| Options {
        node,
        tls: Some((files, ca.as_path())),
        ..Options::default()
    };
    let Some(envoy) = Envoy::start(plane.at.xds, &options("edge-1", &edge)) else {
        return;
    };
    envoy.wait_for(plane.at.listen);
    plane.synced("edge-1");
    assert_eq!(who(&client::get(plane.at.listen, "a", "/")), "app");
    let dump = envoy
        .ask("/config_dump?include_eds")
        .expect("what envoy knows");
    for hidden in ["vault", "inner"] {
        assert!(!dump.contains(hidden), "{hidden} leaks");
    }

    let refused = |reason: &str| {
        let label = format!("reason=\"{reason}\"");
        within(std::time::Duration::from_secs(30), reason, || {
            let text = plane.weir().admin("/metrics").text();
            let family = format!("weir_xds_refused_total{{{label}}}");
            text.contains(&family).then_some(())
        });
    };
    let bank = certificate(&own, "bank-1");
    let _unlisted = Envoy::start(plane.at.xds, &options("bank-1", &bank));
    refused("unknown_node");
    let _posing = Envoy::start(plane.at.xds, &options("edge-2", &edge));
    refused("other_name");
    let stranger = certificate(&other, "edge-3");
    let _stranger = Envoy::start(plane.at.xds, &options("edge-3", &stranger));
    refused("handshake");
    assert!(plane.proxy("edge-3").is_none() && plane.proxy("bank-1").is_none());
}

#[test]
fn a_proxy_is_let_in_by_its_token_and_shows_in_the_tables() {
    let origin = Origin::ok("app");
    let authority = Authority::new("control");
    let dir = tempfile::tempdir().expect("a directory");
    let server = authority
        .server(&["localhost"])
        .write(dir.path(), "control");
    let ca = authority.write(dir.path(), "ca");
    // The SHA-256 of "test".
    let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let plane = Plane::start(|at| {
        format!(
            "control:
  bind: \"{}\"
  tls: {{ cert: {}, key: {} }}
  nodes: [{{ name: edge-1, tokenSha256: {hash} }}]
listeners: [{{ name: web, bind: \"{}\" }}]
{}",
            at.xds,
            server.cert.display(),
            server.key.display(),
            at.listen,
            app(&origin)
        )
    });
    let options = |token| Options {
        protocol: DELTA,
        token: Some(token),
        tls: Some((&server, ca.as_path())),
        ..Options::default()
    };
    let Some(wrong) = Envoy::start(plane.at.xds, &options("guess")) else {
        return;
    };
    eventually("the refusal to be counted", || {
        let text = plane.weir().admin("/metrics").text();
        text.contains("weir_xds_refused_total{reason=\"wrong_token\"}")
            .then_some(())
    });
    drop(wrong);
    let lines = plane.weir().stderr();
    let told = lines
        .lines()
        .filter(|line| line.contains("wrong_token"))
        .count();
    assert_eq!(told, 1, "one line for all of them: {lines}");
    assert!(!lines.contains("guess"), "the token is in the log");

    let envoy = Envoy::start(plane.at.xds, &options("test")).expect("there was one before");
    envoy.wait_for(plane.at.listen);
    plane.synced("edge-1");
    assert_eq!(who(&client::get(plane.at.listen, "a", "/")), "app");
    let table = plane.weir().cli(&["proxies"]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(
        table.contains("edge-1") && table.contains("synced"),
        "{table}"
    );
    let status = plane.weir().cli(&["status"]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("1 synced"), "{status}");
    // Load is reported every ten seconds; an Envoy leaves out what it served before it was asked.
    within(std::time::Duration::from_secs(30), "a load report", || {
        assert_eq!(who(&client::get(plane.at.listen, "a", "/")), "app");
        let proxy = plane.proxy("edge-1")?;
        let load = proxy["load"]
            .as_array()?
            .iter()
            .find(|load| load["service"] == "app")?;
        (load["requests"].as_u64()? >= 1).then_some(())
    });
    drop(envoy);
    eventually("the proxy to be gone", || {
        (plane.proxy("edge-1")?["state"] == "stale").then_some(())
    });
}

#[test]
fn without_a_section_nobody_is_served_and_it_is_said_how_to_write_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("weir.yaml");
    std::fs::write(&file, "listeners: [{ name: web, bind: 127.0.0.1:1 }]\n").expect("write");
    let output = std::process::Command::new(weir_tests::binary::weir())
        .args(["control", "-c"])
        .arg(&file)
        .env("WEIR_STATE_DIR", dir.path())
        .output()
        .expect("run weir control");
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("no control section") && said.contains("insecure: true"),
        "{said}"
    );
}
