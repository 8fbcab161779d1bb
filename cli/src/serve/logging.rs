//! Logs of the process: plain lines on a terminal, JSON elsewhere, on stderr. The access log is the proxy's.

use std::io::{self, IsTerminal};
use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::exit::{Exit, Failure};
use crate::output::color_on_stderr;

/// Starts logging. `WEIR_LOG` says what: `debug`, `warn`, `info,weir_control=debug`.
///
/// # Errors
/// When the variable cannot be read, or logging was started before.
pub(crate) fn start(default: LevelFilter, no_color: bool) -> Result<(), Failure> {
    let filter = match std::env::var("WEIR_LOG") {
        Ok(text) if !text.is_empty() => read(&text)?,
        _ => Targets::new().with_default(default),
    };
    let registry = tracing_subscriber::registry().with(filter);
    let started = match io::stderr().is_terminal() {
        true => {
            let lines = tracing_subscriber::fmt::layer()
                .with_writer(io::stderr)
                .with_target(false)
                .with_ansi(color_on_stderr(no_color));
            registry.with(lines).try_init()
        }
        false => {
            let json = tracing_subscriber::fmt::layer()
                .json()
                .flatten_event(true)
                .with_writer(io::stderr);
            registry.with(json).try_init()
        }
    };
    started.map_err(|e| Failure::runtime(format!("cannot start logging: {e}")))
}

fn read(text: &str) -> Result<Targets, Failure> {
    Targets::from_str(text).map_err(|e| {
        Failure::new(Exit::Usage, format!("WEIR_LOG={text}: {e}"))
            .help("write a level (error, warn, info, debug), or info,weir_control=debug")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_per_crate_and_nonsense_is_refused() {
        let targets = read("info,weir_control=debug").unwrap();
        assert!(targets.would_enable("weir_control::api", &tracing::Level::DEBUG));
        assert!(!targets.would_enable("weir_proxy", &tracing::Level::DEBUG));
        assert_eq!(read("loud=very").unwrap_err().exit, Exit::Usage);
    }
}
