//! The certificate that the control plane shows where it is given none: one of the mesh, made in memory and renewed there.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use tokio::sync::watch;
use weir_xds::server::tls::{TlsError, of_mesh};

use super::Mesh;
use super::renewed::Renewed;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum OwnError {
    #[error("mesh: {0}")]
    Sign(String),
    #[error("mesh: {0}")]
    Tls(#[from] TlsError),
}

/// Settings of TLS that are kept current.
pub(crate) type Own = Renewed<ServerConfig, OwnError>;

/// Makes the first.
///
/// # Errors
/// When the authority cannot sign.
pub(crate) fn own(mesh: Arc<Mesh>) -> Result<(Own, watch::Receiver<Arc<ServerConfig>>), OwnError> {
    Renewed::first(mesh, "the control plane's own certificate", build)
}

fn build(mesh: &Mesh) -> Result<(ServerConfig, i64), OwnError> {
    let own = mesh.authority.server(&mesh.names);
    let own = own.map_err(|error| OwnError::Sign(error.to_string()))?;
    let time = Arc::new(Time(Arc::clone(&mesh.world.now)));
    let config = of_mesh(own.chain, own.key, mesh.authority.roots(), time)?;
    Ok((config, own.not_after))
}

/// The authority's clock, for the library.
struct Time(Arc<dyn Fn() -> i64 + Send + Sync>);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from((self.0)()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}
