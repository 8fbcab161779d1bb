//! What workloads ask, answered.

#![allow(
    clippy::result_large_err,
    reason = "tonic's own type is what a call ends with"
)]

use std::net::SocketAddr;

use rustls::pki_types::CertificateDer;
use tonic::Status;
use weir_authority::{Asked, Refused};
use weir_config::model::SpiffeId;
use weir_wire::mesh::{BundleRequest, BundleResponse, IssueRequest, IssueResponse};
use weir_xds::server::MeshRefusal;

use super::Mesh;

#[tonic::async_trait]
impl weir_xds::server::Mesh for Mesh {
    fn identify(&self, chain: &[CertificateDer<'static>]) -> Option<SpiffeId> {
        let shown = self.authority.identify(chain).ok()?;
        Some(shown.id)
    }

    async fn issue(
        &self,
        from: SocketAddr,
        chain: &[CertificateDer<'static>],
        request: IssueRequest,
    ) -> Result<IssueResponse, MeshRefusal> {
        let shown = self.authority.identify(chain);
        let asked = Asked {
            csr: &request.csr,
            service: &request.service,
            token: &request.token,
            shown: shown.as_ref().ok(),
            from: from.ip(),
        };
        let issued = self.authority.issue(&asked).await.map_err(|refused| {
            self.note_refused(refused.word());
            let why = shown.as_ref().err().filter(|_| !chain.is_empty());
            refusal(&refused, why.map(String::as_str))
        })?;
        self.note_issued();
        // Renewals are many, and say nothing new.
        match request.token.is_empty() {
            true => tracing::debug!(id = %issued.id, %from, "a certificate was renewed"),
            false => tracing::info!(id = %issued.id, %from, "a workload joined the mesh"),
        }
        Ok(IssueResponse {
            chain: ders(&issued.chain),
            bundle: ders(&issued.bundle),
            not_after: issued.not_after,
            ask_again_ms: millis(issued.ask_again),
        })
    }

    fn bundle(&self, chain: &[CertificateDer<'static>], request: &BundleRequest) -> BundleResponse {
        self.note_asked();
        let shown = self.authority.identify(chain).ok();
        let bundle = self.authority.bundle(shown.as_ref(), &request.have);
        BundleResponse {
            bundle: ders(&bundle.ders),
            renew: bundle.renew,
            ask_again_ms: millis(bundle.ask_again),
        }
    }
}

/// `unknown`: why the certificate that was shown is nobody's.
fn refusal(refused: &Refused, unknown: Option<&str>) -> MeshRefusal {
    let text = match (refused, unknown) {
        (Refused::NoProof, Some(why)) => {
            format!(
                "the certificate that was shown is not one of this mesh now ({why}), and no token was sent"
            )
        }
        _ => refused.to_string(),
    };
    let status = match refused {
        Refused::NoProof | Refused::NoToken(_) | Refused::Token(_) => Status::unauthenticated(text),
        Refused::OtherService { .. } => Status::permission_denied(text),
        Refused::TooMany | Refused::TooManyCertificates(_) => Status::resource_exhausted(text),
        Refused::Service(_) | Refused::Csr(_) => Status::invalid_argument(text),
        Refused::Sign(_) => Status::failed_precondition(text),
        Refused::Records(_) => Status::unavailable(text),
    };
    MeshRefusal {
        word: refused.word(),
        status,
    }
}

fn ders(certificates: &[CertificateDer<'_>]) -> Vec<Vec<u8>> {
    certificates.iter().map(|der| der.to_vec()).collect()
}

fn millis(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(1000)
}
