//! The app that a sidecar starts once it is ready, and ends with.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use weir_proxy::Handle;

use crate::exit::{Exit, Failure};
use crate::signals::ForApp;

/// Between two looks at whether the sidecar is ready, or at rest.
const LOOK: Duration = Duration::from_millis(20);
/// How long nothing must be in flight before a sidecar is taken to be done: an app answers one request by asking others.
const QUIET: Duration = Duration::from_millis(500);

/// A running app. It does not outlive this value.
pub(crate) struct App {
    child: Child,
    name: String,
    signals: ForApp,
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
        let app = Self::spawn(program, arguments)?;
        tracing::info!(program, "the sidecar is ready: the app was started");
        Ok(Some(app))
    }

    fn spawn(program: &str, arguments: &[String]) -> Result<Self, Failure> {
        // Before there is an app: it may be sent one at once.
        let signals = ForApp::listen()?;
        let child = Command::new(program)
            .args(arguments)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::not_started(program, &error))?;
        Ok(Self {
            child,
            name: program.to_owned(),
            signals,
        })
    }

    /// Waits for its end, and passes on meanwhile what is meant for it.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        loop {
            let signal = tokio::select! {
                status = self.child.wait() => return status,
                signal = self.signals.next() => signal,
            };
            tracing::info!(app = self.name, ?signal, "passed on to the app");
            self.tell(signal);
        }
    }

    /// Asks it to end, and waits for that at most so long. The sidecar serves it meanwhile.
    pub(crate) async fn end(&mut self, within: Duration) -> Exit {
        self.tell(Signal::TERM);
        match tokio::time::timeout(within, self.ended()).await {
            Ok(status) => self.exit_of(status),
            Err(_) => {
                tracing::warn!(app = self.name, "the app did not end in time and is killed");
                self.kill().await
            }
        }
    }

    /// Ends it at once.
    pub(crate) async fn kill(&mut self) -> Exit {
        if let Err(error) = self.child.start_kill() {
            tracing::warn!(app = self.name, %error, "the app could not be killed");
        }
        let status = self.child.wait().await;
        self.exit_of(status)
    }

    /// The end of this process is that of the app.
    pub(crate) fn exit_of(&self, status: io::Result<ExitStatus>) -> Exit {
        match status {
            Ok(status) => {
                if !status.success() {
                    tracing::warn!(app = self.name, %status, "the app failed");
                }
                status.into()
            }
            Err(error) => {
                tracing::warn!(app = self.name, %error, "nobody knows how the app ended");
                Exit::Failure
            }
        }
    }

    fn tell(&self, signal: Signal) {
        // Without an id it has ended, and the number may be another's.
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = id.and_then(Pid::from_raw)
            && let Err(error) = kill_process(pid, signal)
        {
            tracing::warn!(app = self.name, ?signal, %error, "the app could not be told");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_app_is_not_left_behind_when_its_sidecar_fails() {
        let app = App::spawn("sleep", &["60".to_owned()]).unwrap();
        let stat = format!("/proc/{}/stat", app.child.id().unwrap());
        drop(app);
        // Behind the name in brackets: Z, or nothing once its end was taken note of.
        let runs = || {
            let stat = std::fs::read_to_string(&stat).unwrap_or_default();
            let state = stat
                .rsplit(") ")
                .next()
                .and_then(|rest| rest.chars().next());
            state.is_some_and(|state| state != 'Z')
        };
        for _ in 0..1000 {
            if !runs() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it still runs");
    }
}
