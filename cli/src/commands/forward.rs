//! `weir forward`: a reverse proxy in one line.

mod model;

use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::sync::Arc;

use clap::Args;
use tracing::level_filters::LevelFilter;
use weir_config::settings::Settings;
use weir_proxy::{Options, Proxy};

use model::Target;

use crate::args::Global;
use crate::commands::run::AccessLog;
use crate::exit::{Failure, Outcome};
use crate::serve::{drain_or_leave, limits, logging};
use crate::signals::{Ending, survive_hangup};

const HELP: &str = "\
Examples:
  weir forward --from 127.0.0.1:8080 --to 127.0.0.1:3000
  weir forward --from 0.0.0.0:80 --to app-1:3000 --to app-2:3000   # balanced; names are resolved once
  weir forward --from 127.0.0.1:8443 --to 127.0.0.1:3000 --https   # try: curl -k https://localhost:8443/
  weir forward --from 127.0.0.1:8080 --to 127.0.0.1:3000 --access-log off";

/// A one-line HTTP reverse proxy, without configuration and without an admin API
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct ForwardArgs {
    /// Listen here
    #[arg(long, value_name = "ADDR")]
    from: SocketAddr,
    /// Forward to this HOST:PORT; several are balanced
    #[arg(long, value_name = "HOST:PORT", required = true, num_args = 1..)]
    to: Vec<String>,
    /// Speak TLS to clients, with a self-signed certificate for localhost that is made at the start
    #[arg(long)]
    https: bool,
    /// Data worker threads [default: the CPUs this process may use]
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroUsize>,
    /// Form of the access log on stdout
    #[arg(long, value_name = "FORM", value_enum, default_value = "json")]
    access_log: AccessLog,
}

/// Serves until a signal.
pub(crate) fn run(args: &ForwardArgs, global: &Global) -> Outcome {
    logging::start(LevelFilter::INFO, global.no_color)?;
    let mut targets: Vec<Target> = Vec::new();
    for to in &args.to {
        targets.extend(resolve(to)?);
    }
    targets.sort_unstable_by_key(|target| target.address);
    targets.dedup_by_key(|target| target.address);
    let model = model::forwarding(args.from, args.https, &targets)
        .map_err(|e| Failure::runtime(e.to_string()))?;
    limits::raise_open_files();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let options = Options {
        workers: args.workers.map_or(cpus, NonZeroUsize::get),
        access_log: args.access_log.into(),
        ..Options::default()
    };
    let proxy = Proxy::start(options).map_err(|e| Failure::runtime(e.to_string()))?;
    let applied = proxy.handle().publish(Arc::new(model), 1);
    if let Some((_, error)) = applied.listener_errors.first() {
        return Err(Failure::runtime(error.clone()).help("choose another --from"));
    }
    let names: Vec<String> = targets
        .iter()
        .map(|target| target.address.to_string())
        .collect();
    tracing::info!(from = %args.from, to = names.join(", "), "forwarding");
    serve(proxy)
}

fn serve(proxy: Proxy) -> Outcome {
    let settings = Settings::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut ending = Ending::listen()?;
        survive_hangup()?;
        let signal = ending.next().await;
        tracing::info!("{signal}: draining; once more leaves at once");
        let drain = proxy.shutdown(settings.grace_period, settings.drain_timeout);
        Ok(drain_or_leave(drain, &mut ending).await)
    })
}

/// All addresses of a `HOST:PORT`. Of several, only those that answer take requests: `localhost` is often two, and
/// an app listens on one of them.
fn resolve(to: &str) -> Result<Vec<Target>, Failure> {
    let bad = |why: String| {
        Failure::runtime(format!("--to {to}: {why}"))
            .help("write HOST:PORT, as in 127.0.0.1:3000 or app:3000")
    };
    let found: Vec<SocketAddr> = to
        .to_socket_addrs()
        .map_err(|e| bad(e.to_string()))?
        .collect();
    let probe = match found.len() {
        0 => return Err(bad("the name has no address".into())),
        1 => false,
        _ => true,
    };
    Ok(found
        .into_iter()
        .map(|address| Target { address, probe })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_as_it_is_and_nonsense_is_refused() {
        let found = resolve("127.0.0.1:3000").unwrap();
        assert_eq!(
            found,
            [Target {
                address: ([127, 0, 0, 1], 3000).into(),
                probe: false
            }]
        );
        for text in ["127.0.0.1", "", "host:port", "http://127.0.0.1:1"] {
            assert!(resolve(text).is_err(), "{text}");
        }
    }
}
