//! Configuration files that change while they are in force.

#[path = "support/harness.rs"]
mod harness;

#[path = "files/certificates.rs"]
mod certificates;

use std::path::Path;

use harness::{Harness, endpoints, states};
use weir_control::ControlOptions;

fn config(port: u16) -> String {
    format!(
        "listeners: [{{ name: web, bind: 127.0.0.1:0 }}]\n\
         services: [{{ name: shop, endpoints: [{{ address: 127.0.0.1:{port} }}] }}]\n\
         routes: [{{ name: shop, rules: [{{ backendRefs: [{{ name: shop }}] }}] }}]\n"
    )
}

async fn watch(path: &Path) -> Harness {
    Harness::start(ControlOptions {
        files: vec![path.to_owned()],
        ..ControlOptions::default()
    })
    .await
}

async fn until_port(weir: &Harness, port: u16) {
    let wanted = format!("127.0.0.1:{port}");
    weir.until(&wanted, |model| {
        endpoints(model).len() == 1 && endpoints(model)[0].contains(&wanted)
    })
    .await;
}

/// As editors and configuration management do it.
fn replace(path: &Path, text: &str) {
    let aside = path.with_extension("new");
    std::fs::write(&aside, text).unwrap();
    std::fs::rename(&aside, path).unwrap();
}

#[tokio::test]
async fn the_first_generation_holds_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weir.yaml");
    std::fs::write(&path, config(9001)).unwrap();
    let weir = watch(&path).await;
    let now = weir.now();
    assert_eq!((now.generation, states(&now.model, "shop").len()), (1, 1));
}

#[tokio::test]
async fn a_file_is_read_again_however_it_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weir.yaml");
    std::fs::write(&path, config(9001)).unwrap();
    let weir = watch(&path).await;
    std::fs::write(&path, config(9002)).unwrap();
    until_port(&weir, 9002).await;
    replace(&path, &config(9003));
    until_port(&weir, 9003).await;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, config(9004)).unwrap();
    until_port(&weir, 9004).await;
    replace(&path, &config(9005));
    until_port(&weir, 9005).await;
}

/// As Kubernetes replaces a mounted ConfigMap: `weir.yaml -> ..data/weir.yaml`, `..data -> ..1`.
#[tokio::test]
async fn a_swapped_symbolic_link_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let generation = |name: &str, port: u16| {
        std::fs::create_dir(at(name)).unwrap();
        std::fs::write(at(name).join("weir.yaml"), config(port)).unwrap();
        std::os::unix::fs::symlink(name, at("..tmp")).unwrap();
        std::fs::rename(at("..tmp"), at("..data")).unwrap();
    };
    generation("..1", 9001);
    std::os::unix::fs::symlink("..data/weir.yaml", at("weir.yaml")).unwrap();
    let weir = watch(&at("weir.yaml")).await;
    until_port(&weir, 9001).await;
    generation("..2", 9002);
    until_port(&weir, 9002).await;
    std::fs::remove_dir_all(at("..1")).unwrap();
    generation("..3", 9003);
    until_port(&weir, 9003).await;
}

#[tokio::test]
async fn a_directory_is_read_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.yaml"), config(9001)).unwrap();
    let weir = watch(dir.path()).await;
    let more = "services: [{ name: cart, endpoints: [{ address: 127.0.0.1:9009 }] }]\n";
    std::fs::write(dir.path().join("b.yml"), more).unwrap();
    weir.until("both are there", |model| model.services.len() == 2)
        .await;
    std::fs::remove_file(dir.path().join("b.yml")).unwrap();
    weir.until("one is there", |model| model.services.len() == 1)
        .await;
}

#[tokio::test]
async fn a_destination_rule_put_beside_the_files_takes_effect() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("weir.yaml"), config(9001)).unwrap();
    let weir = watch(dir.path()).await;
    let limit = |max: u32| {
        move |model: &weir_config::model::Model| {
            model
                .service("shop")
                .is_some_and(|shop| shop.pool.max_connections == max)
        }
    };
    weir.until("the default holds", limit(1024)).await;
    let rule = "apiVersion: networking.istio.io/v1\n\
         kind: DestinationRule\n\
         metadata: { name: shop }\n\
         spec: { host: shop, trafficPolicy: { connectionPool: { tcp: { maxConnections: 7 } } } }\n";
    std::fs::write(dir.path().join("rule.yaml"), rule).unwrap();
    weir.until("the rule holds", limit(7)).await;
    std::fs::remove_file(dir.path().join("rule.yaml")).unwrap();
    weir.until("the default holds again", limit(1024)).await;
}

#[tokio::test]
async fn a_file_that_fails_leaves_what_runs_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weir.yaml");
    std::fs::write(&path, config(9001)).unwrap();
    let weir = watch(&path).await;
    let conflicting = format!(
        "{}      - {{ name: web, bind: 127.0.0.1:0 }}\n",
        config(9001)
    );
    for (n, broken) in [
        "listeners: [".to_owned(),
        config(9001).replace("backendRefs", "backendRef"),
        config(9001).replace("9001", "99001"),
        config(9001).replace("bind: 127.0.0.1:0", "bind: nowhere"),
        conflicting,
        String::from_utf8_lossy(b"\x00\xff").into_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        replace(&path, &broken);
        let metric = format!("weir_config_rejected_total {}", n + 1);
        let status = weir
            .until_reply(
                "/api/v1/status",
                &format!("{broken:?} is refused"),
                |status| {
                    status["config"]["state"] == "rejected"
                        && weir.control.metrics_text().contains(&metric)
                },
            )
            .await;
        assert_eq!(status["generation"], 1, "{broken}");
        assert_eq!(status["providers"][0]["state"], "down");
        let rendered = status["config"]["rendered"].as_str().unwrap();
        assert!(rendered.contains("weir.yaml"), "{rendered}");
    }
    replace(&path, &config(9002));
    until_port(&weir, 9002).await;
    let ok = weir
        .until_reply("/api/v1/status", "all is well", |status| {
            status["config"]["state"] == "ok"
        })
        .await;
    assert_eq!(
        (&ok["generation"], &ok["config"]["errors"]),
        (&2.into(), &0.into())
    );
    let events = weir.get("/api/v1/events").await.to_string();
    assert!(
        events.contains("configuration refused, generation 1 stays in force"),
        "{events}"
    );
}

#[tokio::test]
async fn a_file_that_is_gone_leaves_what_runs_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weir.yaml");
    std::fs::write(&path, config(9001)).unwrap();
    let weir = watch(&path).await;
    std::fs::remove_file(&path).unwrap();
    weir.until_provider("file", "down").await;
    assert_eq!(weir.now().generation, 1);
    std::fs::write(&path, config(9001)).unwrap();
    weir.until_provider("file", "up").await;
    assert_eq!(weir.now().generation, 1);
}

#[tokio::test]
async fn a_change_that_changes_nothing_makes_no_generation() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weir.yaml");
    std::fs::write(&path, config(9001)).unwrap();
    let weir = watch(&path).await;
    std::fs::write(&path, format!("{}# a comment\n", config(9001))).unwrap();
    weir.until_reply("/api/v1/status", "it was read", |_| {
        weir.control
            .metrics_text()
            .contains("weir_config_reads_total 2")
    })
    .await;
    assert_eq!(weir.now().generation, 1);
    replace(&path, &config(9002));
    until_port(&weir, 9002).await;
    assert_eq!(weir.now().generation, 2);
}

// semantics 38
#[tokio::test]
async fn a_bad_route_at_the_start_is_left_out_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weir.yaml");
    let text = config(9001).replace(
        "routes: [",
        "routes: [{ name: bad, hostnames: [\"no spaces here\"], rules: [{ backendRefs: [{ name: shop }] }] }, ",
    );
    std::fs::write(&path, text).unwrap();
    let weir = watch(&path).await;
    assert_eq!(states(&weir.now().model, "shop").len(), 1);
    assert!(
        weir.now()
            .model
            .routes
            .iter()
            .any(|route| route.name.as_str() == "shop")
    );
    let status = weir.get("/api/v1/status").await;
    assert_eq!(status["config"]["state"], "partial", "{status:#}");
    assert!(
        status["config"]["rendered"]
            .as_str()
            .unwrap()
            .contains("no spaces here"),
        "{status:#}"
    );
}
