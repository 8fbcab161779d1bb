//! The certificates of a listener, and which of them a client is shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustc_hash::FxHashMap;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, SignatureAlgorithm};
use weir_config::model::Certificate;

use crate::tls::hosts::Hosts;
use crate::tls::provider::provider;

/// Certificates by the names in them.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    loaded: FxHashMap<[u8; 32], Loaded>,
    /// Those for one name differ by their kind of key, the preferred first.
    by_name: Hosts<Vec<Arc<Shown>>>,
    /// For clients that name no host, or one that none is for.
    default: Vec<Arc<Shown>>,
}

/// A certificate with its key made ready to sign.
#[derive(Debug, Clone)]
struct Loaded {
    model: Arc<Certificate>,
    shown: Arc<Shown>,
}

/// A certificate as clients are shown it.
#[derive(Debug)]
struct Shown {
    plain: Arc<CertifiedKey>,
    stapled: Option<Stapled>,
}

/// The same with an OCSP answer.
#[derive(Debug)]
struct Stapled {
    ready: Arc<CertifiedKey>,
    name: String,
    /// The last second in which it may be shown, since 1970.
    until: i64,
    told: AtomicBool,
}

impl Shown {
    fn new(model: &Certificate) -> Result<Self, Error> {
        let plain = ready(model)?;
        let stapled = model.ocsp.as_ref().map(|answer| Stapled {
            ready: Arc::new(CertifiedKey {
                ocsp: Some(answer.der.clone()),
                ..plain.clone()
            }),
            name: model.name.clone(),
            until: answer.next_update,
            told: AtomicBool::new(false),
        });
        Ok(Self {
            plain: Arc::new(plain),
            stapled,
        })
    }

    /// With the answer for as long as that holds: clients refuse a certificate with an old one.
    fn now(&self) -> &Arc<CertifiedKey> {
        let Some(stapled) = &self.stapled else {
            return &self.plain;
        };
        let now = i64::try_from(UnixTime::now().as_secs());
        if now.is_ok_and(|now| now <= stapled.until) {
            return &stapled.ready;
        }
        if !stapled.told.swap(true, Relaxed) {
            tracing::warn!(
                certificate = stapled.name,
                "the time of its OCSP answer has passed, so it is stapled no longer"
            );
        }
        &self.plain
    }
}

impl Certificates {
    /// Makes certificates ready. One that cannot be used is left out, with a warning; where none can be used, what was there
    /// before stays.
    pub(super) fn load(models: &[Arc<Certificate>], previous: Option<&Arc<Self>>) -> Arc<Self> {
        let mut new = Self::default();
        let mut first: Option<&[String]> = None;
        for model in models {
            let known = previous.and_then(|previous| previous.loaded.get(&model.fingerprint));
            let shown = match known {
                Some(known) if known.model == *model => Ok(Arc::clone(&known.shown)),
                _ => Shown::new(model).map(Arc::new),
            };
            let shown = match shown {
                Ok(shown) => shown,
                Err(error) => {
                    tracing::warn!(certificate = model.name, %error, "a certificate cannot be used");
                    continue;
                }
            };
            for name in &model.names {
                new.by_name.entry(name).push(Arc::clone(&shown));
            }
            // Others for the same names are the same default with another kind of key.
            if first.is_none_or(|names| names == model.names) {
                first = Some(&model.names);
                new.default.push(Arc::clone(&shown));
            }
            let model = Arc::clone(model);
            new.loaded
                .insert(model.fingerprint, Loaded { model, shown });
        }
        match previous {
            Some(previous) if new.default.is_empty() => Arc::clone(previous),
            _ => {
                new.sort();
                Arc::new(new)
            }
        }
    }

    fn sort(&mut self) {
        self.by_name.each(|candidates| candidates.sort_by_key(rank));
        self.default.sort_by_key(rank);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.default.is_empty()
    }
}

/// ECDSA is the cheapest to sign with that every client of today knows; RSA the dearest.
fn rank(certificate: &Arc<Shown>) -> u8 {
    match certificate.plain.key.algorithm() {
        SignatureAlgorithm::ECDSA => 0,
        SignatureAlgorithm::ED25519 => 1,
        _ => 2,
    }
}

/// What rustls needs of a certificate.
pub(in crate::tls) fn ready(model: &Certificate) -> Result<CertifiedKey, Error> {
    let key = provider().key_provider.load_private_key(model.key.der())?;
    let chain = model.chain.iter().cloned().map(CertificateDer::from);
    let ready = CertifiedKey::new(chain.collect(), key);
    match ready.keys_match() {
        // Of some kinds of keys it cannot tell.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(ready),
        Err(error) => Err(error),
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello
            .server_name()
            .and_then(|name| self.by_name.get_by_label(name));
        let candidates = named.unwrap_or(&self.default);
        let schemes = hello.signature_schemes();
        let usable = |candidate: &&Arc<Shown>| candidate.plain.key.choose_scheme(schemes).is_some();
        // With none that it can verify, the handshake fails and says so.
        let chosen = candidates.iter().find(usable).or(candidates.first());
        chosen.map(|chosen| Arc::clone(chosen.now()))
    }
}
