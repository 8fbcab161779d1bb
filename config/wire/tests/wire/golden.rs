//! Everything that the tree has configurations of, there and back.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use weir_config::labels::{self, Container, ContainerState, Health};
use weir_config::model::Model;
use weir_config::references::{Held, Unreadable, disk};
use weir_config::{compile, file};

use crate::round_trip;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden")
}

fn inputs(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder).expect("a folder of inputs");
    let mut found: Vec<_> = all.map(|entry| entry.expect("an entry").path()).collect();
    found.retain(|path| path.to_string_lossy().ends_with(ending));
    found.sort();
    assert!(!found.is_empty(), "nothing in {}", folder.display());
    found
}

fn certs(path: &Path) -> Held {
    match path.strip_prefix("/certs") {
        Ok(name) => disk(&golden().join("certs").join(name)),
        Err(_) => Held::Unreadable(Unreadable::Missing),
    }
}

fn file_model(path: &Path) -> Model {
    let text = std::fs::read_to_string(path).expect("a readable input");
    let env = |name: &str| (name == "SHOP_PORT").then(|| "9001".to_owned());
    let mut loaded = file::parse_with(path, &text, &env);
    loaded.fragment.look_up(&certs);
    let mut model = compile(&[loaded.fragment]).model;
    // What is said of services is the control plane's to weave into listeners.
    model.access = Arc::default();
    model
}

/// The models of all golden files and examples, by their names.
pub(crate) fn models() -> Vec<(String, Model)> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut files = inputs(&golden().join("file"), ".in.yaml");
    files.extend(inputs(&examples, ".yaml"));
    let mut models: Vec<_> = files
        .iter()
        .map(|path| (path.display().to_string(), file_model(path)))
        .collect();
    for path in inputs(&golden().join("labels"), ".in.yaml") {
        models.push((path.display().to_string(), label_model(&path)));
    }
    models
}

fn label_model(path: &Path) -> Model {
    let text = std::fs::read_to_string(path).expect("a readable input");
    let case: Value = serde_saphyr::from_str(&text).expect("a case");
    let beside = case["file"].as_str().unwrap_or_default();
    let loaded = file::parse_with(Path::new("weir.yaml"), beside, &|_| None);
    let containers: Vec<Container> = case["containers"]
        .as_array()
        .expect("containers")
        .iter()
        .map(container)
        .collect();
    let options = labels::LabelOptions {
        traefik: case["traefik"].as_bool().unwrap_or_default(),
        ..Default::default()
    };
    let (fragment, ..) = labels::read_with(&containers, options);
    compile(&[loaded.fragment, fragment]).model
}

fn container(raw: &Value) -> Container {
    // A name such as `no` or `12` is read as what it looks like.
    let text = |key: &str| match &raw[key] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let running = |health| ContainerState::Running { health };
    Container {
        id: text("id").expect("an id"),
        name: text("name").expect("a name"),
        labels: entries(&raw["labels"])
            .map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned()))
            .collect(),
        created: raw["created"].as_u64().unwrap_or(0),
        since: (raw["since"].as_u64().or_else(|| raw["created"].as_u64())).unwrap_or(0),
        state: match raw["state"].as_str().unwrap_or_default() {
            "healthy" => running(Some(Health::Healthy)),
            "starting" => running(Some(Health::Starting)),
            "unhealthy" => running(Some(Health::Unhealthy)),
            "paused" => ContainerState::Paused,
            "stopping" => ContainerState::Stopping,
            _ => running(None),
        },
        addresses: entries(&raw["addresses"])
            .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.parse::<IpAddr>().ok()?)))
            .collect(),
        exposed: raw["exposed"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|port| u16::try_from(port.as_u64()?).ok())
            .collect(),
        default_network: text("default_network").or_else(|| text("defaultNetwork")),
    }
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

#[test]
fn every_golden_file_and_example_comes_back_as_it_was() {
    let models = models();
    let mut failed = Vec::new();
    let mut things = 0;
    for (name, model) in &models {
        things +=
            model.listeners.len() + model.services.len() + model.routes.len() + model.streams.len();
        if let Err(why) = round_trip(model) {
            failed.push(format!("{name}: {why}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    assert!(
        things > 100,
        "only {things} listeners, services and routes were looked at"
    );
}
