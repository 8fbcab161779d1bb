//! Where an authority comes from, made or given, and what is handed out by it.

use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use weir_config::model::{SpiffeId, TrustDomain};
use weir_config::settings::MeshCa;
use weir_config::spiffe::bundle_digest;

use crate::ca::{Ca, Random, Wanted, fingerprint, fresh_key, hex, validity};
use crate::error::OpenError;
use crate::given::{self, Contents, Given};
use crate::home::{Home, Opening};
use crate::rotation::State;

/// A certificate for the control plane itself, with its key.
pub struct ServerCertificate {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    /// Seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
}

/// A root as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootShown {
    /// SHA-256 in hexadecimal.
    pub fingerprint: String,
    pub signs: bool,
    /// The certificate itself.
    pub pem: String,
    /// Seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
}

pub(crate) enum Source {
    Made(Box<Home>),
    Given {
        files: MeshCa,
        seen: Contents,
        /// Why the files of now are not the ones in force.
        refused: Option<String>,
    },
}

/// What is in force.
pub struct View {
    pub(crate) ca: Arc<Ca>,
    /// Names the authority that signs.
    pub(crate) root: String,
    /// What is trusted.
    pub(crate) bundle: Vec<CertificateDer<'static>>,
    pub(crate) digest: String,
    /// Sent with the control plane's certificate: ways to every root that a token may name.
    between: Vec<CertificateDer<'static>>,
}

impl View {
    fn new(
        ca: Arc<Ca>,
        bundle: Vec<CertificateDer<'static>>,
        cross: Option<CertificateDer<'static>>,
    ) -> Self {
        let mut between = Vec::new();
        for der in ca.chain.iter().chain(&cross).chain(&bundle) {
            if !between.contains(der) {
                between.push(der.clone());
            }
        }
        Self {
            root: hex(&fingerprint(ca.der()))[..crate::home::ID].to_owned(),
            digest: bundle_digest(bundle.iter().map(AsRef::as_ref)),
            ca,
            bundle,
            between,
        }
    }

    /// The chain of a certificate, for those who trust the roots.
    pub(crate) fn chain(&self, leaf: CertificateDer<'static>) -> Vec<CertificateDer<'static>> {
        let signed_itself = self.bundle.contains(self.ca.der());
        let between = self.ca.chain.iter().filter(|_| !signed_itself).cloned();
        std::iter::once(leaf).chain(between).collect()
    }

    /// The fingerprint that new tokens name: of a root that is above the authority that signs.
    pub(crate) fn pin(&self) -> [u8; 32] {
        let own = self.bundle.iter().find(|der| *der == self.ca.der());
        let above = || {
            let vouches = |root: &&CertificateDer<'_>| self.ca.is_under(root);
            self.bundle.iter().find(vouches)
        };
        let root = own.or_else(above).unwrap_or_else(|| self.ca.der());
        fingerprint(root)
    }

    /// A certificate for the control plane, under names of its own.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub(crate) fn server(
        &self,
        id: &SpiffeId,
        names: &[String],
        (now, lifetime): (i64, i64),
        random: &Random,
    ) -> Result<ServerCertificate, crate::ca::SignError> {
        let (key, der) = fresh_key()?;
        let wanted = Wanted {
            id,
            names,
            lifetime,
            now,
        };
        let leaf = self.ca.sign(&wanted, &key, random)?;
        let mut chain = vec![leaf.der];
        chain.extend(self.between.iter().cloned());
        Ok(ServerCertificate {
            chain,
            key: der,
            not_before: leaf.not_before,
            not_after: leaf.not_after,
        })
    }

    pub(crate) fn shown(&self) -> Vec<RootShown> {
        let pin = self.pin();
        let shown = self.bundle.iter().map(|der| {
            let (not_before, not_after) = validity(der).unwrap_or_default();
            let fingerprint = fingerprint(der);
            RootShown {
                signs: fingerprint == pin,
                fingerprint: hex(&fingerprint),
                pem: crate::pem::certificates(std::slice::from_ref(der)),
                not_before,
                not_after,
            }
        });
        shown.collect()
    }
}

impl Source {
    pub(crate) fn made(dir: &Path, with: &Opening<'_>) -> Result<(Self, View), OpenError> {
        let home = Home::open(dir, with)?;
        let view = view_of(&home, with.random)?;
        Ok((Self::Made(Box::new(home)), view))
    }

    pub(crate) fn given(files: &MeshCa, with: &Opening<'_>) -> Result<(Self, View), OpenError> {
        let seen = given::contents(files)?;
        let built = given::build(files, &seen, with.domain, with.now, with.random)?;
        let source = Self::Given {
            files: files.clone(),
            seen,
            refused: None,
        };
        Ok((source, view_of_files(built)))
    }

    /// Where a rotation is; `None` where files say what is trusted.
    pub(crate) fn state(&self) -> Option<&State> {
        match self {
            Self::Made(home) => Some(&home.state),
            Self::Given { .. } => None,
        }
    }

    pub(crate) fn problem(&self) -> Option<&str> {
        match self {
            Self::Made(_) => None,
            Self::Given { refused, .. } => refused.as_deref(),
        }
    }

    /// Reads given files again. `None`: nothing new came into force.
    pub(crate) fn look(&mut self, domain: &TrustDomain, now: i64, random: &Random) -> Option<View> {
        let Self::Given {
            files,
            seen,
            refused,
        } = self
        else {
            return None;
        };
        let read = given::contents(files).and_then(|contents| {
            if contents == *seen {
                return Ok(None);
            }
            let built = given::build(files, &contents, domain, now, random)?;
            *seen = contents;
            Ok(Some(view_of_files(built)))
        });
        match read {
            Ok(view) => {
                *refused = None;
                view
            }
            Err(error) => {
                let text = error.to_string();
                if refused.as_ref() != Some(&text) {
                    tracing::warn!("mesh.ca: {text}; what was read before stays in force");
                }
                *refused = Some(text);
                None
            }
        }
    }
}

/// What files put in force.
fn view_of_files(given: Given) -> View {
    if let Some(exposed) = &given.exposed {
        tracing::warn!("mesh.ca.key: {exposed}; whoever has it can be every service of the mesh");
    }
    View::new(Arc::new(given.ca), given.roots, None)
}

/// What a directory's state puts in force. The root that signs is also signed by the other, while there is one: tokens that name
/// that one lead to it.
pub(crate) fn view_of(home: &Home, random: &Random) -> Result<View, OpenError> {
    let (issuer, other) = (home.issuer(), home.other());
    let cross = other.as_ref().map(|other| issuer.under(other, random));
    let mut bundle = vec![issuer.der().clone()];
    bundle.extend(other.iter().map(|other| other.der().clone()));
    Ok(View::new(issuer, bundle, cross.transpose()?))
}
