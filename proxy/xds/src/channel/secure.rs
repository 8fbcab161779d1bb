//! A connection with settings of TLS that are not files: an identity of the mesh, whose peer is known by its id.

use std::fmt;
use std::io;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::Channel;

use super::address::Address;
use super::line::Line;
use super::{CONNECT, ChannelError, endpoint, whole};

/// Settings of TLS as they are now; each connection asks for them anew.
#[derive(Clone)]
pub struct OwnTls {
    now: Arc<Now>,
    line: Line,
}

type Now = dyn Fn() -> Result<Arc<ClientConfig>, String> + Send + Sync;

impl OwnTls {
    /// Settings that a function gives, or why there are none.
    #[must_use]
    pub fn new(
        now: impl Fn() -> Result<Arc<ClientConfig>, String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            now: Arc::new(now),
            line: Line::default(),
        }
    }

    /// With a line on which others ask, and which is told when there are other settings.
    #[must_use]
    pub fn on(self, line: Line) -> Self {
        Self { line, ..self }
    }

    pub(crate) fn line(&self) -> &Line {
        &self.line
    }

    pub(super) fn now(&self) -> Result<Arc<ClientConfig>, ChannelError> {
        (self.now)().map_err(ChannelError::Tls)
    }
}

impl fmt::Debug for OwnTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnTls")
    }
}

/// Connects over TLS with those settings, HTTP/2 inside.
///
/// # Errors
/// [`ChannelError::Connect`] with why, [`ChannelError::Silent`] when nobody answers.
pub async fn connect_secure(
    address: &Address,
    config: Arc<ClientConfig>,
) -> Result<Channel, ChannelError> {
    let mut config = Arc::unwrap_or_clone(config);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let target = address.clone();
    let connect = tower::service_fn(move |_| {
        let (connector, target) = (connector.clone(), target.clone());
        async move { shake(&connector, &target).await.map(TokioIo::new) }
    });
    // As `http`, because the connector speaks TLS by itself.
    let plain = address.to_string().replacen("https://", "http://", 1);
    let endpoint = endpoint(&plain)?;
    let connecting = endpoint.connect_with_connector(connect);
    match tokio::time::timeout(2 * CONNECT, connecting).await {
        Ok(connected) => connected.map_err(|e| ChannelError::Connect(whole(&e))),
        Err(_) => Err(ChannelError::Silent(2 * CONNECT)),
    }
}

async fn shake(connector: &TlsConnector, address: &Address) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(address.host().to_owned());
    let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let stream = TcpStream::connect((address.host(), address.port())).await?;
    stream.set_nodelay(true)?;
    connector.connect(name, stream).await
}
