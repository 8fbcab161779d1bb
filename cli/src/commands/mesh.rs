//! `weir mesh`: who is in the mesh; who may call whom, seen and changed.

mod view;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use weir_control::api::types::{
    Access, AccessCheck, ApplyRequest, DocumentList, MeshInfo, UndoRequest,
};

use crate::client::{Client, block_on, read};
use crate::commands::decide::{self, How};
use crate::commands::explain::encode;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Printer, print};

const HELP: &str = "\
Rules go by the identity in the caller's certificate. A deny that fits refuses; once there is an allow for a service, one
must fit. Their order never matters. What is set here is kept, with who did it, as generations of the history.

Examples:
  weir mesh                                 # the services in it, their sidecars, who is open to whom
  weir mesh allow web shop --methods GET --path /api
  weir mesh deny web shop --path /api/internal
  weir mesh deny '*' shop --log             # try it out: counted, not enforced
  weir mesh check web shop --method GET --path /api/items
  weir mesh list
  weir mesh remove allow-web-shop";

const CALLER_HELP: &str = "\
A caller is a service (of the own trust domain), a whole spiffe://DOMAIN/PATH, such a text with a star at an end, or *
for everybody who has an identity. The service that is called may be * for each of them.

Examples:
  weir mesh allow web shop --methods GET --path /api
  weir mesh allow 'spiffe://partner.example/*' shop --path '=/orders'
  weir mesh deny web '*' --path /admin --dry-run";

/// Show the mesh; show or set who may call whom
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct MeshArgs {
    #[command(subcommand)]
    command: Option<MeshCommand>,
}

#[derive(Debug, Subcommand)]
enum MeshCommand {
    /// Admit a caller; all who are not admitted are refused from then on
    #[command(after_help = CALLER_HELP)]
    Allow(RuleArgs),
    /// Refuse a caller, whatever else admits it
    #[command(after_help = CALLER_HELP)]
    Deny(RuleArgs),
    /// Ask whether a caller may, and see every rule that was tried
    #[command(after_help = "\
Nothing is sent anywhere; it is decided as the service's sidecars do. Without --method, --path, --host and -H it is a
connection; with one of them a GET, unless --method says otherwise. Port and host are the service's own port and its name.

Examples:
  weir mesh check web shop --path /api/items
  weir mesh check web shop --method POST --path /api -H 'x-tier: gold'
  weir mesh check '' shop --method GET      # somebody without an identity
  weir mesh check web --listener websecure --method GET --path /

Exit codes: 0 it may, 6 it may not")]
    Check(CheckArgs),
    /// All rules in force
    #[command(after_help = "Example:\n  weir mesh list -o wide")]
    List,
    /// Take back what `allow` or `deny` set
    #[command(after_help = "Example:\n  weir mesh remove allow-web-shop")]
    Remove {
        /// The policy
        name: String,
        #[command(flatten)]
        how: How,
    },
}

#[derive(Debug, Args)]
struct RuleArgs {
    /// Who calls: a service, a SPIFFE id, or * for everybody who has one
    #[arg(value_name = "CALLER")]
    from: String,
    /// The service that is called; * for each
    service: String,
    /// GET,POST,…
    #[arg(long, value_name = "METHOD", value_delimiter = ',')]
    methods: Vec<String>,
    /// /api is that path and all below it, =/api that path alone, /api* and *.css what begins or ends so; may be repeated
    #[arg(long = "path", value_name = "PATH")]
    paths: Vec<String>,
    /// The host that is asked for; may be repeated
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// The port that is called; may be repeated
    #[arg(long = "port", value_name = "PORT")]
    ports: Vec<u16>,
    /// Decide and count, and do not enforce
    #[arg(long)]
    log: bool,
    /// The policy's name; one of that name is replaced [default: made of the action, the caller and the service]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// Who calls: a service, a SPIFFE id, or '' for somebody without an identity
    #[arg(value_name = "CALLER")]
    from: String,
    /// The service that is called
    #[arg(required_unless_present = "listener", conflicts_with = "listener")]
    service: Option<String>,
    /// A listener in place of a service
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// As if it came from this address
    #[arg(long, value_name = "IP")]
    client: Option<std::net::IpAddr>,
    /// A header of the request; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
}

/// What names of documents that hold a policy begin with.
const PREFIX: &str = "mesh.";

/// Shows or changes.
pub(crate) fn run(args: &MeshArgs, client: &Client, printer: Printer) -> Outcome {
    let Some(command) = &args.command else {
        return overview(client, printer);
    };
    match command {
        MeshCommand::Allow(rule) => set("allow", rule, client, printer),
        MeshCommand::Deny(rule) => set("deny", rule, client, printer),
        MeshCommand::Check(check) => self::check(check, client, printer),
        MeshCommand::List => list(client, printer),
        MeshCommand::Remove { name, how } => remove(name, how, client, printer),
    }
}

/// A policy is a document of its own, so that it is kept, shown in the history and taken back as one.
fn set(action: &str, rule: &RuleArgs, client: &Client, printer: Printer) -> Outcome {
    let name = match &rule.name {
        Some(name) => name.clone(),
        None => free_name(&default_name(action, rule), client)?,
    };
    let body = json!(ApplyRequest {
        text: document(&name, action, rule),
        dry_run: rule.how.dry_run(),
        by: Some("cli".into()),
    });
    let path = format!(
        "/api/v1/documents/{}",
        encode(document_of(&name).as_bytes())
    );
    decide::run(client, printer, &path, &body, &rule.how)
}

fn document_of(name: &str) -> String {
    format!("{PREFIX}{name}")
}

fn default_name(action: &str, rule: &RuleArgs) -> String {
    let plain = |text: &str| -> String {
        let last = text.trim_end_matches(['*', '/']);
        let last = last.rsplit('/').next().unwrap_or(last).trim_matches('*');
        let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        match last.chars().filter(fits).collect::<String>() {
            empty if empty.is_empty() => "any".to_owned(),
            text => text,
        }
    };
    format!("{action}-{}-{}", plain(&rule.from), plain(&rule.service))
}

/// One that no document has: a second rule for the same two must not take the place of the first.
fn free_name(name: &str, client: &Client) -> Result<String, Failure> {
    let list: DocumentList = read(block_on(client.get("/api/v1/documents"))?)?;
    let taken = |name: &str| {
        let document = document_of(name);
        list.documents.iter().any(|known| known.name == document)
    };
    let mut numbered = (2..).map(|number| format!("{name}-{number}"));
    match taken(name) {
        false => Ok(name.to_owned()),
        true => Ok(numbered.find(|name| !taken(name)).unwrap_or_default()),
    }
}

/// JSON is YAML, and needs no care with what a user types.
fn document(name: &str, action: &str, rule: &RuleArgs) -> String {
    let mut entry = Map::new();
    entry.insert("name".into(), name.into());
    entry.insert("service".into(), rule.service.as_str().into());
    entry.insert("action".into(), action.into());
    entry.insert("from".into(), json!([rule.from]));
    for (key, list) in [
        ("methods", &rule.methods),
        ("paths", &rule.paths),
        ("hosts", &rule.hosts),
    ] {
        if !list.is_empty() {
            entry.insert(key.into(), json!(list));
        }
    }
    if !rule.ports.is_empty() {
        entry.insert("ports".into(), json!(rule.ports));
    }
    if rule.log {
        entry.insert("mode".into(), "log".into());
    }
    json!({ "mesh": { "authorization": [entry] } }).to_string()
}

fn remove(name: &str, how: &How, client: &Client, printer: Printer) -> Outcome {
    let access: Access = read(block_on(client.get("/api/v1/access"))?)?;
    let known = access.policies.iter().find(|policy| policy.name == name);
    let document = known.and_then(|policy| policy.document.as_deref());
    let document = document.filter(|document| *document == document_of(name));
    let Some(document) = document else {
        return Err(not_ours(name, &access));
    };
    let body = json!(UndoRequest {
        dry_run: how.dry_run(),
        by: Some("cli".into()),
    });
    let path = format!("/api/v1/documents/{}/remove", encode(document.as_bytes()));
    decide::run(client, printer, &path, &body, how)
}

fn not_ours(name: &str, access: &Access) -> Failure {
    if let Some(policy) = access.policies.iter().find(|policy| policy.name == name) {
        let message = format!("the policy {name} is from {}", policy.source);
        let help = match &policy.document {
            Some(document) => format!("remove it there, or: weir apply --remove {document}"),
            None => "remove it there".to_owned(),
        };
        return Failure::new(Exit::Refused, message).help(help);
    }
    let set = access.policies.iter();
    let set = set.filter(|policy| policy.document.as_deref() == Some(&document_of(&policy.name)));
    let names: Vec<&str> = set.map(|policy| policy.name.as_str()).collect();
    let help = match names.is_empty() {
        true => "none is set by weir mesh allow or deny; see weir mesh list".to_owned(),
        false => format!("those that can be removed: {}", names.join(", ")),
    };
    Failure::runtime(format!("there is no policy {name}")).help(help)
}

fn overview(client: &Client, printer: Printer) -> Outcome {
    let value: Value = block_on(client.get("/api/v1/mesh"))?;
    if printer.is_data() {
        printer.data(&value)?;
        return Ok(Exit::Ok);
    }
    print(&view::overview(&read::<MeshInfo>(value)?, printer))?;
    Ok(Exit::Ok)
}

fn list(client: &Client, printer: Printer) -> Outcome {
    let value: Value = block_on(client.get("/api/v1/access"))?;
    if printer.is_data() {
        printer.data(&value)?;
        return Ok(Exit::Ok);
    }
    print(&view::list(&read::<Access>(value)?, printer))?;
    Ok(Exit::Ok)
}

fn check(args: &CheckArgs, client: &Client, printer: Printer) -> Outcome {
    let value: Value = block_on(client.get(&question(args)))?;
    let check: AccessCheck = read(value.clone())?;
    match printer.is_data() {
        true => printer.data(&value)?,
        false => print(&view::check(&check, printer))?,
    }
    Ok(match check.admitted {
        true => Exit::Ok,
        false => Exit::Refused,
    })
}

fn question(args: &CheckArgs) -> String {
    let headers = (!args.headers.is_empty()).then(|| args.headers.join("\n"));
    let is_request = args.path.is_some() || args.host.is_some() || headers.is_some();
    let method = args.method.clone().or(is_request.then(|| "GET".to_owned()));
    let pairs = [
        ("from", Some(args.from.clone())),
        ("service", args.service.clone()),
        ("listener", args.listener.clone()),
        ("method", method),
        ("path", args.path.clone()),
        ("host", args.host.clone()),
        ("port", args.port.map(|port| port.to_string())),
        ("client", args.client.map(|client| client.to_string())),
        ("headers", headers),
    ];
    let said = pairs.into_iter().filter_map(|(key, value)| {
        let value = value.filter(|value| !value.is_empty())?;
        Some(format!("{key}={}", encode(value.as_bytes())))
    });
    format!(
        "/api/v1/access/check?{}",
        said.collect::<Vec<_>>().join("&")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        rule: RuleArgs,
    }

    fn rule(args: &[&str]) -> RuleArgs {
        let args = ["mesh"].iter().chain(args);
        Line::try_parse_from(args)
            .unwrap_or_else(|e| panic!("{e}"))
            .rule
    }

    #[test]
    fn a_policy_is_named_after_what_it_does() {
        for (from, service, name) in [
            ("web", "shop", "allow-web-shop"),
            ("*", "shop", "allow-any-shop"),
            ("spiffe://a.b/svc/web", "*", "allow-web-any"),
            (
                "spiffe://partner.example/*",
                "shop",
                "allow-partner.example-shop",
            ),
            ("*/svc/ops", "a/b:c", "allow-ops-bc"),
        ] {
            assert_eq!(default_name("allow", &rule(&[from, service])), name);
        }
    }

    #[test]
    fn what_is_typed_stands_in_the_document_and_nowhere_else() {
        let args = [
            "a\"b\n- x",
            "shop",
            "--methods",
            "GET,HEAD",
            "--path",
            "/a",
            "--path",
            "=/b",
        ];
        let text = document(
            "n",
            "deny",
            &rule(&[&args[..], &["--port", "80", "--log"]].concat()),
        );
        let read: Value = serde_json::from_str(&text).unwrap();
        let expected = json!({
            "name": "n", "service": "shop", "action": "deny", "from": ["a\"b\n- x"],
            "methods": ["GET", "HEAD"], "paths": ["/a", "=/b"], "ports": [80], "mode": "log",
        });
        assert_eq!(read, json!({ "mesh": { "authorization": [expected] } }));
        // It is read as the policy that was meant.
        let text = document("n", "allow", &rule(&["web", "shop", "--path", "/api"]));
        let loaded = weir_config::file::parse_document("mesh.n", &text);
        assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
        assert_eq!(loaded.fragment.authorizations.len(), 1);
    }
}
