//! What is asked of the proxies.

use anyhow::bail;

use crate::peer::{Peer, Running};

/// Hosts in every configuration but those that are about their number.
pub(crate) const HOSTS: usize = 100;

/// One kind of load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
    pub(crate) connections: usize,
    /// A connection for each request.
    pub(crate) close: bool,
    /// Routes in the configuration; each request goes to another host of them.
    pub(crate) hosts: usize,
}

const ALL: [Workload; 6] = [
    Workload {
        name: "small",
        path: "/",
        connections: 64,
        close: false,
        hosts: HOSTS,
    },
    Workload {
        name: "new-connection",
        path: "/",
        connections: 64,
        close: true,
        hosts: HOSTS,
    },
    Workload {
        name: "64k",
        path: "/64k",
        connections: 64,
        close: false,
        hosts: HOSTS,
    },
    Workload {
        name: "1m",
        path: "/1m",
        connections: 32,
        close: false,
        hosts: HOSTS,
    },
    Workload {
        name: "hosts-10",
        path: "/",
        connections: 64,
        close: false,
        hosts: 10,
    },
    Workload {
        name: "hosts-10000",
        path: "/",
        connections: 64,
        close: false,
        hosts: 10_000,
    },
];

impl Workload {
    /// Those of these names; all for no name.
    pub(crate) fn chosen(names: &[String]) -> anyhow::Result<Vec<Self>> {
        for name in names {
            if !ALL.iter().any(|workload| workload.name == name) {
                let known: Vec<&str> = ALL.iter().map(|workload| workload.name).collect();
                bail!("{name:?} is no workload; there are {}", known.join(", "));
            }
        }
        Ok(ALL
            .into_iter()
            .filter(|w| names.is_empty() || names.iter().any(|name| name == w.name))
            .collect())
    }

    /// Whether this proxy, as it is configured, takes part: the number of hosts is a question to Weir only.
    pub(crate) fn fits(&self, proxy: &Running) -> bool {
        self.hosts == proxy.hosts && (self.hosts == HOSTS || proxy.peer == Peer::Weir)
    }
}
