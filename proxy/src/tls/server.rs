//! TLS of a listener, compiled: certificates made ready, and what is asked of clients by host.
//!
//! Built off the data path, with the snapshot, and only where the model of it has changed. Connections go on with what they
//! were accepted with.
//!
//! # Sessions
//! Hosts of which the same is asked share their ticket keys and session ids; others never do, so what a session was
//! opened with for one host opens nothing at another that asks for a certificate, or trusts other authorities. rustls
//! moreover takes a session up again only under the name that it was opened with. Keys are renewed every six hours and good
//! for twelve, and outlive changes of anything but what is asked of clients. There is no early data (0-RTT).

mod certificates;
mod workloads;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::UnixTime;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ProducesTickets, ServerSessionMemoryCache, StoresServerSessions, WebPkiClientVerifier,
};
use rustls::{ServerConfig, SupportedProtocolVersion, version};
use weir_config::model::{ClientAuth, ClientAuthMode, ListenerTls, Roots, TlsVersion};

use super::hosts::Hosts;
use super::info::TlsInfo;
use super::provider::provider;
use certificates::Certificates;
pub(super) use certificates::ready;
use workloads::Workloads;

/// Sessions of TLS 1.2 kept by id, for clients that know no tickets: about 1 KiB each.
const SESSION_IDS: usize = 256;

/// Tickets given after a handshake of TLS 1.3. Each costs a client's next connection nothing and this one some work; who opens
/// several connections at once uses one for all, or gets another with each.
const TICKETS: usize = 1;

/// A listener's TLS, ready to accept.
#[derive(Debug)]
pub(crate) struct ServerTls {
    model: Arc<ListenerTls>,
    certificates: Arc<Certificates>,
    /// For hosts of which nothing else is asked.
    policy: Arc<Policy>,
    hosts: Hosts<Option<Arc<Policy>>>,
    /// Any of them asks for certificates.
    asks: bool,
}

/// What is asked of the clients of some hosts.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) client_auth: Option<ClientAuth>,
    /// `None` where the authorities cannot be used: nobody gets in.
    pub(super) config: Option<Arc<ServerConfig>>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    sessions: Sessions,
    /// Unlike that of any other, and not 0.
    number: u64,
}

/// Numbers policies.
static NEXT: AtomicU64 = AtomicU64::new(1);

impl Policy {
    /// Whether what the client of a connection that is open has shown is good by this. What has been found is remembered with the
    /// connection, so that a chain is verified once, and only if what is asked has changed since it was opened.
    fn admits(&self, connection: &TlsInfo) -> bool {
        let known = connection.judged.load(Relaxed);
        if known / 2 == self.number {
            return known % 2 == 1;
        }
        let good = self.judge(connection);
        let judged = self.number * 2 + u64::from(good);
        connection.judged.store(judged, Relaxed);
        good
    }

    fn judge(&self, connection: &TlsInfo) -> bool {
        if self.client_auth == connection.client_auth {
            return true;
        }
        let Some(auth) = &self.client_auth else {
            return true;
        };
        let Some((own, others)) = connection.chain.split_first() else {
            return auth.mode == ClientAuthMode::Optional;
        };
        // Its own end is as for any connection: it could be opened with it, and has been renewed since.
        let verified = |by: &Arc<dyn ClientCertVerifier>| {
            let then = UnixTime::since_unix_epoch(connection.opened);
            by.verify_client_cert(own, others, then)
        };
        (self.verifier.as_ref()).is_some_and(|by| verified(by).is_ok())
    }
}

#[derive(Debug, Clone)]
struct Sessions {
    tickets: Option<Arc<dyn ProducesTickets>>,
    ids: Arc<dyn StoresServerSessions>,
}

impl ServerTls {
    /// Compiles a listener's TLS. What `previous` has and is still good is taken over; all of it where nothing changed.
    ///
    /// There is always a result. A certificate that cannot be used is left out, and a host whose authorities cannot be
    /// used refuses all; both are logged.
    pub(crate) fn build(model: &Arc<ListenerTls>, previous: Option<&Arc<Self>>) -> Arc<Self> {
        if let Some(previous) = previous
            && (Arc::ptr_eq(&previous.model, model) || previous.model == *model)
        {
            return Arc::clone(previous);
        }
        let before = previous.map(|previous| &previous.certificates);
        let certificates = Certificates::load(&model.certificates, before);
        let mut policies = Policies {
            model,
            certificates: &certificates,
            before: previous.map_or_else(Vec::new, |previous| previous.policies()),
            all: Vec::new(),
        };
        let policy = policies.of(model.client_auth.as_ref());
        let mut hosts = Hosts::<Option<Arc<Policy>>>::default();
        for host in &model.hosts {
            let policy = policies.of(host.client_auth.as_ref());
            for pattern in &host.hostnames {
                // The first to name a host has it.
                let place = hosts.entry(&pattern.text());
                place.get_or_insert_with(|| Arc::clone(&policy));
            }
        }
        let asks = policies.all.iter().any(|p| p.client_auth.is_some());
        Arc::new(Self {
            model: Arc::clone(model),
            certificates,
            policy,
            hosts,
            asks,
        })
    }

    /// What is asked of clients of a host; `None` for a client that named none.
    pub(super) fn policy(&self, host: Option<&str>) -> &Arc<Policy> {
        let own = host.and_then(|host| self.hosts.get(host));
        own.and_then(Option::as_ref).unwrap_or(&self.policy)
    }

    /// Whether certificates are asked of any clients.
    pub(super) fn asks(&self) -> bool {
        self.asks
    }

    /// Whether clients that speak in plain text are served, too.
    pub(super) fn plain_too(&self) -> bool {
        self.model.plain_too
    }

    /// Whether there is anything to show to clients.
    pub(super) fn has_certificate(&self) -> bool {
        !self.certificates.is_empty()
    }

    /// Whether a request for a host must not be served on a connection, but be answered with 421 (RFC 9110, section
    /// 15.5.20): its client could pass by what is asked of clients there.
    ///
    /// Where certificates are asked for, of the clients of that host or of that for which the connection was opened, the two
    /// must be the same. A client that named no host when it connected may ask for those of whose clients no more is
    /// asked than of it. What is asked may have changed since: then what the client showed must be good by that, so that a root
    /// can be replaced while connections go on. So is one in plain text (`None`) where that is served no longer. `host` is in lower case
    /// and without port.
    pub(crate) fn is_misdirected(&self, connection: Option<&TlsInfo>, host: &str) -> bool {
        let Some(connection) = connection else {
            return !self.plain_too();
        };
        // Every request passes here.
        if !self.asks && connection.client_auth.is_none() {
            return false;
        }
        let policy = self.policy(Some(host));
        if policy.client_auth.is_none() && connection.client_auth.is_none() {
            return false;
        }
        match connection.server_name.as_deref() {
            Some(name) if name == host => !policy.admits(connection),
            Some(_) => true,
            None if Arc::ptr_eq(policy, &self.policy) => !policy.admits(connection),
            None => policy.client_auth != connection.client_auth,
        }
    }

    /// Whether a connection that is carried as a whole shows as much as is asked for now; `None` is one in plain text.
    ///
    /// By whom its client was certified is not looked at again: it cannot show what it has by now without being broken off, and
    /// authorities are replaced all the time for no other reason than age.
    pub(crate) fn takes(&self, connection: Option<&TlsInfo>) -> bool {
        let Some(connection) = connection else {
            return self.plain_too();
        };
        let policy = self.policy(connection.server_name.as_deref());
        let asked = policy.client_auth.as_ref();
        !connection.chain.is_empty()
            || asked.is_none_or(|auth| auth.mode == ClientAuthMode::Optional)
    }

    fn policies(&self) -> Vec<Arc<Policy>> {
        let mut all = vec![Arc::clone(&self.policy)];
        all.extend(self.hosts.values().flatten().cloned());
        all
    }
}

/// Policies while they are built: one for all hosts of which the same is asked.
struct Policies<'a> {
    model: &'a ListenerTls,
    certificates: &'a Arc<Certificates>,
    before: Vec<Arc<Policy>>,
    all: Vec<Arc<Policy>>,
}

impl Policies<'_> {
    fn of(&mut self, client_auth: Option<&ClientAuth>) -> Arc<Policy> {
        let same = |policy: &&Arc<Policy>| policy.client_auth.as_ref() == client_auth;
        if let Some(policy) = self.all.iter().find(same) {
            return Arc::clone(policy);
        }
        let before = self.before.iter().find(same);
        let sessions = before.map_or_else(Sessions::new, |policy| policy.sessions.clone());
        let built = client_auth.map(verifier).transpose().and_then(|verifier| {
            let config = self.config(verifier.clone(), &sessions)?;
            Ok((Arc::new(config), verifier))
        });
        let built = built.inspect_err(|error| {
            let roots = client_auth.map(|auth| &auth.roots.source);
            tracing::warn!(%error, ?roots, "client certificates cannot be verified, so clients are refused");
        });
        let (config, verifier) = built.map_or((None, None), |(config, by)| (Some(config), by));
        let policy = Arc::new(Policy {
            client_auth: client_auth.cloned(),
            config,
            verifier,
            sessions,
            number: NEXT.fetch_add(1, Relaxed),
        });
        self.all.push(Arc::clone(&policy));
        policy
    }

    fn config(
        &self,
        verifier: Option<Arc<dyn ClientCertVerifier>>,
        sessions: &Sessions,
    ) -> Result<ServerConfig, PolicyError> {
        let versions: &[&SupportedProtocolVersion] = match self.model.min_version {
            TlsVersion::V12 => &[&version::TLS13, &version::TLS12],
            TlsVersion::V13 => &[&version::TLS13],
        };
        let builder =
            ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions)?;
        let builder = match verifier {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(verifier),
        };
        let mut config = builder.with_cert_resolver(Arc::clone(self.certificates) as _);
        config.alpn_protocols = self.model.alpn.iter().map(|a| a.text().into()).collect();
        // The cheapest suite that both know.
        config.ignore_client_order = true;
        config.send_tls13_tickets = TICKETS;
        config.session_storage = Arc::clone(&sessions.ids);
        match &sessions.tickets {
            Some(tickets) => config.ticketer = Arc::clone(tickets),
            None => config.send_tls13_tickets = 0,
        }
        Ok(config)
    }
}

impl Sessions {
    fn new() -> Self {
        let tickets = Ticketer::new().inspect_err(|error| {
            tracing::warn!(%error, "no ticket keys could be made, so sessions are not resumed");
        });
        Self {
            tickets: tickets.ok(),
            ids: ServerSessionMemoryCache::new(SESSION_IDS),
        }
    }
}

/// Why what is asked of clients cannot be verified.
#[derive(Debug, thiserror::Error)]
enum PolicyError {
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    #[error("{0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// Verifies chains of at most six intermediates and a bounded number of signatures, which is webpki's own bound.
fn verifier(auth: &ClientAuth) -> Result<Arc<dyn ClientCertVerifier>, PolicyError> {
    let roots = Arc::new(root_store(&auth.roots));
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let builder = match auth.mode {
        ClientAuthMode::Require => builder,
        ClientAuthMode::Optional => builder.allow_unauthenticated(),
    };
    let chain = builder.build()?;
    Ok(match &auth.trust_domain {
        None => chain,
        Some(domain) => Arc::new(Workloads::new(chain, domain.clone())),
    })
}

/// The authorities that can be used.
pub(super) fn root_store(roots: &Roots) -> rustls::RootCertStore {
    let mut store = rustls::RootCertStore::empty();
    for der in &roots.ders {
        if let Err(error) = store.add(der.clone().into()) {
            tracing::warn!(source = roots.source, %error, "a trusted authority is left out");
        }
    }
    store
}
