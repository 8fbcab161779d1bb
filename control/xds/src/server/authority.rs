//! The mesh's authority on the same port: who asks is known by its connection, and the rest is decided elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use tonic::{Request, Status};
use weir_config::model::SpiffeId;
use weir_wire::mesh::{
    Authority, AuthorityServer, BundleRequest, BundleResponse, IssueRequest, IssueResponse,
};

use super::accept::Peer;
use super::refusals::Refusals;

/// Who did not get a certificate is told so, and it is logged.
#[derive(Debug)]
pub struct MeshRefusal {
    /// The reason in one word.
    pub word: &'static str,
    pub status: Status,
}

/// Knows the mesh's identities, and hands them out.
#[tonic::async_trait]
pub trait Mesh: Send + Sync + 'static {
    /// Who it is that shows this chain, now.
    fn identify(&self, chain: &[CertificateDer<'static>]) -> Option<SpiffeId>;

    /// Hands out a certificate to somebody that shows this chain, which may be empty.
    async fn issue(
        &self,
        from: SocketAddr,
        chain: &[CertificateDer<'static>],
        request: IssueRequest,
    ) -> Result<IssueResponse, MeshRefusal>;

    /// Says what is trusted to somebody that shows this chain, which may be empty.
    fn bundle(&self, chain: &[CertificateDer<'static>], request: &BundleRequest) -> BundleResponse;
}

pub(super) struct Desk {
    mesh: Arc<dyn Mesh>,
    refusals: Refusals,
}

pub(super) fn service(mesh: Arc<dyn Mesh>) -> AuthorityServer<Desk> {
    let refusals = Refusals::of_certificates();
    AuthorityServer::new(Arc::new(Desk { mesh, refusals }))
}

#[tonic::async_trait]
impl Authority for Desk {
    async fn issue(&self, request: Request<IssueRequest>) -> Result<IssueResponse, Status> {
        let peer = peer(&request)?;
        let issued = self
            .mesh
            .issue(peer.address, &peer.chain, request.into_inner());
        issued.await.map_err(|refusal| {
            let text = refusal.status.message();
            self.refusals.note(refusal.word, peer.address, text);
            refusal.status
        })
    }

    async fn bundle(&self, request: Request<BundleRequest>) -> Result<BundleResponse, Status> {
        let peer = peer(&request)?;
        Ok(self.mesh.bundle(&peer.chain, request.get_ref()))
    }
}

fn peer<M>(request: &Request<M>) -> Result<Peer, Status> {
    let peer = request.extensions().get::<Peer>().cloned();
    peer.ok_or_else(|| Status::internal("the connection has no peer"))
}
