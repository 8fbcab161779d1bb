//! Signals of a long-running command: SIGTERM and SIGINT end it, SIGHUP is harmless. What else an app may be sent is for the app.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use rustix::process;
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

/// The signals that mean something to an app alone. From when they are listened for, none of them ends this process.
pub(crate) struct ForApp(Vec<(Signal, process::Signal)>);

impl ForApp {
    /// Starts to listen; must be called within a runtime.
    ///
    /// # Errors
    /// When the process may not install a signal handler.
    pub(crate) fn listen() -> io::Result<Self> {
        let all = [
            (SignalKind::hangup(), process::Signal::HUP),
            (SignalKind::quit(), process::Signal::QUIT),
            (SignalKind::user_defined1(), process::Signal::USR1),
            (SignalKind::user_defined2(), process::Signal::USR2),
            (SignalKind::window_change(), process::Signal::WINCH),
        ];
        let heard = all.map(|(kind, number)| Ok((signal(kind)?, number)));
        heard.into_iter().collect::<io::Result<_>>().map(Self)
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> process::Signal {
        poll_fn(|context| {
            let mut came = self.0.iter_mut().filter_map(|(heard, number)| {
                let polled = heard.poll_recv(context);
                matches!(polled, Poll::Ready(Some(()))).then_some(*number)
            });
            came.next().map_or(Poll::Pending, Poll::Ready)
        })
        .await
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
                "SIGHUP: nothing to do here, files are watched and taken up when they are saved"
            );
        }
    });
    Ok(())
}
