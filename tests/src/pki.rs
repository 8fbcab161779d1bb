//! Certificates for the tests, made when they are asked for: an authority and what it signs.
//!
//! All keys are P-256. Nothing is kept on disk but what a test writes with [`Identity::write`].

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

/// Who signs.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub cert_pem: String,
    pub key_pem: String,
    /// The leaf first, its issuers behind it, as a server sends them.
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

/// The files of an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    /// A root of that common name.
    ///
    /// # Panics
    /// When the machine gives no randomness.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let issuer = CertifiedIssuer::self_signed(issuing(name), key()).expect("a root");
        Self { issuer }
    }

    /// An authority of that common name below this one. What it signs carries its certificate.
    ///
    /// # Panics
    /// When the machine gives no randomness.
    #[must_use]
    pub fn intermediate(&self, name: &str) -> Self {
        let issuer = CertifiedIssuer::signed_by(issuing(name), key(), &self.issuer);
        Self {
            issuer: issuer.expect("an intermediate"),
        }
    }

    /// Its own certificate.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Writes its certificate to `NAME.pem` in that directory.
    ///
    /// # Panics
    /// When the file cannot be written.
    #[must_use]
    pub fn write(&self, dir: &Path, name: &str) -> PathBuf {
        let path = dir.join(format!("{name}.pem"));
        std::fs::write(&path, self.pem()).expect("write the authority's certificate");
        path
    }

    /// Writes its certificate and its key to `NAME.crt` and `NAME.key` in that directory, for who issues in its place.
    ///
    /// # Panics
    /// When a file cannot be written.
    #[must_use]
    pub fn write_issuer(&self, dir: &Path, name: &str) -> Files {
        let issuer = Identity {
            cert_pem: self.pem(),
            key_pem: self.issuer.key().serialize_pem(),
            chain: vec![self.issuer.der().clone()],
            key: self.issuer.key().serialize_der(),
        };
        issuer.write(dir, name)
    }

    /// A store that trusts nobody else.
    ///
    /// # Panics
    /// Never: the certificate was just made.
    #[must_use]
    pub fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        let der = self.issuer.der().clone();
        roots.add(der).expect("a root that was just made");
        Arc::new(roots)
    }

    /// A server's certificate for these names: hosts, wildcards (`*.a.example`) and IP addresses.
    #[must_use]
    pub fn server(&self, names: &[&str]) -> Identity {
        self.signed(names, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        })
    }

    /// A server's certificate whose time has passed.
    #[must_use]
    pub fn expired(&self, names: &[&str]) -> Identity {
        self.signed(names, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        })
    }

    /// A server's certificate whose time has not come.
    #[must_use]
    pub fn not_yet_valid(&self, names: &[&str]) -> Identity {
        self.signed(names, |params| {
            params.not_before = date_time_ymd(2200, 1, 1);
            params.not_after = date_time_ymd(2201, 1, 1);
        })
    }

    /// A client's certificate with these names; a text with `://` is a URI, as SPIFFE ids are.
    ///
    /// # Panics
    /// When a URI is not ASCII.
    #[must_use]
    pub fn client(&self, names: &[&str]) -> Identity {
        let (uris, names): (Vec<&str>, Vec<&str>) = names.iter().partition(|n| n.contains("://"));
        self.signed(&names, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            for uri in uris {
                let uri = uri.try_into().expect("a URI in ASCII");
                params.subject_alt_names.push(SanType::URI(uri));
            }
        })
    }

    /// A certificate for these names with a last change to what it says.
    ///
    /// # Panics
    /// When a name cannot be put into a certificate.
    #[must_use]
    pub fn signed(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let common = names.first().cloned().unwrap_or_else(|| "weir test".into());
        let mut params = CertificateParams::new(names).expect("names of a certificate");
        params.distinguished_name.push(DnType::CommonName, common);
        // As long as public authorities sign for, so that scanners find nothing to say.
        params.not_before = OffsetDateTime::now_utc() - Duration::days(1);
        params.not_after = OffsetDateTime::now_utc() + Duration::days(90);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        change(&mut params);
        let key = key();
        let leaf = params.signed_by(&key, &self.issuer).expect("a certificate");
        // A root in the chain is superfluous, but no error (RFC 8446, section 4.4.2).
        let issuer = self.issuer.der().clone();
        Identity {
            cert_pem: leaf.pem() + &self.issuer.pem(),
            key_pem: key.serialize_pem(),
            chain: vec![leaf.der().clone(), issuer],
            key: key.serialize_der(),
        }
    }
}

impl Identity {
    /// Writes `NAME.crt` and `NAME.key` into that directory.
    ///
    /// # Panics
    /// When a file cannot be written.
    pub fn write(&self, dir: &Path, name: &str) -> Files {
        let files = Files {
            cert: dir.join(format!("{name}.crt")),
            key: dir.join(format!("{name}.key")),
        };
        std::fs::write(&files.cert, &self.cert_pem).expect("write the certificate");
        // For its owner alone, as Weir warns of others.
        let mut key = std::fs::OpenOptions::new();
        key.write(true).create(true).truncate(true).mode(0o600);
        let mut key = key.open(&files.key).expect("open the key's file");
        key.write_all(self.key_pem.as_bytes())
            .expect("write the key");
        files
    }

    /// The chain in DER.
    #[must_use]
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.clone()
    }

    /// The leaf in DER.
    #[must_use]
    pub fn leaf(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }

    /// The key in DER.
    #[must_use]
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a P-256 key")
}

fn issuing(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2200, 1, 1);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
