//! Golden files: each `*.in.yaml` under `golden/` is compiled, and what comes out is compared with its
//! `*.out.yaml`. `WEIR_UPDATE_GOLDEN=1 cargo test -p weir-config` rewrites them; read the diff.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};
use weir_config::labels::{self, Container, ContainerState, Health};
use weir_config::references::{Held, Unreadable, disk};
use weir_config::{Compiled, Files, diagnostic, file};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    /// A configuration file beside the labels.
    #[serde(default)]
    file: String,
    /// Traefik's labels are read, too.
    #[serde(default)]
    traefik: bool,
    containers: Vec<Raw>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    id: String,
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    created: u64,
    since: Option<u64>,
    #[serde(default)]
    state: String,
    #[serde(default)]
    addresses: BTreeMap<String, IpAddr>,
    #[serde(default)]
    exposed: Vec<u16>,
    default_network: Option<String>,
}

impl Raw {
    fn container(self) -> Container {
        let running = |health| ContainerState::Running { health };
        Container {
            state: match self.state.as_str() {
                "" => running(None),
                "healthy" => running(Some(Health::Healthy)),
                "starting" => running(Some(Health::Starting)),
                "unhealthy" => running(Some(Health::Unhealthy)),
                "paused" => ContainerState::Paused,
                "node down" => ContainerState::NodeDown,
                "stopping" => ContainerState::Stopping,
                other => panic!("no state {other}"),
            },
            id: self.id,
            name: self.name,
            labels: self.labels,
            created: self.created,
            since: self.since.unwrap_or(self.created),
            addresses: self.addresses,
            exposed: self.exposed,
            default_network: self.default_network,
        }
    }
}

fn inputs(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(folder);
    let files = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|f| f.to_string_lossy().ends_with(".in.yaml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no cases in {}", folder.display());
    files
}

/// The case's own name as path, so that no machine's directories get into a golden file.
fn short(input: &Path) -> PathBuf {
    PathBuf::from(input.file_name().unwrap())
}

/// `/certs/NAME` is a file of the repository, readable for its owner alone but for `client.key`; nothing else is there.
fn certs(path: &Path) -> Held {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/certs");
    let Ok(name) = path.strip_prefix("/certs") else {
        return Held::Unreadable(Unreadable::Missing);
    };
    match disk(&folder.join(name)) {
        Held::File { bytes, .. } => Held::File {
            bytes,
            exposed: path.ends_with("client.key"),
        },
        other => other,
    }
}

fn output(compiled: &Compiled, files: &Files, containers: Option<Value>) -> String {
    let mut out = String::from("# What weir says:\n#\n");
    for line in diagnostic::render(&compiled.diagnostics, false, files).lines() {
        out.push_str(format!("# {line}").trim_end());
        out.push('\n');
    }
    let mut value = json!({ "model": weir_config::dump(&compiled.model) });
    if let Some(containers) = containers {
        value["containers"] = containers;
    }
    out.push_str(&serde_saphyr::to_string(&value).unwrap());
    out
}

fn compare(input: &Path, got: &str, failed: &mut Vec<String>) {
    let golden = PathBuf::from(input.to_string_lossy().replace(".in.yaml", ".out.yaml"));
    if std::env::var_os("WEIR_UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, got).unwrap();
        return;
    }
    let want = std::fs::read_to_string(&golden).unwrap_or_default();
    if want != got {
        failed.push(format!("{}\n{got}", golden.display()));
    }
}

#[test]
fn files_compile_as_they_always_did() {
    let mut failed = Vec::new();
    for input in inputs("file") {
        let text = std::fs::read_to_string(&input).unwrap();
        let env = |name: &str| (name == "SHOP_PORT").then(|| "9001".to_owned());
        let mut loaded = file::parse_with(&short(&input), &text, &env);
        loaded.fragment.look_up(&certs);
        compare(
            &input,
            &output(&weir_config::check(&loaded), &loaded.files, None),
            &mut failed,
        );
    }
    assert!(failed.is_empty(), "differs:\n{}", failed.join("\n"));
}

#[test]
fn labels_compile_as_they_always_did() {
    let mut failed = Vec::new();
    for input in inputs("labels") {
        let text = std::fs::read_to_string(&input).unwrap();
        let case: Case = serde_saphyr::from_str(&text).unwrap();
        let containers: Vec<_> = case.containers.into_iter().map(Raw::container).collect();
        let loaded = file::parse_with(Path::new("weir.yaml"), &case.file, &|_| None);
        let options = labels::LabelOptions {
            traefik: case.traefik,
            ..Default::default()
        };
        let (fragment, found, reports) = labels::read_with(&containers, options);
        let mut compiled = weir_config::compile(&[loaded.fragment, fragment]);
        compiled
            .diagnostics
            .splice(0..0, loaded.diagnostics.into_iter().chain(found));
        let reports = serde_json::to_value(reports).unwrap();
        compare(
            &input,
            &output(&compiled, &loaded.files, Some(reports)),
            &mut failed,
        );
    }
    assert!(failed.is_empty(), "differs:\n{}", failed.join("\n"));
}
