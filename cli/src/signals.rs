//! Signals of a long-running command: SIGTERM and SIGINT end it, SIGHUP is harmless.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end a command. Take them before the program says that it is ready.
pub(crate) struct Ending {
    terminate: Signal,
    interrupt: Signal,
}

impl Ending {
    /// Starts to listen; must be called within a runtime.
    ///
    /// # Errors
    /// When the process may not install a signal handler.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one and names it.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Keeps SIGHUP from ending the process, as it does by default: many tools send it to ask for a reload.
///
/// # Errors
/// When the process may not install a signal handler.
pub(crate) fn survive_hangup() -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::info!(
                "SIGHUP: nothing to do, files are watched and taken up when they are saved"
            );
        }
    });
    Ok(())
}
