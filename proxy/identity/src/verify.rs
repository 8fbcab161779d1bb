//! Knowing the control plane: by the fingerprint in a token at first contact, by the trusted roots from then on.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256};
use weir_config::model::TrustDomain;
use weir_config::spiffe::id_of;

use crate::identity::Identity;
use crate::world::World;

/// Whom to believe.
#[derive(Debug, Clone)]
pub(crate) enum Trust {
    /// A root that has this first half of its SHA-256, which the server has to send along.
    Pin([u8; 16]),
    /// These roots.
    Roots(Arc<RootCertStore>),
    /// These roots, and the name by which the server was called: it has a certificate of its own.
    Named(Arc<RootCertStore>),
}

/// Settings for a connection to the control plane.
///
/// # Errors
/// When the library takes them not.
pub(crate) fn config(
    trust: Trust,
    domain: Option<TrustDomain>,
    own: Option<&Identity>,
    world: &World,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_details(Arc::clone(&provider), Arc::new(world.clone()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(ControlPlane {
                trust,
                domain,
                provider,
            }));
    match own {
        None => Ok(builder.with_no_client_auth()),
        Some(own) => {
            let chain = own.chain.iter().cloned().map(CertificateDer::from);
            builder.with_client_auth_cert(chain.collect(), own.key.der())
        }
    }
}

/// Accepts one server: the control plane.
#[derive(Debug)]
struct ControlPlane {
    trust: Trust,
    /// `None`: whichever the root that is pinned certifies.
    domain: Option<TrustDomain>,
    provider: Arc<CryptoProvider>,
}

impl ControlPlane {
    fn roots(&self, sent: &[CertificateDer<'_>]) -> Result<Arc<RootCertStore>, Error> {
        let pin = match &self.trust {
            Trust::Roots(roots) | Trust::Named(roots) => return Ok(Arc::clone(roots)),
            Trust::Pin(pin) => pin,
        };
        let pinned = sent.iter().find(|der| Sha256::digest(der).starts_with(pin));
        let Some(pinned) = pinned else {
            return Err(Error::General(
                "the control plane does not show the root that the token names; it is another one, or its root was replaced since: \
                 make a new token with weir token create"
                    .to_owned(),
            ));
        };
        let mut roots = RootCertStore::empty();
        roots.add(pinned.clone().into_owned())?;
        Ok(Arc::new(roots))
    }

    fn check_id(&self, own: &CertificateDer<'_>) -> Result<(), Error> {
        let id = id_of(own).map_err(|invalid| Error::General(invalid.to_string()))?;
        let domain = self.domain.clone().unwrap_or_else(|| id.trust_domain());
        match id.is_control_of(&domain) {
            true => Ok(()),
            false => Err(Error::General(format!(
                "the server is {id} and not the control plane of {domain}"
            ))),
        }
    }
}

impl ServerCertVerifier for ControlPlane {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let roots = self.roots(between)?;
        let parsed = ParsedCertificate::try_from(own)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &parsed, &roots, between, now, algorithms,
        )?;
        match self.trust {
            Trust::Named(_) => rustls::client::verify_server_name(&parsed, name)?,
            Trust::Pin(_) | Trust::Roots(_) => self.check_id(own)?,
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
