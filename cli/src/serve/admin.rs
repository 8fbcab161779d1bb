//! The admin server: its own thread and runtime, over TCP or a unix socket.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use tokio_util::sync::CancellationToken;
use weir_config::settings::AdminBind;

use super::socket;
use crate::exit::Failure;

/// How long a last scrape may take when the process ends.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// A bound admin address.
pub(crate) struct AdminServer {
    socket: Socket,
}

enum Socket {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, PathBuf),
}

impl AdminServer {
    /// Binds. A unix socket is for this user alone (mode 0600); one that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// A taken port or socket, with the setting to change and how to find who holds it.
    pub(crate) fn bind(bind: &AdminBind) -> Result<Self, Failure> {
        let socket = match bind {
            AdminBind::Tcp(address) => {
                let listener = TcpListener::bind(address).map_err(|e| taken(*address, &e))?;
                let address = listener.local_addr()?;
                listener.set_nonblocking(true)?;
                Socket::Tcp(listener, address)
            }
            AdminBind::Unix(path) => Socket::Unix(bind_unix(path)?, path.clone()),
        };
        Ok(Self { socket })
    }

    /// Where it is, with the port that was really taken.
    pub(crate) fn address(&self) -> AdminBind {
        match &self.socket {
            Socket::Tcp(_, address) => AdminBind::Tcp(*address),
            Socket::Unix(_, path) => AdminBind::Unix(path.clone()),
        }
    }

    /// Where it is, as `--admin` takes it.
    pub(crate) fn url(&self) -> String {
        match &self.socket {
            Socket::Tcp(_, address) => format!("http://{address}"),
            Socket::Unix(_, path) => format!("unix://{}", path.display()),
        }
    }

    /// Serves on a thread of its own.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn serve(self, router: Router) -> io::Result<Serving> {
        let stop = CancellationToken::new();
        let path = match &self.socket {
            Socket::Unix(_, path) => Some(path.clone()),
            Socket::Tcp(..) => None,
        };
        let until = stop.clone();
        let thread = std::thread::Builder::new()
            .name("weir-admin".into())
            .spawn(move || {
                if let Err(error) = serve(self.socket, router, until) {
                    tracing::error!(%error, "the admin server ended");
                }
            })?;
        Ok(Serving { stop, thread, path })
    }
}

/// A running admin server.
pub(crate) struct Serving {
    stop: CancellationToken,
    thread: JoinHandle<()>,
    path: Option<PathBuf>,
}

impl Serving {
    /// Ends it and takes its socket's file away.
    pub(crate) fn stop(self) {
        self.stop.cancel();
        if self.thread.join().is_err() {
            tracing::error!("the admin server panicked");
        }
        if let Some(path) = self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn serve(socket: Socket, router: Router, stop: CancellationToken) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let graceful = stop.clone().cancelled_owned();
        let serving = async {
            match socket {
                Socket::Tcp(listener, _) => {
                    let listener = tokio::net::TcpListener::from_std(listener)?;
                    axum::serve(listener, router)
                        .with_graceful_shutdown(graceful)
                        .await
                }
                Socket::Unix(listener, _) => {
                    let listener = tokio::net::UnixListener::from_std(listener)?;
                    axum::serve(listener, router)
                        .with_graceful_shutdown(graceful)
                        .await
                }
            }
        };
        // Streams of events never end by themselves.
        let overdue = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST_ANSWERS).await;
        };
        tokio::select! {
            ended = serving => ended,
            () = overdue => Ok(()),
        }
    })
}

fn bind_unix(path: &Path) -> Result<UnixListener, Failure> {
    let refuse = |why: String| {
        Failure::runtime(format!(
            "admin: cannot listen on unix://{}: {why}",
            path.display()
        ))
        .help("change admin.bind in the configuration, or give --admin-listen")
    };
    socket::listen(path, None).map_err(refuse)
}

fn taken(address: SocketAddr, error: &io::Error) -> Failure {
    let failure = Failure::runtime(format!("admin: cannot listen on {address}: {error}"));
    let failure = match error.kind() {
        io::ErrorKind::AddrInUse => failure.help(holder(address.port())),
        _ => failure,
    };
    failure.help("change admin.bind in the configuration, or give --admin-listen")
}

/// How to find out who holds a port.
fn holder(port: u16) -> String {
    format!("`ss -ltnp 'sport = :{port}'` shows which process holds port {port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_its_setting_and_how_to_find_its_holder() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = holder.local_addr().unwrap();
        let refused = AdminServer::bind(&AdminBind::Tcp(address))
            .err()
            .unwrap()
            .to_string();
        for part in [
            &address.to_string(),
            "admin.bind",
            "--admin-listen",
            "ss -ltnp",
            "in use",
        ] {
            assert!(refused.contains(part), "{refused}");
        }
    }
}
