//! Programs of others that tests drive: where they are, and what is said when they are not.
//!
//! What `.ci/run` installs for the tests alone lies under `target/tools`. A tool that is missing
//! fails the test in continuous integration; elsewhere the test says that it is left out.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::binary::workspace;
use crate::{in_ci, say};

/// The program that `variable` names, else the first of these on the `PATH` or under `target/tools/bin`.
///
/// # Panics
/// When there is none in continuous integration; the hint says how to install it.
#[must_use]
pub fn find(variable: &str, names: &[&str], hint: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::env::split_paths(&path)
        .chain([workspace().join("target/tools/bin")])
        .collect();
    let mut all = names
        .iter()
        .flat_map(|name| places.iter().map(move |place| place.join(name)));
    let found = named
        .filter(|place| place.is_file())
        .or_else(|| all.find(|place| place.is_file()));
    if found.is_none() {
        left_out(&format!(
            "no {} in ${variable} or on the PATH: {hint}",
            names[0]
        ));
    }
    found
}

/// A Python that has these modules: `$WEIR_PYTHON`, else the one under `target/tools/python`, else `python3`.
///
/// # Panics
/// When there is none in continuous integration.
#[must_use]
pub fn python(modules: &[&str]) -> Option<PathBuf> {
    let ours = workspace().join("target/tools/python/bin/python");
    let candidates = [
        std::env::var_os("WEIR_PYTHON"),
        Some(ours.into_os_string()),
        Some(OsString::from("python3")),
    ];
    let script = format!("import {}", modules.join(", "));
    let works = |python: &Path| {
        let run = Command::new(python)
            .args(["-c", &script])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status();
        run.is_ok_and(|status| status.success())
    };
    let found = candidates
        .into_iter()
        .flatten()
        .map(PathBuf::from)
        .find(|python| works(python));
    if found.is_none() {
        left_out(&format!(
            "no Python with {}: python3 -m venv target/tools/python, and pip install them there",
            modules.join(", ")
        ));
    }
    found
}

/// Says that something is missing.
///
/// # Panics
/// In continuous integration, where nothing may be.
pub fn left_out(what: &str) {
    assert!(!in_ci(), "{what}");
    say(&format!("LEFT OUT: {what}"));
}
