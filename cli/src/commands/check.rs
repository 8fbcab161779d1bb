//! `weir check`: reads configuration files and says everything that is wrong with them.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use weir_config::model::Model;
use weir_config::{Compiled, Diagnostic, Severity, diagnostic, file};

use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Format, Printer, Tone, color_on_stderr, print};

const HELP: &str = "\
Examples:
  weir check weir.yaml
  weir check conf.d/                      # every *.yaml of a directory, as one configuration
  weir check --strict --json weir.yaml    # for a pipeline: warnings fail too
  generate-config | weir check -

Exit codes: 0 fine, 3 errors, 4 warnings under --strict";

/// Parse and compile configuration files; report all errors at once
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct CheckArgs {
    /// Files or directories, read as one configuration; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print findings as JSON, as `-o json` does
    #[arg(long)]
    json: bool,
    /// Exit with 4 if there are warnings
    #[arg(long)]
    strict: bool,
}

/// A configuration as far as it could be read.
pub(super) struct Checked {
    pub(super) model: Model,
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) files: diagnostic::Files,
}

impl Checked {
    /// Reads and compiles these paths.
    ///
    /// # Errors
    /// Only when standard input cannot be read; what is wrong with a file is a diagnostic.
    pub(super) fn read(paths: &[PathBuf]) -> Result<Self, Failure> {
        let loaded = match paths {
            [only] if only.as_os_str() == "-" => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text)?;
                file::parse(Path::new("<stdin>"), &text)
            }
            paths => file::load(paths),
        };
        let Compiled {
            model, diagnostics, ..
        } = weir_config::check(&loaded);
        Ok(Self {
            model,
            diagnostics,
            files: loaded.files,
        })
    }

    /// Whether anything was left out.
    pub(super) fn has_errors(&self) -> bool {
        diagnostic::has_errors(&self.diagnostics)
    }

    fn count(&self, severity: Severity) -> usize {
        self.diagnostics
            .iter()
            .filter(|d| d.severity == severity)
            .count()
    }

    /// Prints the findings to stderr, as a compiler does.
    pub(super) fn report(&self, no_color: bool) {
        let color = color_on_stderr(no_color);
        eprint!(
            "{}",
            diagnostic::render(&self.diagnostics, color, &self.files)
        );
    }
}

/// `weir check -o json`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    api_version: &'static str,
    valid: bool,
    errors: usize,
    warnings: usize,
    listeners: usize,
    services: usize,
    routes: usize,
    diagnostics: &'a [Diagnostic],
}

/// Checks; the exit code says what was found.
pub(crate) fn run(args: &CheckArgs, printer: Printer, no_color: bool) -> Outcome {
    let checked = Checked::read(&args.files)?;
    let (errors, warnings) = (
        checked.count(Severity::Error),
        checked.count(Severity::Warning),
    );
    let exit = match (errors, warnings) {
        (0, 0) => Exit::Ok,
        (0, _) if !args.strict => Exit::Ok,
        (0, _) => Exit::Notable,
        _ => Exit::Invalid,
    };
    let printer = match args.json {
        true => Printer {
            format: Format::Json,
            ..printer
        },
        false => printer,
    };
    let model = &checked.model;
    if printer.is_data() {
        printer.data(&Report {
            api_version: "weir/v1",
            valid: errors == 0,
            errors,
            warnings,
            listeners: model.listeners.len(),
            services: model.services.len(),
            routes: model.routes.len() + model.streams.len(),
            diagnostics: &checked.diagnostics,
        })?;
        return Ok(exit);
    }
    checked.report(no_color);
    let holds = format!(
        "{}, {}, {}",
        plural(model.listeners.len(), "listener"),
        plural(model.services.len(), "service"),
        plural(model.routes.len() + model.streams.len(), "route"),
    );
    let found = format!(
        "{}, {}",
        plural(errors, "error"),
        plural(warnings, "warning")
    );
    match exit {
        Exit::Ok if warnings == 0 => {
            print(&format!("{}: {holds}\n", printer.paint(Tone::Good, "ok")))?
        }
        Exit::Ok => print(&format!(
            "{}: {holds}; {found}\n",
            printer.paint(Tone::Warn, "ok")
        ))?,
        _ => eprintln!("{found}; what is valid: {holds}"),
    }
    Ok(exit)
}

/// `1 route`, `2 routes`
pub(super) fn plural(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}
