//! What a certificate says of who bears it.

use std::fmt::Write as _;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use weir_config::model::SpiffeId;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{AttributeTypeAndValue, FromDer as _, GeneralName, X509Certificate};

/// The tag of a URI among the alternative names (RFC 5280, section 4.2.1.6).
const URI: u32 = 6;

/// Of a certificate that was verified, or is our own.
#[derive(Debug, Default)]
pub(super) struct Bearer {
    /// The SPIFFE id of a workload: a certificate with another URI beside it has none, whatever that is
    /// (X509-SVID, section 2).
    pub(super) identity: Option<SpiffeId>,
    /// The only URI, where there is one and it is text that can stand in a header.
    pub(super) uri: Option<String>,
    /// The subject as text (RFC 4514), in ASCII without control characters.
    pub(super) subject: String,
}

impl Bearer {
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Self {
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
            return Self::default();
        };
        let uri = only_uri(&parsed);
        let whole = uri.and_then(|uri| SpiffeId::new(uri).ok());
        Self {
            identity: whole.filter(|id| !id.path().is_empty()),
            uri: uri.filter(|uri| is_plain(uri)).map(str::to_owned),
            subject: subject(&parsed),
        }
    }
}

/// When the first of a chain's certificates ends, since 1970; `None` where there are none.
pub(super) fn end_of(chain: &[CertificateDer<'_>]) -> Option<Duration> {
    let ends = chain.iter().map(|certificate| {
        let parsed = X509Certificate::from_der(certificate).ok();
        let end = parsed.map(|(_, parsed)| parsed.validity().not_after.timestamp());
        // One that cannot be read has never been good.
        Duration::from_secs(end.and_then(|end| u64::try_from(end).ok()).unwrap_or(0))
    });
    ends.min()
}

fn only_uri<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a str> {
    // An error is a second extension of that kind.
    let names = certificate.subject_alternative_name().ok()??;
    let is_uri = |name: &&GeneralName<'_>| match name {
        GeneralName::URI(_) => true,
        GeneralName::Invalid(tag, _) => tag.0 == URI,
        _ => false,
    };
    let mut uris = names.value.general_names.iter().filter(is_uri);
    match (uris.next(), uris.next()) {
        (Some(GeneralName::URI(uri)), None) => Some(uri),
        _ => None,
    }
}

/// Whether a text can stand in a header's value without quotes.
fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b',' | b';' | b'\\'))
}

/// The last name first (RFC 4514, section 2.1).
fn subject(certificate: &X509Certificate<'_>) -> String {
    let mut names: Vec<_> = certificate.subject().iter_rdn().collect();
    names.reverse();
    let mut out = String::new();
    for name in names {
        if !out.is_empty() {
            out.push(',');
        }
        for (at, attribute) in name.iter().enumerate() {
            if at > 0 {
                out.push('+');
            }
            write_attribute(&mut out, attribute);
        }
    }
    out
}

fn write_attribute(out: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let kind = attribute.attr_type();
    match oid2abbrev(kind, oid_registry()) {
        Ok(name) => out.push_str(name),
        Err(_) => out.push_str(&kind.to_id_string()),
    }
    out.push('=');
    match attribute.as_str() {
        Ok(text) => escape(out, text),
        Err(_) => {
            out.push('#');
            for byte in attribute.as_slice() {
                let _ = write!(out, "{byte:02x}");
            }
        }
    }
}

/// RFC 4514, section 2.4. What is not visible ASCII is escaped byte by byte.
fn escape(out: &mut String, text: &str) {
    for (at, byte) in text.bytes().enumerate() {
        let edge =
            (at == 0 && matches!(byte, b' ' | b'#')) || (at + 1 == text.len() && byte == b' ');
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            _ if edge => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\{byte:02X}");
            }
        }
    }
}

/// What endpoints are told of a client's certificate (Envoy, `x-forwarded-client-cert`), but for who tells it.
pub(super) fn told(fingerprint: &[u8; 32], bearer: &Bearer) -> String {
    let mut out = String::from("Hash=");
    for byte in fingerprint {
        let _ = write!(out, "{byte:02x}");
    }
    let _ = write!(out, ";Subject=\"{}\"", bearer.subject);
    if let Some(uri) = &bearer.uri {
        let _ = write!(out, ";URI={uri}");
    }
    out
}

/// The identity in the mesh of who bears a certificate.
pub(super) fn identity(certificate: &CertificateDer<'_>) -> Option<SpiffeId> {
    Bearer::of(certificate).identity
}

/// The URI of a certificate of ours, as the teller of the above names itself.
pub(crate) fn own_uri(certificate: &[u8]) -> Option<String> {
    Bearer::of(&CertificateDer::from(certificate)).uri
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, SanType};

    use super::*;
    use crate::tls::testing::Authority;

    const SHOP: &str = "spiffe://weir.local/svc/shop";

    fn bearer(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Bearer {
        let leaf = Authority::new().leaf_with(names, &rcgen::PKCS_ECDSA_P256_SHA256, change);
        Bearer::of(&leaf.der)
    }

    fn identity(names: &[&str]) -> Option<String> {
        bearer(names, |_| {}).identity.map(|id| id.to_string())
    }

    #[test]
    fn a_certificate_with_one_spiffe_id_is_its_bearers_and_no_other_is() {
        assert_eq!(identity(&[SHOP]).as_deref(), Some(SHOP));
        assert_eq!(identity(&["shop.example", SHOP]).as_deref(), Some(SHOP));
        for names in [
            &["shop.example"] as &[&str],
            &[],
            &[SHOP, SHOP],
            &[SHOP, "spiffe://weir.local/svc/web"],
            &[SHOP, "https://shop.example"],
            &["https://shop.example"],
            &["spiffe://weir.local"],
            &["spiffe://weir.local/svc/shop\0"],
            &["spiffe://weir.local/svc/shop\0/admin"],
            &["spiffe://Weir.local/svc/shop"],
            &["SPIFFE://weir.local/svc/shop"],
            &["spiffe://weir.local/svc/%73hop"],
        ] {
            assert_eq!(identity(names), None, "{names:?}");
        }
    }

    #[test]
    fn a_name_that_is_no_text_counts_as_a_name() {
        // Behind the good one stands a URI that is not UTF-8: who skips it would see one.
        let sans = [
            &[0x86, SHOP.len() as u8][..],
            SHOP.as_bytes(),
            &[0x86, 2, 0xff, 0xfe],
        ]
        .concat();
        let content = [&[0x30, sans.len() as u8][..], &sans].concat();
        let found = bearer(&[], |params| {
            params
                .custom_extensions
                .push(rcgen::CustomExtension::from_oid_content(
                    &[2, 5, 29, 17],
                    content,
                ));
        });
        assert_eq!(found.identity, None);
        assert_eq!(found.uri, None);
    }

    #[test]
    fn a_letter_that_only_looks_like_another_makes_no_identity() {
        let lookalike = "spiffe://weir.local/svc/sh\u{43e}p";
        let sans = [&[0x86, lookalike.len() as u8][..], lookalike.as_bytes()].concat();
        let content = [&[0x30, sans.len() as u8][..], &sans].concat();
        let found = bearer(&[], |params| {
            params
                .custom_extensions
                .push(rcgen::CustomExtension::from_oid_content(
                    &[2, 5, 29, 17],
                    content,
                ));
        });
        assert_eq!((found.identity, found.uri), (None, None));
    }

    #[test]
    fn a_subject_is_text_that_cannot_leave_its_quotes_or_its_line() {
        let found = bearer(&[SHOP], |params| {
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(DnType::CountryName, "DE");
            params
                .distinguished_name
                .push(DnType::CommonName, "a\"b;c\r\nX-Evil: 1, \u{e9} ");
            params
                .subject_alt_names
                .push(SanType::DnsName("a".try_into().unwrap()));
        });
        assert_eq!(
            found.subject,
            "CN=a\\\"b\\;c\\0D\\0AX-Evil: 1\\, \\C3\\A9\\ ,C=DE"
        );
        let told = told(&[0xab; 32], &found);
        assert!(told.starts_with("Hash=abab") && told.ends_with(&format!(";URI={SHOP}")));
        assert!(!told.contains(['\r', '\n']));
    }
}
