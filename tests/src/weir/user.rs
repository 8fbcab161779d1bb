//! A `weir` of somebody else than root.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use super::Weir;
use crate::config::Ports;
use crate::{binary, ports};

impl Weir {
    /// As [`Weir::spawn`], with this user and group id and no further group. It owns its own directory, in which the
    /// binary is too: that of the build may lie where only root can look.
    ///
    /// # Panics
    /// When the process cannot be started; only root may do that.
    #[must_use]
    pub fn spawn_as(id: u32, yaml: impl Fn(Ports) -> String) -> Self {
        let ports = Ports {
            listen: ports::free(),
            admin: ports::free(),
        };
        let dir = tempfile::tempdir().expect("a directory for the configuration");
        let own = |path: &Path| chown(path, Some(id), Some(id)).expect("give a file away");
        let config = dir.path().join("weir.yaml");
        std::fs::write(&config, yaml(ports)).expect("write the configuration");
        let program = dir.path().join("weir");
        std::fs::copy(binary::weir(), &program).expect("copy the binary");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))
            .expect("make the copy executable");
        own(&config);
        own(dir.path());
        let mut run = Command::new(program);
        // The standard library drops the groups of root along with its id.
        run.arg("run").arg("-c").arg(&config).uid(id).gid(id);
        Self::launch(run, dir, ports, Some(config), |_| {})
    }
}
