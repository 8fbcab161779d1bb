//! The engine's address, and what to say when nothing answers there.

use std::fmt;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Where the engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Unix(PathBuf),
    /// `host:port`
    Tcp(String),
}

/// The port of an engine that listens on TCP without TLS.
const DEFAULT_PORT: u16 = 2375;

impl Endpoint {
    /// Reads `unix:///var/run/docker.sock`, `tcp://host:2375`, `http://host:2375` or a path.
    ///
    /// # Errors
    /// A text for the person who wrote it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(path) = text
            .strip_prefix("unix://")
            .or(text.starts_with('/').then_some(text))
        {
            return match path.starts_with('/') {
                true => Ok(Self::Unix(PathBuf::from(path))),
                false => Err(format!(
                    "{text:?} needs an absolute path, as in unix:///var/run/docker.sock"
                )),
            };
        }
        let host = text
            .strip_prefix("tcp://")
            .or_else(|| text.strip_prefix("http://"));
        let Some(host) = host.map(|host| host.trim_end_matches('/')) else {
            return Err(format!(
                "{text:?} is not an engine that Weir can reach; use unix:///path, tcp://host:port or \
                 http://host:port (TLS and ssh are not supported: put a socket proxy in between)"
            ));
        };
        if host.is_empty() || host.contains(['/', '@', '?', '#', ' ']) {
            return Err(format!(
                "{text:?} needs a host and a port, as in tcp://socket-proxy:2375"
            ));
        }
        let bare = host
            .rsplit_once(':')
            .is_none_or(|(_, port)| port.ends_with(']'));
        Ok(Self::Tcp(if bare {
            format!("{host}:{DEFAULT_PORT}")
        } else {
            host.to_owned()
        }))
    }

    /// What the failure to connect means and what to check next.
    pub(crate) fn explain(&self, error: &io::Error) -> String {
        match self {
            Self::Unix(path) => explain_socket(path, error),
            Self::Tcp(host) => format!(
                "cannot connect to the Docker engine at tcp://{host}: {error}; check that it listens there and that \
                 this network reaches it"
            ),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(host) => write!(f, "tcp://{host}"),
        }
    }
}

fn explain_socket(path: &Path, error: &io::Error) -> String {
    let shown = path.display();
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
            return format!(
                "there is no Docker socket at {shown}; check that the engine runs, and in a container mount it: \
                 -v {shown}:{shown}:ro"
            );
        }
        Err(other) => {
            return format!("cannot reach {shown}: {other}; check the directories above it");
        }
    };
    if !meta.file_type().is_socket() {
        let what = if meta.is_dir() {
            "a directory"
        } else {
            "a file"
        };
        return format!(
            "{shown} is {what}, not a socket; Docker makes a directory where the source of a mount was missing: \
             check the path on the host"
        );
    }
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            let (uid, gid) = own_ids();
            let group = meta.gid();
            format!(
                "permission denied: this process (user {uid}, group {gid}) may not open {shown}, which belongs to user {} and group \
                 {group} with mode {:o}; give it that group: docker run --group-add {group}, group_add: [\"{group}\"] in \
                 Compose, or usermod -aG {group} on a host",
                meta.uid(),
                meta.mode() & 0o777,
            )
        }
        io::ErrorKind::ConnectionRefused => format!(
            "nobody listens on {shown}: the engine is stopped or restarting; a container that mounted the old socket \
             file keeps it: mount the directory /var/run instead, or restart the container"
        ),
        _ => format!("cannot connect to the Docker socket {shown}: {error}"),
    }
}

/// User and group of this process; the kernel shows them as the owner of its directory in /proc.
fn own_ids() -> (u32, u32) {
    std::fs::metadata("/proc/self").map_or((0, 0), |meta| (meta.uid(), meta.gid()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_read_as_people_write_it() {
        let unix = |path: &str| Ok(Endpoint::Unix(PathBuf::from(path)));
        let tcp = |host: &str| Ok(Endpoint::Tcp(host.into()));
        for (text, expected) in [
            ("unix:///var/run/docker.sock", unix("/var/run/docker.sock")),
            ("/run/podman/podman.sock", unix("/run/podman/podman.sock")),
            ("tcp://proxy:2375", tcp("proxy:2375")),
            ("tcp://proxy", tcp("proxy:2375")),
            ("http://10.0.0.1:80/", tcp("10.0.0.1:80")),
            ("tcp://[::1]", tcp("[::1]:2375")),
            ("tcp://[::1]:99", tcp("[::1]:99")),
        ] {
            assert_eq!(Endpoint::parse(text), expected, "{text}");
        }
        for text in [
            "",
            "unix://docker.sock",
            "https://host",
            "ssh://host",
            "tcp://",
            "tcp://a b",
            "http://u@h",
        ] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_error_names_the_next_thing_to_check() {
        let dir = tempfile::tempdir().unwrap();
        let missing = Endpoint::Unix(dir.path().join("docker.sock"));
        let text = missing.explain(&io::ErrorKind::NotFound.into());
        assert!(
            text.contains("there is no Docker socket") && text.contains(":ro"),
            "{text}"
        );
        let not_a_socket = Endpoint::Unix(dir.path().to_owned());
        let text = not_a_socket.explain(&io::ErrorKind::ConnectionRefused.into());
        assert!(text.contains("is a directory, not a socket"), "{text}");
        let path = dir.path().join("real.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let text = Endpoint::Unix(path.clone()).explain(&io::ErrorKind::PermissionDenied.into());
        let group = std::fs::metadata(&path).unwrap().gid();
        assert!(text.contains(&format!("--group-add {group}")), "{text}");
    }
}
