//! A `weir` with fewer resources than the machine has.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Puts a program in front of a command, which it must run in its own place: `prlimit --nofile=256`.
pub fn under(command: &mut Command, wrapper: &[OsString]) {
    let mut run = Command::new(&wrapper[0]);
    run.args(&wrapper[1..])
        .arg(command.get_program())
        .args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => run.env(key, value),
            None => run.env_remove(key),
        };
    }
    run.stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    *command = run;
}

/// A control group with a limit on memory; removed when dropped, by when it must be empty.
#[derive(Debug)]
pub struct MemoryGroup {
    dir: PathBuf,
    /// Version 2 counts the buffers of sockets too.
    pub version: u8,
}

impl MemoryGroup {
    /// `None`, and a line that says so, where this machine lets us make none.
    ///
    /// # Panics
    /// When there can be none in continuous integration.
    #[must_use]
    pub fn of(bytes: u64) -> Option<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let count = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-test-{}-{count}", std::process::id());
        for (root, limit, version) in [
            ("/sys/fs/cgroup", "memory.max", 2),
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", 1),
        ] {
            let dir = PathBuf::from(root).join(&name);
            if fs::create_dir(&dir).is_err() {
                continue;
            }
            let group = Self { dir, version };
            // A file that is not there already means that the controller is not.
            let file = group.dir.join(limit);
            if file.exists() && fs::write(&file, bytes.to_string()).is_ok() {
                return Some(group);
            }
        }
        assert!(!crate::in_ci(), "no control group can be made");
        crate::say("LEFT OUT: no control group with a limit on memory can be made here");
        None
    }

    /// Runs a command in it, from its first instruction on.
    pub fn confine(&self, command: &mut Command) {
        let script = "echo $$ > \"$0\" && exec \"$@\"";
        let procs = self.dir.join("cgroup.procs");
        under(
            command,
            &["sh".into(), "-c".into(), script.into(), procs.into()],
        );
    }

    /// The most that was in use, in bytes, where the kernel tells.
    #[must_use]
    pub fn peak(&self) -> Option<u64> {
        let read = |name| fs::read_to_string(self.dir.join(name)).ok();
        let text = read("memory.peak").or_else(|| read("memory.max_usage_in_bytes"))?;
        text.trim().parse().ok()
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // A process that has just ended may be in it for a moment.
        for _ in 0..100 {
            if fs::remove_dir(&self.dir).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}
