//! A network namespace of a test's own.
//!
//! It hangs on the machine by a pair of virtual interfaces with addresses from 198.18.0.0/15, which is for tests
//! (RFC 2544). Only root can make one, with `ip` and `nft`.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Removed, with its interfaces, when dropped.
pub struct Namespace {
    name: String,
    /// Its number, which its interfaces are named by, too.
    net: u32,
    outer: Ipv4Addr,
    inner: Ipv4Addr,
}

impl Namespace {
    /// A new one; `None`, and a word on it, where there cannot be one and that is no fault.
    ///
    /// # Panics
    /// In continuous integration, when there cannot be one.
    #[must_use]
    pub fn new() -> Option<Self> {
        let can = |tool: &str| Command::new(tool).arg("-V").output().is_ok();
        let root = rustix::process::geteuid().is_root();
        let able = root && can("ip") && can("nft");
        assert!(
            able || !crate::in_ci(),
            "a namespace wants root, ip (iproute2) and nft (nftables)"
        );
        if !able {
            crate::say("LEFT OUT: a namespace wants root, ip (iproute2) and nft (nftables)");
            return None;
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Of a few processes at once, each has a /30 of its own.
        let net = (std::process::id() * 4 + NEXT.fetch_add(1, Ordering::Relaxed)) % (1 << 15);
        let base = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + net * 4;
        let (outer, inner) = (Ipv4Addr::from(base + 1), Ipv4Addr::from(base + 2));
        let this = Self {
            name: format!("weir-{net}"),
            net,
            outer,
            inner,
        };
        let (near, far) = (format!("wt{net}a"), format!("wt{net}b"));
        let name = &this.name;
        run(&format!("ip netns add {name}"));
        run(&format!(
            "ip link add {near} type veth peer name {far} netns {name}"
        ));
        run(&format!("ip addr add {outer}/30 dev {near}"));
        run(&format!("ip link set {near} up"));
        this.run(&format!("ip addr add {inner}/30 dev {far}"));
        this.run(&format!("ip link set {far} up"));
        this.run("ip link set lo up");
        Some(this)
    }

    /// The machine's address, as it is seen from inside.
    #[must_use]
    pub fn outer(&self) -> Ipv4Addr {
        self.outer
    }

    /// Its own address, as it is seen from the machine.
    #[must_use]
    pub fn inner(&self) -> Ipv4Addr {
        self.inner
    }

    /// Gives both ends an address of IPv6, the machine's and its own; `None`, and a word on it, on a machine without.
    ///
    /// # Panics
    /// When the addresses cannot be given.
    #[must_use]
    pub fn ipv6(&self) -> Option<(Ipv6Addr, Ipv6Addr)> {
        if std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
            crate::say("LEFT OUT: this machine has no IPv6");
            return None;
        }
        // From 2001:2::/48, which is for tests (RFC 5180, section 8).
        let net = u16::try_from(self.net).expect("a number of 15 bits");
        let address = |end| Ipv6Addr::from([0x2001, 2, 0, net, 0, 0, 0, end]);
        let (outer, inner) = (address(1), address(2));
        let net = self.net;
        run(&format!("ip addr add {outer}/64 dev wt{net}a nodad"));
        self.run(&format!("ip addr add {inner}/64 dev wt{net}b nodad"));
        Some((outer, inner))
    }

    /// A program to be run inside.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs a command of plain words inside.
    ///
    /// # Panics
    /// When it does not succeed.
    pub fn run(&self, command: &str) {
        run(&format!("ip netns exec {} {command}", self.name));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Its interfaces, and so their other ends, go with it.
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

fn run(command: &str) {
    let mut words = command.split(' ');
    let program = words.next().expect("a program");
    let output = Command::new(program).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("{command}: {error}"));
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
