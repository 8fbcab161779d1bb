//! `weir proxy`: the data plane alone, told by a control plane what to serve.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use tracing::level_filters::LevelFilter;
use weir_config::model::ServiceName;
use weir_config::settings::AdminBind;
use weir_xds_client::{Access, Address, Variant};

use crate::args::Global;
use crate::commands::run::{AccessLog, admin_bind};
use crate::commands::sidecar::IdentityArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::serve::follow::{self, Plan};
use crate::serve::identity::Identity;
use crate::serve::logging;
use crate::state_dir;

const HELP: &str = "\
Examples:
  weir proxy --control https://control:9902 --node edge-1 --ca ca.pem --token-file edge-1.token
  weir proxy --control https://control:9902 --node edge-1 --ca ca.pem --cert edge-1.pem --key edge-1.key
  weir proxy --control https://a:9902 --control https://b:9902 --node edge-1 --ca ca.pem --token-file t
  weir proxy --control http://127.0.0.1:9902 --node here          # in clear, on one machine

It serves the last good state when it starts and no control plane answers, and whatever it was told last while none
is there. That state is kept in the state directory, with the private keys of its listeners: nobody else
may read it. `--token-file` names the file with this node's token for the control plane.";

/// The data plane alone: serves what a control plane tells it over xDS
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct ProxyArgs {
    /// Where a control plane is: https://HOST:PORT; several are tried in turn
    #[arg(long, value_name = "URL", required = true, env = "WEIR_CONTROL")]
    #[arg(value_delimiter = ',', hide_env_values = true)]
    control: Vec<Address>,
    /// What this proxy is called by the control plane
    #[arg(long, value_name = "NAME", env = "WEIR_NODE", value_parser = node)]
    node: String,
    /// Authorities that may have issued the control plane's certificate [default: those that the machine trusts]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Certificate that names this node, with its chain; read again for each connection
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Speak in clear (http://) with a control plane that is not on this machine: whoever listens gets the keys
    #[arg(long)]
    insecure: bool,
    /// Which variant of the protocol [default: delta, and sotw where the server has no delta]
    #[arg(long, value_name = "VARIANT", value_enum)]
    xds: Option<XdsVariant>,
    /// The service of the mesh that this proxy is: it calls services of the mesh over mTLS, with an identity of that name
    #[arg(long, value_name = "NAME", value_parser = super::sidecar::service, env = "WEIR_SERVICE")]
    #[arg(conflicts_with_all = ["ca", "cert"])]
    service: Option<ServiceName>,
    #[command(flatten)]
    identity: IdentityArgs,
    /// Where the last good state is kept [default: $WEIR_STATE_DIR, /var/lib/weir, ~/.local/state/weir]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Where the admin API listens: HOST:PORT or unix:///PATH [default: 127.0.0.1:9900]
    #[arg(long, value_name = "ADDR", value_parser = admin_bind)]
    admin_listen: Option<AdminBind>,
    /// Data worker threads [default: the CPUs this process may use]
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroUsize>,
    /// Form of the access log on stdout
    #[arg(long, value_name = "FORM", value_enum, default_value = "json")]
    access_log: AccessLog,
}

/// The variants of xDS, as its documents call them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum XdsVariant {
    /// Only what changed is sent
    Delta,
    /// State of the world: each response is whole
    Sotw,
}

/// Bytes of a node's name.
const NODE_BYTES: usize = 253;

/// A name that can stand in a log line and in a certificate.
pub(super) fn node(text: &str) -> Result<String, String> {
    let good = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    match good && !text.is_empty() && text.len() <= NODE_BYTES {
        true => Ok(text.to_owned()),
        false => Err("write letters, digits, `-`, `_` and `.`, as in edge-1".into()),
    }
}

/// Serves until a signal.
pub(crate) fn run(args: ProxyArgs, global: &Global) -> Outcome {
    logging::start(LevelFilter::INFO, global.no_color)?;
    refuse_clear(&args)?;
    let state_dir = state_dir::choose(args.state_dir.as_deref());
    let mesh = mesh(&args, state_dir.as_deref())?;
    let plan = Plan {
        node: args.node,
        control: args.control,
        access: Access {
            own: None,
            token_file: global.token_file.clone(),
            ca: args.ca,
            identity: args.cert.zip(args.key),
        },
        variant: args.xds.map(|variant| match variant {
            XdsVariant::Delta => Variant::Delta,
            XdsVariant::Sotw => Variant::StateOfTheWorld,
        }),
        state_dir,
        admin: args.admin_listen.unwrap_or_default(),
        workers: args.workers.map(NonZeroUsize::get),
        access_log: args.access_log.into(),
        mesh,
        app: Vec::new(),
    };
    follow::run(plan)
}

/// The part in the mesh of one that is a service there.
fn mesh(args: &ProxyArgs, state_dir: Option<&Path>) -> Result<Option<follow::Mesh>, Failure> {
    let Some(service) = &args.service else {
        return Ok(None);
    };
    let identity = Identity::plan(&args.identity, service, &args.control, state_dir)?;
    Ok(Some(follow::Mesh {
        identity,
        beside: None,
        calls: None,
    }))
}

/// Keys and tokens do not cross a network in clear unless somebody says that they may.
fn refuse_clear(args: &ProxyArgs) -> Result<(), Failure> {
    let clear = |address: &&Address| !address.is_secure() && !address.is_local();
    match args.control.iter().find(clear) {
        Some(address) if !args.insecure => {
            let message = format!("--control {address}: it is in clear, and not on this machine");
            Err(Failure::new(Exit::Usage, message)
                .help("write https://, or add --insecure where nobody else is on the network"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser as _;

    fn args(rest: &[&str]) -> ProxyArgs {
        let all = ["weir", "proxy", "--node", "edge-1"].iter().chain(rest);
        match Cli::try_parse_from(all).unwrap().command {
            Command::Proxy(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn in_clear_it_follows_this_machine_alone_unless_it_is_told_to() {
        for (rest, good) in [
            (&["--control", "http://127.0.0.1:9902"][..], true),
            (&["--control", "https://control:9902"], true),
            (&["--control", "http://control:9902"], false),
            (&["--control", "http://control:9902", "--insecure"], true),
            (
                &["--control", "https://a:1", "--control", "http://10.0.0.1:1"],
                false,
            ),
        ] {
            let refused = refuse_clear(&args(rest));
            assert_eq!(refused.is_ok(), good, "{rest:?}");
            if let Err(failure) = refused {
                assert_eq!(failure.exit, Exit::Usage);
                assert!(failure.to_string().contains("--insecure"), "{failure}");
            }
        }
    }

    #[test]
    fn a_node_has_a_name_that_can_stand_anywhere() {
        for text in ["edge-1", "a.b_c", "7"] {
            assert_eq!(node(text).as_deref(), Ok(text));
        }
        for text in ["", "edge 1", "edge\n", "é", &"x".repeat(254)] {
            assert!(node(text).is_err(), "{text:?}");
        }
    }
}
