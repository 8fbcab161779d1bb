//! Reading who a certificate is of.

use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::model::{Invalid, SpiffeId};

/// The tag of a URI among the alternative names (RFC 5280, section 4.2.1.6).
const URI: u32 = 6;

/// The SPIFFE id of a workload's certificate (X509-SVID, sections 2 and 4). That somebody signed it is for others to check.
///
/// # Errors
/// [`Invalid`] when it has none, more than one URI, or is an authority's.
pub fn id_of(der: &[u8]) -> Result<SpiffeId, Invalid> {
    let refuse = |why: &str| Err(Invalid(format!("the certificate {why}")));
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return refuse("cannot be read");
    };
    if certificate.is_ca() {
        return refuse("is an authority's and no workload's");
    }
    let Ok(names) = certificate.subject_alternative_name() else {
        return refuse("has alternative names that cannot be read");
    };
    let names = names.iter().flat_map(|names| &names.value.general_names);
    // One that is no text counts, too: who passes it over would see one where there are two.
    let mut uris = names.filter_map(|name| match name {
        GeneralName::URI(uri) => Some(Some(*uri)),
        GeneralName::Invalid(tag, _) if tag.0 == URI => Some(None),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (Some(Some(only)), None) => SpiffeId::new(only),
        (Some(None), None) => refuse("has a URI that is no text"),
        (None, _) => refuse("has no SPIFFE id: there is no URI in it"),
        (Some(_), Some(_)) => refuse("has more than one URI, and a SPIFFE id stands alone"),
    }
}

/// What tells one set of roots from another, whatever their order.
#[must_use]
pub fn bundle_digest<'a>(ders: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut each: Vec<[u8; 32]> = ders
        .into_iter()
        .map(|der| Sha256::digest(der).into())
        .collect();
    each.sort_unstable();
    each.dedup();
    let whole = Sha256::digest(each.concat());
    whole.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, SanType};

    fn with(uris: &[&str], is_ca: bool) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
        for uri in uris {
            params
                .subject_alt_names
                .push(SanType::URI((*uri).try_into().unwrap()));
        }
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_set_of_roots_is_known_in_any_order_and_differs_from_every_other() {
        let of = |ders: &[&[u8]]| bundle_digest(ders.iter().copied());
        assert_eq!(of(&[b"a", b"b"]), of(&[b"b", b"a", b"b"]));
        assert_ne!(of(&[b"a", b"b"]), of(&[b"ab"]));
        assert_ne!(of(&[b"a"]), of(&[]));
    }

    #[test]
    fn an_id_is_the_one_uri_of_a_workloads_certificate() {
        let id = "spiffe://a/svc/shop";
        assert_eq!(id_of(&with(&[id], false)).unwrap().as_str(), id);
        for (der, part) in [
            (with(&[], false), "no URI"),
            (with(&[id, id], false), "more than one"),
            (with(&[id, "https://a"], false), "more than one"),
            (with(&["https://a"], false), "not a SPIFFE id"),
            (
                with(&["spiffe://a/svc/shop\0.evil"], false),
                "holds letters",
            ),
            (with(&["spiffe://A/svc/shop"], false), "lower case"),
            (with(&[id], true), "an authority's"),
            (vec![1, 2, 3], "cannot be read"),
        ] {
            let error = id_of(&der).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_uri_that_is_no_text_counts_as_one() {
        let id = b"spiffe://a/svc/shop";
        let sans = [&[0x86, id.len() as u8][..], id, &[0x86, 2, 0xff, 0xfe]].concat();
        for (sans, part) in [
            (sans, "more than one"),
            (vec![0x86, 2, 0xff, 0xfe], "no text"),
        ] {
            let content = [&[0x30, sans.len() as u8][..], &sans].concat();
            let mut params = CertificateParams::default();
            let names = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 17], content);
            params.custom_extensions.push(names);
            let key = KeyPair::generate().unwrap();
            let der = params.self_signed(&key).unwrap().der().to_vec();
            let error = id_of(&der).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
