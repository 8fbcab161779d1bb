//! The certificates of a listener, and which of them a client is shown.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use rustls::pki_types::CertificateDer;
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
    by_name: Hosts<Vec<Arc<CertifiedKey>>>,
    /// For clients that name no host, or one that none is for.
    default: Vec<Arc<CertifiedKey>>,
}

/// A certificate with its key made ready to sign.
#[derive(Debug, Clone)]
struct Loaded {
    model: Arc<Certificate>,
    ready: Arc<CertifiedKey>,
}

impl Certificates {
    /// Makes certificates ready. One that cannot be used is left out, with a warning; where none can be used, what was there
    /// before stays.
    pub(super) fn load(models: &[Arc<Certificate>], previous: Option<&Arc<Self>>) -> Arc<Self> {
        let mut new = Self::default();
        let mut first: Option<&[String]> = None;
        for model in models {
            let known = previous.and_then(|previous| previous.loaded.get(&model.fingerprint));
            let ready = match known {
                Some(known) if known.model == *model => Ok(Arc::clone(&known.ready)),
                _ => ready(model).map(Arc::new),
            };
            let ready = match ready {
                Ok(ready) => ready,
                Err(error) => {
                    tracing::warn!(certificate = model.name, %error, "a certificate cannot be used");
                    continue;
                }
            };
            for name in &model.names {
                new.by_name.entry(name).push(Arc::clone(&ready));
            }
            // Others for the same names are the same default with another kind of key.
            if first.is_none_or(|names| names == model.names) {
                first = Some(&model.names);
                new.default.push(Arc::clone(&ready));
            }
            let model = Arc::clone(model);
            new.loaded
                .insert(model.fingerprint, Loaded { model, ready });
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
fn rank(certificate: &Arc<CertifiedKey>) -> u8 {
    match certificate.key.algorithm() {
        SignatureAlgorithm::ECDSA => 0,
        SignatureAlgorithm::ED25519 => 1,
        _ => 2,
    }
}

/// What rustls needs of a certificate.
pub(in crate::tls) fn ready(model: &Certificate) -> Result<CertifiedKey, Error> {
    let key = provider().key_provider.load_private_key(model.key.der())?;
    let chain = model.chain.iter().cloned().map(CertificateDer::from);
    let mut ready = CertifiedKey::new(chain.collect(), key);
    match ready.keys_match() {
        // Of some kinds of keys it cannot tell.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(error) => return Err(error),
    }
    ready.ocsp.clone_from(&model.ocsp);
    Ok(ready)
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello
            .server_name()
            .and_then(|name| self.by_name.get_by_label(name));
        let candidates = named.unwrap_or(&self.default);
        let schemes = hello.signature_schemes();
        let usable =
            |candidate: &&Arc<CertifiedKey>| candidate.key.choose_scheme(schemes).is_some();
        // With none that it can verify, the handshake fails and says so.
        let chosen = candidates.iter().find(usable).or(candidates.first());
        chosen.cloned()
    }
}
