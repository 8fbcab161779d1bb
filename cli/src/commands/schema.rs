//! `weir schema`: the JSON schema of the configuration.

use clap::Args;

use crate::exit::{Exit, Outcome};
use crate::output::{Format, Printer};

const HELP: &str = "\
Examples:
  weir schema > weir.schema.json
  # then, as the first line of weir.yaml, for an editor with a YAML language server:
  # yaml-language-server: $schema=./weir.schema.json";

/// Print the JSON schema of the configuration file
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct SchemaArgs {}

/// Prints the schema, as JSON unless YAML is asked for.
pub(crate) fn run(printer: Printer) -> Outcome {
    let format = match printer.format {
        Format::Yaml => Format::Yaml,
        _ => Format::Json,
    };
    Printer { format, ..printer }.data(&weir_config::schema())?;
    Ok(Exit::Ok)
}
