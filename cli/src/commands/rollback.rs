//! `weir rollback`: back to what an earlier generation said.

use clap::Args;
use serde_json::json;
use weir_control::api::types::{RollbackRequest, UndoRequest};

use crate::client::Client;
use crate::commands::decide::{self, How};
use crate::exit::Outcome;
use crate::output::Printer;

const HELP: &str = "\
Applied documents and weights set by hand become what they were in that generation. Where files or labels said something
else then, its services and routes are laid over them and stay in force, whatever the sources say, until --clear;
`weir status` shows it. Endpoints that discovery finds are always those of now. Listeners and certificates are always those
of the files.

Examples:
  weir history                            # which generations there are
  weir rollback 9 --dry-run               # what it would change
  weir rollback 9
  weir rollback --clear                   # back to files, labels and documents

Exit codes: 0 fine, 1 no such generation, 4 a difference under --exit-code, 6 refused, or by a proxy under --wait,
7 not everywhere in time under --wait, 8 unauthorized";

/// Go back to what an earlier generation said
#[derive(Debug, Args)]
#[command(after_help = HELP, arg_required_else_help = true)]
pub(crate) struct RollbackArgs {
    /// The generation, as `weir history` shows it
    #[arg(value_name = "N", required_unless_present = "clear")]
    generation: Option<u64>,
    /// Go back to what the sources say
    #[arg(long, conflicts_with = "generation")]
    clear: bool,
    #[command(flatten)]
    how: How,
}

/// Goes back, or shows what that would change.
pub(crate) fn run(args: &RollbackArgs, client: &Client, printer: Printer) -> Outcome {
    let (dry_run, by) = (args.how.dry_run(), Some("cli".to_owned()));
    let (path, body) = match args.generation {
        Some(generation) => (
            "/api/v1/rollback",
            json!(RollbackRequest {
                generation,
                dry_run,
                by
            }),
        ),
        None => ("/api/v1/rollback/clear", json!(UndoRequest { dry_run, by })),
    };
    decide::run(client, printer, path, &body, &args.how)
}
