//! A running `weir origin`: the product's own test origin, as a process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::binary;

/// One process with one address.
#[derive(Debug)]
pub struct Program {
    child: Child,
    addr: SocketAddr,
}

impl Program {
    /// `weir origin` with these arguments, on a free port of loopback.
    ///
    /// # Panics
    /// When it does not listen.
    #[must_use]
    pub fn origin(args: &[&str]) -> Self {
        Self::origin_of(Command::new(binary::weir()), "127.0.0.1:0", args)
    }

    /// The same at an address, by a command that ends in running the binary.
    ///
    /// # Panics
    /// When it does not listen.
    #[must_use]
    pub fn origin_of(mut run: Command, listen: &str, args: &[&str]) -> Self {
        let mut child = run
            .args(["origin", "--listen", listen])
            .args(args)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start weir origin");
        let mut lines = BufReader::new(child.stderr.take().expect("stderr is a pipe"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("read what it says");
        let addr = line.trim().strip_prefix("listening on ");
        let addr = addr.and_then(|addr| addr.parse().ok());
        let addr = addr.unwrap_or_else(|| panic!("weir origin said {line:?}"));
        Self { child, addr }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Either fails when it is gone already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
