//! The identity of the proxy in the control plane's own process, by which it calls services of the mesh.

use std::sync::Arc;

use rustls::pki_types::PrivateKeyDer;
use tokio::sync::watch;
use weir_config::model::ServiceName;

use super::Mesh;
use super::renewed::Renewed;

/// A certificate with its key, and whom it goes with. Whose it is, and until when, stands in it.
pub struct EdgeIdentity {
    /// In DER, the certificate first.
    pub chain: Vec<Vec<u8>>,
    pub key: PrivateKeyDer<'static>,
    /// The roots, in DER.
    pub bundle: Vec<Vec<u8>>,
}

/// It, kept current.
pub(crate) type Edge = Renewed<EdgeIdentity, String>;

/// Makes the first.
///
/// # Errors
/// When the authority cannot sign, in words.
pub(crate) fn edge(
    mesh: Arc<Mesh>,
    service: ServiceName,
) -> Result<(Edge, watch::Receiver<Arc<EdgeIdentity>>), String> {
    Renewed::first(mesh, "mesh: the identity of this proxy", move |mesh| {
        build(mesh, &service)
    })
}

fn build(mesh: &Mesh, service: &ServiceName) -> Result<(EdgeIdentity, i64), String> {
    let own = mesh.authority.own(service);
    let own = own.map_err(|error| error.to_string())?;
    let ders = |all: Vec<rustls::pki_types::CertificateDer<'static>>| {
        all.into_iter().map(|der| der.as_ref().to_vec()).collect()
    };
    let identity = EdgeIdentity {
        chain: ders(own.chain),
        key: own.key,
        bundle: ders(mesh.authority.roots()),
    };
    Ok((identity, own.not_after))
}
