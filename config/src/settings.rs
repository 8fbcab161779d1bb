//! What concerns the process rather than the traffic: the admin server, discovery, workers, times.

mod overload;
mod resolve;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::model::Locality;

pub use overload::Overload;
pub(crate) use resolve::{Resolver, not_enforced};

/// Settings of a process, with a default for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub admin: Admin,
    /// `None`: containers are not looked for.
    pub docker: Option<DockerSettings>,
    pub access_log: AccessLogFormat,
    /// Data worker threads; `None`: the CPUs that this process may use.
    pub workers: Option<usize>,
    /// Where what must outlive a restart is kept; `None`: the usual places are tried.
    pub state_dir: Option<PathBuf>,
    /// How long requests in flight may go on after SIGTERM. Default 30 s.
    pub drain_timeout: Duration,
    /// How long new connections are still taken after SIGTERM, with readiness failing. Default 5 s.
    pub grace_period: Duration,
    /// Where this process runs; its region is known. `None`: the file says nothing, and neither does `WEIR_LOCALITY`.
    pub locality: Option<Locality>,
    pub overload: Overload,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            admin: Admin::default(),
            docker: None,
            access_log: AccessLogFormat::default(),
            workers: None,
            state_dir: None,
            drain_timeout: Duration::from_secs(30),
            grace_period: Duration::from_secs(5),
            locality: None,
            overload: Overload::default(),
        }
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

/// A Docker engine whose labelled containers are endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerSettings {
    /// `unix:///path`, `tcp://host:port` or `http://host:port`. Default `unix:///var/run/docker.sock`.
    pub endpoint: String,
    /// The network in which a container of several networks is reached.
    pub network: Option<String>,
    /// How long endpoints are kept when more than half of a service vanishes at once without stop
    /// events. Default 10 s.
    pub hold: Duration,
    /// Takes loopback, link-local and metadata addresses from containers. Default false.
    pub allow_loopback_endpoints: bool,
}

impl Default for DockerSettings {
    fn default() -> Self {
        Self {
            endpoint: "unix:///var/run/docker.sock".to_owned(),
            network: None,
            hold: Duration::from_secs(10),
            allow_loopback_endpoints: false,
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
