//! What kind of machine the numbers come from.

use std::fs;

/// The processor, the number of CPUs and the kernel, in one line without a path or a host name.
pub(crate) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| {
        line.strip_prefix("model name")?
            .split_once(':')
            .map(|(_, name)| name.trim().to_owned())
    });
    let cpus = info
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let version = read("/proc/version");
    let kernel = version.split_whitespace().nth(2).unwrap_or("unknown");
    format!(
        "{}, {cpus} CPUs, Linux {kernel}",
        model.unwrap_or_else(|| "unknown processor".into())
    )
}

/// Seconds since 1970, for the file's name.
pub(crate) fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
