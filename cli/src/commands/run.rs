//! `weir run`: discovery, control and proxy in one process.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tracing::level_filters::LevelFilter;
use weir_config::diagnostic;
use weir_config::settings::{AccessLogFormat, AdminBind};

use crate::args::Global;
use crate::client::AdminAddress;
use crate::exit::Outcome;
use crate::output::color_on_stderr;
use crate::serve::plan::{Overlay, Plan};
use crate::serve::{self, logging};

const HELP: &str = "\
Examples:
  weir run                                # labels of the local Docker engine, one listener on :8080
  weir run -c weir.yaml                   # a file, re-read when it changes
  weir run -c conf.d/ --docker            # both
  weir run --docker=tcp://127.0.0.1:2375 --network edge --listen 0.0.0.0:80
  weir run --swarm --network shop_edge    # in a container on a Swarm manager
  weir run --docker --listen 0.0.0.0:8080 --https 0.0.0.0:8443   # both; try: curl -k https://localhost:8443/
  weir run -c weir.yaml --admin-listen unix:///run/weir/admin.sock

Signals: SIGTERM and SIGINT drain, a second one leaves at once. Files are watched; SIGHUP is not needed.
Logs go to stderr (WEIR_LOG=debug for more), the access log to stdout.";

/// Everything in one process: discovery, control plane and proxy
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct RunArgs {
    /// Configuration file, or a directory of them; may be repeated
    #[arg(short, long, value_name = "FILE|DIR")]
    config: Vec<PathBuf>,
    /// Watch the labels of a Docker engine [default endpoint: unix:///var/run/docker.sock]
    #[arg(long, value_name = "ENDPOINT", num_args = 0..=1, require_equals = true)]
    docker: Option<Option<String>>,
    /// Watch the services of a Docker Swarm, at a manager [default endpoint: unix:///var/run/docker.sock]
    #[arg(long, value_name = "ENDPOINT", num_args = 0..=1, require_equals = true)]
    swarm: Option<Option<String>>,
    /// Reach containers in this Docker network
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// Listen here for HTTP; may be repeated [default without --https and listeners in a file: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDR")]
    listen: Vec<SocketAddr>,
    /// Listen here for HTTPS, with a self-signed certificate for development; may be repeated
    ///
    /// It is for localhost and every exact host of the routes, and stays the same over restarts in the state directory.
    /// No client trusts it; certificates of your own go into a file, under listeners[].tls.
    #[arg(long, value_name = "ADDR")]
    https: Vec<SocketAddr>,
    /// Where the admin API listens: HOST:PORT or unix:///PATH [default: 127.0.0.1:9900]
    #[arg(long, value_name = "ADDR", value_parser = admin_bind)]
    admin_listen: Option<AdminBind>,
    /// Data worker threads [default: the CPUs this process may use]
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroUsize>,
    /// Form of the access log on stdout [default: json]
    #[arg(long, value_name = "FORM", value_enum)]
    access_log: Option<AccessLog>,
    /// Where changes by hand outlive a restart [default: $WEIR_STATE_DIR, /var/lib/weir, ~/.local/state/weir]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// The forms of the access log, as the command line names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AccessLog {
    Json,
    Common,
    Combined,
    Off,
}

impl From<AccessLog> for AccessLogFormat {
    fn from(form: AccessLog) -> Self {
        match form {
            AccessLog::Json => Self::Json,
            AccessLog::Common => Self::Common,
            AccessLog::Combined => Self::Combined,
            AccessLog::Off => Self::Off,
        }
    }
}

/// Reads `127.0.0.1:9900` or `unix:///run/weir/admin.sock`.
pub(crate) fn admin_bind(text: &str) -> Result<AdminBind, String> {
    if let Ok(address) = text.parse() {
        return Ok(AdminBind::Tcp(address));
    }
    match text.parse() {
        Ok(AdminAddress::Unix(path)) => Ok(AdminBind::Unix(path)),
        _ => Err("write IP:PORT or unix:///PATH".into()),
    }
}

/// Serves until a signal.
pub(crate) fn run(args: RunArgs, global: &Global) -> Outcome {
    logging::start(LevelFilter::INFO, global.no_color)?;
    let color = color_on_stderr(global.no_color);
    let overlay = Overlay {
        files: args.config,
        docker: args.docker,
        swarm: args.swarm,
        network: args.network,
        listen: args.listen,
        https: args.https,
        admin: args.admin_listen,
        token_file: global.token_file.clone(),
        access_log: args.access_log.map(Into::into),
        workers: args.workers.map(NonZeroUsize::get),
        state_dir: args.state_dir,
    };
    let plan = Plan::make(overlay, color)?;
    // In a log of JSON lines the control plane's own line for each finding has to do.
    if std::io::stderr().is_terminal() {
        eprint!("{}", diagnostic::render(&plan.warnings, color, &plan.texts));
    }
    serve::run(plan, None, |_| {})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admin_server_listens_on_an_address_or_a_socket() {
        let tcp = AdminBind::Tcp(([0, 0, 0, 0], 9900).into());
        assert_eq!(admin_bind("0.0.0.0:9900"), Ok(tcp));
        assert_eq!(
            admin_bind("unix:///run/a.sock"),
            Ok(AdminBind::Unix("/run/a.sock".into()))
        );
        for text in [
            "",
            "9900",
            "localhost:9900",
            "unix://a.sock",
            "http://127.0.0.1:9900",
        ] {
            assert!(admin_bind(text).is_err(), "{text}");
        }
    }
}
