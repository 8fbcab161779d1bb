//! Secrets: certificates with their keys, and authorities, as PEM text.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, TlsCertificate, secret,
};
use rustls_pki_types::PrivateKeyDer;
use weir_config::model::{Certificate, Roots, Source};
use weir_config::pem;

use crate::keys::Held;
use crate::refusal::{Refusal, Within as _, take};

pub(crate) fn encode_certificate(name: &str, own: &Certificate) -> Secret {
    let key = own.key.der();
    let label = match &key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    Secret {
        name: name.to_owned(),
        r#type: Some(secret::Type::TlsCertificate(TlsCertificate {
            certificate_chain: inline(certificates(&own.chain).into_bytes()),
            private_key: inline(block(label, key.secret_der()).into_bytes()),
            ocsp_staple: own.ocsp.as_ref().and_then(|own| inline(own.der.clone())),
            ..TlsCertificate::default()
        })),
    }
}

pub(crate) fn encode_authorities(name: &str, own: &Roots) -> Secret {
    Secret {
        name: name.to_owned(),
        r#type: Some(secret::Type::ValidationContext(
            CertificateValidationContext {
                trusted_ca: inline(certificates(&own.ders).into_bytes()),
                ..CertificateValidationContext::default()
            },
        )),
    }
}

fn inline(bytes: Vec<u8>) -> Option<DataSource> {
    Some(DataSource {
        specifier: Some(data_source::Specifier::InlineBytes(bytes)),
        ..DataSource::default()
    })
}

fn certificates(ders: &[Vec<u8>]) -> String {
    ders.iter().map(|der| block("CERTIFICATE", der)).collect()
}

/// Characters of a line of PEM text (RFC 7468, section 2).
const LINE: usize = 64;

fn block(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while let Some((line, more)) = rest
        .split_at_checked(LINE.min(rest.len()))
        .filter(|(line, _)| !line.is_empty())
    {
        out.push_str(line);
        out.push('\n');
        rest = more;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

pub(crate) fn decode(wire: Secret) -> Result<(String, Held), Refusal> {
    let Secret { name, r#type } = wire;
    let held = match r#type {
        None => return Err(Refusal::new("holds nothing").within("type")),
        Some(secret::Type::TlsCertificate(wire)) => Held::Certificate(Arc::new(
            certificate(name.clone(), wire).within("tls_certificate")?,
        )),
        Some(secret::Type::ValidationContext(wire)) => Held::Roots(Arc::new(
            validation(name.clone(), wire).within("validation_context")?,
        )),
        Some(secret::Type::SessionTicketKeys(_)) => {
            return Err(Refusal::unsupported("session_ticket_keys"));
        }
        Some(secret::Type::GenericSecret(_)) => return Err(Refusal::unsupported("generic_secret")),
    };
    Ok((name, held))
}

fn validation(name: String, wire: CertificateValidationContext) -> Result<Roots, Refusal> {
    let rest = CertificateValidationContext {
        trusted_ca: None,
        ..wire.clone()
    };
    if crate::refusal::is_set(&rest) {
        return Err(Refusal::new(
            "says more than trusted_ca, which is all that is supported in a secret",
        ));
    }
    let source = wire
        .trusted_ca
        .ok_or_else(|| Refusal::missing("trusted_ca"))?;
    authorities(name, source).within("trusted_ca")
}

/// The authorities of that text.
pub(crate) fn authorities(name: String, source: DataSource) -> Result<Roots, Refusal> {
    pem::roots(name, &held(source)?).map_err(Refusal::new)
}

/// A certificate with its key; they must belong together.
pub(crate) fn certificate(name: String, wire: TlsCertificate) -> Result<Certificate, Refusal> {
    take!(wire => TlsCertificate { certificate_chain, private_key, ocsp_staple } refuse {
        pkcs12, watched_directory, private_key_provider, password, signed_certificate_timestamp, tls_params,
    });
    let required = |source: Option<DataSource>, field| {
        held(source.ok_or_else(|| Refusal::missing(field))?).within(field)
    };
    let chain = required(certificate_chain, "certificate_chain")?;
    let key = required(private_key, "private_key")?;
    let ocsp = ocsp_staple.map(held).transpose().within("ocsp_staple")?;
    pem::certificate(name, &chain, &key, ocsp.as_deref(), Source::default()).map_err(Refusal::new)
}

/// What is said in place: a control plane names no files of this machine.
fn held(source: DataSource) -> Result<Vec<u8>, Refusal> {
    take!(source => DataSource { specifier } refuse { watched_directory });
    match specifier {
        None => Err(Refusal::new("is empty")),
        Some(data_source::Specifier::InlineBytes(bytes)) => Ok(bytes),
        Some(data_source::Specifier::InlineString(text)) => Ok(text.into_bytes()),
        Some(data_source::Specifier::Filename(_)) => Err(Refusal::unsupported("filename")),
        Some(data_source::Specifier::EnvironmentVariable(_)) => {
            Err(Refusal::unsupported("environment_variable"))
        }
    }
}
