//! How TLS is ended on a listener.
//!
//! A listener whose certificates are all bad is left out, and so is one whose demand for client certificates cannot be
//! met: nothing that is wrong opens what was meant to be closed.

use super::keyring::Keyring;
use crate::compile::report::Report;
use crate::model::{
    Alpn, ClientAuth, ClientAuthMode, HostPattern, HostTls, Http2, ListenerTls, TlsVersion,
};
use crate::raw;

/// Most hosts with a demand of their own.
const MAX_HOSTS: usize = 1000;

pub(crate) fn listener(
    raw: &raw::ListenerTls,
    http2: &Http2,
    keyring: &mut Keyring<'_>,
    report: &mut Report,
) -> Option<ListenerTls> {
    let written = raw.certificates.iter().flatten();
    let certificates: Vec<_> = written
        .flat_map(|raw| keyring.certificates(raw, report))
        .collect();
    if certificates.is_empty() && !is_self_signed(raw) && !raw.meta.broken {
        let (message, help) = match raw.certificates.as_deref() {
            None | Some([]) => (
                "tls has no certificates",
                "give it certificates: [{ cert: FILE, key: FILE }], or selfSigned: true for development",
            ),
            Some(_) => (
                "none of its certificates can be used, so this listener is left out",
                "mend one of them first",
            ),
        };
        report.error_help(&raw.meta.place, message, help);
    }
    let client_auth = raw.client_auth.as_ref();
    let client_auth = client_auth.map(|raw| self::client_auth(raw, keyring, report));
    let alpn = alpn(raw, http2, report);
    let hosts = hosts(raw, keyring, report);
    Some(ListenerTls {
        plain_too: false,
        certificates,
        min_version: raw
            .min_version
            .as_ref()
            .map_or(TlsVersion::V12, |at| at.value),
        alpn,
        client_auth: match client_auth {
            Some(auth) => Some(auth?),
            None => None,
        },
        hosts: hosts?,
    })
}

/// Whether a certificate for development is asked for.
pub(crate) fn is_self_signed(raw: &raw::ListenerTls) -> bool {
    raw.self_signed.as_ref().is_some_and(|at| at.value)
}

fn alpn(raw: &raw::ListenerTls, http2: &Http2, report: &mut Report) -> Vec<Alpn> {
    let Some(written) = &raw.alpn else {
        return match http2.enabled {
            true => vec![Alpn::H2, Alpn::Http11],
            false => vec![Alpn::Http11],
        };
    };
    let mut alpn = Vec::new();
    for at in written {
        if alpn.contains(&at.value) {
            let message = format!("{} is given twice", at.value.text());
            report.warn(&at.place, message, "remove one of them");
            continue;
        }
        if at.value == Alpn::H2 && !http2.enabled {
            let help = "remove h2 from alpn, or http2.enabled: false";
            report.error_help(&at.place, "http2 is not enabled on this listener", help);
        }
        alpn.push(at.value);
    }
    if alpn.is_empty() && !raw.meta.broken {
        let help = "write h2, http/1.1 or both, or leave alpn out for both";
        report.error_help(&raw.meta.place, "alpn offers nothing", help);
    }
    alpn
}

fn client_auth(
    raw: &raw::ClientAuth,
    keyring: &mut Keyring<'_>,
    report: &mut Report,
) -> Option<ClientAuth> {
    let ca = report.required(&raw.ca, &raw.meta, "ca, the authorities of clients,")?;
    let roots = keyring.roots(&[ca], report)?;
    let mode = raw
        .mode
        .as_ref()
        .map_or(ClientAuthMode::Require, |at| at.value);
    Some(ClientAuth {
        mode,
        roots,
        trust_domain: None,
    })
}

fn hosts(
    raw: &raw::ListenerTls,
    keyring: &mut Keyring<'_>,
    report: &mut Report,
) -> Option<Vec<HostTls>> {
    let written = raw.hosts.as_deref().unwrap_or_default();
    if written.len() > MAX_HOSTS {
        let message = format!(
            "tls has at most {MAX_HOSTS} hosts, this one {}",
            written.len()
        );
        report.error(&raw.meta.place, message);
    }
    let mut seen: Vec<HostPattern> = Vec::new();
    let hosts: Vec<Option<HostTls>> = written
        .iter()
        .map(|raw| {
            let hostnames = hostnames(raw, &mut seen, report);
            let client_auth = match &raw.client_auth {
                Some(raw) => Some(client_auth(raw, keyring, report)?),
                None => None,
            };
            Some(HostTls {
                hostnames,
                client_auth,
            })
        })
        .collect();
    hosts.into_iter().collect()
}

fn hostnames(
    raw: &raw::HostTls,
    seen: &mut Vec<HostPattern>,
    report: &mut Report,
) -> Vec<HostPattern> {
    let mut out = Vec::new();
    let written = report.required(&raw.hostnames, &raw.meta, "hostnames");
    for at in written.into_iter().flatten() {
        match report.valid(HostPattern::parse(&at.value), &at.place) {
            Some(Some(pattern)) if seen.contains(&pattern) => {
                let message = format!("the hostname {} is given twice", at.value);
                report.error_help(&at.place, message, "one host has one clientAuth");
            }
            Some(Some(pattern)) => {
                seen.push(pattern.clone());
                out.push(pattern);
            }
            Some(None) => {
                let help = "what holds for every host is the clientAuth of tls itself";
                report.error_help(&at.place, "* is not a host of its own", help);
            }
            None => {}
        }
    }
    if written.is_some_and(Vec::is_empty) {
        report.error(&raw.meta.place, "hostnames is empty");
    }
    out
}
