//! `weir docker-gate`: a socket that passes on what discovery asks an engine, and nothing else.

use std::path::PathBuf;

use clap::Args;
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;
use weir_control::gate::Gate;

use crate::args::Global;
use crate::exit::{Exit, Failure, Outcome};
use crate::serve::{logging, socket};
use crate::signals::{Ending, survive_hangup};

const HELP: &str = "\
Examples:
  weir docker-gate --listen unix:///run/weir/gate.sock
  weir docker-gate --listen unix:///run/weir/gate.sock --group 998 --endpoint unix:///run/podman/podman.sock
  weir run --docker=unix:///run/weir/gate.sock       # in another container

Passed on, with or without /v1.NN in front, and only as GET:
  /version  /_ping  /events  /containers/json  /containers/ID/json  /services  /tasks  /nodes  /networks
Anything else is answered 403, and the engine sees nothing of it. Of answers only what discovery reads is passed on:
no environment, command line, mount or label of anything but routing.";

/// A socket in front of a container engine's that lets discovery read, and nothing else
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct DockerGateArgs {
    /// Where to listen, as unix:///PATH; the socket is for this user alone (mode 0600)
    #[arg(long, value_name = "SOCKET", value_parser = socket_path)]
    listen: PathBuf,
    /// The engine: unix:///PATH or tcp://HOST:PORT
    #[arg(
        long,
        value_name = "ENDPOINT",
        default_value = "unix:///var/run/docker.sock"
    )]
    endpoint: String,
    /// Lets this group connect too (mode 0660): its number, or its name in /etc/group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
}

fn socket_path(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix://").unwrap_or(text);
    match path.starts_with('/') {
        true => Ok(PathBuf::from(path)),
        false => Err("write unix:///PATH".into()),
    }
}

/// Serves until a signal.
pub(crate) fn run(args: &DockerGateArgs, global: &Global) -> Outcome {
    logging::start(LevelFilter::INFO, global.no_color)?;
    let shown = format!("unix://{}", args.listen.display());
    let own = socket_path(&args.endpoint).is_ok_and(|engine| engine == args.listen);
    if own {
        return Err(Failure::new(
            Exit::Usage,
            "the gate cannot listen where the engine does",
        ));
    }
    let gate = Gate::new(&args.endpoint).map_err(|e| Failure::new(Exit::Usage, e))?;
    let group = args.group.as_deref().map(group_id).transpose()?;
    let listener = socket::listen(&args.listen, group).map_err(|why| {
        Failure::runtime(format!("docker-gate: cannot listen on {shown}: {why}"))
            .help("the directory has to be there, and this user has to be allowed to write to it")
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(async {
        let mut ending = Ending::listen()?;
        survive_hangup()?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let stop = CancellationToken::new();
        let serving = tokio::spawn(gate.serve(listener, stop.clone()));
        tracing::info!(
            listen = shown,
            engine = args.endpoint,
            "passing on what discovery reads"
        );
        let signal = ending.next().await;
        tracing::info!("{signal}: leaving");
        stop.cancel();
        serving.await.map_err(std::io::Error::other)
    });
    // Whatever comes of it, nobody should find a socket that nobody serves.
    let _ = std::fs::remove_file(&args.listen);
    ended?;
    Ok(Exit::Ok)
}

/// The number of a group.
fn group_id(text: &str) -> Result<u32, Failure> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let known = std::fs::read_to_string("/etc/group").unwrap_or_default();
    named(&known, text).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("there is no group {text:?} here"))
            .help("in a container without /etc/group give its number: stat -c %g FILE")
    })
}

/// Of `name:password:number:members` (group(5)).
fn named(file: &str, name: &str) -> Option<u32> {
    file.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_named_by_a_whole_path() {
        for (text, expected) in [
            ("unix:///run/gate.sock", Some("/run/gate.sock")),
            ("/run/gate.sock", Some("/run/gate.sock")),
            ("unix://gate.sock", None),
            ("tcp://127.0.0.1:2375", None),
            ("", None),
        ] {
            assert_eq!(
                socket_path(text).ok(),
                expected.map(PathBuf::from),
                "{text}"
            );
        }
    }

    #[test]
    fn a_group_is_found_by_its_name() {
        let file = "root:x:0:\ndocker:x:998:ann,bob\nbroken\n";
        assert_eq!(named(file, "docker"), Some(998));
        assert_eq!(named(file, "root"), Some(0));
        assert_eq!(named(file, "broken"), None);
        assert_eq!(named(file, "dock"), None);
    }
}
