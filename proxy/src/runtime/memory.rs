//! How much memory the process uses, and how much it may.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A limit of more than this is none: version 1 writes "unlimited" as the largest multiple of a page.
const NO_LIMIT: u64 = 1 << 60;

/// The memory that the cgroup of this process may use, the cgroups around it respected; `None` without a limit.
pub(super) fn cgroup_limit() -> Option<u64> {
    let membership = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    limit_of(&membership, |path| std::fs::read_to_string(path).ok())
}

/// The least of the limits on the way from the process's cgroup to the root (cgroups(7)).
fn limit_of(membership: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let limits = membership.lines().flat_map(|line| {
        // hierarchy-ID:controller-list:cgroup-path; version 2 is hierarchy 0 without controllers.
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or(""));
        let (root, file) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            return Vec::new();
        };
        // In a container without a cgroup namespace the path is the host's: only the root of the mount is there.
        let own = Path::new(path.trim_start_matches('/'));
        let groups = own.ancestors().map(|group| PathBuf::from(root).join(group));
        groups
            .filter_map(|group| read(&group.join(file))?.trim().parse().ok())
            .collect()
    });
    limits.filter(|limit| *limit < NO_LIMIT).min()
}

/// The resident memory of this process.
pub(super) struct Resident {
    /// Held open: when descriptors are short, memory may be, too.
    status: File,
}

impl Resident {
    pub(super) fn open() -> io::Result<Self> {
        File::open("/proc/self/status").map(|status| Self { status })
    }

    /// Bytes.
    pub(super) fn read(&self) -> io::Result<u64> {
        let mut text = [0; 4096];
        let len = self.status.read_at(&mut text, 0)?;
        let text = String::from_utf8_lossy(&text[..len]);
        resident(&text).ok_or_else(|| io::Error::other("there is no VmRSS in /proc/self/status"))
    }
}

/// `VmRSS:  1234 kB`, where a kB is 1024 bytes (proc_pid_status(5)).
fn resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(membership: &str, files: &[(&str, &str)]) -> Option<u64> {
        limit_of(membership, |path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn the_least_limit_on_the_way_to_the_root_counts() {
        let files = [
            ("/sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("/sys/fs/cgroup/a/memory.max", "1000\n"),
            ("/sys/fs/cgroup/memory.max", "2000\n"),
            ("/sys/fs/cgroup/c/memory.max", "10\n"),
        ];
        assert_eq!(limit("0::/a/b\n", &files), Some(1000));
        assert_eq!(limit("0::/c\n", &files), Some(10));
    }

    #[test]
    fn a_container_finds_its_limit_at_the_root_of_the_mount() {
        let files = [("/sys/fs/cgroup/memory.max", "536870912\n")];
        assert_eq!(limit("0::/\n", &files), Some(512 << 20));
        assert_eq!(
            limit("0::/system.slice/docker-1.scope\n", &files),
            Some(512 << 20)
        );
    }

    #[test]
    fn version_1_has_its_own_files_and_its_own_word_for_none() {
        let membership = "5:cpu,cpuacct:/x\n4:memory:/x\n0::/\n";
        let file = "/sys/fs/cgroup/memory/x/memory.limit_in_bytes";
        assert_eq!(limit(membership, &[(file, "4096\n")]), Some(4096));
        assert_eq!(limit(membership, &[(file, "9223372036854771712\n")]), None);
    }

    #[test]
    fn without_a_limit_or_without_a_cgroup_there_is_none() {
        assert_eq!(
            limit("0::/\n", &[("/sys/fs/cgroup/memory.max", "max\n")]),
            None
        );
        assert_eq!(limit("0::/../other\n", &[]), None);
        assert_eq!(limit("", &[]), None);
        assert_eq!(limit("nonsense\n", &[]), None);
    }

    #[test]
    fn the_memory_of_this_process_is_read_again_and_again() {
        let resident = Resident::open().unwrap();
        for _ in 0..3 {
            assert!(resident.read().unwrap() > 1 << 20);
        }
    }
}
