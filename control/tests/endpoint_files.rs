//! Endpoint files that change while they are in force.

#[path = "support/harness.rs"]
mod harness;

use std::path::Path;
use std::time::Duration;

use harness::{Harness, endpoints, states};
use weir_config::settings::EndpointFileSettings;
use weir_control::ControlOptions;

struct Setup {
    dir: tempfile::TempDir,
    weir: Harness,
}

async fn start(files: &[(&str, &str)]) -> Setup {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let settings = EndpointFileSettings {
        directory: dir.path().to_owned(),
        hold: Duration::from_secs(3600),
    };
    let weir = Harness::start(ControlOptions {
        endpoint_files: Some(settings),
        ..ControlOptions::default()
    })
    .await;
    Setup { dir, weir }
}

impl Setup {
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    async fn until(&self, shown: &[&str]) {
        let what = format!("there are {shown:?}");
        self.weir
            .until(&what, |model| endpoints(model) == shown)
            .await;
    }

    async fn until_row(&self, file: &str, says: &str) {
        let fits = |reply: &serde_json::Value| {
            let rows = reply["containers"].as_array().unwrap();
            rows.iter().any(|row| {
                row["container"] == file && row["reason"].as_str().unwrap().contains(says)
            })
        };
        let what = format!("{file} shows {says:?}");
        self.weir
            .until_reply("/api/v1/discovery", &what, fits)
            .await;
    }
}

/// As programs that take care write them.
fn replace(path: &Path, text: &str) {
    let aside = path.with_extension("new");
    std::fs::write(&aside, text).unwrap();
    std::fs::rename(&aside, path).unwrap();
}

const TWO: &str = "service: web\nendpoints: [{ address: 10.0.0.1:80 }, { address: 10.0.0.2:80 }]\n";

#[tokio::test]
async fn yaml_and_json_files_count_and_others_do_not() {
    let json =
        r#"{"service": "cart", "version": "blue", "endpoints": [{"address": "10.0.0.9:80"}]}"#;
    let setup = start(&[
        ("web.yaml", TWO),
        ("cart.json", json),
        (
            ".hidden.yaml",
            "service: hidden\nendpoints: [{ address: 10.0.0.3:80 }]",
        ),
        ("notes.txt", "not for you"),
    ])
    .await;
    let all = [
        "cart/blue 10.0.0.9:80 ready",
        "web/stable 10.0.0.1:80 ready",
        "web/stable 10.0.0.2:80 ready",
    ];
    setup.until(&all).await;
}

#[tokio::test]
async fn a_file_is_read_again_however_it_is_replaced() {
    let setup = start(&[]).await;
    let one = |host: u8| {
        format!("service: web\nendpoints: [{{ address: 10.0.0.{host}:80, draining: true }}]\n")
    };
    let path = setup.path("web.yaml");
    std::fs::write(&path, one(1)).unwrap();
    setup.until(&["web/stable 10.0.0.1:80 draining"]).await;
    replace(&path, &one(2));
    setup.until(&["web/stable 10.0.0.2:80 draining"]).await;
    std::fs::write(&path, one(3)).unwrap();
    setup.until(&["web/stable 10.0.0.3:80 draining"]).await;
}

// semantics 34
#[tokio::test]
async fn an_endpoint_that_was_draining_goes_at_once() {
    let setup = start(&[("web.yaml", TWO)]).await;
    let draining = TWO.replace(":80 }", ":80, draining: true }");
    replace(&setup.path("web.yaml"), &draining);
    setup
        .weir
        .until("both drain", |model| {
            states(model, "web") == ["draining", "draining"]
        })
        .await;
    std::fs::remove_file(setup.path("web.yaml")).unwrap();
    setup.until(&[]).await;
}

// semantics 34
#[tokio::test]
async fn an_empty_list_is_believed_at_once_and_keeps_the_service() {
    let setup = start(&[("web.yaml", TWO)]).await;
    setup
        .weir
        .until("both are there", |model| states(model, "web").len() == 2)
        .await;
    replace(&setup.path("web.yaml"), "service: web\nendpoints: []\n");
    setup.until(&[]).await;
    assert!(setup.weir.now().model.service("web").is_some());
    setup.weir.until_provider("files", "up").await;
}

// semantics 36
#[tokio::test]
async fn a_file_that_vanished_is_held_and_shown_so() {
    let setup = start(&[
        ("web.yaml", TWO),
        ("other.yaml", "service: cart\nendpoints: []\n"),
    ])
    .await;
    setup
        .weir
        .until("both are there", |model| states(model, "web").len() == 2)
        .await;
    std::fs::remove_file(setup.path("web.yaml")).unwrap();
    setup.weir.until_provider("files", "holding").await;
    setup.until_row("web.yaml", "missing from the files").await;
    assert_eq!(states(&setup.weir.now().model, "web").len(), 2);
}

// semantics 38
#[tokio::test]
async fn a_file_that_went_bad_counts_as_it_was_and_the_others_go_on() {
    let setup = start(&[
        ("web.yaml", TWO),
        ("cart.yaml", "service: cart\nendpoints: []\n"),
    ])
    .await;
    setup
        .weir
        .until("both are there", |model| states(model, "web").len() == 2)
        .await;
    for bad in [
        "",
        "service: web\nendpoints: [{ addr",
        "service: web\nendpoints: [{ address: 10.0.0.1 }]\n",
    ] {
        replace(&setup.path("web.yaml"), bad);
        setup.until_row("web.yaml", "counts as it was before").await;
        assert_eq!(states(&setup.weir.now().model, "web").len(), 2, "{bad:?}");
        let status = setup.weir.get("/api/v1/status").await;
        assert_eq!(status["config"]["state"], "partial", "{status:#}");
        replace(&setup.path("web.yaml"), TWO);
        setup.until_row("web.yaml", "listed").await;
    }
    replace(&setup.path("web.yaml"), "nonsense");
    replace(
        &setup.path("cart.yaml"),
        "service: cart\nendpoints: [{ address: 10.0.0.9:80 }]\n",
    );
    setup
        .weir
        .until("the other is there", |model| {
            states(model, "cart").len() == 1
        })
        .await;
}

#[tokio::test]
async fn an_endpoint_in_two_files_is_the_first_ones() {
    let again = "service: web\nversion: blue\nendpoints: [{ address: 10.0.0.1:80 }]\n";
    let setup = start(&[("a.yaml", TWO), ("b.yaml", again)]).await;
    setup
        .until(&[
            "web/stable 10.0.0.1:80 ready",
            "web/stable 10.0.0.2:80 ready",
        ])
        .await;
    let discovery = setup.weir.get("/api/v1/discovery").await;
    let problem = &discovery["problems"][0];
    assert_eq!(problem["severity"], "warning", "{discovery:#}");
    assert!(
        problem["source"].as_str().unwrap().contains("b.yaml:3"),
        "{discovery:#}"
    );
}

#[tokio::test]
async fn weight_priority_and_locality_are_the_endpoints() {
    let text = "service: web\nendpoints:\n  - { address: 10.0.0.1:80, weight: 2.5, priority: 1, locality: eu/a }\n";
    let setup = start(&[("web.yaml", text)]).await;
    setup.until(&["web/stable 10.0.0.1:80 ready"]).await;
    let now = setup.weir.now();
    let endpoint = &now.model.service("web").unwrap().endpoints[0];
    assert_eq!((endpoint.weight.tenths(), endpoint.priority), (25, 1));
    assert!(endpoint.locality.is_some());
}
