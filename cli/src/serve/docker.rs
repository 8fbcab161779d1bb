//! Whether the engine's socket can be used at all, before anything is started.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

use weir_config::Settings;

use crate::exit::Failure;

/// Looks at the engines that discovery is to ask.
///
/// # Errors
/// [`preflight`]'s.
pub(crate) fn preflight_all(settings: &Settings) -> Result<(), Failure> {
    if let Some(docker) = &settings.docker {
        preflight("docker", &docker.endpoint)?;
    }
    match &settings.swarm {
        Some(swarm) => preflight("swarm", &swarm.endpoint),
        None => Ok(()),
    }
}

/// Refuses a socket that is missing, which no waiting mends in a container without the mount.
///
/// One that may not be opened, or that nobody answers on, is no failure: its mode and its engine can change while Weir
/// runs. Discovery says what to do about either, and goes on trying.
///
/// # Errors
/// With the things to check.
fn preflight(provider: &str, endpoint: &str) -> Result<(), Failure> {
    let Some(path) = socket_of(endpoint) else {
        return Ok(());
    };
    let Err(error) = UnixStream::connect(path) else {
        return Ok(());
    };
    let failure = Failure::runtime(format!("{provider}: cannot use {endpoint}: {error}"));
    match error.kind() {
        io::ErrorKind::NotFound => Err(failure
            .help("is the engine installed and running? (`docker info`)")
            .help("in a container, mount the socket: -v /var/run/docker.sock:/var/run/docker.sock")
            .help(format!("elsewhere, name it: --{provider}=unix:///PATH or --{provider}=tcp://HOST:PORT; without Docker, give -c FILE"))),
        // Discovery explains this one better: with the socket's owner and this process's ids.
        io::ErrorKind::PermissionDenied => Ok(()),
        _ => {
            tracing::warn!(%endpoint, %error, "the engine cannot be asked yet; discovery goes on trying");
            Ok(())
        }
    }
}

fn socket_of(endpoint: &str) -> Option<&Path> {
    let path = endpoint.strip_prefix("unix://").unwrap_or(endpoint);
    path.starts_with('/').then(|| Path::new(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_socket_is_a_failure_that_says_what_to_check() {
        let dir = tempfile::tempdir().unwrap();
        let endpoint = format!("unix://{}/docker.sock", dir.path().display());
        let failure = preflight("docker", &endpoint).unwrap_err().to_string();
        assert!(
            failure.contains(&endpoint) && failure.contains("docker info"),
            "{failure}"
        );
        assert!(failure.contains("--docker="), "{failure}");
    }

    #[test]
    fn an_engine_that_is_down_or_remote_is_left_to_discovery() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(preflight("docker", &format!("unix://{}", path.display())).is_ok());
        assert!(preflight("swarm", "tcp://127.0.0.1:1").is_ok());
    }
}
