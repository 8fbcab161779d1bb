//! `weir token`: what a workload gets its first certificate with.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use weir_config::model::ServiceName;
use weir_control::api::types::{MeshToken, MeshTokens, NewToken};

use crate::client::{Client, block_on, read};
use crate::commands::explain::encode;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Cell, Printer, Table, Tone, print};
use crate::units;

const PATH: &str = "/api/v1/mesh/tokens";
/// How long is waited where no time is given.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

const HELP: &str = "\
Examples:
  weir token create --service shop                    # the token and nothing else on stdout
  weir token create --service shop --ttl 10m > token
  weir token create --service shop --wait             # by a script that has just started the control plane
  weir token list
  weir token revoke 3f2a0c1b9d7e

A token lets one workload of its service join the mesh, once. It also names the control plane's root, so that its holder
cannot be led to another one.";

/// Tokens by which workloads join the mesh
#[derive(Debug, Args)]
#[command(after_help = HELP, arg_required_else_help = true)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token for one workload of a service
    #[command(after_help = "Example:\n  weir token create --service shop --ttl 10m")]
    Create {
        /// Whose certificate it is for
        #[arg(long)]
        service: ServiceName,
        /// How long it is good: 1m to 720h
        #[arg(long, value_name = "TIME", default_value = "1h")]
        ttl: String,
        /// Wait for a control plane that is starting [default time: 30s]
        #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, value_parser = units::duration)]
        wait: Option<Option<Duration>>,
    },
    /// Tokens that are good, and those that were lately
    #[command(after_help = "Example:\n  weir token list")]
    List,
    /// Take a token away; certificates that came of it go on to hold
    #[command(after_help = "Example:\n  weir token revoke 3f2a0c1b9d7e")]
    Revoke {
        /// As `weir token list` shows it
        id: String,
    },
}

/// Asks, and prints what comes.
pub(crate) fn run(args: &TokenArgs, client: &Client, printer: Printer) -> Outcome {
    let value: Value = block_on(async {
        match &args.command {
            TokenCommand::Create { service, ttl, wait } => {
                if let Some(patience) = wait {
                    answered(client, patience.unwrap_or(PATIENCE)).await?;
                }
                let body = json!({ "service": service.as_str(), "ttl": ttl, "by": "cli" });
                client.post(PATH, &body).await
            }
            TokenCommand::List => client.get(PATH).await,
            TokenCommand::Revoke { id } => {
                let path = format!("{PATH}/{}/revoke", encode(id.as_bytes()));
                client.post(&path, &json!({})).await
            }
        }
    })?;
    if printer.is_data() {
        printer.data(&value)?;
        return Ok(Exit::Ok);
    }
    match &args.command {
        TokenCommand::Create { .. } => {
            let made: NewToken = read(value)?;
            print(&format!("{}\n", made.text))?;
            let token = made.token;
            eprintln!(
                "token {} for {} is good once, until {}",
                token.id, token.service, token.expires
            );
        }
        TokenCommand::List => {
            let tokens: MeshTokens = read(value)?;
            print(&table(&tokens.tokens).or_none(
                printer.color,
                "no tokens: make one with weir token create --service NAME",
            ))?;
        }
        TokenCommand::Revoke { .. } => {
            let token: MeshToken = read(value)?;
            print(&format!(
                "token {} for {} is revoked\n",
                token.id, token.service
            ))?;
        }
    }
    Ok(Exit::Ok)
}

/// Waits until somebody answers, at most so long.
async fn answered(client: &Client, patience: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + patience;
    loop {
        match client.look("/live").await {
            Ok(_) => return Ok(()),
            Err(failure) if Instant::now() >= deadline => return Err(failure),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

fn table(tokens: &[MeshToken]) -> Table {
    let mut table = Table::new(&["TOKEN", "SERVICE", "STATE", "EXPIRES", "USED", "FROM", "BY"]);
    for token in tokens {
        let tone = match token.state.as_str() {
            "ready" => Tone::Good,
            "expired" => Tone::Warn,
            _ => Tone::Dim,
        };
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        table.row(vec![
            token.id.as_str().into(),
            token.service.as_str().into(),
            Cell::toned(token.state.as_str(), tone),
            token.expires.as_str().into(),
            or_none(&token.used).into(),
            or_none(&token.used_from).into(),
            token.by.as_str().into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_listed_with_what_became_of_it() {
        let token = MeshToken {
            id: "3f2a".into(),
            service: "shop".into(),
            state: "used".into(),
            by: "cli".into(),
            created: "2026-11-22T02:00:00Z".into(),
            expires: "2026-11-22T03:00:00Z".into(),
            used: Some("2026-11-22T02:01:00Z".into()),
            used_from: Some("10.0.0.7".into()),
        };
        let text = table(&[token]).render(false);
        for part in ["3f2a", "shop", "used", "2026-11-22T02:01:00Z", "10.0.0.7"] {
            assert!(text.contains(part), "no {part} in {text}");
        }
    }
}
