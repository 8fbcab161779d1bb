//! Finding the binary under test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `weir` binary: `$WEIR_BIN`, else the one this very build makes.
///
/// Cargo builds no binary of another package for an integration test, so it is asked to, once a
/// process and under a lock; it does nothing when the binary is up to date.
///
/// # Panics
/// When it cannot be built.
pub fn weir() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("WEIR_BIN") {
        Some(path) => PathBuf::from(path),
        None => build(),
    })
}

/// The same made for use: `$WEIR_RELEASE_BIN`, else what `cargo build --release` has left in this target directory. What it weighs
/// cannot be told by a build for tests. `None`, which is said, where there is none, but not in CI.
///
/// # Panics
/// When there is none in CI, where the README's first command has made it.
#[must_use]
pub fn released() -> Option<PathBuf> {
    let given = std::env::var_os("WEIR_RELEASE_BIN").map(PathBuf::from);
    let path = given.unwrap_or_else(|| {
        let this = std::env::current_exe().expect("the path of this test");
        let target = this.ancestors().nth(3);
        let target = target.expect("a test lies in target/<profile>/deps");
        target.join("release/weir")
    });
    let found = path.exists();
    assert!(
        found || std::env::var_os("CI").is_none(),
        "there is no {}",
        path.display()
    );
    if !found {
        crate::say(&format!("left out: there is no {}", path.display()));
    }
    found.then_some(path)
}

/// The root of the workspace.
///
/// # Panics
/// Never: this package lies in a directory.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests lie in the workspace")
}

fn build() -> PathBuf {
    let this = std::env::current_exe().expect("the path of this test");
    // target/<profile>/deps/<test>
    let profile = this
        .ancestors()
        .nth(2)
        .expect("a test lies in target/<profile>/deps");
    let target = profile
        .parent()
        .expect("a profile lies in the target directory");
    let lock = File::create(profile.join(".weir-tests.lock"))
        .expect("a lock file in the target directory");
    lock.lock().expect("the lock on the build of the binary");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(workspace())
        .args([
            "build",
            "--quiet",
            "--workspace",
            "--bin",
            "weir",
            "--target-dir",
        ])
        .arg(target);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("run cargo");
    assert!(
        status.success(),
        "cargo could not build the weir binary: {status}"
    );
    profile.join("weir")
}
