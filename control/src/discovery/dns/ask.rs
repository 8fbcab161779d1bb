//! The questions that are asked of resolvers, with their bounds.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use tokio::time::timeout;
use weir_config::settings::{DnsLookup, RecordKind};

use super::spot::Target;

/// Where resolvers are named if the configuration names none.
pub(super) const SYSTEM: &str = "/etc/resolv.conf";
/// Targets of an SRV name that are looked up; an answer of 64 KiB could hold thousands.
const MAX_TARGETS: usize = 256;
/// Targets that are looked up at a time.
const PARALLEL: usize = 8;
/// Tries after the first, per resolver.
const RETRIES: usize = 1;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("{SYSTEM} names no resolver: {0}; name some in discovery.dns[].resolvers")]
    NoResolver(String),
    #[error("{name} {kind}: no resolver answered in time; check that it is reached by UDP and TCP")]
    Silent { name: String, kind: RecordType },
    #[error("{name} {kind}: the resolver answered {code}")]
    Refused {
        name: String,
        kind: RecordType,
        code: ResponseCode,
    },
    #[error("{name} {kind}: {reason}")]
    Failed {
        name: String,
        kind: RecordType,
        reason: String,
    },
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply<T> {
    Found {
        value: T,
        ttl: Duration,
    },
    /// There is nothing of that kind. `ttl`: for how long, where the zone says so (RFC 2308).
    Absent {
        why: String,
        ttl: Option<Duration>,
    },
}

impl<T> Reply<T> {
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Reply<U> {
        match self {
            Self::Found { value, ttl } => Reply::Found {
                value: change(value),
                ttl,
            },
            Self::Absent { why, ttl } => Reply::Absent { why, ttl },
        }
    }
}

/// Asks the resolvers of one lookup.
pub(super) struct Client {
    resolver: TokioResolver,
    /// For everything that one question takes: each resolver, each try, a truncated answer's second way.
    patience: Duration,
}

impl Client {
    /// Finds out who is to be asked. Nothing is sent yet.
    ///
    /// # Errors
    /// [`AskError::NoResolver`].
    pub(super) fn open(lookup: &DnsLookup) -> Result<Self, AskError> {
        let servers = match lookup.resolvers.is_empty() {
            true => system()?,
            false => lookup.resolvers.iter().map(server).collect(),
        };
        let count = u32::try_from(servers.len()).unwrap_or(1).max(1);
        let tries = u32::try_from(1 + RETRIES).unwrap_or(1);
        let mut options = ResolverOpts::default();
        options.timeout = lookup.timeout;
        options.attempts = RETRIES;
        options.edns0 = true;
        options.use_hosts_file = ResolveHosts::Never;
        // Answers are kept by whoever asks, within bounds of its own.
        options.cache_size = 0;
        // The TTL of an alias counts too.
        options.preserve_intermediates = true;
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let resolver = builder
            .build()
            .map_err(|error| AskError::NoResolver(error.to_string()))?;
        Ok(Self {
            resolver,
            patience: lookup.timeout * tries * count * 2,
        })
    }

    /// The addresses of a name, in one family.
    ///
    /// # Errors
    /// [`AskError`].
    pub(super) async fn addresses(
        &self,
        name: &str,
        kind: RecordKind,
    ) -> Result<Reply<Vec<IpAddr>>, AskError> {
        let kind = match kind {
            RecordKind::Aaaa => RecordType::AAAA,
            RecordKind::A | RecordKind::Srv => RecordType::A,
        };
        self.ask(name, kind, |data| match data {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
            _ => None,
        })
        .await
    }

    /// The targets of an SRV name, with the addresses of both families of each.
    ///
    /// A target that has no address now is there without one: it is for the caller to hold what it had.
    ///
    /// # Errors
    /// [`AskError`], also of a target whose resolver fails: half of an answer would look like a stop of the other.
    pub(super) async fn services(&self, name: &str) -> Result<Reply<Vec<Target>>, AskError> {
        let reply = self
            .ask(name, RecordType::SRV, |data| match data {
                RData::SRV(srv) => Some(srv.clone()),
                _ => None,
            })
            .await?;
        let (mut records, mut ttl) = match reply {
            Reply::Found { value, ttl } => (value, ttl),
            Reply::Absent { why, ttl } => return Ok(Reply::Absent { why, ttl }),
        };
        // "Decidedly not available" (RFC 2782).
        records.retain(|srv| !srv.target.is_root() && srv.port > 0);
        if records.is_empty() {
            let why = format!("{name} says that the service is not available (SRV target .)");
            return Ok(Reply::Absent {
                why,
                ttl: Some(ttl),
            });
        }
        records
            .sort_by(|a, b| (a.priority, &a.target, a.port).cmp(&(b.priority, &b.target, b.port)));
        records.truncate(MAX_TARGETS);
        let mut asked = futures_util::stream::iter(records)
            .map(|srv| self.target(srv))
            .buffered(PARALLEL);
        let mut targets = Vec::new();
        while let Some(answer) = asked.next().await {
            let (target, valid) = answer?;
            ttl = valid.map_or(ttl, |valid| ttl.min(valid));
            targets.push(target);
        }
        Ok(Reply::Found {
            value: targets,
            ttl,
        })
    }

    async fn target(&self, srv: SRV) -> Result<(Target, Option<Duration>), AskError> {
        let name = srv.target.to_utf8();
        let (v4, v6) = tokio::try_join!(
            self.addresses(&name, RecordKind::A),
            self.addresses(&name, RecordKind::Aaaa)
        )?;
        let mut addresses = Vec::new();
        let mut least: Option<Duration> = None;
        for reply in [v4, v6] {
            if let Reply::Found { value, ttl } = reply {
                addresses.extend(value);
                least = Some(least.map_or(ttl, |least| least.min(ttl)));
            }
        }
        let target = Target {
            addresses,
            port: srv.port,
            priority: srv.priority,
            weight: srv.weight,
        };
        Ok((target, least))
    }

    async fn ask<T>(
        &self,
        name: &str,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Result<Reply<Vec<T>>, AskError> {
        let failed = |reason: String| AskError::Failed {
            name: name.to_owned(),
            kind,
            reason,
        };
        let mut whole = Name::from_ascii(name).map_err(|error| failed(error.to_string()))?;
        whole.set_fqdn(true);
        let asked = timeout(self.patience, self.resolver.lookup(whole, kind)).await;
        let error = match asked.unwrap_or(Err(NetError::Timeout)) {
            Ok(lookup) => return Ok(found(name, kind, &lookup, read)),
            Err(error) => error,
        };
        match error {
            NetError::Dns(DnsError::NoRecordsFound(none)) if is_absence(&none) => {
                Ok(absent(name, kind, &none))
            }
            NetError::Dns(DnsError::NoRecordsFound(NoRecords {
                response_code: code,
                ..
            }))
            | NetError::Dns(DnsError::ResponseCode(code)) => Err(AskError::Refused {
                name: name.to_owned(),
                kind,
                code,
            }),
            NetError::Timeout => Err(AskError::Silent {
                name: name.to_owned(),
                kind,
            }),
            other => Err(failed(other.to_string())),
        }
    }
}

fn system() -> Result<Vec<NameServerConfig>, AskError> {
    let (config, _) =
        read_system_conf().map_err(|error| AskError::NoResolver(error.to_string()))?;
    Ok(config.name_servers().to_vec())
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let on_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let ways = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(on_port);
    NameServerConfig::new(address.ip(), true, ways.into())
}

/// The records of that kind; an answer of aliases alone has none. The least TTL counts, those of aliases too.
fn found<T>(
    name: &str,
    kind: RecordType,
    lookup: &Lookup,
    read: impl Fn(&RData) -> Option<T>,
) -> Reply<Vec<T>> {
    let records = lookup.answers();
    let ttl = records.iter().map(|record| record.ttl).min().unwrap_or(0);
    let ttl = Duration::from_secs(u64::from(ttl));
    let value: Vec<T> = records
        .iter()
        .filter_map(|record| read(&record.data))
        .collect();
    match value.is_empty() {
        true => Reply::Absent {
            why: format!("{name} has no {kind} record"),
            ttl: Some(ttl),
        },
        false => Reply::Found { value, ttl },
    }
}

fn is_absence(none: &NoRecords) -> bool {
    matches!(
        none.response_code,
        ResponseCode::NXDomain | ResponseCode::NoError
    )
}

fn absent<T>(name: &str, kind: RecordType, none: &NoRecords) -> Reply<T> {
    let why = match none.response_code {
        ResponseCode::NXDomain => format!("there is no name {name} (NXDOMAIN)"),
        _ => format!("{name} has no {kind} record"),
    };
    let ttl = none
        .negative_ttl
        .map(|secs| Duration::from_secs(u64::from(secs)));
    Reply::Absent { why, ttl }
}
