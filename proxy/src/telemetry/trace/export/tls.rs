//! TLS to a receiver, by the authorities that the machine trusts.
//!
//! Nothing of a request passes here: this is the auxiliary thread's own connection, which is why it is tokio's adapter that
//! speaks, and not the data path's.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use weir_config::model::{Otlp, OtlpProtocol};

use super::client::Fault;

pub(super) async fn connect(otlp: &Otlp, stream: TcpStream) -> Result<TlsStream<TcpStream>, Fault> {
    let name = ServerName::try_from(otlp.host.clone());
    let name = name.map_err(|error| Fault::Final(format!("no name for TLS: {error}")))?;
    let connector = TlsConnector::from(Arc::new(settings(otlp.protocol)?));
    connector
        .connect(name, stream)
        .await
        .map_err(Fault::passing)
}

/// Read anew for each connection, which are few: authorities may have been added.
fn settings(protocol: OtlpProtocol) -> Result<ClientConfig, Fault> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(Fault::passing(
            "the machine has no certificate authorities (SSL_CERT_FILE names a file of them)",
        ));
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(Fault::passing)?;
    let mut settings = builder.with_root_certificates(roots).with_no_client_auth();
    settings.alpn_protocols = vec![match protocol {
        OtlpProtocol::Grpc => b"h2".to_vec(),
        OtlpProtocol::Http => b"http/1.1".to_vec(),
    }];
    Ok(settings)
}
