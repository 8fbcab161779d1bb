//! Certificates for development: made here, trusted by nobody.
//!
//! One key for all of them, and one certificate for each set of names, so that what a browser was told to accept stays
//! the same as long as the names do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair};
use x509_parser::time::ASN1Time;

use super::keyring::Keyring;
use super::pair;
use crate::compile::report::Report;
use crate::diagnostic::Place;
use crate::model::{Certificate, HostPattern, Listener, Model, Source};

/// The name of such a certificate in lists.
const NAME: &str = "self-signed";
/// What every one of them is for.
const LOCAL: [&str; 3] = ["127.0.0.1", "::1", "localhost"];
const DAY: i64 = 24 * 3600;
/// How long one is valid, and how long before its end another is made.
const LIFE: i64 = 365 * DAY;
const RENEW: i64 = 30 * DAY;

/// The key, and what was made with it.
#[derive(Clone)]
pub(super) struct Development {
    key: String,
    /// By their names, in order.
    made: BTreeMap<Vec<String>, (String, Arc<Certificate>)>,
}

impl Development {
    fn new() -> Result<Self, rcgen::Error> {
        Ok(Self {
            key: KeyPair::generate()?.serialize_pem(),
            made: BTreeMap::new(),
        })
    }

    pub(super) fn to_pem(&self) -> String {
        let certificates = self.made.values().map(|(pem, _)| pem.as_str());
        std::iter::once(self.key.as_str())
            .chain(certificates)
            .collect()
    }

    /// Reads what [`Development::to_pem`] wrote; a certificate that is none of the key's is left out.
    pub(super) fn from_pem(text: &str) -> Option<Self> {
        const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
        let key = KeyPair::from_pem(text).ok()?.serialize_pem();
        let mut development = Self {
            key,
            made: BTreeMap::new(),
        };
        for part in text.split(BEGIN).skip(1) {
            let pem = format!("{BEGIN}{part}");
            development.take(pem, Source::default());
        }
        Some(development)
    }

    fn take(&mut self, pem: String, source: Source) -> Option<Arc<Certificate>> {
        let (cert, key) = (pem.as_bytes(), self.key.as_bytes());
        let certificate = pair::read(NAME.to_owned(), cert, key, source).ok()?;
        let certificate = Arc::new(certificate);
        let names = certificate.names.clone();
        self.made.insert(names, (pem, Arc::clone(&certificate)));
        Some(certificate)
    }

    /// One for these names: as it was, or made now.
    fn certificate(
        &mut self,
        names: Vec<String>,
        now: i64,
        source: &Source,
    ) -> Result<Arc<Certificate>, rcgen::Error> {
        if let Some((_, known)) = self.made.get(&names)
            && known.not_before <= now
            && known.not_after - RENEW > now
        {
            return Ok(Arc::new(Certificate {
                source: source.clone(),
                ..Certificate::clone(known)
            }));
        }
        let date = |seconds| {
            let at = ASN1Time::from_timestamp(seconds);
            at.map(|at| at.to_datetime())
                .map_err(|_| rcgen::Error::Time)
        };
        let mut params = CertificateParams::new(names)?;
        // A clock of a client may be behind.
        params.not_before = date(now - DAY)?;
        params.not_after = date(now + LIFE)?;
        params
            .distinguished_name
            .push(DnType::CommonName, "Weir, for development");
        let pem = params.self_signed(&KeyPair::from_pem(&self.key)?)?.pem();
        self.take(pem, source.clone())
            .ok_or(rcgen::Error::CouldNotParseCertificate)
    }
}

/// Gives each listener that asks for it a certificate for its local names and for every exact host of its routes.
/// Listeners are named with the place that asks.
pub(crate) fn add_self_signed(
    model: &mut Model,
    wanted: &[(String, Place)],
    keyring: &mut Keyring<'_>,
    report: &mut Report,
) {
    let mut used = Vec::new();
    for (name, place) in wanted {
        let names = names(model, name);
        let made = make(names.clone(), place, keyring);
        let at = model.listeners.iter_mut().find(|l| l.name.as_str() == name);
        match (made, at) {
            (Ok(certificate), Some(listener)) => {
                used.push(names);
                push(Arc::make_mut(listener), certificate);
            }
            (Err(error), _) => {
                model.listeners.retain(|l| l.name.as_str() != name);
                let message = format!("no certificate for development can be made: {error}");
                report.error_help(&place.clone(), message, "use certificates from files");
            }
            (Ok(_), None) => {}
        }
    }
    if let Some(development) = &mut keyring.after.development {
        development.made.retain(|names, _| used.contains(names));
    }
}

fn push(listener: &mut Listener, certificate: Arc<Certificate>) {
    if let Some(tls) = &mut listener.tls {
        Arc::make_mut(tls).certificates.push(certificate);
    }
}

fn make(
    names: Vec<String>,
    place: &Place,
    keyring: &mut Keyring<'_>,
) -> Result<Arc<Certificate>, rcgen::Error> {
    let now = keyring.now;
    let known = &mut keyring.after.development;
    let development = match known {
        Some(known) => known,
        None => known.insert(Development::new()?),
    };
    development.certificate(names, now, &place.source)
}

/// Sorted, as a certificate's own names are.
fn names(model: &Model, listener: &str) -> Vec<String> {
    let serves = |listeners: &[crate::model::ListenerName]| {
        listeners.is_empty() || listeners.iter().any(|name| name.as_str() == listener)
    };
    let routes = model.routes.iter().filter(|route| serves(&route.listeners));
    let hosts = routes.flat_map(|route| &route.hostnames);
    let exact = hosts.filter_map(|host| match host {
        HostPattern::Exact(name) => Some(name.trim_matches(['[', ']']).to_owned()),
        HostPattern::Wildcard(_) => None,
    });
    let all: BTreeSet<String> = exact.chain(LOCAL.map(str::to_owned)).collect();
    all.into_iter().collect()
}
