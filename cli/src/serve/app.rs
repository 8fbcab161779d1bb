//! The app that a sidecar starts once it is ready, and ends with.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use weir_proxy::Handle;

use crate::exit::{Exit, Failure};

/// Between two looks at whether the sidecar is ready, or at rest.
const LOOK: Duration = Duration::from_millis(20);
/// How long nothing must be in flight before a sidecar is taken to be done: an app answers one request by asking others.
const QUIET: Duration = Duration::from_millis(500);

/// A running app.
pub(crate) struct App {
    child: Child,
    name: String,
}

impl App {
    /// Starts it when the sidecar is ready.
    pub(crate) async fn start(
        command: &[String],
        handle: &Handle,
    ) -> Result<Option<Self>, Failure> {
        let Some((program, arguments)) = command.split_first() else {
            return Ok(None);
        };
        while !handle.ready().ready {
            tokio::time::sleep(LOOK).await;
        }
        let child = Command::new(program)
            .args(arguments)
            .spawn()
            .map_err(|error| {
                Failure::runtime(format!("{program}: {error}")).help("check the path behind --")
            })?;
        tracing::info!(program, "the sidecar is ready: the app was started");
        Ok(Some(Self {
            child,
            name: program.clone(),
        }))
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks it to end, and waits for that at most so long. The sidecar serves it meanwhile.
    pub(crate) async fn end(&mut self, within: Duration) -> Exit {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = id.and_then(Pid::from_raw)
            && let Err(error) = kill_process(pid, Signal::TERM)
        {
            tracing::warn!(app = self.name, %error, "the app could not be told to end");
        }
        match tokio::time::timeout(within, self.child.wait()).await {
            Ok(Ok(status)) => exit_of(status),
            Ok(Err(error)) => {
                tracing::warn!(app = self.name, %error, "nobody knows how the app ended");
                Exit::Failure
            }
            Err(_) => {
                tracing::warn!(app = self.name, "the app did not end in time and is killed");
                let _ = self.child.kill().await;
                Exit::Failure
            }
        }
    }
}

/// Ends as the app ended.
pub(crate) fn exit_of(status: ExitStatus) -> Exit {
    match status.success() {
        true => Exit::Ok,
        false => {
            tracing::warn!(%status, "the app failed");
            Exit::Failure
        }
    }
}

/// Waits until nothing has been in flight for a moment, at most so long.
pub(crate) async fn at_rest(handle: &Handle, within: Duration) {
    let waited = async {
        let mut quiet = Duration::ZERO;
        while quiet < QUIET {
            tokio::time::sleep(LOOK).await;
            quiet = match handle.in_flight() {
                0 => quiet + LOOK,
                _ => Duration::ZERO,
            };
        }
    };
    if tokio::time::timeout(within, waited).await.is_err() {
        tracing::warn!("requests are still in flight; the drain timeout is over");
    }
}
