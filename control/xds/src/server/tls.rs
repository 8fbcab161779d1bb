//! The server's certificate and whose clients it believes, read from files again when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::sync::watch;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// A certificate or key file larger than this is none.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Authorities whose clients are believed. `None`: clients show no certificate.
    pub client_ca: Option<PathBuf>,
}

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {}: {error}; check the path under control.tls and its permissions", path.display())]
    Read {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("{} is larger than 1 MiB; name a PEM file under control.tls", .0.display())]
    TooLarge(PathBuf),
    #[error("there is no certificate in {}; it is PEM text with -----BEGIN CERTIFICATE-----", .0.display())]
    NoCertificate(PathBuf),
    #[error("there is no private key in {}; it is PEM text with -----BEGIN PRIVATE KEY-----, not encrypted", .0.display())]
    NoKey(PathBuf),
    #[error("{} and {} do not fit: {error}; check that the key belongs to the certificate", cert.display(), key.display())]
    Pair {
        cert: PathBuf,
        key: PathBuf,
        error: rustls::Error,
    },
    #[error("{} cannot be used as authorities of clients: {why}", path.display())]
    Authority { path: PathBuf, why: String },
    #[error("TLS: {0}")]
    Library(#[from] rustls::Error),
}

/// What the files hold, to see that they changed.
#[derive(Clone, PartialEq, Eq)]
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
    /// The mesh's roots, whose workloads are believed beside those; empty: there is no mesh.
    mesh: Vec<CertificateDer<'static>>,
}

/// The mesh's roots as they are now.
pub type MeshRoots = Arc<dyn Fn() -> Vec<CertificateDer<'static>> + Send + Sync>;

/// TLS settings that follow their files.
pub struct Tls {
    files: TlsFiles,
    mesh: Option<MeshRoots>,
    seen: Contents,
    sender: watch::Sender<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what to check.
    pub fn read(files: TlsFiles) -> Result<(Self, watch::Receiver<Arc<ServerConfig>>), TlsError> {
        Self::read_with(files, None)
    }

    /// As [`Tls::read`], for a server whose clients may also be workloads of a mesh. A client then need not show a certificate: what
    /// it may do without is for others to say.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what to check.
    pub fn read_with(
        files: TlsFiles,
        mesh: Option<MeshRoots>,
    ) -> Result<(Self, watch::Receiver<Arc<ServerConfig>>), TlsError> {
        let seen = contents(&files, mesh.as_ref())?;
        let config = build(&files, &seen)?;
        let (sender, receiver) = watch::channel(Arc::new(config));
        let tls = Self {
            files,
            mesh,
            seen,
            sender,
        };
        Ok((tls, receiver))
    }

    /// Looks at the files for as long as somebody takes connections. Connections that are there keep what they have; new
    /// ones get the newest that was good. `told` hears of each change, and why one was not taken.
    pub async fn follow(mut self, told: impl Fn(Result<(), String>)) {
        let mut refused = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.sender.closed() => return,
            }
            match self.look() {
                Ok(false) => {}
                Ok(true) => {
                    refused = None;
                    told(Ok(()));
                }
                Err(error) => {
                    let text = error.to_string();
                    if refused.as_ref() != Some(&text) {
                        told(Err(text.clone()));
                        refused = Some(text);
                    }
                }
            }
        }
    }

    /// Whether something new is in force.
    fn look(&mut self) -> Result<bool, TlsError> {
        let now = contents(&self.files, self.mesh.as_ref())?;
        if now == self.seen {
            return Ok(false);
        }
        let config = build(&self.files, &now)?;
        self.seen = now;
        self.sender.send_replace(Arc::new(config));
        Ok(true)
    }
}

fn contents(files: &TlsFiles, mesh: Option<&MeshRoots>) -> Result<Contents, TlsError> {
    Ok(Contents {
        cert: read(&files.cert)?,
        key: read(&files.key)?,
        client_ca: files.client_ca.as_deref().map(read).transpose()?,
        mesh: mesh.map(|roots| roots()).unwrap_or_default(),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let fail = |error| TlsError::Read {
        path: path.to_owned(),
        error,
    };
    if std::fs::metadata(path).map_err(fail)?.len() > MAX_FILE_BYTES {
        return Err(TlsError::TooLarge(path.to_owned()));
    }
    std::fs::read(path).map_err(fail)
}

fn build(files: &TlsFiles, contents: &Contents) -> Result<ServerConfig, TlsError> {
    let chain = certificates(&files.cert, &contents.cert)?;
    let key = PrivateKeyDer::from_pem_slice(&contents.key)
        .map_err(|_| TlsError::NoKey(files.key.clone()))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let mut roots = RootCertStore::empty();
    if let (Some(path), Some(bytes)) = (&files.client_ca, &contents.client_ca) {
        for der in certificates(path, bytes)? {
            roots.add(der).map_err(|error| TlsError::Authority {
                path: path.clone(),
                why: error.to_string(),
            })?;
        }
    }
    let builder = match (roots.is_empty(), contents.mesh.is_empty()) {
        (true, true) => builder.with_no_client_auth(),
        (_, alone) => {
            for der in &contents.mesh {
                roots.add(der.clone())?;
            }
            builder.with_client_cert_verifier(clients_of(roots, !alone, provider)?)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| TlsError::Pair {
            cert: files.cert.clone(),
            key: files.key.clone(),
            error,
        })?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Settings of a server whose own certificate is of the mesh too.
///
/// # Errors
/// [`TlsError::Library`].
pub fn of_mesh(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    mesh: Vec<CertificateDer<'static>>,
    time: Arc<dyn rustls::time_provider::TimeProvider>,
) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for der in mesh {
        roots.add(der)?;
    }
    let clients = clients_of(roots, true, Arc::clone(&provider))?;
    let mut config = ServerConfig::builder_with_details(provider, time)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// `optional`: a client may show none.
fn clients_of(
    roots: RootCertStore,
    optional: bool,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if optional {
        builder.allow_unauthenticated()
    } else {
        builder
    };
    builder
        .build()
        .map_err(|error| TlsError::Library(rustls::Error::General(error.to_string())))
}

fn certificates(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let none = || TlsError::NoCertificate(path.to_owned());
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or_else(none)
}

/// When a certificate ends. One that cannot be read has ended.
pub(super) fn end_of(der: &CertificateDer<'_>) -> SystemTime {
    let seconds = X509Certificate::from_der(der)
        .ok()
        .and_then(|(_, certificate)| certificate.validity().not_after.timestamp().try_into().ok());
    UNIX_EPOCH + Duration::from_secs(seconds.unwrap_or(0))
}

/// What a certificate calls its holder: the common name, then the DNS names.
pub(super) fn names_of(der: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return Vec::new();
    };
    let common = certificate.subject().iter_common_name();
    let mut names: Vec<String> = common
        .filter_map(|name| name.as_str().ok())
        .map(str::to_owned)
        .collect();
    if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
        for name in &alternative.value.general_names {
            if let GeneralName::DNSName(name) = name
                && !names.iter().any(|known| known == name)
            {
                names.push((*name).to_owned());
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(dir: &Path, names: &[&str]) -> TlsFiles {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let files = TlsFiles {
            cert: dir.join("tls.crt"),
            key: dir.join("tls.key"),
            client_ca: None,
        };
        std::fs::write(&files.cert, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        files
    }

    #[test]
    fn a_renewed_pair_is_taken_and_a_bad_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let files = pair(dir.path(), &["one.example"]);
        let (mut tls, receiver) = Tls::read(files.clone()).unwrap();
        let first = Arc::clone(&receiver.borrow());
        assert!(!tls.look().unwrap(), "nothing changed");
        pair(dir.path(), &["two.example"]);
        assert!(tls.look().unwrap());
        let second = Arc::clone(&receiver.borrow());
        assert!(!Arc::ptr_eq(&first, &second));
        std::fs::write(&files.key, "half a key").unwrap();
        let error = tls.look().unwrap_err().to_string();
        assert!(
            error.contains("no private key") && error.contains("tls.key"),
            "{error}"
        );
        assert!(
            Arc::ptr_eq(&second, &receiver.borrow()),
            "the last good one stays"
        );
    }

    #[test]
    fn a_key_of_another_certificate_is_refused_by_both_names() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut files = pair(one.path(), &["one.example"]);
        files.key = pair(two.path(), &["two.example"]).key;
        let error = Tls::read(files).err().unwrap().to_string();
        assert!(
            error.contains("tls.crt") && error.contains("tls.key"),
            "{error}"
        );
    }

    #[test]
    fn a_certificate_names_its_holder_by_common_name_and_dns_names() {
        let mut params = rcgen::CertificateParams::new(vec!["edge-1.example".to_owned()]).unwrap();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "edge-1");
        let key = rcgen::KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        assert_eq!(names_of(made.der()), ["edge-1", "edge-1.example"]);
        assert_eq!(
            names_of(&CertificateDer::from(vec![1, 2, 3])),
            Vec::<String>::new()
        );
    }
}
