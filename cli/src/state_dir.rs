//! The directory where overrides, events and the token outlive a restart.

use std::env;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// Name of the generated token's file in it.
pub(crate) use weir_control::store::TOKEN_FILE;

/// The usual place of a service.
const SYSTEM: &str = "/var/lib/weir";

/// Where a Weir that starts keeps its state: the setting, else `$WEIR_STATE_DIR`, else the first usual place that
/// can be written to. `None`: nowhere, so changes by hand last until a restart.
///
/// A place that was named is returned even if it cannot be used: that is an error to report, not to work around.
pub(crate) fn choose(setting: Option<&Path>) -> Option<PathBuf> {
    let named = setting
        .map(Path::to_path_buf)
        .or_else(|| variable("WEIR_STATE_DIR"));
    named.or_else(|| usual().into_iter().find(|dir| usable(dir)))
}

/// Where a command looks for the state of a Weir that runs on this machine, `$WEIR_STATE_DIR` aside.
pub(crate) fn usual() -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from(SYSTEM)];
    places.extend(variable("XDG_STATE_HOME").map(|dir| dir.join("weir")));
    places.extend(variable("HOME").map(|dir| dir.join(".local/state/weir")));
    places.retain(|place| place.is_absolute());
    places
}

/// A variable that is set and not empty, as a path.
pub(crate) fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// Makes the directory where it is missing, for this user alone.
fn usable(dir: &Path) -> bool {
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir);
    made.is_ok() && access(dir, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_was_named_is_taken_as_it_is() {
        let named = Path::new("/proc/no/such/place");
        assert_eq!(choose(Some(named)).as_deref(), Some(named));
    }

    #[test]
    fn a_place_that_cannot_be_made_is_not_usable() {
        assert!(!usable(Path::new("/proc/weir")));
        let dir = tempfile::tempdir().unwrap();
        assert!(usable(&dir.path().join("a/b")));
    }
}
