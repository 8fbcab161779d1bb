//! TLS towards a service's endpoints, compiled.
//!
//! Built off the data path, with the snapshot, and only where the model of it has changed. Sessions are resumed: their store
//! is bounded and belongs to the service, for what one may be trusted with another may not.

mod verify;

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use rustls::client::{Resumption, WebPkiServerVerifier, danger::ServerCertVerifier};
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore};
use tokio::net::TcpStream;
use weir_config::model::{AppProtocol, BackendRoots, BackendTls};

use super::handshake::{drive, drive_alone};
use super::info::{Alpn, TlsInfo};
use super::provider::provider;
use super::server::{ready, root_store};
use super::{TlsError, TlsStream};
use crate::timer::Alarm;
use verify::Verifier;

/// Names with sessions to be resumed, at most eight sessions each. A service has one name, unless it is called by address.
const SESSIONS: usize = 32;

/// The authorities that this machine trusts, read once.
static SYSTEM: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "some of the authorities that the system trusts cannot be read");
    }
    let mut store = RootCertStore::empty();
    let (added, ignored) = store.add_parsable_certificates(found.certs);
    tracing::debug!(added, ignored, "the system's authorities");
    Arc::new(store)
});

/// How a service's endpoints are called over TLS.
#[derive(Debug)]
pub(crate) struct ClientTls {
    model: Arc<BackendTls>,
    protocol: AppProtocol,
    /// `None` where what is needed cannot be used: then nobody is called.
    config: Option<Arc<ClientConfig>>,
    name: Option<ServerName<'static>>,
}

impl ClientTls {
    /// Compiles how a service is called; `previous` is taken over where nothing changed.
    ///
    /// There is always a result. With authorities or a client certificate that cannot be used, every connection fails; that
    /// is logged.
    pub(crate) fn build(
        model: &Arc<BackendTls>,
        protocol: AppProtocol,
        previous: Option<&Arc<Self>>,
    ) -> Arc<Self> {
        if let Some(previous) = previous
            && previous.protocol == protocol
            && (Arc::ptr_eq(&previous.model, model) || previous.model == *model)
        {
            return Arc::clone(previous);
        }
        let config = config(model, protocol).inspect_err(|error| {
            let hostname = model.hostname.as_deref();
            tracing::warn!(%error, hostname, "endpoints cannot be called over TLS");
        });
        let name = model.hostname.clone().map(ServerName::try_from);
        let (config, name) = match (config, name.transpose()) {
            (Ok(config), Ok(name)) => (Some(Arc::new(config)), name),
            _ => (None, None),
        };
        Arc::new(Self {
            model: Arc::clone(model),
            protocol,
            config,
            name,
        })
    }

    /// The name that endpoints are asked for.
    pub(crate) fn hostname(&self) -> Option<&str> {
        self.model.hostname.as_deref()
    }

    /// Whether HTTP/2 is what is spoken where this was agreed on. An endpoint that says nothing of it is believed to speak
    /// what alone was offered, by prior knowledge: servers of gRPC without ALPN are met with.
    pub(crate) fn speaks_h2(&self, agreed: Alpn) -> bool {
        match agreed {
            Alpn::H2 => true,
            Alpn::Http11 => false,
            Alpn::None => self.protocol == AppProtocol::H2c,
        }
    }

    /// A session; it offers `alpn` alone where that is given.
    fn session(&self, endpoint: IpAddr, alpn: Option<Alpn>) -> Result<Connection, TlsError> {
        let config = self.config.as_ref().ok_or(TlsError::Unusable)?;
        let config = match alpn.map(Alpn::as_str) {
            None => Arc::clone(config),
            Some(only) => {
                let mut config = (**config).clone();
                config.alpn_protocols = only.into_iter().map(|name| name.into()).collect();
                Arc::new(config)
            }
        };
        // An address is not sent as a name (RFC 6066, section 3).
        let name = self.name.clone();
        let name = name.unwrap_or_else(|| ServerName::from(endpoint));
        Ok(ClientConnection::new(config, name)?.into())
    }
}

/// Shakes hands with an endpoint on a connection to it; the alarm's deadline bounds it.
pub(crate) async fn connect(
    tcp: TcpStream,
    tls: &ClientTls,
    endpoint: IpAddr,
    alarm: &Alarm,
) -> Result<TlsStream, TlsError> {
    // On the heap, for as long as it lasts: requests' futures are to be small.
    Box::pin(async move {
        let (mut tcp, mut session) = (tcp, tls.session(endpoint, None)?);
        drive(&mut tcp, &mut session, &mut &b""[..], alarm).await?;
        Ok(up(tcp, session))
    })
    .await
}

/// The same for one protocol, or with none: for what is passed on as it is.
pub(crate) async fn connect_as(
    tcp: TcpStream,
    tls: &ClientTls,
    endpoint: IpAddr,
    alarm: &Alarm,
    alpn: Alpn,
) -> Result<TlsStream, TlsError> {
    Box::pin(async move {
        let (mut tcp, mut session) = (tcp, tls.session(endpoint, Some(alpn))?);
        drive(&mut tcp, &mut session, &mut &b""[..], alarm).await?;
        Ok(up(tcp, session))
    })
    .await
}

/// The same off the workers, for a check that speaks one protocol; the caller bounds it.
pub(crate) async fn connect_alone(
    mut tcp: TcpStream,
    tls: &ClientTls,
    endpoint: IpAddr,
    alpn: Alpn,
) -> Result<TlsStream, TlsError> {
    let mut session = tls.session(endpoint, Some(alpn))?;
    drive_alone(&mut tcp, &mut session).await?;
    Ok(up(tcp, session))
}

fn up(tcp: TcpStream, session: Connection) -> TlsStream {
    let info = TlsInfo::of(&session);
    TlsStream::new(tcp, session, info)
}

fn config(model: &BackendTls, protocol: AppProtocol) -> Result<ClientConfig, ClientError> {
    let builder =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier(model)?);
    let mut config = match &model.client {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            let certificate = SingleCertAndKey::from(ready(certificate)?);
            builder.with_client_cert_resolver(Arc::new(certificate))
        }
    };
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    let offered = match protocol {
        AppProtocol::Http => &[Alpn::H2, Alpn::Http11][..],
        AppProtocol::Http1 => &[Alpn::Http11],
        AppProtocol::H2c => &[Alpn::H2],
    };
    let names = offered.iter().filter_map(|alpn| alpn.as_str());
    config.alpn_protocols = names.map(|name| name.into()).collect();
    Ok(config)
}

fn verifier(model: &BackendTls) -> Result<Arc<dyn ServerCertVerifier>, ClientError> {
    let roots = match &model.roots {
        BackendRoots::Insecure => return Ok(Arc::new(Verifier::Anyone)),
        BackendRoots::System => Arc::clone(&SYSTEM),
        BackendRoots::Given(roots) => Arc::new(root_store(roots)),
    };
    if !model.alt_names.is_empty() && !roots.is_empty() {
        let names = model.alt_names.clone();
        return Ok(Arc::new(Verifier::OneOf { roots, names }));
    }
    let builder = WebPkiServerVerifier::builder_with_provider(roots, provider());
    Ok(builder.build()?)
}

/// Why endpoints cannot be called.
#[derive(Debug, thiserror::Error)]
enum ClientError {
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    #[error("{0}")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

#[cfg(test)]
mod tests;
