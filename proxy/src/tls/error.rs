//! Why there is no TLS connection.

use std::io;

use rustls::Error;

use crate::timer::Rung;

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("the handshake was not finished in time")]
    Late,
    #[error("the handshake was called off")]
    Rung(Rung),
    #[error("the peer went away during the handshake: {0}")]
    Io(#[from] io::Error),
    #[error("plain HTTP came where TLS is spoken")]
    PlainHttp,
    #[error("there is no certificate to show, or no authority to verify the client's by")]
    Unusable,
    #[error("{0}")]
    Tls(#[from] Error),
}

impl From<Rung> for TlsError {
    fn from(rung: Rung) -> Self {
        match rung {
            Rung::Time => Self::Late,
            other => Self::Rung(other),
        }
    }
}

impl TlsError {
    /// For `weir_tls_handshakes_total`: one of a closed set.
    pub(crate) fn result(&self) -> &'static str {
        match self {
            Self::Late => "timeout",
            Self::Rung(_) => "cancelled",
            Self::Io(_) => "closed",
            Self::PlainHttp => "plain_http",
            Self::Unusable => "unusable",
            Self::Tls(error) => match error {
                Error::NoCertificatesPresented => "no_cert",
                Error::InvalidCertificate(_) | Error::InvalidCertRevocationList(_) => "bad_cert",
                Error::AlertReceived(_) => "rejected",
                Error::PeerIncompatible(_) | Error::NoApplicationProtocol => "incompatible",
                _ => "protocol",
            },
        }
    }

    /// Whether the peer was told, and should get to read it.
    pub(super) fn is_told(&self) -> bool {
        matches!(self, Self::PlainHttp | Self::Tls(_))
    }
}
