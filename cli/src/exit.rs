//! How the program ends: one list of exit codes, one error type that carries one.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};

/// Exit codes that scripts may rely on. Clap itself ends with 2 on a usage error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok,
    /// Something failed while running: a taken port, a name that does not exist.
    Failure,
    /// The command line makes no sense.
    Usage,
    /// The configuration has errors.
    Invalid,
    /// Warnings under `--strict`, or a difference under `--exit-code`.
    Notable,
    /// The admin API cannot be reached.
    Unreachable,
    /// The admin API refused the request, or carried out only a part of it.
    Refused,
    /// What was waited for did not come in time.
    TimedOut,
    /// The admin API wants a token, or another one.
    Unauthorized,
    /// That of a program which was started, and whose codes are its own.
    Program(u8),
}

/// Of a program that is not there, and of one that is and cannot be executed (POSIX, Shell Command Language, 2.8.2).
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;
/// The number of the signal that ended a program is added to it, as shells do.
const SIGNALLED: i32 = 128;

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Invalid => 3,
            Self::Notable => 4,
            Self::Unreachable => 5,
            Self::Refused => 6,
            Self::TimedOut => 7,
            Self::Unauthorized => 8,
            Self::Program(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// As a program ended.
impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        let code = status
            .code()
            .or_else(|| status.signal().map(|signal| SIGNALLED + signal));
        match code.and_then(|code| u8::try_from(code).ok()) {
            Some(0) => Self::Ok,
            Some(code) => Self::Program(code),
            None => Self::Failure,
        }
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

    /// A program could not be started.
    pub(crate) fn not_started(program: &str, error: &io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::NotFound => NOT_FOUND,
            _ => NOT_EXECUTABLE,
        };
        Self::new(Exit::Program(code), format!("{program}: {error}"))
            .help("check the path behind --")
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
        assert_eq!(failure.exit.code(), 5);
    }

    #[test]
    fn a_program_ends_as_a_shell_would_tell() {
        // As the kernel has it: the code in the second byte, or the signal in the first (wait(2)).
        for (raw, code) in [(0, 0), (7 << 8, 7), (255 << 8, 255), (9, 137), (15, 143)] {
            let exit = Exit::from(ExitStatus::from_raw(raw));
            assert_eq!(exit.code(), code, "{raw:#x}");
        }
        for (kind, code) in [
            (io::ErrorKind::NotFound, 127),
            (io::ErrorKind::PermissionDenied, 126),
            (io::ErrorKind::Other, 126),
        ] {
            assert_eq!(Failure::not_started("x", &kind.into()).exit.code(), code);
        }
    }
}
