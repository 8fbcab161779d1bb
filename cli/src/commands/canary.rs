//! `weir canary`: who gets which share, and changing it by hand.

mod view;

pub(crate) use view::percent;

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use weir_config::model::{ServiceName, VersionName, Weight};
use weir_control::api::types::{CanaryChange, ClearRequest, Reply, Rollout, Rollouts, SetRequest};
use weir_proxy::admin::types::{Endpoint, Endpoints};

use crate::client::{Client, block_on, read};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Printer, Tone, print};
use crate::watch::{self, WatchArgs};

const HELP: &str = "\
Examples:
  weir canary list
  weir canary get shop                    # configured, set by hand, in force, observed
  weir canary set shop canary=25          # the other versions share what remains
  weir canary set shop green=100 blue=0   # switch blue to green at once
  weir canary clear shop                  # back to what labels and files say";

/// Show or set the shares of a service's versions
#[derive(Debug, Args)]
#[command(after_help = HELP, arg_required_else_help = true)]
pub(crate) struct CanaryArgs {
    #[command(subcommand)]
    command: CanaryCommand,
}

#[derive(Debug, Subcommand)]
enum CanaryCommand {
    /// All splits
    #[command(after_help = "Example:\n  weir canary list --watch")]
    List {
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// One service: its weights beside what was observed, versions and endpoints as a tree
    #[command(after_help = "Example:\n  weir canary get shop --watch")]
    Get {
        /// The service
        service: ServiceName,
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// Set weights; in force at once, kept over restarts, until `clear`
    #[command(after_help = "\
Weights are percent when some versions are left out: those share what remains as they did before.
When all versions are named, weights are relative to each other. Steps of 0.1.

Examples:
  weir canary set shop canary=0.5
  weir canary set shop green=100 blue=0")]
    Set {
        /// The service
        service: ServiceName,
        /// VERSION=WEIGHT
        #[arg(required = true, value_name = "VERSION=WEIGHT", value_parser = share)]
        weights: Vec<Share>,
    },
    /// Give the weights back to labels and files
    #[command(after_help = "Example:\n  weir canary clear shop")]
    Clear {
        /// The service
        service: ServiceName,
    },
}

/// One `VERSION=WEIGHT`.
#[derive(Debug, Clone)]
struct Share {
    version: VersionName,
    weight: Weight,
}

fn share(text: &str) -> Result<Share, String> {
    let (version, weight) = text
        .split_once('=')
        .ok_or("write VERSION=WEIGHT, as in canary=25")?;
    let version = VersionName::new(version).map_err(|e| e.to_string())?;
    let weight = weight
        .parse()
        .map_err(|e: weir_config::model::Invalid| e.to_string())?;
    Ok(Share { version, weight })
}

/// Shows or changes.
pub(crate) fn run(args: &CanaryArgs, client: &Client, printer: Printer) -> Outcome {
    match &args.command {
        CanaryCommand::List { watch } => watch::show(watch, printer, async || {
            let value: Value = client.get("/api/v1/rollouts").await?;
            if printer.is_data() {
                return printer.render_data(&value);
            }
            Ok(view::list(&read::<Rollouts>(value)?.rollouts, printer))
        }),
        CanaryCommand::Get { service, watch } => {
            watch::show(watch, printer, async || get(client, printer, service).await)
        }
        CanaryCommand::Set { service, weights } => set(client, printer, service, weights),
        CanaryCommand::Clear { service } => {
            let body = json!(ClearRequest {
                by: Some("cli".into())
            });
            change(
                client,
                printer,
                &format!("/api/v1/canary/{service}/clear"),
                &body,
            )
        }
    }
}

async fn get(client: &Client, printer: Printer, service: &ServiceName) -> Result<String, Failure> {
    let value: Value = client.get("/api/v1/rollouts").await?;
    let rollouts = read::<Rollouts>(value)?.rollouts;
    let Some(rollout) = rollouts.iter().find(|r| r.service == service.as_str()) else {
        return Err(unknown(service, &rollouts));
    };
    if printer.is_data() {
        return printer.render_data(&Reply::new(json!({ "rollout": rollout })));
    }
    let endpoints: Endpoints = read(client.get("/api/v1/endpoints").await?)?;
    let mine = |endpoint: &Endpoint| endpoint.service == service.as_str();
    let endpoints: Vec<Endpoint> = endpoints.endpoints.into_iter().filter(mine).collect();
    Ok(view::tree(rollout, &endpoints, printer))
}

fn unknown(service: &ServiceName, rollouts: &[Rollout]) -> Failure {
    let names: Vec<&str> = rollouts.iter().map(|r| r.service.as_str()).collect();
    let known = match names.is_empty() {
        true => "no service is known yet; see `weir discovery`".to_owned(),
        false => format!("known services: {}", names.join(", ")),
    };
    Failure::runtime(format!("there is no service {service}")).help(known)
}

fn set(client: &Client, printer: Printer, service: &ServiceName, shares: &[Share]) -> Outcome {
    let mut weights = BTreeMap::new();
    for share in shares {
        let twice = weights.insert(share.version.to_string(), share.weight.to_string());
        if twice.is_some() {
            let message = format!("{} is given twice", share.version);
            return Err(Failure::new(Exit::Usage, message));
        }
    }
    let body = json!(SetRequest {
        weights,
        by: Some("cli".into())
    });
    change(client, printer, &format!("/api/v1/canary/{service}"), &body)
}

/// Sends a change and says what it did: before -> after, and what came with it.
fn change(client: &Client, printer: Printer, path: &str, body: &Value) -> Outcome {
    let value: Value = block_on(client.post(path, body))?;
    let change: CanaryChange = read(value.clone())?;
    if printer.is_data() {
        printer.data(&value)?;
    } else {
        print(&format!("{}\n", change.message))?;
        for warning in &change.warnings {
            eprintln!("{}: {warning}", printer.paint(Tone::Warn, "warning"));
        }
        if !change.in_force {
            eprintln!(
                "recorded as generation {}, but the proxy has not confirmed it; see `weir status`",
                change.generation
            );
        }
    }
    Ok(if change.in_force {
        Exit::Ok
    } else {
        Exit::Refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_version_and_a_weight() {
        let parsed = share("canary=0.5%").unwrap();
        assert_eq!(
            (parsed.version.as_str(), parsed.weight.tenths()),
            ("canary", 5)
        );
        for text in [
            "canary",
            "=5",
            "canary=",
            "canary=-1",
            "canary=0.55",
            "a b=1",
        ] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
