//! What concerns the process rather than the traffic: the admin server, discovery, workers, times.

mod control;
mod discovery;
mod mesh;
mod overload;
mod resolve;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::model::Locality;

pub use control::{ControlNode, ControlServer, ControlTls, NodePattern};
pub use discovery::{
    DnsLookup, DockerSettings, EndpointFileSettings, RecordKind, SwarmAddresses, SwarmSettings,
};
pub use mesh::{Mesh, MeshCa};
pub use overload::Overload;
pub(crate) use resolve::{Resolver, not_enforced};

/// Settings of a process, with a default for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub admin: Admin,
    /// `None`: containers are not looked for.
    pub docker: Option<DockerSettings>,
    /// `None`: no Swarm is asked for its services.
    pub swarm: Option<SwarmSettings>,
    /// Names that are looked up.
    pub dns: Vec<DnsLookup>,
    /// `None`: no endpoint files are read.
    pub endpoint_files: Option<EndpointFileSettings>,
    pub access_log: AccessLogFormat,
    /// Data worker threads; `None`: the CPUs that this process may use.
    pub workers: Option<usize>,
    /// Where what must outlive a restart is kept; `None`: the usual places are tried.
    pub state_dir: Option<PathBuf>,
    /// Generations of the configuration that the history keeps. Default 100.
    pub history: usize,
    /// How long requests in flight may go on after SIGTERM. Default 30 s.
    pub drain_timeout: Duration,
    /// How long new connections are still taken after SIGTERM, with readiness failing. Default 5 s.
    pub grace_period: Duration,
    /// Where this process runs; its region is known. `None`: the file says nothing, and neither does `WEIR_LOCALITY`.
    pub locality: Option<Locality>,
    pub overload: Overload,
    /// Where other processes follow this configuration. `None`: nowhere.
    pub control: Option<ControlServer>,
    /// Who the workloads are, and what certifies it. `None`: there is no mesh.
    pub mesh: Option<Mesh>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            admin: Admin::default(),
            docker: None,
            swarm: None,
            dns: Vec::new(),
            endpoint_files: None,
            access_log: AccessLogFormat::default(),
            workers: None,
            state_dir: None,
            history: 100,
            drain_timeout: Duration::from_secs(30),
            grace_period: Duration::from_secs(5),
            locality: None,
            overload: Overload::default(),
            control: None,
            mesh: None,
        }
    }
}

impl Settings {
    /// Whether endpoints are looked for anywhere besides files that list them.
    #[must_use]
    pub fn discovers(&self) -> bool {
        self.docker.is_some()
            || self.swarm.is_some()
            || !self.dns.is_empty()
            || self.endpoint_files.is_some()
    }
}

/// The admin server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Admin {
    pub bind: AdminBind,
    /// Holds the token for changes; `None`: one is made in the state directory.
    pub token_file: Option<PathBuf>,
    /// Host names under which it may be asked, besides addresses and `localhost`. Lower case.
    pub hosts: Vec<String>,
}

/// Where the admin server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminBind {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Default for AdminBind {
    /// 127.0.0.1:9900
    fn default() -> Self {
        Self::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 9900)))
    }
}

impl fmt::Display for AdminBind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// How an access log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessLogFormat {
    #[default]
    Json,
    Common,
    Combined,
    Off,
}
