//! TLS as a file writes it: what listeners show and ask for, and how a service's endpoints are called.

use std::path::PathBuf;

use super::At;
use super::object::{object, words};
use crate::model::{Alpn, ClientAuthMode, TlsVersion};

object! {
    /// How TLS is ended on a listener of protocol https.
    ListenerTls = "tls" {
        /// The first is shown to clients that name no host, or one that none of them is for.
        certificates: Vec<CertificateRef> = "certificates",
        /// Makes a certificate for development that no client trusts. Default false.
        self_signed: At<bool> = "selfSigned",
        /// 1.2 (default) or 1.3.
        min_version: At<TlsVersion> = "minVersion",
        /// h2 and http/1.1, the preferred first. Default both.
        alpn: Vec<At<Alpn>> = "alpn",
        /// What is asked of clients. Default nothing.
        client_auth: ClientAuth = "clientAuth",
        /// Hosts for which something else is asked of clients.
        hosts: Vec<HostTls> = "hosts",
    }
}

object! {
    /// A certificate with its key, or a directory of such pairs.
    CertificateRef = "a certificate" {
        /// A file in PEM: the certificate, then those that lead to its authority.
        cert: At<PathBuf> = "cert",
        /// A file in PEM with the private key; it may be the same file.
        key: At<PathBuf> = "key",
        /// A file in DER with an answer of the authority's OCSP responder, to be stapled.
        ocsp: At<PathBuf> = "ocsp",
        /// Every NAME.crt or NAME.pem in it that has a NAME.key beside it.
        directory: At<PathBuf> = "directory",
    }
}

object! {
    /// Certificates of clients.
    ClientAuth = "clientAuth" {
        /// require (default): a client without a valid one is refused. optional: one that is shown must be valid.
        mode: At<ClientAuthMode> = "mode",
        /// A file in PEM with the authorities that may have issued them.
        #[schemars(required)]
        ca: At<PathBuf> = "ca",
    }
}

object! {
    /// What is asked of the clients of some hosts.
    HostTls = "tls.hosts" {
        /// shop.example.com, or *.example.com for one or more labels in front.
        #[schemars(required)]
        hostnames: Vec<At<String>> = "hostnames",
        /// Instead of the listener's. Default nothing.
        client_auth: ClientAuth = "clientAuth",
    }
}

object! {
    /// How endpoints are called over TLS. Its presence turns it on.
    BackendTls = "tls" {
        /// Whom to believe that they are the service.
        #[schemars(required)]
        validation: BackendValidation = "validation",
        /// What endpoints are shown that ask for a certificate.
        client_certificate: CertificateRef = "clientCertificate",
    }
}

object! {
    /// Whom to believe that they are the service (Gateway API, BackendTLSPolicyValidation).
    BackendValidation = "tls.validation" {
        /// Files in PEM with the authorities that may have issued an endpoint's certificate.
        ca_certificates: Vec<At<PathBuf>> = "caCertificates",
        /// System: the authorities that this machine trusts.
        well_known_ca_certificates: At<WellKnown> = "wellKnownCACertificates",
        /// The name that is asked for (SNI), and that the certificate must have.
        hostname: At<String> = "hostname",
        /// Names of which the certificate must have one, in place of hostname.
        subject_alt_names: Vec<SubjectAltName> = "subjectAltNames",
        /// Believes anybody. For development. Default false.
        insecure_skip_verify: At<bool> = "insecureSkipVerify",
    }
}

words! {
    /// Authorities that need no file.
    WellKnown = "a set of authorities" { System = "System" }
}

object! {
    /// A name in a certificate.
    SubjectAltName = "a subject alternative name" {
        #[schemars(required)]
        kind: At<AltNameKind> = "type",
        /// With type Hostname.
        hostname: At<String> = "hostname",
        /// With type URI.
        uri: At<String> = "uri",
    }
}

words! {
    /// What a name is.
    AltNameKind = "a type of subject alternative name" { Hostname = "Hostname", Uri = "URI" }
}

/// A closed set of words that the model has as a type already.
macro_rules! spelled {
    ($ty:ty, $what:literal, [$($value:expr),*]) => {
        impl super::Scalar for $ty {
            const WHAT: &'static str = $what;

            fn parse(text: &str) -> Result<Self, super::Refused> {
                let all = [$($value),*];
                let found = all.into_iter().find(|value| value.text() == text);
                found.ok_or_else(|| super::Refused::word($what, text, &all.map(|value| value.text())))
            }

            fn schema() -> schemars::Schema {
                schemars::json_schema!({ "enum": [$($value.text()),*] })
            }
        }
    };
}
pub(super) use spelled;

spelled!(
    TlsVersion,
    "a version of TLS",
    [TlsVersion::V12, TlsVersion::V13]
);
spelled!(Alpn, "a protocol of ALPN", [Alpn::H2, Alpn::Http11]);
spelled!(
    ClientAuthMode,
    "a mode of clientAuth",
    [ClientAuthMode::Optional, ClientAuthMode::Require]
);
