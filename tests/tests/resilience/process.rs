//! An origin that can be killed as the kernel kills.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// An origin in a process of its own, until it is dropped.
pub(crate) struct Process {
    child: Child,
    addr: SocketAddr,
}

impl Process {
    /// Answers each request after that time.
    pub(crate) fn start(name: &str, wait: Duration) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir-test-origin"));
        Self::spawn(command.args([name, &wait.as_millis().to_string()]))
    }

    /// Runs a command that is an origin in the end.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start an origin");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output"))
            .read_line(&mut line)
            .expect("the address of the origin");
        let addr = line.trim().parse().expect("an address");
        Self { child, addr }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("kill the origin");
        self.child.wait().expect("the end of the origin");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
