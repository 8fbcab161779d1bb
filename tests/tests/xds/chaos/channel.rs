//! The way between proxies and their control plane, which the kernel can be told to lose everything on.

use std::net::SocketAddr;
use std::process::Command;

/// Loses what is sent to and from one port of this machine, while it is cut. Whole again when dropped.
pub(super) struct Channel {
    port: u16,
    cut: bool,
}

impl Channel {
    pub(super) fn to(control: SocketAddr) -> Self {
        Self {
            port: control.port(),
            cut: false,
        }
    }

    /// Whether there is the right and the tool for it; told where not.
    pub(super) fn can_be_cut() -> bool {
        let root = rustix::process::geteuid().is_root();
        let able = root && Command::new("nft").arg("-V").output().is_ok();
        assert!(
            able || !weir_tests::in_ci(),
            "cutting a channel wants root and nft (nftables)"
        );
        if !able {
            weir_tests::say("LEFT OUT: cutting the channel, which wants root and nft (nftables)");
        }
        able
    }

    pub(super) fn cut(&mut self) {
        let (table, port) = (self.table(), self.port);
        nft(&format!("add table inet {table}"));
        nft(&format!(
            "add chain inet {table} in {{ type filter hook input priority 0 ; }}"
        ));
        for side in ["dport", "sport"] {
            nft(&format!(
                "add rule inet {table} in iif lo tcp {side} {port} drop"
            ));
        }
        self.cut = true;
    }

    pub(super) fn mend(&mut self) {
        nft(&format!("delete table inet {}", self.table()));
        self.cut = false;
    }

    /// A port is one test's at a time, and so is the name.
    fn table(&self) -> String {
        format!("weir_chaos_{}", self.port)
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        if self.cut {
            let _ = Command::new("nft")
                .args(["delete", "table", "inet", &self.table()])
                .status();
        }
    }
}

fn nft(command: &str) {
    let output = Command::new("nft")
        .args(command.split(' '))
        .output()
        .expect("run nft");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nft {command}: {said}");
}
