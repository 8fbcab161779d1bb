//! `weir control`: discovery and control plane, for proxies of their own.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use tracing::level_filters::LevelFilter;
use weir_config::diagnostic;
use weir_config::settings::AdminBind;

use super::run::admin_bind;
use crate::args::Global;
use crate::exit::Outcome;
use crate::output::color_on_stderr;
use crate::serve::plan::{Overlay, Plan};
use crate::serve::{self, logging};

const HELP: &str = "\
Examples:
  weir control -c weir.yaml               # serves proxies as the file's control: section says
  weir control -c weir.yaml --docker      # with the labels of the local Docker engine
  weir proxies                            # who follows, and how far each has come

The file needs a section such as
  control:
    bind: 0.0.0.0:9902
    tls: { cert: /etc/weir/tls.crt, key: /etc/weir/tls.key, clientCa: /etc/weir/clients.crt }
Proxies are `weir proxy --control https://HOST:9902 --node NAME`, Envoy, or gRPC clients; see docs/control-plane.md.
Listeners are opened by the proxies, not here. Without the control plane they go on with what they have.";

/// The control plane alone, for proxies in other processes
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct ControlArgs {
    /// Configuration file, or a directory of them; may be repeated
    #[arg(short, long, value_name = "FILE|DIR", required = true)]
    config: Vec<PathBuf>,
    /// Watch the labels of a Docker engine [default endpoint: unix:///var/run/docker.sock]
    #[arg(long, value_name = "ENDPOINT", num_args = 0..=1, require_equals = true)]
    docker: Option<Option<String>>,
    /// Reach containers in this Docker network
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// Proxies listen here for HTTP; may be repeated [default without listeners in a file: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDR")]
    listen: Vec<SocketAddr>,
    /// Where the admin API listens: HOST:PORT or unix:///PATH [default: 127.0.0.1:9900]
    #[arg(long, value_name = "ADDR", value_parser = admin_bind)]
    admin_listen: Option<AdminBind>,
    /// Where changes by hand outlive a restart [default: $WEIR_STATE_DIR, /var/lib/weir, ~/.local/state/weir]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// Serves until a signal.
pub(crate) fn run(args: ControlArgs, global: &Global) -> Outcome {
    logging::start(LevelFilter::INFO, global.no_color)?;
    let color = color_on_stderr(global.no_color);
    let overlay = Overlay {
        files: args.config,
        docker: args.docker,
        network: args.network,
        listen: args.listen,
        admin: args.admin_listen,
        token_file: global.token_file.clone(),
        state_dir: args.state_dir,
        ..Overlay::default()
    };
    let plan = Plan::make(overlay, color)?;
    // In a log of JSON lines the control plane's own line for each finding has to do.
    if std::io::stderr().is_terminal() {
        eprint!("{}", diagnostic::render(&plan.warnings, color, &plan.texts));
    }
    serve::control::run(&plan)
}
