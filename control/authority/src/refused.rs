//! Why somebody does not get a certificate.

use weir_config::model::Invalid;

use crate::ca::SignError;
use crate::csr::CsrError;
use crate::error::OpenError;
use crate::records::RecordsError;
use crate::rotation::RotateError;
use crate::token::{NoToken, TokenRefused};

/// Why no certificate was handed out. The text is for whoever asked.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error(
        "neither a token nor a certificate of the mesh was shown; give a token from weir token create"
    )]
    NoProof,
    #[error(transparent)]
    NoToken(#[from] NoToken),
    #[error(transparent)]
    Token(#[from] TokenRefused),
    #[error("too many wrong tokens came from this address; it is listened to again in a minute")]
    TooMany,
    #[error(
        "the certificate shown is of {own:?}, and one for service {asked:?} was asked for; get it with a token of that service"
    )]
    OtherService { own: String, asked: String },
    #[error(
        "as many certificates of service {0:?} hold as may at once; some end by themselves, and weir cert show counts them"
    )]
    TooManyCertificates(String),
    #[error(transparent)]
    Service(#[from] Invalid),
    #[error(transparent)]
    Csr(#[from] CsrError),
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error("nothing can be kept: {0}")]
    Records(#[from] RecordsError),
}

impl Refused {
    /// The reason in one word, for counting.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NoProof => "no_proof",
            Self::NoToken(_) => "no_token",
            Self::Token(TokenRefused::Unknown) => "wrong_token",
            Self::Token(TokenRefused::Expired) => "expired_token",
            Self::Token(TokenRefused::Used) => "used_token",
            Self::Token(TokenRefused::OtherService) | Self::OtherService { .. } => "other_service",
            Self::TooMany => "too_many",
            Self::TooManyCertificates(_) => "too_many_certificates",
            Self::Service(_) => "bad_service",
            Self::Csr(_) => "bad_request",
            Self::Sign(_) => "cannot_sign",
            Self::Records(_) => "cannot_keep",
        }
    }

    /// Whether it is about a token that is not right, which somebody may be trying out.
    pub(crate) const fn is_guess(&self) -> bool {
        matches!(self, Self::NoToken(_) | Self::Token(_))
    }
}

/// Why a rotation does not go on.
#[derive(Debug, thiserror::Error)]
pub enum RotationRefused {
    #[error(transparent)]
    Step(#[from] RotateError),
    #[error(
        "the authority is given as files: add the new root to mesh.ca.root, wait for one lifetime of a certificate, put the new \
         cert and key in place, wait again, and take the old root out; each file is read again when it changes"
    )]
    Files,
    #[error(transparent)]
    Open(#[from] OpenError),
}
