//! Documents that are applied through the API: what they may hold.
//!
//! Whoever may apply one need not be trusted with the machine that the control plane runs on. So such a document names
//! none of its files and none of its environment, and sets nothing of the process: it holds what is routed and where.

use std::cell::RefCell;
use std::path::Path;

use super::{Loaded, Loading};
use crate::diagnostic::{Diagnostic, Place};
use crate::model::Source;
use crate::raw::read::Reader;
use crate::yaml::{Kind, Node};

/// What an applied document holds.
const HELD: [&str; 5] = [
    "listeners",
    "services",
    "routes",
    "rollouts",
    "mesh.authorization",
];
/// Keys of a file that are no part of it.
const OF_THE_PROCESS: [&str; 12] = [
    "admin",
    "discovery",
    "accessLog",
    "workers",
    "stateDir",
    "history",
    "drainTimeout",
    "gracePeriod",
    "locality",
    "overload",
    "tracing",
    "control",
];

/// The name under which diagnostics show an applied document: `document shop`.
#[must_use]
pub fn document_path(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// The document that a path names, as [`document_path`] gave it.
#[must_use]
pub fn document_name(path: &str) -> Option<&str> {
    path.strip_prefix(PREFIX)
}

/// Whether a source is a place in an applied document.
#[must_use]
pub fn is_document(source: &Source) -> bool {
    matches!(source, Source::File { path, .. } if path.starts_with(PREFIX))
}

const PREFIX: &str = "document ";

/// Reads a document that was applied through the API. What it may not hold is an error at its place: files and variables of
/// this machine, and settings of the process.
#[must_use]
pub fn parse_document(name: &str, text: &str) -> Loaded {
    let path = document_path(name);
    let asked = RefCell::new(Vec::new());
    let env = |variable: &str| {
        asked.borrow_mut().push(variable.to_owned());
        // Something, so that the error below is the only one.
        Some(String::new())
    };
    let mut loading = Loading {
        applied: true,
        ..Loading::default()
    };
    loading.text(Path::new(&path), text.into(), &env);
    let mut loaded = loading.finish(&|_| None);
    let mut variables = asked.into_inner();
    variables.sort();
    variables.dedup();
    let place = Place::of(Source::Other(path.into()));
    loaded.diagnostics.extend(variables.iter().map(|variable| {
        let message = format!("${{{variable}}} is not filled in: an applied document takes no variables of the control plane");
        Diagnostic::error(&place, message).help("write the value itself; $${ stands for a literal ${")
    }));
    let files = loaded.fragment.files_named();
    let refusals = files.iter().map(|(path, place)| {
        let message = format!(
            "{} is a file of the machine that the control plane runs on, and an applied document names none",
            path.display()
        );
        Diagnostic::error(place, message)
            .help("write what needs a file (certificates, keys, authorities) into a file that Weir reads with -c")
    });
    let refusals: Vec<Diagnostic> = refusals.collect();
    loaded.diagnostics.extend(refusals);
    loaded
}

/// Refuses the keys that are no part of an applied document; unknown ones are the reader's affair.
pub(super) fn check_keys(node: &Node, reader: &mut Reader<'_>) {
    let Kind::Mapping(entries) = &node.kind else {
        return;
    };
    for (key, value) in entries {
        if key.text == "mesh" {
            check_mesh(value, reader);
        }
        if OF_THE_PROCESS.contains(&key.text.as_str()) {
            let message = format!(
                "{} is a setting of the process, and an applied document has none",
                key.text
            );
            let help = format!(
                "write it into a file that Weir reads with -c; a document holds {}",
                HELD.join(", ")
            );
            reader.error(key.mark, message, Some(help));
        }
    }
}

/// Of the mesh a document says who may call, and not whose mesh it is.
fn check_mesh(node: &Node, reader: &mut Reader<'_>) {
    let Kind::Mapping(entries) = &node.kind else {
        return;
    };
    for (key, _) in entries
        .iter()
        .filter(|(key, _)| key.text != "authorization")
    {
        let message = format!(
            "mesh.{} is a setting of the process, and an applied document has none",
            key.text
        );
        let help =
            "write it into a file that Weir reads with -c; a document holds mesh.authorization";
        reader.error(key.mark, message, Some(help.to_owned()));
    }
}
