//! How the program ends: one list of exit codes, one error type that carries one.

use std::fmt;
use std::process::ExitCode;

/// Exit codes that scripts may rely on. Clap itself ends with 2 on a usage error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Ok = 0,
    /// Something failed while running: a taken port, a name that does not exist.
    Failure = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The configuration has errors.
    Invalid = 3,
    /// Warnings under `--strict`, or a difference under `--exit-code`.
    Notable = 4,
    /// The admin API cannot be reached.
    Unreachable = 5,
    /// The admin API refused the request, or carried out only a part of it.
    Refused = 6,
    /// What was waited for did not come in time.
    TimedOut = 7,
    /// The admin API wants a token, or another one.
    Unauthorized = 8,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed, for a person, with what to try next.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    message: String,
    help: Vec<String>,
}

/// What every command returns.
pub(crate) type Outcome = Result<Exit, Failure>;

impl Failure {
    /// A failure with this exit code.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            help: Vec::new(),
        }
    }

    /// A failure while running (exit code 1).
    pub(crate) fn runtime(message: impl Into<String>) -> Self {
        Self::new(Exit::Failure, message)
    }

    /// The same with another exit code.
    #[must_use]
    pub(crate) fn ending_with(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Adds a line that says what to check or do.
    #[must_use]
    pub(crate) fn help(mut self, line: impl Into<String>) -> Self {
        self.help.push(line.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.help
            .iter()
            .try_for_each(|line| write!(f, "\n  help: {line}"))
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::runtime(format!("{error:#}"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::runtime(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_prints_its_help_below_its_message() {
        let failure = Failure::new(Exit::Unreachable, "no admin API").help("is weir running?");
        assert_eq!(
            failure.to_string(),
            "no admin API\n  help: is weir running?"
        );
        assert_eq!(failure.exit as u8, 5);
    }
}
