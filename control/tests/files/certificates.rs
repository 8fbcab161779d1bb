//! Certificates that are renewed, spoiled and mended while they are in force.

use std::os::unix::fs::symlink;
use std::path::Path;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::Value;
use weir_config::model::Model;
use weir_control::ControlOptions;

use super::harness::Harness;

fn pair(host: &str) -> (String, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec![host.to_owned()]).unwrap();
    (cert.pem(), signing_key.serialize_pem())
}

fn write(dir: &Path, host: &str) {
    std::fs::create_dir_all(dir).unwrap();
    let (cert, key) = pair(host);
    std::fs::write(dir.join("tls.crt"), cert).unwrap();
    std::fs::write(dir.join("tls.key"), key).unwrap();
}

fn config(certificate: &str, port: u16) -> String {
    format!(
        "listeners: [{{ name: web, bind: 127.0.0.1:0, protocol: https, tls: {{ certificates: [{certificate}] }} }}]\n\
         services: [{{ name: shop, endpoints: [{{ address: 127.0.0.1:{port} }}] }}]\n"
    )
}

fn files(dir: &Path) -> String {
    let dir = dir.display();
    format!("{{ cert: {dir}/tls.crt, key: {dir}/tls.key }}")
}

async fn start(path: &Path) -> Harness {
    Harness::start(ControlOptions {
        files: vec![path.to_owned()],
        ..ControlOptions::default()
    })
    .await
}

fn shown(model: &Model) -> Vec<String> {
    let tls = model.listeners.iter().filter_map(|l| l.tls.as_ref());
    let certificates = tls.flat_map(|tls| &tls.certificates);
    certificates.flat_map(|c| c.names.clone()).collect()
}

async fn until_shown(weir: &Harness, names: &[&str]) {
    weir.until(&names.join(" "), |model| shown(model) == names)
        .await;
}

async fn until_problem(weir: &Harness, part: &str) -> Value {
    let fits = |reply: &Value| {
        let problem = reply["certs"][0]["problem"].as_str();
        problem.is_some_and(|text| text.contains(part))
    };
    weir.until_reply("/api/v1/certs", part, fits).await
}

fn events(reply: &Value) -> String {
    let all = reply["events"].as_array().unwrap().iter();
    let certificate = all.filter(|event| event["kind"] == "certificate");
    certificate
        .filter_map(|event| event["text"].as_str())
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test]
async fn a_certificate_is_renewed_however_its_files_are_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (path, certs) = (dir.path().join("weir.yaml"), dir.path().join("certs"));
    write(&certs, "zero.example.com");
    std::fs::write(&path, config(&files(&certs), 1)).unwrap();
    let weir = start(&path).await;
    until_shown(&weir, &["zero.example.com"]).await;
    // In place.
    write(&certs, "one.example.com");
    until_shown(&weir, &["one.example.com"]).await;
    // Renamed over.
    let aside = dir.path().join("aside");
    write(&aside, "two.example.com");
    for name in ["tls.crt", "tls.key"] {
        std::fs::rename(aside.join(name), certs.join(name)).unwrap();
    }
    until_shown(&weir, &["two.example.com"]).await;
    // The whole directory replaced.
    write(&aside, "three.example.com");
    std::fs::rename(&certs, dir.path().join("old")).unwrap();
    std::fs::rename(&aside, &certs).unwrap();
    until_shown(&weir, &["three.example.com"]).await;
}

/// As Kubernetes mounts a secret, and Docker a config: the files are links through `..data`, which is swapped.
#[tokio::test]
async fn a_swap_of_links_renews_a_certificate_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mount) = (dir.path().join("weir.yaml"), dir.path().join("mount"));
    std::fs::create_dir(&mount).unwrap();
    write(&mount.join("..1"), "one.example.com");
    symlink("..1", mount.join("..data")).unwrap();
    for name in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(name), mount.join(name)).unwrap();
    }
    let whole = format!("{{ directory: {} }}", mount.display());
    for certificate in [files(&mount), whole] {
        std::fs::write(&path, config(&certificate, 1)).unwrap();
        let weir = start(&path).await;
        for (n, host) in [(2, "two.example.com"), (3, "three.example.com")] {
            let next = format!("..{n}");
            write(&mount.join(&next), host);
            symlink(&next, mount.join("..data_tmp")).unwrap();
            std::fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
            until_shown(&weir, &[host]).await;
        }
        let reply = weir.get("/api/v1/events").await;
        assert_eq!(events(&reply), "", "nothing was bad at any time");
    }
}

#[tokio::test]
async fn a_bad_certificate_is_told_and_kept_while_every_other_change_goes_through() {
    let dir = tempfile::tempdir().unwrap();
    let (path, certs) = (dir.path().join("weir.yaml"), dir.path().join("certs"));
    write(&certs, "good.example.com");
    std::fs::write(&path, config(&files(&certs), 1)).unwrap();
    let weir = start(&path).await;
    let (_, foreign) = pair("other.example.com");
    std::fs::write(certs.join("tls.key"), foreign).unwrap();
    let reply = until_problem(&weir, "does not belong").await;
    assert_eq!(reply["certs"][0]["names"][0], "good.example.com");

    std::fs::write(&path, config(&files(&certs), 7)).unwrap();
    weir.until("the other change", |model| {
        let shop = model.service("shop");
        shop.is_some_and(|shop| shop.endpoints[0].address.port() == 7)
    })
    .await;
    assert_eq!(shown(&weir.now().model), ["good.example.com"]);

    let status = weir.get("/api/v1/status").await;
    assert_eq!(status["config"]["state"], "ok", "nothing is left out");
    assert!(
        status["config"]["rendered"]
            .to_string()
            .contains("stays in force"),
        "{status:#}"
    );
    let metrics = weir.control.metrics_text();
    assert!(
        metrics.contains("weir_certificates_rejected_total 1\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("weir_cert_not_after_seconds{certificate=\""),
        "{metrics}"
    );

    write(&certs, "better.example.com");
    until_shown(&weir, &["better.example.com"]).await;
    let events = events(&weir.get("/api/v1/events").await);
    assert!(events.contains("was refused"), "{events}");
    assert!(events.contains("is no longer refused"), "{events}");
}

#[tokio::test]
async fn a_file_that_is_refused_does_not_hold_back_a_renewal() {
    let dir = tempfile::tempdir().unwrap();
    let (path, certs) = (dir.path().join("weir.yaml"), dir.path().join("certs"));
    write(&certs, "one.example.com");
    std::fs::write(&path, config(&files(&certs), 1)).unwrap();
    let weir = start(&path).await;
    std::fs::write(&path, "listeners: [").unwrap();
    weir.until_provider("file", "down").await;
    write(&certs, "two.example.com");
    until_shown(&weir, &["two.example.com"]).await;
}

#[tokio::test]
async fn a_self_signed_certificate_outlives_a_restart_and_no_key_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (path, state) = (dir.path().join("weir.yaml"), dir.path().join("state"));
    let text =
        "listeners: [{ name: web, bind: 127.0.0.1:0, protocol: https, tls: { selfSigned: true } }]";
    std::fs::write(&path, text).unwrap();
    let mut fingerprints = Vec::new();
    for _ in 0..2 {
        let weir = Harness::start(ControlOptions {
            files: vec![path.clone()],
            state_dir: Some(state.clone()),
            ..ControlOptions::default()
        })
        .await;
        let certs = weir.get("/api/v1/certs").await;
        assert_eq!(certs["certs"][0]["name"], "self-signed");
        fingerprints.push(certs["certs"][0]["fingerprint"].clone());
        let model = weir.now().model;
        let key = model.listeners[0].tls.as_ref().unwrap().certificates[0]
            .key
            .der();
        let inner: Vec<String> = key.secret_der()[40..60]
            .iter()
            .map(ToString::to_string)
            .collect();
        for path in [
            "/api/v1/certs",
            "/api/v1/config",
            "/api/v1/status",
            "/api/v1/events",
        ] {
            let text = weir.get(path).await.to_string();
            assert!(!text.contains("PRIVATE"), "{path}: {text}");
            assert!(!text.contains(&inner.join(",")), "{path}: {text}");
        }
    }
    assert_eq!(fingerprints[0], fingerprints[1]);
}
