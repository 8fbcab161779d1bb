//! `weir cert`: the mesh's authority, and replacing its root.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use weir_control::api::types::{AuthorityInfo, RotationStep};

use crate::client::{Client, block_on, read};
use crate::exit::{Exit, Outcome};
use crate::output::{Printer, Tone, print};

const HELP: &str = "\
Examples:
  weir cert show                    # who signs, what is trusted, how a rotation stands
  weir cert show -o json
  weir cert rotate start            # a new root; workloads move over by themselves
  weir cert rotate abort            # back to the root before

`weir certs` lists the certificates of listeners.";

const ROTATE_HELP: &str = "\
Examples:
  weir cert rotate start            # forward: the rest happens by itself, see weir cert show
  weir cert rotate abort            # back, at any time before it is over
  weir cert rotate next --force     # the next step now, although some workloads did not answer";

/// The mesh's authority, and replacing its root
#[derive(Debug, Args)]
#[command(after_help = HELP, arg_required_else_help = true)]
pub(crate) struct CertArgs {
    #[command(subcommand)]
    command: CertCommand,
}

#[derive(Debug, Subcommand)]
enum CertCommand {
    /// Who signs, what is trusted, how a rotation stands
    #[command(after_help = "Example:\n  weir cert show -o json")]
    Show {
        /// Print the certificates of the roots in PEM, and nothing else
        #[arg(long)]
        pem: bool,
    },
    /// Replace the root by a new one, without a connection that fails
    #[command(after_help = ROTATE_HELP, arg_required_else_help = true)]
    Rotate {
        #[command(subcommand)]
        step: StepCommand,
    },
}

#[derive(Debug, Subcommand)]
enum StepCommand {
    /// Make a new root; once everybody trusts it, it signs; once nobody uses the old one, that goes
    #[command(after_help = "Example:\n  weir cert rotate start")]
    Start,
    /// Take the next step now instead of when it is due
    #[command(after_help = "Example:\n  weir cert rotate next --force")]
    Next {
        /// Although workloads are not ready: their connections fail until they have asked again
        #[arg(long)]
        force: bool,
    },
    /// Go back to the root before
    #[command(after_help = "Example:\n  weir cert rotate abort")]
    Abort,
}

/// Asks, and prints how it stands.
pub(crate) fn run(args: &CertArgs, client: &Client, printer: Printer) -> Outcome {
    let value: Value = block_on(async {
        let (step, force) = match &args.command {
            CertCommand::Show { .. } => return client.get("/api/v1/mesh/authority").await,
            CertCommand::Rotate { step } => match step {
                StepCommand::Start => (RotationStep::Start, false),
                StepCommand::Next { force } => (RotationStep::Next, *force),
                StepCommand::Abort => (RotationStep::Abort, false),
            },
        };
        let body = json!({ "step": step, "force": force, "by": "cli" });
        client.post("/api/v1/mesh/rotation", &body).await
    })?;
    if printer.is_data() {
        printer.data(&value)?;
        return Ok(Exit::Ok);
    }
    let info: AuthorityInfo = read(value)?;
    match args.command {
        CertCommand::Show { pem: true } => {
            print(
                &info
                    .roots
                    .iter()
                    .map(|root| root.pem.as_str())
                    .collect::<String>(),
            )?;
        }
        _ => print(&shown(&info, printer))?,
    }
    Ok(Exit::Ok)
}

fn shown(info: &AuthorityInfo, printer: Printer) -> String {
    let kind = if info.given {
        "given as files"
    } else {
        "made by Weir"
    };
    let mut out = format!(
        "trust domain  {}\nauthority     {kind}, signs until {}\n",
        printer.paint(Tone::Bold, &info.trust_domain),
        info.not_after
    );
    for root in &info.roots {
        let fingerprint = match printer.is_wide() {
            true => root.fingerprint.as_str(),
            false => root.fingerprint.get(..16).unwrap_or(&root.fingerprint),
        };
        let does = if root.signs { "signs" } else { "is trusted" };
        let _ = writeln!(
            out,
            "root          {fingerprint} {does}, until {}",
            root.not_after
        );
    }
    let _ = writeln!(
        out,
        "certificates  {} of workloads hold now{}",
        info.certificates,
        not_kept(info, printer)
    );
    let _ = writeln!(out, "rotation      {}", rotation(info, printer));
    if let Some(problem) = &info.problem {
        let _ = writeln!(out, "{}", printer.paint(Tone::Bad, problem));
    }
    out
}

/// What of the certificates is not on disk, or not known.
fn not_kept(info: &AuthorityInfo, printer: Printer) -> String {
    let unwritten = match info.unwritten {
        0 => None,
        some => Some(format!(
            "{some} of them are not written down, see to the disk"
        )),
    };
    let unknown = info.unknown_until.as_ref();
    let unknown = unknown.map(|end| format!("others that are not known may until {end}"));
    let all = unwritten.into_iter().chain(unknown);
    all.map(|what| format!("; {}", printer.paint(Tone::Warn, &what)))
        .collect()
}

fn rotation(info: &AuthorityInfo, printer: Printer) -> String {
    let now = &info.rotation;
    let what = match now.phase.as_str() {
        "steady" => return "none".into(),
        "spreading" => "the new root is being handed out",
        _ => "the new root signs, the old one is still trusted",
    };
    let due = now.due.as_deref();
    let (waits, until) = match (now.awaited, info.unknown_until.as_deref()) {
        (0, None) => return format!("{what}; the next step is due"),
        (0, Some(end)) => {
            let waits = "waits for certificates that are not known".to_owned();
            // Both are of one form, in which the earlier is the lesser.
            (waits, due.map_or(end, |due| due.min(end)))
        }
        (awaited, _) => {
            let services = now.services.join(", ");
            let waits = format!("waits for {awaited} certificates of {services}");
            (waits, due.unwrap_or_default())
        }
    };
    let waits = printer.paint(Tone::Warn, &waits);
    format!("{what}; {waits}, until {until} at the latest")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;
    use weir_control::api::types::{AuthorityRoot, RotationInfo};

    const PLAIN: Printer = Printer {
        format: Format::Table,
        color: false,
        terminal: false,
    };

    fn info(phase: &str, awaited: usize) -> AuthorityInfo {
        let root = |fingerprint: &str, signs| AuthorityRoot {
            fingerprint: fingerprint.repeat(32),
            signs,
            not_before: "2026-11-22T02:00:00Z".into(),
            not_after: "2036-11-22T02:00:00Z".into(),
            pem: "PEM\n".into(),
        };
        AuthorityInfo {
            trust_domain: "weir.local".into(),
            given: false,
            problem: None,
            not_after: "2036-11-22T02:00:00Z".into(),
            roots: vec![root("ab", true), root("cd", false)],
            certificates: 3,
            unwritten: 0,
            unknown_until: None,
            rotation: RotationInfo {
                phase: phase.into(),
                since: None,
                other: None,
                due: Some("2026-11-23T02:00:00Z".into()),
                awaited,
                services: vec!["shop".into(), "web".into()],
            },
        }
    }

    #[test]
    fn a_rotation_says_whom_it_waits_for_and_how_long_at_most() {
        let text = shown(&info("spreading", 2), PLAIN);
        for part in [
            "weir.local",
            "abababababababab signs",
            "cdcdcdcdcdcdcdcd is trusted",
            "waits for 2 certificates of shop, web, until 2026-11-23T02:00:00Z",
        ] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        assert!(shown(&info("retiring", 0), PLAIN).contains("next step is due"));
        assert!(shown(&info("steady", 0), PLAIN).contains("rotation      none"));
    }

    #[test]
    fn certificates_that_are_not_known_are_waited_for() {
        let mut info = info("spreading", 0);
        info.unknown_until = Some("2026-11-22T20:00:00Z".into());
        info.unwritten = 2;
        let text = shown(&info, PLAIN);
        for part in [
            "3 of workloads hold now; 2 of them are not written down",
            "; others that are not known may until 2026-11-22T20:00:00Z",
            "waits for certificates that are not known, until 2026-11-22T20:00:00Z at the latest",
        ] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        info.rotation.due = Some("2026-11-22T19:00:00Z".into());
        let text = shown(&info, PLAIN);
        assert!(text.contains("until 2026-11-22T19:00:00Z at"), "{text}");
    }
}
