//! How a service's endpoints are called over TLS, as Weir's own files and Istio's rules say it.

use std::sync::Arc;

use rustls_pki_types::ServerName;

use super::keyring::Keyring;
use crate::compile::report::Report;
use crate::diagnostic::{Place, suggest};
use crate::model::{AltName, BackendRoots, BackendTls, Certificate};
use crate::raw::{self, AltNameKind, At};

/// Most names that a certificate may be told by.
const MAX_NAMES: usize = 64;

/// Of a service's own entry; `None` if it must be left out.
pub(crate) fn backend(
    raw: &raw::BackendTls,
    keyring: &mut Keyring<'_>,
    report: &mut Report,
) -> Option<BackendTls> {
    let validation = report.required(&raw.validation, &raw.meta, "validation")?;
    let roots = roots(validation, keyring, report);
    let hostname = hostname(validation, report);
    let written = validation.subject_alt_names.as_deref().unwrap_or_default();
    if written.len() > MAX_NAMES {
        let message = format!("there are at most {MAX_NAMES} subjectAltNames");
        report.error(&validation.meta.place, message);
    }
    let alt_names = written
        .iter()
        .filter_map(|raw| alt_name(raw, report))
        .collect();
    let client = match &raw.client_certificate {
        Some(raw) => Some(client(raw, keyring, report)?),
        None => None,
    };
    Some(BackendTls {
        roots: roots?,
        hostname,
        alt_names,
        client,
    })
}

fn roots(
    raw: &raw::BackendValidation,
    keyring: &mut Keyring<'_>,
    report: &mut Report,
) -> Option<BackendRoots> {
    let files: Vec<&At<_>> = raw.ca_certificates.iter().flatten().collect();
    let skip = raw.insecure_skip_verify.as_ref().filter(|at| at.value);
    match (&files[..], &raw.well_known_ca_certificates, skip) {
        ([], None, Some(at)) => Some(insecure(at, report)),
        ([], Some(_), None) => Some(BackendRoots::System),
        ([_, ..], None, None) => keyring.roots(&files, report).map(BackendRoots::Given),
        _ if raw.meta.broken => None,
        ([], None, None) => {
            let help =
                "name the authorities: caCertificates: [FILE], or wellKnownCACertificates: System";
            report.error_help(&raw.meta.place, "nobody is believed", help);
            None
        }
        _ => {
            let message =
                "caCertificates, wellKnownCACertificates and insecureSkipVerify exclude each other";
            report.error_help(&raw.meta.place, message, "keep one of them");
            None
        }
    }
}

fn insecure(at: &At<bool>, report: &mut Report) -> BackendRoots {
    let help =
        "whoever stands between can read and change everything; name the authorities instead";
    report.warn(&at.place, "certificates of endpoints are not checked", help);
    BackendRoots::Insecure
}

fn hostname(raw: &raw::BackendValidation, report: &mut Report) -> Option<String> {
    let skip = raw.insecure_skip_verify.as_ref().is_some_and(|at| at.value);
    match &raw.hostname {
        Some(at) => server_name(at, report),
        None if skip || raw.meta.broken => None,
        None => {
            let help =
                "it is what endpoints are asked for (SNI), and what their certificate must be for";
            report.error_help(&raw.meta.place, "hostname is missing", help);
            None
        }
    }
}

/// A DNS name or an IP address, in lower case.
fn server_name(at: &At<String>, report: &mut Report) -> Option<String> {
    let name = at.value.trim_end_matches('.').to_ascii_lowercase();
    match ServerName::try_from(name.as_str()) {
        Ok(_) => Some(name),
        Err(_) => {
            let message = format!("{:?} is not a name that a certificate could have", at.value);
            let help = "write one DNS name, without a scheme, a port or a star";
            report.error_help(&at.place, message, help);
            None
        }
    }
}

fn alt_name(raw: &raw::SubjectAltName, report: &mut Report) -> Option<AltName> {
    let kind = report.required(&raw.kind, &raw.meta, "the type of the name")?;
    let (name, field, other) = match kind.value {
        AltNameKind::Hostname => (&raw.hostname, "hostname", &raw.uri),
        AltNameKind::Uri => (&raw.uri, "uri", &raw.hostname),
    };
    if let Some(other) = other {
        let message = format!("a name of this type has a {field} only");
        report.error(&other.place, message);
    }
    let name = report.required(name, &raw.meta, field)?;
    match kind.value {
        AltNameKind::Hostname => server_name(name, report).map(AltName::Dns),
        AltNameKind::Uri => uri(name, report),
    }
}

fn uri(at: &At<String>, report: &mut Report) -> Option<AltName> {
    let scheme = at.value.split_once("://").map(|(scheme, _)| scheme);
    let fits = scheme.is_some_and(|scheme| !scheme.is_empty())
        && at.value.bytes().all(|b| b.is_ascii_graphic());
    if !fits {
        let message = format!("{:?} is not a URI", at.value);
        report.error_help(&at.place, message, "as in spiffe://example.org/shop");
        return None;
    }
    Some(AltName::Uri(at.value.clone()))
}

/// One certificate: a client has no use for several.
fn client(
    raw: &raw::CertificateRef,
    keyring: &mut Keyring<'_>,
    report: &mut Report,
) -> Option<Arc<Certificate>> {
    if let Some(at) = &raw.directory {
        let help = "write cert and key";
        report.error_help(&at.place, "a client certificate is one pair of files", help);
        return None;
    }
    let certificate = keyring.certificates(raw, report).pop();
    if certificate.is_none() && !raw.meta.broken {
        let message = "without its client certificate the service is left out";
        report.error_help(&raw.meta.place, message, "mend the certificate first");
    }
    certificate
}

/// What an Istio rule asks for.
pub(crate) enum ClientTls {
    /// `DISABLE`.
    Plain,
    Tls(Arc<BackendTls>),
}

/// Of an Istio rule for a host (`ClientTLSSettings`); `None` if nothing is asked for, or what is asked for is wrong.
pub(crate) fn client_tls(
    raw: &raw::ClientTls,
    host: &str,
    keyring: &mut Keyring<'_>,
    report: &mut Report,
) -> Option<ClientTls> {
    for (later, name) in [
        (&raw.ca_crl, "caCrl"),
        (&raw.credential_name, "credentialName"),
    ] {
        if let Some(later) = later {
            let field = format!("tls.{name} of a DestinationRule");
            report.not_enforced(&later.place, &field);
        }
    }
    let mode = report.required(&raw.mode, &raw.meta, "the mode of tls")?;
    let mutual = match mode.value.as_str() {
        "DISABLE" => return Some(ClientTls::Plain),
        "SIMPLE" => false,
        "MUTUAL" => true,
        "ISTIO_MUTUAL" => {
            let help = "the service is left out rather than called in plain text; use mode: MUTUAL with files";
            let message =
                "tls mode ISTIO_MUTUAL is not supported: Weir has no identity in a mesh of Istio";
            report.error_help(&mode.place, message, help);
            return None;
        }
        other => {
            let known = ["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"];
            let message = format!("{other:?} is not a mode of TLS");
            report.error_help(&mode.place, message, suggest(other, &known));
            return None;
        }
    };
    let client = match mutual {
        true => Some(mutual_certificate(raw, keyring, report)?),
        false => {
            unused_certificate(raw, report);
            None
        }
    };
    let roots = match (&raw.insecure_skip_verify, &raw.ca_certificates) {
        (Some(at), _) if at.value => insecure(at, report),
        (_, Some(ca)) => BackendRoots::Given(keyring.roots(&[ca], report)?),
        (_, None) => BackendRoots::System,
    };
    let alt_names = raw.subject_alt_names.iter().flatten();
    let alt_names: Vec<AltName> = alt_names
        .filter_map(|at| match at.value.contains("://") {
            true => uri(at, report),
            false => server_name(at, report).map(AltName::Dns),
        })
        .collect();
    let here = |place: &Place| At::new(host.to_owned(), place.clone());
    let hostname = match &raw.sni {
        Some(at) => server_name(at, report),
        None => server_name(&here(&mode.place), report),
    };
    Some(ClientTls::Tls(Arc::new(BackendTls {
        roots,
        hostname,
        alt_names,
        client,
    })))
}

fn mutual_certificate(
    raw: &raw::ClientTls,
    keyring: &mut Keyring<'_>,
    report: &mut Report,
) -> Option<Arc<Certificate>> {
    let cert = report.required(&raw.client_certificate, &raw.meta, "clientCertificate");
    let key = report.required(&raw.private_key, &raw.meta, "privateKey");
    let pair = raw::CertificateRef {
        meta: raw.meta.clone(),
        cert: Some(cert?.clone()),
        key: Some(key?.clone()),
        ..raw::CertificateRef::default()
    };
    client(&pair, keyring, report)
}

fn unused_certificate(raw: &raw::ClientTls, report: &mut Report) {
    for (at, name) in [
        (&raw.client_certificate, "clientCertificate"),
        (&raw.private_key, "privateKey"),
    ] {
        if let Some(at) = at {
            let message = format!("{name} has no effect with mode SIMPLE");
            report.warn(&at.place, message, "set mode: MUTUAL, or remove it");
        }
    }
}
