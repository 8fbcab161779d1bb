//! What is asked of the proxies.

use anyhow::bail;

use crate::peer::{Peer, Running};

/// Hosts in every configuration but those that are about their number.
pub(crate) const HOSTS: usize = 100;

/// What a proxy is set up to carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Setup {
    /// Routes in the configuration; each request goes to another host of them.
    Http { hosts: usize },
    /// The same bytes, of which the proxy understands nothing.
    Tcp,
}

impl Setup {
    /// Whether only Weir is asked: the number of hosts is a question to it alone.
    pub(crate) fn is_of_weir(self) -> bool {
        !matches!(self, Self::Http { hosts: HOSTS } | Self::Tcp)
    }

    /// Hosts that requests go to.
    pub(crate) fn hosts(self) -> usize {
        match self {
            Self::Http { hosts } => hosts,
            Self::Tcp => 1,
        }
    }
}

/// Requests of HTTP, as most workloads have them.
const HTTP: Setup = Setup::Http { hosts: HOSTS };

/// What a gRPC call goes to: `weir origin` echoes the message.
pub(crate) const GRPC_METHOD: &str = "/weir.origin.v1.Echo/Unary";

/// What the load speaks to the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// HTTP/1.1 in clear.
    Clear,
    /// HTTP/1.1 over TLS 1.3.
    Tls,
    /// HTTP/2 over TLS 1.3, with this many streams on each connection.
    H2Tls { streams: usize },
    /// gRPC in clear, with this many streams on each connection; to an origin that speaks it.
    Grpc { streams: usize },
}

/// One kind of load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
    pub(crate) connections: usize,
    /// A connection for each request.
    pub(crate) close: bool,
    pub(crate) setup: Setup,
    pub(crate) over: Over,
}

const ALL: [Workload; 15] = [
    Workload {
        name: "small",
        path: "/",
        connections: 64,
        close: false,
        setup: HTTP,
        over: Over::Clear,
    },
    Workload {
        name: "new-connection",
        path: "/",
        connections: 64,
        close: true,
        setup: HTTP,
        over: Over::Clear,
    },
    Workload {
        name: "64k",
        path: "/64k",
        connections: 64,
        close: false,
        setup: HTTP,
        over: Over::Clear,
    },
    Workload {
        name: "1m",
        path: "/1m",
        connections: 32,
        close: false,
        setup: HTTP,
        over: Over::Clear,
    },
    Workload {
        name: "hosts-10",
        path: "/",
        connections: 64,
        close: false,
        setup: Setup::Http { hosts: 10 },
        over: Over::Clear,
    },
    Workload {
        name: "hosts-10000",
        path: "/",
        connections: 64,
        close: false,
        setup: Setup::Http { hosts: 10_000 },
        over: Over::Clear,
    },
    Workload {
        name: "tcp-small",
        path: "/",
        connections: 64,
        close: false,
        setup: Setup::Tcp,
        over: Over::Clear,
    },
    Workload {
        name: "tcp-1m",
        path: "/1m",
        connections: 32,
        close: false,
        setup: Setup::Tcp,
        over: Over::Clear,
    },
    Workload {
        name: "tcp-16m",
        path: "/16m",
        connections: 8,
        close: false,
        setup: Setup::Tcp,
        over: Over::Clear,
    },
    Workload {
        name: "tcp-256m",
        path: "/256m",
        connections: 4,
        close: false,
        setup: Setup::Tcp,
        over: Over::Clear,
    },
    Workload {
        name: "tls-small",
        path: "/",
        connections: 64,
        close: false,
        setup: HTTP,
        over: Over::Tls,
    },
    Workload {
        name: "tls-handshake",
        path: "/",
        connections: 16,
        close: true,
        setup: HTTP,
        over: Over::Tls,
    },
    Workload {
        name: "tls-1m",
        path: "/1m",
        connections: 32,
        close: false,
        setup: HTTP,
        over: Over::Tls,
    },
    Workload {
        name: "h2-tls-small",
        path: "/",
        connections: 16,
        close: false,
        setup: HTTP,
        over: Over::H2Tls { streams: 16 },
    },
    Workload {
        name: "grpc-unary",
        path: GRPC_METHOD,
        connections: 16,
        close: false,
        setup: HTTP,
        over: Over::Grpc { streams: 16 },
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

    /// Whether it takes h2load, a client of HTTP/2.
    pub(crate) fn is_h2(&self) -> bool {
        matches!(self.over, Over::H2Tls { .. } | Over::Grpc { .. })
    }

    /// Whether this proxy, as it is configured, takes part. gRPC is measured beside Envoy, which is built around it.
    pub(crate) fn fits(&self, proxy: &Running) -> bool {
        let speaks = match self.over {
            Over::Grpc { .. } => matches!(proxy.peer, Peer::Weir | Peer::Envoy),
            _ => true,
        };
        let asked = !self.setup.is_of_weir() || proxy.peer == Peer::Weir;
        self.setup == proxy.setup && asked && speaks
    }
}
