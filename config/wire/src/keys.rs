//! Certificates, their keys and authorities, by the names of the secrets that hold them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use weir_config::model::{Certificate, PrivateKey, Roots, Source};

use crate::refusal::Refusal;

/// What resources refer to as secrets.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    certificates: BTreeMap<String, Arc<Certificate>>,
    roots: BTreeMap<String, Arc<Roots>>,
    /// Where a resource is looked at alone: whatever it refers to is taken to be there.
    anything: bool,
    /// What was named since this was asked last.
    claims: Vec<Claim>,
    /// What was looked up since this was asked last.
    looks: RefCell<Vec<Look>>,
}

/// A secret that was given a name.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    base: String,
    name: String,
    held: Given,
}

/// A secret that was looked up, and what was found.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    name: String,
    found: Given,
}

#[derive(Debug, Clone)]
enum Given {
    Certificate(Arc<Certificate>),
    Roots(Arc<Roots>),
}

impl Keys {
    /// Gives a stand-in for everything that is asked for.
    pub(crate) fn anything() -> Self {
        Self {
            anything: true,
            ..Self::default()
        }
    }

    /// The secret of a certificate. It is named after the certificate's file, so that a renewal changes the secret and nothing
    /// that refers to it; where files of one name differ, by a number too.
    pub(crate) fn name_certificate(&mut self, own: &Certificate) -> String {
        let base = format!("cert:{}", own.name);
        let name = self.free_for_certificate(&base, own);
        let plain = || {
            Arc::new(Certificate {
                name: name.clone(),
                source: Source::default(),
                ..own.clone()
            })
        };
        let held = self.certificates.entry(name.clone()).or_insert_with(plain);
        self.claims.push(Claim {
            base,
            name: name.clone(),
            held: Given::Certificate(Arc::clone(held)),
        });
        name
    }

    /// The secret of authorities, named after their files.
    pub(crate) fn name_roots(&mut self, own: &Roots) -> String {
        let base = format!("ca:{}", own.source);
        let name = self.free_for_roots(&base, own);
        let plain = || {
            Arc::new(Roots {
                source: name.clone(),
                ders: own.ders.clone(),
            })
        };
        let held = self.roots.entry(name.clone()).or_insert_with(plain);
        self.claims.push(Claim {
            base,
            name: name.clone(),
            held: Given::Roots(Arc::clone(held)),
        });
        name
    }

    fn free_for_certificate(&self, base: &str, own: &Certificate) -> String {
        free_name(base, &self.certificates, |other| {
            other.chain == own.chain && other.key == own.key && other.ocsp == own.ocsp
        })
    }

    fn free_for_roots(&self, base: &str, own: &Roots) -> String {
        free_name(base, &self.roots, |roots| roots.ders == own.ders)
    }

    /// Names a secret as it was named before, beside others. `false` where it would have another name now.
    pub(crate) fn claim(&mut self, claim: &Claim) -> bool {
        let name = match &claim.held {
            Given::Certificate(held) => self.free_for_certificate(&claim.base, held),
            Given::Roots(held) => self.free_for_roots(&claim.base, held),
        };
        if name != claim.name {
            return false;
        }
        match &claim.held {
            Given::Certificate(held) => {
                self.certificates
                    .entry(name)
                    .or_insert_with(|| Arc::clone(held));
            }
            Given::Roots(held) => {
                self.roots.entry(name).or_insert_with(|| Arc::clone(held));
            }
        }
        true
    }

    /// What was named since this was called last.
    pub(crate) fn forget_claims(&mut self) -> Vec<Claim> {
        std::mem::take(&mut self.claims)
    }

    /// What was looked up since this was called last.
    pub(crate) fn forget_looks(&mut self) -> Vec<Look> {
        std::mem::take(self.looks.get_mut())
    }

    /// Whether a look would find the same again.
    pub(crate) fn would_find(&self, look: &Look) -> bool {
        match &look.found {
            Given::Certificate(found) => {
                let held = self.certificates.get(&look.name);
                held.is_some_and(|held| Arc::ptr_eq(held, found))
            }
            Given::Roots(found) => {
                let held = self.roots.get(&look.name);
                held.is_some_and(|held| Arc::ptr_eq(held, found))
            }
        }
    }

    fn looked(&self, name: &str, found: Given) {
        let name = name.to_owned();
        self.looks.borrow_mut().push(Look { name, found });
    }

    /// Takes what a secret holds.
    pub(crate) fn insert(&mut self, name: String, held: Held) {
        match held {
            Held::Certificate(certificate) => {
                self.certificates.insert(name, certificate);
            }
            Held::Roots(roots) => {
                self.roots.insert(name, roots);
            }
        }
    }

    /// The certificate in that secret.
    pub(crate) fn certificate(&self, name: &str) -> Result<Arc<Certificate>, Refusal> {
        match self.certificates.get(name) {
            Some(certificate) => {
                self.looked(name, Given::Certificate(Arc::clone(certificate)));
                Ok(Arc::clone(certificate))
            }
            None if self.anything => Ok(Arc::new(stand_in(name))),
            None => Err(Refusal::new(format!(
                "names {name:?}, and there is no such secret with a certificate"
            ))),
        }
    }

    /// The authorities in that secret.
    pub(crate) fn roots(&self, name: &str) -> Result<Arc<Roots>, Refusal> {
        match self.roots.get(name) {
            Some(roots) => {
                self.looked(name, Given::Roots(Arc::clone(roots)));
                Ok(Arc::clone(roots))
            }
            None if self.anything => Ok(Arc::new(Roots {
                ders: Vec::new(),
                source: name.to_owned(),
            })),
            None => Err(Refusal::new(format!(
                "names {name:?}, and there is no such secret with authorities"
            ))),
        }
    }

    /// All certificates by name.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = (&String, &Arc<Certificate>)> {
        self.certificates.iter()
    }

    /// All authorities by name.
    pub(crate) fn authorities(&self) -> impl Iterator<Item = (&String, &Arc<Roots>)> {
        self.roots.iter()
    }
}

/// What a secret holds.
#[derive(Debug, Clone)]
pub(crate) enum Held {
    Certificate(Arc<Certificate>),
    Roots(Arc<Roots>),
}

/// `base`, or `base` with the first number under which there is nothing else.
fn free_name<T>(base: &str, taken: &BTreeMap<String, Arc<T>>, same: impl Fn(&T) -> bool) -> String {
    let mut name = base.to_owned();
    let mut number = 1u32;
    while taken.get(&name).is_some_and(|other| !same(other)) {
        number = number.saturating_add(1);
        name = format!("{base}#{number}");
    }
    name
}

fn stand_in(name: &str) -> Certificate {
    Certificate {
        name: name.to_owned(),
        chain: Vec::new(),
        key: PrivateKey::new(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(Vec::new()))),
        names: Vec::new(),
        not_before: 0,
        not_after: 0,
        issuer: String::new(),
        serial: String::new(),
        fingerprint: [0; 32],
        ocsp: None,
        source: Source::default(),
    }
}
