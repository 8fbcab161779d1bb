//! `weir routes|services|endpoints|listeners|certs|discovery|proxies`: tables of what runs.

mod certs;
mod discovery;
mod edges;
mod endpoints;
mod listeners;
mod proxies;
mod routes;
mod services;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::{Client, read};
use crate::exit::{Failure, Outcome};
use crate::output::{Format, Printer};
use crate::watch::{self, WatchArgs};

pub(crate) const ROUTES_HELP: &str = "\
Examples:
  weir routes
  weir routes -o wide
  weir routes get shop                    # everything about one of them";

pub(crate) const SERVICES_HELP: &str = "\
Examples:
  weir services
  weir services get shop
  weir services -o json | jq -r '.services[].name'";

pub(crate) const ENDPOINTS_HELP: &str = "\
Examples:
  weir endpoints --watch
  weir endpoints -o wide
  weir endpoints get 3f2a9c01d2e4:8080";

pub(crate) const LISTENERS_HELP: &str = "\
Examples:
  weir listeners
  weir listeners get web";

pub(crate) const CERTS_HELP: &str = "\
Examples:
  weir certs                              # what expires first is at the top
  weir certs -o wide
  weir certs get /run/secrets/tls.crt";

pub(crate) const DISCOVERY_HELP: &str = "\
Examples:
  weir discovery                          # every container seen, in or out, and why; label errors below
  weir discovery get shop-1";

pub(crate) const PROXIES_HELP: &str = "\
Examples:
  weir proxies                            # who follows, and how far each has come
  weir proxies --watch
  weir proxies get edge-1                 # with its load, and what it is not told";

pub(crate) const EDGES_HELP: &str = "\
Examples:
  weir edges                              # who calls whom, secured or not, how often and how well
  weir edges --watch
  weir edges -o wide                      # with identities";

/// Options of every list.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    watch: WatchArgs,
    #[command(subcommand)]
    one: Option<One>,
}

#[derive(Debug, Subcommand)]
enum One {
    /// Everything about one of them, by name or id
    Get {
        /// Its name or id, as the table shows it
        name: String,
        #[command(flatten)]
        watch: WatchArgs,
    },
}

/// Which list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Routes,
    Services,
    Endpoints,
    Listeners,
    Certs,
    Discovery,
    Proxies,
    Edges,
}

impl Kind {
    fn path(self) -> &'static str {
        match self {
            Self::Routes => "/api/v1/routes",
            Self::Services => "/api/v1/services",
            Self::Endpoints => "/api/v1/endpoints",
            Self::Listeners => "/api/v1/listeners",
            Self::Certs => "/api/v1/certs",
            Self::Discovery => "/api/v1/discovery",
            Self::Proxies => "/api/v1/proxies",
            Self::Edges => "/api/v1/edges",
        }
    }

    /// The key of the list in the answer.
    fn plural(self) -> &'static str {
        match self {
            Self::Routes => "routes",
            Self::Services => "services",
            Self::Endpoints => "endpoints",
            Self::Listeners => "listeners",
            Self::Certs => "certs",
            Self::Discovery => "containers",
            Self::Proxies => "proxies",
            Self::Edges => "edges",
        }
    }

    /// What one of them is called.
    fn singular(self) -> &'static str {
        match self {
            Self::Proxies => "proxy",
            _ => self.plural().trim_end_matches('s'),
        }
    }

    /// The keys that `get` looks into.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Routes | Self::Services | Self::Listeners | Self::Proxies => &["name"],
            Self::Certs => &["name", "fingerprint"],
            Self::Endpoints => &["id", "address"],
            Self::Discovery => &["container", "id"],
            Self::Edges => &["server", "client"],
        }
    }
}

/// Shows a list, or one item of it.
pub(crate) fn run(kind: Kind, args: &ListArgs, client: &Client, printer: Printer) -> Outcome {
    let watch = match &args.one {
        Some(One::Get { watch, .. }) => watch,
        None => &args.watch,
    };
    watch::show(watch, printer, async || {
        let value: Value = client.get(kind.path()).await?;
        match &args.one {
            Some(One::Get { name, .. }) => one(kind, &value, name, printer),
            None if printer.is_data() => printer.render_data(&value),
            None => table(kind, value, printer),
        }
    })
}

fn table(kind: Kind, value: Value, printer: Printer) -> Result<String, Failure> {
    match kind {
        Kind::Routes => Ok(routes::render(&read(value)?, printer)),
        Kind::Services => Ok(services::render(&read(value)?, printer)),
        Kind::Endpoints => Ok(endpoints::render(&read(value)?, printer)),
        Kind::Listeners => Ok(listeners::render(&read(value)?, printer)),
        Kind::Certs => Ok(certs::render(&read(value)?, printer)),
        Kind::Discovery => Ok(discovery::render(&read(value)?, printer)),
        Kind::Proxies => Ok(proxies::render(&read(value)?, printer)),
        Kind::Edges => Ok(edges::render(&read(value)?, printer)),
    }
}

/// One item in full: YAML for people, for whom a table would be too wide.
fn one(kind: Kind, value: &Value, name: &str, printer: Printer) -> Result<String, Failure> {
    let items = value[kind.plural()]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let named = |item: &&Value| {
        kind.keys()
            .iter()
            .any(|key| item[*key].as_str() == Some(name))
    };
    let Some(item) = items.iter().find(named) else {
        return Err(unknown(kind, items, name));
    };
    match printer.is_data() {
        true => printer.render_data(&json!({ "apiVersion": "weir/v1", kind.singular(): item })),
        false => Printer {
            format: Format::Yaml,
            ..printer
        }
        .render_data(item),
    }
}

fn unknown(kind: Kind, items: &[Value], name: &str) -> Failure {
    /// More names than this are a list to look at, not a hint.
    const HINTS: usize = 20;
    let failure = Failure::runtime(format!("there is no {} {name:?}", kind.singular()));
    let names: Vec<&str> = items
        .iter()
        .filter_map(|item| item[kind.keys()[0]].as_str())
        .take(HINTS)
        .collect();
    match names.is_empty() {
        true => failure.help("there is none at all; see `weir status` and `weir discovery`"),
        false => failure.help(format!("there is: {}", names.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Printer = Printer {
        format: Format::Table,
        color: false,
        terminal: false,
    };

    #[test]
    fn one_item_is_found_by_any_of_its_keys() {
        let value = json!({ "endpoints": [{ "id": "a:80", "address": "10.0.0.1:80" }] });
        for name in ["a:80", "10.0.0.1:80"] {
            let text = one(Kind::Endpoints, &value, name, PLAIN).unwrap();
            assert!(
                text.contains("id: a:80") || text.contains("id: \"a:80\""),
                "{text}"
            );
        }
    }

    #[test]
    fn a_name_that_is_not_there_names_those_that_are() {
        let value = json!({ "routes": [{ "name": "shop" }, { "name": "blog" }] });
        let failure = one(Kind::Routes, &value, "shpo", PLAIN)
            .unwrap_err()
            .to_string();
        assert!(failure.contains("there is no route \"shpo\""), "{failure}");
        assert!(failure.contains("shop, blog"), "{failure}");
    }
}
