//! `weir sidecar`: the data plane beside one workload of the mesh.

mod init;
mod wait;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tracing::level_filters::LevelFilter;
use weir_config::model::{INBOUND_PORT, ServiceName};
use weir_config::settings::AdminBind;
use weir_plan::mesh::Beside;
use weir_xds_client::{Access, Address};

use crate::args::Global;
use crate::commands::run::{AccessLog, admin_bind};
use crate::exit::{Exit, Failure, Outcome};
use crate::redirect::{Interception, Network};
use crate::serve::follow::{self, Plan};
use crate::serve::identity::Identity;
use crate::serve::logging;
use crate::state_dir;

const HELP: &str = "\
Examples:
  weir sidecar --service shop --app 127.0.0.1:8000 --control https://control:9902 --join-token-file /run/secrets/weir-token
  weir sidecar --service shop --app 127.0.0.1:8000 --control https://control:9902 --wait -- ./shop
  weir sidecar --wait -- ./shop                     # the sidecar is another process here: wait for it
  weir sidecar --init --app 127.0.0.1:8000          # NET_ADMIN: have the kernel redirect the app's connections
  weir sidecar --init --remove

It shares the app's network namespace (Compose: network_mode: \"service:shop\"). Others reach the app through it, over mTLS,
on port 15006. The app reaches other services by their names through http://127.0.0.1:15001, or, after --init, as if
there were no sidecar. The token serves once: the certificate it gets is renewed by itself, and kept in the state directory.

Exit codes: those of every command; with --wait those of COMMAND, 128+N if signal N ended it, 127 if there is no such program,
126 if it cannot be executed.";

/// A proxy beside one service of the mesh: mTLS in and out, and who may call
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct SidecarArgs {
    /// The service that the app is
    #[arg(long, value_name = "NAME", env = "WEIR_SERVICE", value_parser = service)]
    #[arg(required_unless_present_any = ["init", "wait"])]
    service: Option<ServiceName>,
    /// Where the app listens; on loopback nobody else reaches it
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:8000",
        env = "WEIR_APP"
    )]
    app: SocketAddr,
    /// Where a control plane is: https://HOST:PORT; several are tried in turn
    #[arg(
        long,
        value_name = "URL",
        env = "WEIR_CONTROL",
        value_delimiter = ',',
        hide_env_values = true
    )]
    #[arg(required_unless_present_any = ["init", "wait"])]
    control: Vec<Address>,
    /// What this sidecar is called by the control plane [default: SERVICE@HOSTNAME]
    #[arg(long, value_name = "NAME", env = "WEIR_NODE", value_parser = super::proxy::node)]
    node: Option<String>,
    /// Services that the app calls; of others it is told nothing [default: any]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', env = "WEIR_CALLS")]
    calls: Option<Vec<String>>,
    /// Where other sidecars reach this one [default: [::]:15006, without IPv6 0.0.0.0:15006]
    #[arg(long, value_name = "ADDR")]
    inbound: Option<SocketAddr>,
    /// Where the app reaches other services by their names; with --transparent on [::1], too
    #[arg(long, value_name = "ADDR", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 15001)))]
    outbound: SocketAddr,
    #[command(flatten)]
    identity: IdentityArgs,
    /// Where certificate, key and the last good state are kept [default: $WEIR_STATE_DIR, /var/lib/weir, ~/.local/state/weir]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Where the admin API listens: HOST:PORT or unix:///PATH [default: 127.0.0.1:9900]
    #[arg(long, value_name = "ADDR", value_parser = admin_bind)]
    admin_listen: Option<AdminBind>,
    /// Data worker threads
    #[arg(long, value_name = "N", default_value = "1")]
    workers: NonZeroUsize,
    /// Form of the access log on stdout
    #[arg(long, value_name = "FORM", value_enum, default_value = "json")]
    access_log: AccessLog,
    /// The kernel redirects the app's connections here (see --init)
    #[arg(long)]
    transparent: bool,
    /// How what others connect to on the app's port comes here; the same for --init and for serving
    ///
    /// redirect rewrites the address (NAT), and the serving sidecar needs no privilege. tproxy hands the connection over
    /// as it is, and the serving sidecar needs CAP_NET_RAW (or CAP_NET_ADMIN) to take it: in a container as root with
    /// cap_drop: [ALL] and cap_add: [NET_RAW], and with --user 0 for --init.
    #[arg(long, value_name = "HOW", value_enum, default_value = "redirect")]
    interception: Interception,
    /// With --transparent: what becomes of connections to addresses that no service has
    #[arg(long, value_name = "WHAT", value_enum, default_value = "pass")]
    unknown: Unknown,
    /// Start COMMAND once the sidecar is ready, and end as it ends: with its exit code
    #[arg(long, requires = "command", conflicts_with = "init")]
    wait: bool,
    /// Have the kernel redirect the app's connections, and end; needs NET_ADMIN
    #[arg(long)]
    init: bool,
    #[command(flatten)]
    redirect: RedirectArgs,
    /// The app, with --wait
    #[arg(last = true, value_name = "COMMAND", requires = "wait")]
    command: Vec<String>,
}

/// Where an identity is from.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Identity")]
pub(crate) struct IdentityArgs {
    /// Holds the token that a first certificate is given for [default: /run/secrets/weir-token, if it is there]
    #[arg(long, value_name = "FILE", env = "WEIR_JOIN_TOKEN_FILE")]
    pub(crate) join_token_file: Option<PathBuf>,
    /// The token itself; a file is better, for others can read a command line
    #[arg(
        long,
        value_name = "TOKEN",
        env = "WEIR_JOIN_TOKEN",
        hide_env_values = true
    )]
    #[arg(conflicts_with = "join_token_file")]
    pub(crate) join_token: Option<String>,
    /// Authorities of the control plane's certificate, where it has one of its own [default: the mesh's, by the token]
    #[arg(long, value_name = "FILE")]
    pub(crate) control_ca: Option<PathBuf>,
    /// A certificate with its chain from elsewhere, in place of the control plane's; read again when it changes
    #[arg(long, value_name = "FILE", requires_all = ["identity_key", "identity_bundle"])]
    pub(crate) identity_cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "FILE", requires = "identity_cert")]
    pub(crate) identity_key: Option<PathBuf>,
    /// The authorities of its trust domain
    #[arg(long, value_name = "FILE", requires = "identity_cert")]
    pub(crate) identity_bundle: Option<PathBuf>,
    /// Socket of a SPIFFE Workload API that gives the identity: unix:///PATH
    #[arg(long, value_name = "URL", env = "SPIFFE_ENDPOINT_SOCKET")]
    #[arg(conflicts_with_all = ["identity_cert", "join_token_file", "join_token"])]
    pub(crate) workload_api: Option<String>,
}

/// What --init redirects.
#[derive(Debug, Args)]
#[command(next_help_heading = "With --init")]
struct RedirectArgs {
    /// Take the rules away
    #[arg(long, requires = "init")]
    remove: bool,
    /// Print the rules as `nft -f` takes them, and change nothing
    #[arg(long, requires = "init", conflicts_with = "remove")]
    print: bool,
    /// The user that the sidecar runs as: what it connects to is left alone
    #[arg(long, value_name = "UID", default_value = "65532", requires = "init")]
    user: u32,
    /// Ports that others reach through the sidecar, which all lead to --app [default: its port]
    ///
    /// Whichever of them is connected to, the sidecar passes it on to --app, which is one address. Ports of the app that are
    /// not named are reached as they are, in plain text.
    #[arg(long, value_name = "PORTS", value_delimiter = ',', requires = "init")]
    ports: Vec<u16>,
    /// Ports that the app reaches without the sidecar, beside 53 (DNS)
    #[arg(long, value_name = "PORTS", value_delimiter = ',', requires = "init")]
    exclude_ports: Vec<u16>,
    /// Networks that the app reaches without the sidecar
    #[arg(long, value_name = "CIDRS", value_delimiter = ',', requires = "init")]
    exclude: Vec<Network>,
}

/// What becomes of connections to addresses that no service has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Unknown {
    /// They are passed on as they are
    Pass,
    /// They are reset
    Refuse,
}

pub(super) fn service(text: &str) -> Result<ServiceName, String> {
    ServiceName::new(text).map_err(|invalid| invalid.to_string())
}

/// Serves until a signal, or does what else was asked for.
pub(crate) fn run(args: SidecarArgs, global: &Global) -> Outcome {
    if args.init {
        return init::run(&args);
    }
    let Some(service) = args.service.clone() else {
        return wait::for_another(&global.admin, &args.command);
    };
    logging::start(LevelFilter::INFO, global.no_color)?;
    if args.control.is_empty() {
        let failure = Failure::new(Exit::Usage, "--control is missing");
        return Err(failure.help("name the control plane, as in --control https://control:9902"));
    }
    let state_dir = state_dir::choose(args.state_dir.as_deref());
    let node = args.node.unwrap_or_else(|| node_of(&service));
    let beside = Beside {
        app: args.app,
        inbound: inbound(args.inbound),
        outbound: args.outbound,
        outbound_v6: v6_of(args.outbound),
        handed_over: args.interception == Interception::Tproxy,
        captures: args.transparent.then_some(args.unknown == Unknown::Pass),
        service: service.clone(),
    };
    let identity = Identity::plan(
        &args.identity,
        &service,
        &args.control,
        state_dir.as_deref(),
    )?;
    let plan = Plan {
        node,
        control: args.control,
        access: Access::default(),
        variant: None,
        state_dir,
        admin: args.admin_listen.unwrap_or_default(),
        workers: Some(args.workers.get()),
        access_log: args.access_log.into(),
        mesh: Some(follow::Mesh {
            identity,
            beside: Some(beside),
            calls: args.calls,
        }),
        app: args.command,
    };
    follow::run(plan)
}

/// Where others connect: on all addresses, unless something else was said.
fn inbound(said: Option<SocketAddr>) -> SocketAddr {
    said.unwrap_or_else(|| {
        let all = IpAddr::from(Ipv6Addr::UNSPECIFIED);
        let all = if has(all) {
            all
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        };
        SocketAddr::new(all, INBOUND_PORT)
    })
}

/// Where what is redirected over IPv6 comes, beside an address that takes IPv4 alone.
fn v6_of(outbound: SocketAddr) -> Option<SocketAddr> {
    let loopback = IpAddr::from(Ipv6Addr::LOCALHOST);
    let wanted = outbound.is_ipv4() && has(loopback);
    wanted.then(|| SocketAddr::new(loopback, outbound.port()))
}

/// Whether it is an address of this machine, which may be one without IPv6.
fn has(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// Sidecars of a service are told apart by the machine, which for a container is its own.
fn node_of(service: &ServiceName) -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    let text = format!("{service}-{host}");
    text.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-._".contains(c) {
                c
            } else {
                '-'
            }
        })
        .take(253)
        .collect()
}
