use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType,
};
use rustls_pki_types::PrivatePkcs8KeyDer;

use super::*;

type Root = CertifiedIssuer<'static, KeyPair>;

fn root() -> Root {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn leaf(root: &Root, uri: &str) -> (Vec<u8>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let der = params.signed_by(&key, root).unwrap().der().to_vec();
    (der, PrivatePkcs8KeyDer::from(key.serialize_der()).into())
}

#[test]
fn what_fits_together_is_an_identity_and_nothing_else() {
    let (own, other) = (root(), root());
    let bundle = vec![own.der().to_vec()];
    let (der, key) = leaf(&own, "spiffe://weir.local/svc/shop");
    let identity = Identity::new(vec![der.clone()], key.clone_key(), bundle.clone()).unwrap();
    assert_eq!(identity.id.as_str(), "spiffe://weir.local/svc/shop");
    let (_, wrong) = leaf(&own, "spiffe://weir.local/svc/shop");
    let refused = |chain: Vec<Vec<u8>>, key: &PrivateKeyDer<'static>, bundle: Vec<Vec<u8>>| {
        Identity::new(chain, key.clone_key(), bundle).unwrap_err()
    };
    assert_eq!(
        refused(vec![der.clone()], &wrong, bundle.clone()),
        BadIdentity::Key
    );
    assert_eq!(
        refused(vec![], &key, bundle.clone()),
        BadIdentity::NoCertificate
    );
    assert_eq!(
        refused(vec![der.clone()], &key, vec![]),
        BadIdentity::NoRoot
    );
    assert!(matches!(
        refused(vec![der.clone()], &key, vec![other.der().to_vec()]),
        BadIdentity::Chain(_)
    ));
    let (name, key) = leaf(&own, "https://weir.local/shop");
    assert!(matches!(
        refused(vec![name], &key, bundle),
        BadIdentity::Id(_)
    ));
}

#[test]
fn the_model_takes_it_as_a_certificate_with_roots_and_nothing_shows_the_key() {
    let own = root();
    let (der, key) = leaf(&own, "spiffe://weir.local/svc/shop");
    let secret = key.secret_der().to_vec();
    let identity = Identity::new(vec![der.clone()], key, vec![own.der().to_vec()]).unwrap();
    let certificate = identity.certificate();
    assert_eq!(
        (certificate.name.as_str(), &certificate.chain),
        (identity.id.as_str(), &vec![der])
    );
    assert_eq!(certificate.key.der().secret_der(), secret);
    assert_eq!(identity.roots().ders, [own.der().to_vec()]);
    let shown = format!("{identity:?}{certificate:?}");
    assert!(!shown.contains("secret") && shown.len() < 600, "{shown}");
}
