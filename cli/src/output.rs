//! Printing: one format for all commands, plain when piped.

mod table;

use std::env;
use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use serde::Serialize;

use crate::exit::Failure;

pub(crate) use table::{Cell, Table, Tone};

/// `-o`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    // No doc comments on the variants: clap would spread every command's help over three times the lines.
    #[default]
    Table,
    Wide,
    Json,
    Yaml,
}

/// Where and how a command prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    pub(crate) format: Format,
    /// Whether escape sequences are wanted on stdout.
    pub(crate) color: bool,
    /// Whether stdout is a terminal.
    pub(crate) terminal: bool,
}

impl Printer {
    /// Decides on colour: a terminal, no `--no-color`, no `NO_COLOR` (<https://no-color.org>: set and not empty).
    pub(crate) fn new(format: Format, no_color: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        Self {
            format,
            color: terminal && wants_color(no_color),
            terminal,
        }
    }

    /// Whether a program reads the output.
    pub(crate) fn is_data(self) -> bool {
        matches!(self.format, Format::Json | Format::Yaml)
    }

    /// Whether the extra columns are wanted.
    pub(crate) fn is_wide(self) -> bool {
        self.format == Format::Wide
    }

    /// A value in the chosen data format; tables fall back to JSON.
    ///
    /// # Errors
    /// When the value cannot be written as text.
    pub(crate) fn render_data(self, value: &impl Serialize) -> Result<String, Failure> {
        let text = match self.format {
            Format::Yaml => serde_saphyr::to_string(value).map_err(anyhow::Error::from)?,
            _ => serde_json::to_string_pretty(value).map_err(anyhow::Error::from)?,
        };
        Ok(text.trim_end().to_owned() + "\n")
    }

    /// Prints a value in the chosen data format.
    ///
    /// # Errors
    /// As [`Printer::render_data`], or when stdout fails.
    pub(crate) fn data(self, value: &impl Serialize) -> Result<(), Failure> {
        print(&self.render_data(value)?)
    }

    /// Paints text, if colour is wanted.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        table::paint(text, tone, self.color)
    }
}

/// Whether colours are wanted on a terminal.
pub(crate) fn wants_color(no_color: bool) -> bool {
    let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !no_color && !plain && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether to paint what goes to stderr.
pub(crate) fn color_on_stderr(no_color: bool) -> bool {
    io::stderr().is_terminal() && wants_color(no_color)
}

/// Writes text to stdout. A reader that went away (`weir routes | head -1`) ends the program without a word.
///
/// # Errors
/// When stdout fails otherwise (a full disk).
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(e) => Err(Failure::runtime(format!("cannot write to stdout: {e}"))),
        Ok(()) => Ok(()),
    }
}
