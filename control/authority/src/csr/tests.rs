use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PublicKeyData as _, SanType, SignatureAlgorithm,
};

use super::*;

fn pair(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).unwrap()
}

fn request(key: &KeyPair) -> Vec<u8> {
    let params = CertificateParams::default();
    params.serialize_request(key).unwrap().der().to_vec()
}

#[test]
fn the_key_is_taken_and_nothing_else() {
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ED25519] {
        let key = pair(algorithm);
        let mut params = CertificateParams::new(vec!["admin.example".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::URI(
            "spiffe://weir.local/control".try_into().unwrap(),
        ));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
        let der = params.serialize_request(&key).unwrap().der().to_vec();
        let got = RequestedKey::read(&der).unwrap();
        assert_eq!(
            got.0.subject_public_key_info(),
            key.subject_public_key_info()
        );
        assert_eq!(
            got.digest(),
            RequestedKey::read(&request(&key)).unwrap().digest()
        );
    }
}

#[test]
fn other_kinds_of_keys_are_refused() {
    for algorithm in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_RSA_SHA256] {
        let got = RequestedKey::read(&request(&pair(algorithm)));
        assert_eq!(got.unwrap_err(), CsrError::Algorithm, "{algorithm:?}");
    }
}

#[test]
fn a_request_that_was_changed_or_is_signed_by_another_key_is_refused() {
    let (own, other) = (
        pair(&rcgen::PKCS_ECDSA_P256_SHA256),
        pair(&rcgen::PKCS_ECDSA_P256_SHA256),
    );
    let der = request(&own);
    // Somebody else's public key in a request of ours.
    let at = der
        .windows(64)
        .position(|part| part == &own.public_key_raw()[1..])
        .unwrap();
    let mut stolen = der.clone();
    stolen[at..at + 64].copy_from_slice(&other.public_key_raw()[1..]);
    assert_eq!(
        RequestedKey::read(&stolen).unwrap_err(),
        CsrError::Signature
    );
    let mut changed = der.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(
        RequestedKey::read(&changed).unwrap_err(),
        CsrError::Signature
    );
}

#[test]
fn what_is_no_request_is_refused() {
    let der = request(&pair(&rcgen::PKCS_ED25519));
    let longer = [der.clone(), vec![0]].concat();
    for bad in [
        Vec::new(),
        vec![0x30],
        der[..der.len() - 1].to_vec(),
        longer,
        vec![0; 100],
    ] {
        assert_eq!(RequestedKey::read(&bad).unwrap_err(), CsrError::Malformed);
    }
    assert_eq!(
        RequestedKey::read(&vec![0; MAX_CSR + 1]).unwrap_err(),
        CsrError::TooLarge
    );
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(flips in proptest::collection::vec((0..250_usize, 0..=255_u8), 1..6)) {
        let mut der = request(&pair(&rcgen::PKCS_ECDSA_P256_SHA256));
        for (at, value) in flips {
            let len = der.len();
            der[at % len] = value;
        }
        let _ = RequestedKey::read(&der);
    }
}
