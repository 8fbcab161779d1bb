//! TLS as JSON: files, names and fingerprints, and never a key.

use serde_json::{Value, json};

use crate::model::{
    AltName, BackendRoots, BackendTls, Certificate, ClientAuth, HostPattern, HostTls, ListenerTls,
};

pub(super) fn listener(tls: &ListenerTls) -> Value {
    json!({
        "certificates": tls.certificates.iter().map(|c| certificate(c)).collect::<Vec<_>>(),
        "minVersion": tls.min_version.text(),
        "alpn": tls.alpn.iter().map(|alpn| alpn.text()).collect::<Vec<_>>(),
        "clientAuth": tls.client_auth.as_ref().map(client_auth),
        "hosts": tls.hosts.iter().map(host).collect::<Vec<_>>(),
    })
}

/// The fingerprint tells one renewal from the next.
fn certificate(certificate: &Certificate) -> Value {
    json!({
        "name": certificate.name,
        "names": certificate.names,
        "notAfter": certificate.not_after,
        "fingerprint": certificate.fingerprint_text(),
        "ocsp": certificate.ocsp.is_some(),
    })
}

fn client_auth(auth: &ClientAuth) -> Value {
    json!({ "mode": auth.mode.text(), "ca": auth.roots.source, "authorities": auth.roots.ders.len() })
}

fn host(host: &HostTls) -> Value {
    json!({
        "hostnames": host.hostnames.iter().map(HostPattern::text).collect::<Vec<_>>(),
        "clientAuth": host.client_auth.as_ref().map(client_auth),
    })
}

pub(super) fn backend(tls: &BackendTls) -> Value {
    let mut validation = json!({
        "hostname": tls.hostname,
        "subjectAltNames": tls.alt_names.iter().map(alt_name).collect::<Vec<_>>(),
    });
    match &tls.roots {
        BackendRoots::System => validation["wellKnownCACertificates"] = json!("System"),
        BackendRoots::Given(roots) => validation["caCertificates"] = json!(roots.source),
        BackendRoots::Insecure => validation["insecureSkipVerify"] = json!(true),
    }
    json!({
        "validation": validation,
        "clientCertificate": tls.client.as_ref().map(|c| certificate(c)),
    })
}

fn alt_name(name: &AltName) -> Value {
    match name {
        AltName::Dns(name) => json!({ "type": "Hostname", "hostname": name }),
        AltName::Uri(uri) => json!({ "type": "URI", "uri": uri }),
    }
}
