//! What people decide through the API, the history of it, and that all of it outlives what happens to the process and its disk.

mod apply;
mod disk;
mod history;
mod mesh;
mod rollback;

use std::path::{Path, PathBuf};
use std::process::Output;

use weir_tests::origin::Origin;
use weir_tests::weir::Weir;

/// What a command said, and how it ended.
struct Said {
    code: Option<i32>,
    text: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        Self {
            code: output.status.code(),
            text,
        }
    }
}

impl Said {
    /// The text of a command that ended with this code.
    fn ends(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}", self.text);
        self.text
    }
}

fn cli(weir: &Weir, args: &[&str]) -> Said {
    weir.cli(args).into()
}

/// A document with a service and a route of that name, for the host NAME.example.
fn document(name: &str, origin: &Origin) -> String {
    format!(
        "services: [{{ name: {name}, endpoints: [{{ address: {} }}] }}]\n\
         routes: [{{ name: {name}, hostnames: [{name}.example], rules: [{{ backendRefs: [{{ name: {name} }}] }}] }}]\n",
        origin.addr()
    )
}

fn file(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("write a file");
    path
}

/// Who answers for a host; `None` for anything but a 200.
fn served_by(weir: &Weir, host: &str) -> Option<String> {
    let answer = weir.get(host, "/");
    let origin = answer.get("x-origin").map(str::to_owned);
    origin.filter(|_| answer.status() == 200)
}

/// The entries of the history, the newest first.
fn entries(weir: &Weir) -> Vec<serde_json::Value> {
    let list = weir.json("/api/v1/generations");
    list["generations"].as_array().expect("a list").clone()
}

/// The newest entry, once it has that source.
fn entry_of(weir: &Weir, source: &str) -> serde_json::Value {
    weir_tests::wait::eventually(&format!("{source:?} in the history"), || {
        let newest = entries(weir).into_iter().next()?;
        (newest["source"] == source).then_some(newest)
    })
}

fn number(entry: &serde_json::Value) -> String {
    entry["generation"].as_u64().expect("a number").to_string()
}
