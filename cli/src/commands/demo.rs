//! `weir demo`: two origins, a proxy, a control plane and a dashboard, to look at and play with.

mod scene;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::thread::JoinHandle;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;
use weir_config::settings::{AccessLogFormat, AdminBind};

use crate::args::Global;
use crate::exit::{Failure, Outcome};
use crate::origin::{Defaults, Identity, Origin};
use crate::output::{Format, Printer, color_on_stderr, print};
use crate::serve::plan::{Overlay, Plan};
use crate::serve::{self, logging};
use crate::units;

use scene::{Ports, Scene};

const HELP: &str = "\
Examples:
  weir demo
  weir demo --port 8888 --admin-port 9999
  weir demo --https                       # over TLS too, with a certificate made for it
  weir demo --for 30s                     # ends by itself";

/// Two origins, proxy, control plane and dashboard; prints what to try
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct DemoArgs {
    /// Port of the proxy; if it is taken, another one
    #[arg(long, default_value = "8080")]
    port: u16,
    /// Port of the admin API and the dashboard; if it is taken, another one
    #[arg(long, default_value = "9900")]
    admin_port: u16,
    /// Serve over TLS too, with a self-signed certificate, on port 8443 or this one; if it is taken, another one
    #[arg(long, value_name = "PORT", num_args = 0..=1, require_equals = true, default_missing_value = "8443")]
    https: Option<u16>,
    /// End after this time
    #[arg(long = "for", value_name = "TIME", value_parser = units::duration)]
    limit: Option<Duration>,
}

/// Runs until Ctrl-C, or for the time given.
pub(crate) fn run(args: &DemoArgs, global: &Global) -> Outcome {
    logging::start(LevelFilter::WARN, global.no_color)?;
    let (origins, addresses) = Origins::start()?;
    let ports = Ports {
        web: scene::free(args.port)?,
        admin: scene::free(args.admin_port)?,
        secure: args.https.map(scene::free).transpose()?,
    };
    let scene = Scene::write(ports, addresses)?;
    let overlay = Overlay {
        files: vec![scene.config()],
        admin: Some(AdminBind::Tcp(scene::loopback(ports.admin))),
        access_log: Some(AccessLogFormat::Off),
        // One worker splits exactly: 2 of 20 requests, which a person can count.
        workers: Some(1),
        state_dir: Some(scene.state_dir()),
        ..Overlay::default()
    };
    let mut plan = Plan::make(overlay, color_on_stderr(global.no_color))?;
    // Nobody else sends requests here: Ctrl-C need not wait for a balancer in front to notice.
    plan.settings.grace_period = Duration::ZERO;
    plan.settings.drain_timeout = Duration::from_secs(2);
    let printer = Printer::new(Format::Table, global.no_color);
    let wanted = Ports {
        web: args.port,
        admin: args.admin_port,
        secure: args.https,
    };
    let outcome = serve::run(plan, args.limit, |started| {
        // A reader that went away is no reason to end.
        let _ = print(&scene.welcome(wanted, started, printer));
    });
    origins.stop();
    outcome
}

/// The two origins, on a thread of their own.
struct Origins {
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl Origins {
    /// Binds free ports and serves; the addresses are those of stable and canary.
    fn start() -> Result<(Self, [SocketAddr; 2]), Failure> {
        let mut stable = bind("shop-stable-1", "stable")?;
        let mut canary = bind("shop-canary-1", "canary")?;
        let addresses = [stable.address(), canary.address()];
        let workers: Vec<_> = [stable.worker(), canary.worker()]
            .into_iter()
            .flatten()
            .collect();
        let stop = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let until = stop.clone();
        let thread = std::thread::Builder::new()
            .name("weir-origins".into())
            .spawn(move || {
                runtime.block_on(async {
                    let drain = Duration::from_secs(1);
                    let serving = workers
                        .into_iter()
                        .map(|w| tokio::spawn(w.serve(until.clone(), drain)));
                    for task in serving.collect::<Vec<_>>() {
                        let _ = task.await;
                    }
                });
            })?;
        Ok((Self { stop, thread }, addresses))
    }

    fn stop(self) {
        self.stop.cancel();
        let _ = self.thread.join();
    }
}

fn bind(name: &str, version: &str) -> Result<Origin, Failure> {
    let identity = Identity::new(name, version).map_err(Failure::runtime)?;
    Ok(Origin::bind(
        scene::loopback(0),
        NonZeroUsize::MIN,
        identity,
        Defaults::default(),
    )?)
}
