//! `weir healthcheck`: for a container's HEALTHCHECK, where there is neither shell nor curl.

use std::time::Duration;

use clap::Args;

use crate::client::{Client, block_on};
use crate::exit::{Exit, Outcome};
use crate::output::print;

const HELP: &str = "\
Examples:
  weir healthcheck                        # 0 when ready to take traffic
  weir healthcheck --live                 # 0 when the process answers at all
  HEALTHCHECK CMD [\"/weir\", \"healthcheck\"]

Exit codes: 0 or 1, as Docker wants them. WEIR_ADMIN names another admin address.";

/// Exit with 0 if the running Weir is ready, else 1
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct HealthcheckArgs {
    /// Ask whether the process lives, not whether it is ready
    #[arg(long, conflicts_with = "ready")]
    live: bool,
    /// Ask whether it is ready to take traffic (the default)
    #[arg(long)]
    ready: bool,
}

/// An orchestrator asks again soon; one that hangs is worse than one that fails.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Asks once.
pub(crate) fn run(args: &HealthcheckArgs, client: Client) -> Outcome {
    let path = if args.live { "/live" } else { "/ready" };
    let client = client.with_timeout(TIMEOUT);
    let answer = block_on(client.look(path));
    // Docker knows 0 and 1 only: every failure is 1.
    let answer = answer.map_err(|failure| failure.ending_with(Exit::Failure))?;
    let text = String::from_utf8_lossy(&answer.body);
    print(&format!("{}\n", text.trim_end()))?;
    Ok(if answer.status.is_success() {
        Exit::Ok
    } else {
        Exit::Failure
    })
}
