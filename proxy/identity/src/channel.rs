//! A connection to the authority, for one question: a certificate that was renewed is shown from the next one on.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tonic::{Code, Status};
use weir_config::model::TrustDomain;
use weir_wire::mesh::AuthorityClient;
use weir_xds_client::{Address, connect_secure};

use crate::identity::Identity;
use crate::verify::{Trust, config};
use crate::world::World;

/// Why a question was not answered as hoped for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AskError {
    /// Asking again changes nothing.
    #[error("{0}")]
    Refused(String),
    /// It may go well the next time.
    #[error("{0}")]
    Failed(String),
}

impl AskError {
    pub(crate) fn failed(text: impl std::fmt::Display) -> Self {
        Self::Failed(text.to_string())
    }
}

impl From<Status> for AskError {
    fn from(status: Status) -> Self {
        let text = status.message().to_owned();
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied | Code::InvalidArgument => {
                Self::Refused(format!("refused by the control plane: {text}"))
            }
            Code::Unimplemented => Self::Refused(format!(
                "the control plane has no authority: {text}; give it a mesh section"
            )),
            code => Self::Failed(format!("{code:?}: {text}")),
        }
    }
}

/// Connects, as who `own` is.
pub(crate) async fn connect(
    address: &Address,
    trust: Trust,
    domain: Option<TrustDomain>,
    own: Option<&Identity>,
    world: &World,
) -> Result<AuthorityClient, AskError> {
    let config = config(trust, domain, own, world).map_err(AskError::failed)?;
    let channel = connect_secure(address, Arc::new(config)).await;
    channel.map(AuthorityClient::new).map_err(AskError::failed)
}

/// Whom somebody believes that has an identity; `ca` are the authorities of a control plane with a certificate of its own.
pub(crate) fn trust_of(own: &Identity, ca: Option<&Path>) -> Result<Trust, AskError> {
    if let Some(path) = ca {
        return Ok(Trust::Named(Arc::new(roots_of_file(path)?)));
    }
    let ders = own
        .bundle
        .iter()
        .map(|der| CertificateDer::from(der.as_slice()));
    let roots = roots_of(&ders.collect::<Vec<_>>()).map_err(AskError::failed)?;
    Ok(Trust::Roots(Arc::new(roots)))
}

/// The roots of a PEM file.
pub(crate) fn roots_of_file(path: &Path) -> Result<RootCertStore, AskError> {
    let fail = |why: String| AskError::Failed(format!("{}: {why}; look at --ca", path.display()));
    let pem = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
    let ders: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let ders = ders.ok().filter(|ders| !ders.is_empty());
    let ders = ders.ok_or_else(|| fail("it holds no certificate in PEM".into()))?;
    roots_of(&ders).map_err(|error| fail(error.to_string()))
}

fn roots_of(ders: &[CertificateDer<'_>]) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for der in ders {
        roots.add(der.clone().into_owned())?;
    }
    Ok(roots)
}
