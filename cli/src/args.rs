//! The command line as a whole: global options and the list of commands.

use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand};

use crate::client::AdminAddress;
use crate::commands::apply::ApplyArgs;
use crate::commands::canary::CanaryArgs;
use crate::commands::cert::CertArgs;
use crate::commands::check::CheckArgs;
use crate::commands::completion::CompletionArgs;
use crate::commands::control::ControlArgs;
use crate::commands::demo::DemoArgs;
use crate::commands::diff::DiffArgs;
use crate::commands::docker_gate::DockerGateArgs;
use crate::commands::endpoint::EndpointArgs;
use crate::commands::explain::ExplainArgs;
use crate::commands::forward::ForwardArgs;
use crate::commands::healthcheck::HealthcheckArgs;
use crate::commands::history::HistoryArgs;
use crate::commands::list::{self, ListArgs};
use crate::commands::mesh::MeshArgs;
use crate::commands::origin::OriginArgs;
use crate::commands::proxy::ProxyArgs;
use crate::commands::rollback::RollbackArgs;
use crate::commands::run::RunArgs;
use crate::commands::schema::SchemaArgs;
use crate::commands::sidecar::SidecarArgs;
use crate::commands::status::StatusArgs;
use crate::commands::token::TokenArgs;
use crate::output::Format;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const HELP: &str = "\
Start here:
  weir demo                               # two origins, a proxy, a dashboard, and what to try
  weir run --docker                       # balance over labelled containers
  weir run -c weir.yaml                   # balance as a file says
  weir forward --from 127.0.0.1:8080 --to 127.0.0.1:3000

Look at a running Weir:
  weir status
  weir explain GET http://shop.example.com/cart
  weir canary set shop canary=25
  weir endpoint drain 3f2a --for 10m
  weir history
  weir rollback 9 --dry-run

Exit codes:
  0 ok            3 configuration invalid                     6 refused or partly applied
  1 failed        4 warnings (--strict), diff (--exit-code)   7 not in time (--wait)
  2 usage         5 admin API unreachable                     8 unauthorized";

/// A load balancer that takes its routes from container labels and files, without a restart
#[derive(Debug, Parser)]
#[command(name = "weir", version, styles = STYLES, after_help = HELP, max_term_width = 100)]
#[command(disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Admin API of a running Weir: http://HOST:PORT or unix:///PATH
    #[arg(long, global = true, value_name = "URL", env = "WEIR_ADMIN")]
    #[arg(default_value_t = AdminAddress::default(), hide_env_values = true)]
    pub(crate) admin: AdminAddress,
    /// How to print: `wide` adds columns, `json` and `yaml` are for programs
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub(crate) output: Format,
    /// Plain text even on a terminal; NO_COLOR does the same
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    /// File with the token for changes. Default: $WEIR_TOKEN, else admin.token in the state directory
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

/// The commands, in the order in which a newcomer needs them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(DemoArgs),
    Run(RunArgs),
    Control(ControlArgs),
    Proxy(ProxyArgs),
    Sidecar(Box<SidecarArgs>),
    Forward(ForwardArgs),
    Check(CheckArgs),
    Diff(DiffArgs),
    Apply(ApplyArgs),
    History(HistoryArgs),
    Rollback(RollbackArgs),
    Schema(SchemaArgs),
    Status(StatusArgs),
    /// Routes and their rules
    #[command(after_help = list::ROUTES_HELP)]
    Routes(ListArgs),
    /// Services, their versions and weights
    #[command(after_help = list::SERVICES_HELP)]
    Services(ListArgs),
    /// Endpoints, their state and load
    #[command(after_help = list::ENDPOINTS_HELP)]
    Endpoints(ListArgs),
    /// Listeners and the addresses they are bound to
    #[command(after_help = list::LISTENERS_HELP)]
    Listeners(ListArgs),
    /// Certificates, and when they expire
    #[command(after_help = list::CERTS_HELP)]
    Certs(ListArgs),
    /// What discovery found, what was left out, and why
    #[command(after_help = list::DISCOVERY_HELP)]
    Discovery(ListArgs),
    /// Proxies that follow the control plane, and how far each has come
    #[command(after_help = list::PROXIES_HELP)]
    Proxies(ListArgs),
    /// Who calls whom, as proxies and sidecars report it
    #[command(after_help = list::EDGES_HELP)]
    Edges(ListArgs),
    Canary(CanaryArgs),
    Endpoint(EndpointArgs),
    Mesh(MeshArgs),
    Explain(ExplainArgs),
    Token(TokenArgs),
    Cert(CertArgs),
    Healthcheck(HealthcheckArgs),
    Completion(CompletionArgs),
    DockerGate(DockerGateArgs),
    Origin(OriginArgs),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in Cli::command().get_subcommands() {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let example = format!("weir {}", command.get_name());
            assert!(
                help.contains(&example),
                "`weir {} --help` has no example",
                command.get_name()
            );
        }
    }
}
