//! The way to a control plane: where it is, who we are, and one stream.

mod address;
mod line;
mod secure;
mod stream;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status};

pub use address::{Address, AddressError};
pub use line::Line;
pub(crate) use line::Place;
pub use secure::{OwnTls, connect_secure};
pub(crate) use stream::{Stream, with};

/// To connect, and for TLS.
const CONNECT: Duration = Duration::from_secs(5);
/// A control plane that says nothing for this long is asked whether it is there ...
const KEEPALIVE: Duration = Duration::from_secs(20);
/// ... and left after this.
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);

/// What is shown to a control plane and asked of it. The files are read anew for each connection.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Holds a token that names this node.
    pub token_file: Option<PathBuf>,
    /// Authorities that may have issued the control plane's certificate; `None`: those that the machine trusts.
    pub ca: Option<PathBuf>,
    /// Our certificate, with its chain, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// In place of all that: settings of TLS that somebody else keeps current, as for an identity of the mesh.
    pub own: Option<OwnTls>,
}

/// No stream came about, or it ended.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    #[error("{0} cannot be read: {1}")]
    File(PathBuf, std::io::Error),
    #[error("{0} holds no token: it must be one line of visible characters")]
    Token(PathBuf),
    #[error("{0} holds no certificate in PEM")]
    NoCertificate(PathBuf),
    #[error("certificates or key cannot be used: {0}; look at --ca, --cert and --key")]
    Tls(String),
    #[error(
        "cannot connect: {0}; is the control plane there, and does it speak TLS as the address says?"
    )]
    Connect(String),
    #[error(
        "refused by the control plane: {0}; look at --node, --token-file and --cert, and at `nodes` in its configuration"
    )]
    Refused(String),
    #[error("it does not speak xDS over ADS: {0}; look at the address and port")]
    Unimplemented(String),
    #[error("a message is larger than {limit} bytes and was not taken: {text}")]
    TooLarge { limit: usize, text: String },
    #[error("what it sent cannot be read: {0}")]
    Malformed(String),
    #[error("the stream broke: {0}")]
    Broken(String),
    #[error("the control plane closed the stream")]
    Closed,
    #[error("it did not answer within {0:?}")]
    Silent(Duration),
    #[error("it does not read what it is told")]
    Deaf,
    /// By us.
    #[error("what is shown to it was renewed")]
    Renewed,
}

impl ChannelError {
    /// What a status of gRPC means here.
    pub(crate) fn of(status: &Status, limit: usize) -> Self {
        let text = describe(status);
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => Self::Refused(text),
            Code::Unimplemented => Self::Unimplemented(text),
            Code::OutOfRange if text.contains("message length too large") => {
                Self::TooLarge { limit, text }
            }
            // What the decoder of protobuf says.
            Code::Internal if text.contains("decode") => Self::Malformed(text),
            _ => Self::Broken(text),
        }
    }
}

/// A status with what caused it.
fn describe(status: &Status) -> String {
    let mut text = format!("{:?}: {}", status.code(), status.message());
    chain(std::error::Error::source(status), &mut text);
    text
}

fn chain(mut cause: Option<&(dyn std::error::Error + 'static)>, text: &mut String) {
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
}

/// Connects.
pub(crate) async fn connect(address: &Address, access: &Access) -> Result<Channel, ChannelError> {
    if let Some(own) = access.own.as_ref().filter(|_| address.is_secure()) {
        return connect_secure(address, own.now()?).await;
    }
    let endpoint = endpoint(&address.to_string())?.connect_timeout(CONNECT);
    let endpoint = match address.is_secure() {
        true => {
            let tls = tls(access)?;
            let bad = |e: tonic::transport::Error| ChannelError::Tls(whole(&e));
            endpoint.tls_config(tls).map_err(bad)?
        }
        false => endpoint,
    };
    let connecting = endpoint.connect();
    match tokio::time::timeout(2 * CONNECT, connecting).await {
        Ok(connected) => connected.map_err(|e| ChannelError::Connect(whole(&e))),
        Err(_) => Err(ChannelError::Silent(2 * CONNECT)),
    }
}

fn endpoint(uri: &str) -> Result<Endpoint, ChannelError> {
    let endpoint = Endpoint::from_shared(uri.to_owned());
    Ok(endpoint
        .map_err(|e| ChannelError::Connect(e.to_string()))?
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_ANSWER)
        .keep_alive_while_idle(true))
}

fn whole(error: &tonic::transport::Error) -> String {
    let mut text = error.to_string();
    chain(std::error::Error::source(error), &mut text);
    text
}

fn tls(access: &Access) -> Result<ClientTlsConfig, ChannelError> {
    let mut tls = ClientTlsConfig::new().timeout(CONNECT);
    match &access.ca {
        Some(path) => {
            let pem = read(path)?;
            if !pem.windows(11).any(|part| part == b"CERTIFICATE") {
                return Err(ChannelError::NoCertificate(path.clone()));
            }
            tls = tls.ca_certificate(Certificate::from_pem(pem));
        }
        None => tls = tls.trust_anchors(system_roots()),
    }
    if let Some((cert, key)) = &access.identity {
        tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
    }
    Ok(tls)
}

/// The authorities that the machine trusts; one that cannot be read is left out.
fn system_roots() -> Vec<rustls_pki_types::TrustAnchor<'static>> {
    let certificates = rustls_native_certs::load_native_certs().certs;
    let anchors = certificates.iter().filter_map(|der| {
        let anchor = webpki::anchor_from_trusted_cert(der).ok()?;
        Some(anchor.to_owned())
    });
    anchors.collect()
}

/// The token as it is sent; it never shows in a log.
pub(crate) fn token(path: &Path) -> Result<MetadataValue<Ascii>, ChannelError> {
    let bytes = read(path)?;
    let bad = || ChannelError::Token(path.to_path_buf());
    let text = String::from_utf8(bytes).map_err(|_| bad())?;
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad());
    }
    let mut value: MetadataValue<Ascii> = format!("Bearer {text}").parse().map_err(|_| bad())?;
    value.set_sensitive(true);
    Ok(value)
}

fn read(path: &Path) -> Result<Vec<u8>, ChannelError> {
    std::fs::read(path).map_err(|e| ChannelError::File(path.to_path_buf(), e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_line_of_visible_characters() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        for (text, good) in [
            ("secret\n", true),
            ("  secret", true),
            ("", false),
            (" \n", false),
            ("two words", false),
            ("two\nlines", false),
            ("\u{1}", false),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(token(&path).is_ok(), good, "{text:?}");
        }
        std::fs::write(&path, "secret\n").unwrap();
        let value = token(&path).unwrap();
        assert_eq!(value.to_str().unwrap(), "Bearer secret");
        assert!(!format!("{value:?}").contains("secret"));
        let missing = token(Path::new("/no/such/token")).unwrap_err().to_string();
        assert!(missing.contains("/no/such/token"), "{missing}");
    }

    #[test]
    fn a_status_is_told_by_what_is_to_be_looked_at() {
        let of = |code, text: &str| ChannelError::of(&Status::new(code, text), 10).to_string();
        assert!(of(Code::Unauthenticated, "who?").contains("--token-file"));
        assert!(of(Code::Unimplemented, "").contains("ADS"));
        let large = "Error, decoded message length too large: found 11 bytes";
        assert!(of(Code::OutOfRange, large).contains("larger than 10 bytes"));
        assert!(of(Code::Unavailable, "gone").contains("broke"));
    }
}
