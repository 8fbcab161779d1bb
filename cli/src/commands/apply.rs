//! `weir apply`: a configuration document in force beside files and labels, through the API.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use weir_control::api::types::{ApplyRequest, DocumentList, UndoRequest};

use crate::client::{Client, block_on, read};
use crate::commands::decide::{self, How};
use crate::commands::explain::encode;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Printer, Table, print};

const HELP: &str = "\
A document holds listeners, services and routes, as a file does. It is kept in the state directory and in force, also after
a restart, until another one of its name takes its place or it is removed. Files come before documents, and documents before
labels: who holds a name or a host first keeps it. Nothing is changed if anything in it is wrong. It names no files and no
variables of the machine that Weir runs on: certificates and secrets stand in files that Weir reads with -c.

Examples:
  weir apply shop.yaml                    # in force as the document `shop`
  weir apply shop.yaml --dry-run          # what it would change
  weir apply shop.yaml --wait=30s         # and wait until every proxy has it
  generate | weir apply - --name shop
  weir apply --list
  weir apply --remove shop

Exit codes: 0 fine, 3 errors in the document, 4 a difference under --exit-code, 6 refused, or by a proxy under --wait,
7 not everywhere in time under --wait, 8 unauthorized";

/// Bytes of a document: what the other side takes.
const MAX_DOCUMENT: u64 = 1024 * 1024;

/// Put a configuration document in force, see what it would change, or remove it
#[derive(Debug, Args)]
#[command(after_help = HELP, arg_required_else_help = true)]
pub(crate) struct ApplyArgs {
    /// The document: a file, or `-` for standard input
    #[arg(value_name = "FILE", required_unless_present_any = ["remove", "list"])]
    file: Option<PathBuf>,
    /// Its name [default: the file's, without its extension]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["remove", "list"])]
    name: Option<String>,
    /// Remove the document of this name
    #[arg(long, value_name = "NAME", conflicts_with_all = ["file", "list"])]
    remove: Option<String>,
    /// Show the documents in force
    #[arg(long, conflicts_with = "file")]
    list: bool,
    #[command(flatten)]
    how: How,
}

/// Applies, removes or lists.
pub(crate) fn run(args: &ApplyArgs, client: &Client, printer: Printer) -> Outcome {
    if args.list {
        return list(client, printer);
    }
    if let Some(name) = &args.remove {
        let path = format!("/api/v1/documents/{}/remove", encode(name.as_bytes()));
        let body = json!(UndoRequest {
            dry_run: args.how.dry_run(),
            by: Some("cli".into()),
        });
        return decide::run(client, printer, &path, &body, &args.how);
    }
    let file = args.file.as_deref().unwrap_or_else(|| Path::new("-"));
    let (name, text) = document(file, args.name.as_deref())?;
    let path = format!("/api/v1/documents/{}", encode(name.as_bytes()));
    let body = json!(ApplyRequest {
        text,
        dry_run: args.how.dry_run(),
        by: Some("cli".into()),
    });
    decide::run(client, printer, &path, &body, &args.how)
}

/// The document's name and text.
fn document(file: &Path, name: Option<&str>) -> Result<(String, String), Failure> {
    let stdin = file.as_os_str() == "-";
    let name = match (name, file.file_stem()) {
        (Some(name), _) => name.to_owned(),
        (None, Some(stem)) if !stdin => stem.to_string_lossy().into_owned(),
        _ => {
            let message = "a document from standard input needs a name";
            return Err(Failure::new(Exit::Usage, message).help("add --name NAME"));
        }
    };
    let unreadable = |error: std::io::Error| {
        let message = format!("cannot read {}: {error}", file.display());
        Failure::runtime(message).help("a document is one file of YAML text")
    };
    let mut text = String::new();
    let read = match stdin {
        true => std::io::stdin()
            .take(MAX_DOCUMENT + 1)
            .read_to_string(&mut text),
        false => std::fs::File::open(file)
            .and_then(|opened| opened.take(MAX_DOCUMENT + 1).read_to_string(&mut text)),
    };
    read.map_err(unreadable)?;
    if text.len() as u64 > MAX_DOCUMENT {
        let message = format!("{} is larger than 1 MiB", file.display());
        let help = "split it into several documents, or let Weir read it with -c";
        return Err(Failure::new(Exit::Invalid, message).help(help));
    }
    Ok((name, text))
}

fn list(client: &Client, printer: Printer) -> Outcome {
    let value: Value = block_on(client.get("/api/v1/documents"))?;
    if printer.is_data() {
        printer.data(&value)?;
        return Ok(Exit::Ok);
    }
    let list: DocumentList = read(value)?;
    let mut table = Table::new(&["DOCUMENT", "BY", "SINCE", "BYTES", "DIGEST"]);
    for document in list.documents {
        table.row(vec![
            document.name.into(),
            document.by.into(),
            document.since.into(),
            document.bytes.to_string().into(),
            document.digest.into(),
        ]);
    }
    print(&table.or_none(printer.color, "no document is applied"))?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_named_after_its_file_unless_told_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("shop.prod.yaml");
        std::fs::write(&file, "routes: []\n").unwrap();
        let (name, text) = document(&file, None).unwrap();
        assert_eq!(
            (name.as_str(), text.as_str()),
            ("shop.prod", "routes: []\n")
        );
        assert_eq!(document(&file, Some("x")).unwrap().0, "x");
        let failure = document(Path::new("-"), None).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
    }

    #[test]
    fn a_file_that_is_too_large_or_missing_is_refused_before_anything_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("big.yaml");
        let failure = document(&file, None).unwrap_err();
        assert_eq!(failure.exit, Exit::Failure);
        std::fs::write(&file, "#".repeat(1024 * 1024 + 1)).unwrap();
        assert_eq!(document(&file, None).unwrap_err().exit, Exit::Invalid);
    }
}
