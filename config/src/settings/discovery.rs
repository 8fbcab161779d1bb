//! Where endpoints are looked for, as it holds: the settings of each provider.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::Diagnostic;
use crate::diagnostic::Place;
use crate::model::{ServiceName, VersionName};
use crate::raw::{self, At};

pub use crate::raw::{RecordKind, SwarmAddresses};

/// How long endpoints are kept when more than half of a service vanishes at once without stop events.
const HOLD: Duration = Duration::from_secs(10);
/// The port of DNS (RFC 1035, section 4.2).
const DNS_PORT: u16 = 53;
/// Nothing that flaps may change the configuration more often than twice a second.
const LEAST_TTL: Duration = Duration::from_millis(500);
/// Lookups of one configuration.
const MAX_LOOKUPS: usize = 1000;

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
    /// Reads Traefik's labels, too. Default false.
    pub traefik_labels: bool,
}

/// Where an engine listens, mostly.
const SOCKET: &str = "unix:///var/run/docker.sock";

impl Default for DockerSettings {
    fn default() -> Self {
        Self {
            endpoint: SOCKET.to_owned(),
            network: None,
            hold: HOLD,
            allow_loopback_endpoints: false,
            traefik_labels: false,
        }
    }
}

/// A Swarm whose labelled services are services, by one of its managers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmSettings {
    /// As [`DockerSettings::endpoint`].
    pub endpoint: String,
    /// The overlay network in which a task of several networks is reached.
    pub network: Option<String>,
    /// Default the tasks'.
    pub addresses: SwarmAddresses,
    /// How often the manager is asked without an event. Default 1 s, at least 200 ms.
    pub interval: Duration,
    /// As [`DockerSettings::hold`].
    pub hold: Duration,
    /// Reads Traefik's labels, too. Default false.
    pub traefik_labels: bool,
}

/// A manager is never asked more often than five times a second.
const LEAST_INTERVAL: Duration = Duration::from_millis(200);

impl Default for SwarmSettings {
    fn default() -> Self {
        Self {
            endpoint: SOCKET.to_owned(),
            network: None,
            addresses: SwarmAddresses::Tasks,
            interval: Duration::from_secs(1),
            hold: HOLD,
            traefik_labels: false,
        }
    }
}

/// A name whose records are endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsLookup {
    pub service: ServiceName,
    /// Without a dot at the end; search domains are not tried.
    pub name: String,
    pub kind: RecordKind,
    /// Of each address; 0 for SRV, whose records have their own.
    pub port: u16,
    pub version: VersionName,
    /// Empty: those of `/etc/resolv.conf`.
    pub resolvers: Vec<SocketAddr>,
    /// Bounds of an answer's TTL. Default 1 s and 30 s.
    pub min_ttl: Duration,
    pub max_ttl: Duration,
    /// For one answer of one resolver. Default 2 s.
    pub timeout: Duration,
    /// As [`DockerSettings::hold`].
    pub hold: Duration,
    /// Takes loopback, link-local and metadata addresses. Default false.
    pub allow_loopback_endpoints: bool,
    /// Where it was written.
    pub place: Place,
}

impl DnsLookup {
    /// A lookup with the defaults.
    #[must_use]
    pub fn new(service: ServiceName, name: &str, kind: RecordKind, port: u16) -> Self {
        Self {
            service,
            name: name.to_owned(),
            kind,
            port,
            version: VersionName::stable(),
            resolvers: Vec::new(),
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(30),
            timeout: Duration::from_secs(2),
            hold: HOLD,
            allow_loopback_endpoints: false,
            place: Place::default(),
        }
    }

    /// As a configuration writes the type.
    #[must_use]
    pub fn type_text(&self) -> &'static str {
        match self.kind {
            RecordKind::A => "A",
            RecordKind::Aaaa => "AAAA",
            RecordKind::Srv => "SRV",
        }
    }

    /// Tells lookups apart: `web/tasks.web:8080/A`, `web/_http._tcp.example.org/SRV`.
    #[must_use]
    pub fn id(&self) -> String {
        let (service, name, kind) = (&self.service, &self.name, self.type_text());
        match self.kind {
            RecordKind::Srv => format!("{service}/{name}/{kind}"),
            RecordKind::A | RecordKind::Aaaa => format!("{service}/{name}:{}/{kind}", self.port),
        }
    }
}

/// A directory of files that list endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointFileSettings {
    pub directory: PathBuf,
    /// As [`DockerSettings::hold`].
    pub hold: Duration,
}

fn value<T: Clone>(at: Option<&At<T>>, default: T) -> T {
    at.map_or(default, |at| at.value.clone())
}

/// An engine's address, or its default if it is none.
fn endpoint(at: Option<&At<String>>, found: &mut Vec<Diagnostic>) -> String {
    let Some(at) = at else {
        return SOCKET.to_owned();
    };
    let schemes = ["unix:///", "tcp://", "http://"];
    if schemes.iter().any(|scheme| at.value.starts_with(scheme)) {
        return at.value.clone();
    }
    let message = format!("{:?} is not the address of a Docker engine", at.value);
    let help = "write unix:///var/run/docker.sock or tcp://host:2375";
    found.push(Diagnostic::error(&at.place, message).help(help));
    SOCKET.to_owned()
}

pub(super) fn docker(raw: &raw::Docker, found: &mut Vec<Diagnostic>) -> DockerSettings {
    DockerSettings {
        endpoint: endpoint(raw.endpoint.as_ref(), found),
        network: raw.network.as_ref().map(|network| network.value.clone()),
        hold: value(raw.hold.as_ref(), HOLD),
        allow_loopback_endpoints: value(raw.allow_loopback_endpoints.as_ref(), false),
        traefik_labels: value(raw.traefik_labels.as_ref(), false),
    }
}

pub(super) fn swarm(raw: &raw::Swarm, found: &mut Vec<Diagnostic>) -> SwarmSettings {
    let default = SwarmSettings::default();
    if let Some(at) = raw.interval.as_ref().filter(|at| at.value < LEAST_INTERVAL) {
        let message = "the interval of discovery.swarm is at least 200ms";
        found.push(Diagnostic::error(&at.place, message));
    }
    SwarmSettings {
        endpoint: endpoint(raw.endpoint.as_ref(), found),
        network: raw.network.as_ref().map(|network| network.value.clone()),
        addresses: value(raw.addresses.as_ref(), default.addresses),
        interval: value(raw.interval.as_ref(), default.interval).max(LEAST_INTERVAL),
        hold: value(raw.hold.as_ref(), default.hold),
        traefik_labels: value(raw.traefik_labels.as_ref(), false),
    }
}

pub(super) fn files(
    raw: &raw::EndpointFiles,
    found: &mut Vec<Diagnostic>,
) -> Option<EndpointFileSettings> {
    let Some(directory) = &raw.directory else {
        if !raw.meta.broken {
            found.push(Diagnostic::error(
                &raw.meta.place,
                "the directory of discovery.files is missing",
            ));
        }
        return None;
    };
    Some(EndpointFileSettings {
        directory: directory.value.clone(),
        hold: value(raw.hold.as_ref(), HOLD),
    })
}

/// Adds a lookup. One with a mistake is reported and left out, the others go on.
pub(super) fn dns(raw: &raw::Dns, all: &mut Vec<DnsLookup>, found: &mut Vec<Diagnostic>) {
    let errors = found.len();
    let lookup = lookup(raw, found);
    let Some(lookup) = lookup.filter(|_| found.len() == errors && !raw.meta.broken) else {
        return;
    };
    if all.iter().any(|other| other.id() == lookup.id()) {
        let message = format!("the lookup {} is given twice", lookup.id());
        found.push(Diagnostic::error(&lookup.place, message));
    } else if all.len() == MAX_LOOKUPS {
        let message = format!("there are more than {MAX_LOOKUPS} lookups");
        found.push(Diagnostic::error(&lookup.place, message).help("this one is left out"));
    } else {
        all.push(lookup);
    }
}

fn lookup(raw: &raw::Dns, found: &mut Vec<Diagnostic>) -> Option<DnsLookup> {
    let place = &raw.meta.place;
    let mut missing = |what: &str| {
        if !raw.meta.broken {
            let message = format!("the {what} of the lookup is missing");
            found.push(Diagnostic::error(place, message));
        }
    };
    let (Some(service), Some(name)) = (&raw.service, &raw.name) else {
        missing(if raw.service.is_none() {
            "service"
        } else {
            "name"
        });
        return None;
    };
    let kind = value(raw.kind.as_ref(), RecordKind::A);
    let port = match (kind, &raw.port) {
        (RecordKind::Srv, Some(port)) => {
            let help = "remove it: each SRV record names the port of its target";
            found.push(Diagnostic::error(&port.place, "an SRV lookup has no port").help(help));
            0
        }
        (RecordKind::Srv, None) => 0,
        (_, Some(port)) if port.value > 0 => port.value,
        (_, Some(port)) => {
            found.push(Diagnostic::error(&port.place, "a port is from 1 to 65535"));
            0
        }
        (_, None) => {
            missing("port");
            0
        }
    };
    let service = valid(ServiceName::new(&service.value), &service.place, found)?;
    let mut lookup = DnsLookup::new(service, &host_name(name, found)?, kind, port);
    lookup.place = place.clone();
    if let Some(version) = &raw.version {
        lookup.version = valid(VersionName::new(&version.value), &version.place, found)?;
    }
    lookup.resolvers = raw
        .resolvers
        .iter()
        .flatten()
        .filter_map(|at| resolver(at, found))
        .collect();
    lookup.min_ttl = value(raw.min_ttl.as_ref(), lookup.min_ttl);
    lookup.max_ttl = value(raw.max_ttl.as_ref(), lookup.max_ttl.max(lookup.min_ttl));
    lookup.timeout = value(raw.timeout.as_ref(), lookup.timeout);
    lookup.hold = value(raw.hold.as_ref(), lookup.hold);
    lookup.allow_loopback_endpoints = value(raw.allow_loopback_endpoints.as_ref(), false);
    times(raw, &lookup, found);
    Some(lookup)
}

fn times(raw: &raw::Dns, lookup: &DnsLookup, found: &mut Vec<Diagnostic>) {
    let at =
        |at: &Option<At<Duration>>| at.as_ref().map_or(&raw.meta.place, |at| &at.place).clone();
    for (place, wrong, message) in [
        (
            at(&raw.min_ttl),
            lookup.min_ttl < LEAST_TTL,
            "minTtl is at least 500ms",
        ),
        (
            at(&raw.max_ttl),
            lookup.max_ttl < lookup.min_ttl,
            "maxTtl is less than minTtl",
        ),
        (
            at(&raw.timeout),
            !raw::millis_or_more(lookup.timeout),
            "a timeout is at least 1ms",
        ),
    ] {
        if wrong {
            found.push(Diagnostic::error(&place, message));
        }
    }
}

fn valid<T>(
    parsed: Result<T, crate::model::Invalid>,
    place: &Place,
    found: &mut Vec<Diagnostic>,
) -> Option<T> {
    parsed
        .map_err(|invalid| found.push(Diagnostic::error(place, invalid.to_string())))
        .ok()
}

/// Labels of 1 to 63 letters, digits, `-` and `_`, at most 253 characters in all (RFC 1035, section 2.3; `_` as in
/// RFC 2782).
fn host_name(at: &At<String>, found: &mut Vec<Diagnostic>) -> Option<String> {
    let name = at.value.strip_suffix('.').unwrap_or(&at.value);
    let fits = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    let label = |text: &str| (1..=63).contains(&text.len()) && text.bytes().all(fits);
    if name.len() <= 253 && name.split('.').all(label) && name.parse::<IpAddr>().is_err() {
        return Some(name.to_owned());
    }
    let message = format!("{:?} is not a name to look up", at.value);
    let help = "write a host name such as tasks.web; an address belongs under services[].endpoints";
    found.push(Diagnostic::error(&at.place, message).help(help));
    None
}

fn resolver(at: &At<String>, found: &mut Vec<Diagnostic>) -> Option<SocketAddr> {
    let with_port = at
        .value
        .parse::<IpAddr>()
        .map(|ip| SocketAddr::new(ip, DNS_PORT));
    let address = with_port.or_else(|_| at.value.parse::<SocketAddr>()).ok();
    let usable = address.filter(|address| address.port() > 0 && !address.ip().is_unspecified());
    if usable.is_none() {
        let message = format!("{:?} is not the address of a resolver", at.value);
        let help = "write an IP address, with a port if it is not 53: 127.0.0.11 or 10.0.0.2:5353";
        found.push(Diagnostic::error(&at.place, message).help(help));
    }
    usable
}
