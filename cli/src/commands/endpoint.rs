//! `weir endpoint`: taking one endpoint out of a running Weir, and giving it back.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use weir_config::model::ServiceName;
use weir_config::raw::Scalar;
use weir_control::api::types::{EndpointAction, EndpointChange, EndpointRequest};
use weir_proxy::admin::types::{Endpoint, Endpoints};

use crate::client::{Client, block_on, read};
use crate::commands::endpoint_tone;
use crate::commands::explain::encode;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Printer, Tone, print};

/// More names than this are a list to look at, not a hint.
const HINTS: usize = 20;

const HELP: &str = "\
Examples:
  weir endpoints                                      # names, by id or address
  weir endpoint drain shop@127.0.0.1:9001             # nothing new; what is in flight finishes
  weir endpoint maint 3f2a --for 10m --reason 'disk'  # by the start of its id; gives itself back
  weir endpoint ready 3f2a
  weir endpoint eject 127.0.0.1:9001 --for 1m
  weir endpoint uneject 127.0.0.1:9001

In force at once, kept when the configuration changes, forgotten when Weir restarts.";

/// Take an endpoint out for a while, or give it back
#[derive(Debug, Args)]
#[command(after_help = HELP, arg_required_else_help = true)]
pub(crate) struct EndpointArgs {
    #[command(subcommand)]
    command: EndpointCommand,
}

#[derive(Debug, Subcommand)]
enum EndpointCommand {
    /// No new requests; those in flight finish
    #[command(after_help = "Example:\n  weir endpoint drain 3f2a --for 10m --reason 'new kernel'")]
    Drain {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        time: Time,
    },
    /// As drain, and its health checks do not count until it is given back
    #[command(after_help = "Example:\n  weir endpoint maint 3f2a --for 2h --reason 'disk swap'")]
    Maint {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        time: Time,
    },
    /// End drain and maint
    #[command(after_help = "Example:\n  weir endpoint ready 3f2a")]
    Ready {
        #[command(flatten)]
        named: Named,
    },
    /// Take it out as if it had been found to fail; in panic it still serves
    #[command(after_help = "Example:\n  weir endpoint eject 3f2a --for 30s")]
    Eject {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        time: Time,
        /// Even if no other endpoint of its version takes requests
        #[arg(long)]
        force: bool,
    },
    /// End an ejection, by hand or by outlier detection
    #[command(after_help = "Example:\n  weir endpoint uneject 3f2a")]
    Uneject {
        #[command(flatten)]
        named: Named,
    },
}

#[derive(Debug, Clone, Args)]
struct Named {
    /// Its id, the start of its id, or its address, as `weir endpoints` shows them
    name: String,
    /// Where several services have such an endpoint
    #[arg(long)]
    service: Option<ServiceName>,
    /// Why, for the record and for whoever looks at the endpoint
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Clone, Args)]
struct Time {
    /// Ends by itself after this: 30s, 10m, 2h. Default: when someone ends it
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    time: Option<String>,
}

/// The text as the API takes it, checked here so that a typo is told before anything is asked.
fn time(text: &str) -> Result<String, String> {
    match Duration::parse(text) {
        Ok(Duration::ZERO) => Err("more than 0 is needed".into()),
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!("write {}", Duration::WHAT)),
    }
}

impl EndpointCommand {
    /// Which endpoint, and what to send.
    fn request(&self) -> (&Named, EndpointRequest) {
        let (named, action, time, force) = match self {
            Self::Drain { named, time } => (named, EndpointAction::Drain, Some(time), false),
            Self::Maint { named, time } => (named, EndpointAction::Maint, Some(time), false),
            Self::Ready { named } => (named, EndpointAction::Ready, None, false),
            Self::Eject { named, time, force } => {
                (named, EndpointAction::Eject, Some(time), *force)
            }
            Self::Uneject { named } => (named, EndpointAction::Uneject, None, false),
        };
        let request = EndpointRequest {
            action,
            time: time.and_then(|time| time.time.clone()),
            reason: named.reason.clone(),
            force,
            by: Some("cli".into()),
        };
        (named, request)
    }
}

/// Finds the endpoint, sends the wish, says what came of it.
pub(crate) fn run(args: &EndpointArgs, client: &Client, printer: Printer) -> Outcome {
    let (named, request) = args.command.request();
    let value: Value = block_on(async {
        let known: Endpoints = read(client.get("/api/v1/endpoints").await?)?;
        let endpoint = find(&known.endpoints, named)?;
        let path = format!(
            "/api/v1/endpoints/{}/{}",
            encode(endpoint.service.as_bytes()),
            encode(endpoint.id.as_bytes())
        );
        client.post(&path, &json!(request)).await
    })?;
    if printer.is_data() {
        printer.data(&value)?;
        return Ok(Exit::Ok);
    }
    let change: EndpointChange = read(value)?;
    print(&told(&change, printer))?;
    for warning in &change.warnings {
        eprintln!("{}: {warning}", printer.paint(Tone::Warn, "warning"));
    }
    Ok(Exit::Ok)
}

fn told(change: &EndpointChange, printer: Printer) -> String {
    let tone = endpoint_tone(&change.state, change.available);
    let state = printer.paint(tone, &change.state);
    let why = match (change.available, change.reason.as_str()) {
        (true, _) | (_, "") => String::new(),
        (false, reason) => format!(" ({reason})"),
    };
    let until = match &change.until {
        Some(until) => format!(" until {until}"),
        None => String::new(),
    };
    format!(
        "{}\n{} {} is {state}{until}{why}, {} in flight\n",
        change.message, change.service, change.id, change.in_flight
    )
}

/// The endpoint that is meant: by its whole id or address, else by how its id starts.
fn find<'a>(known: &'a [Endpoint], named: &Named) -> Result<&'a Endpoint, Failure> {
    let name = named.name.as_str();
    let in_service = |endpoint: &&Endpoint| {
        let service = named.service.as_ref();
        service.is_none_or(|service| service.as_str() == endpoint.service)
    };
    let candidates: Vec<&Endpoint> = known.iter().filter(in_service).collect();
    let whole = |endpoint: &&&Endpoint| endpoint.id == name || endpoint.address == name;
    let start = |endpoint: &&&Endpoint| !name.is_empty() && endpoint.id.starts_with(name);
    let mut found: Vec<&Endpoint> = candidates.iter().filter(whole).copied().collect();
    if found.is_empty() {
        found = candidates.iter().filter(start).copied().collect();
    }
    match found[..] {
        [only] => Ok(only),
        [] => Err(unknown(&candidates, named)),
        _ => {
            let message = format!("{name:?} is {} endpoints", found.len());
            Err(Failure::runtime(message)
                .help("write more of the id, or name the service with --service")
                .help(list(&found)))
        }
    }
}

fn unknown(candidates: &[&Endpoint], named: &Named) -> Failure {
    let within = match &named.service {
        Some(service) => format!(" of service {service}"),
        None => String::new(),
    };
    let failure = Failure::runtime(format!("there is no endpoint {:?}{within}", named.name));
    match candidates.is_empty() {
        true => failure.help("see `weir endpoints` and `weir discovery`"),
        false => failure.help(list(candidates)),
    }
}

fn list(endpoints: &[&Endpoint]) -> String {
    let shown = endpoints.iter().take(HINTS);
    let mut names: Vec<String> = shown
        .map(|endpoint| {
            format!(
                "{} {} ({})",
                endpoint.service, endpoint.id, endpoint.address
            )
        })
        .collect();
    if endpoints.len() > HINTS {
        names.push(format!("{} more", endpoints.len() - HINTS));
    }
    format!("there is: {}", names.join(", "))
}

#[cfg(test)]
mod tests;
