use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyUsagePurpose, SignatureAlgorithm,
};

use super::*;

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 24 * 3600;

fn random(bytes: &mut [u8]) {
    rand::fill(bytes);
}

/// A certificate that is made to be wrong in one way.
struct Kind {
    ca: bool,
    usage: KeyUsagePurpose,
    algorithm: &'static SignatureAlgorithm,
    ends: i64,
    begins: i64,
}

impl Default for Kind {
    fn default() -> Self {
        Self {
            ca: true,
            usage: KeyUsagePurpose::KeyCertSign,
            algorithm: &rcgen::PKCS_ECDSA_P256_SHA256,
            ends: NOW + DAY,
            begins: NOW - DAY,
        }
    }
}

impl Kind {
    fn params(&self, name: &str) -> (CertificateParams, KeyPair) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = match self.ca {
            true => IsCa::Ca(BasicConstraints::Unconstrained),
            false => IsCa::ExplicitNoCa,
        };
        params.key_usages = vec![self.usage];
        params.not_before = time::OffsetDateTime::from_unix_timestamp(self.begins).unwrap();
        params.not_after = time::OffsetDateTime::from_unix_timestamp(self.ends).unwrap();
        (params, KeyPair::generate_for(self.algorithm).unwrap())
    }
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn root(dir: &Path, kind: &Kind) -> MeshCa {
    let (params, key) = kind.params("root");
    MeshCa {
        cert: write(dir, "ca.crt", &params.self_signed(&key).unwrap().pem()),
        key: write(dir, "ca.key", &key.serialize_pem()),
        root: None,
    }
}

fn build_of(files: &MeshCa) -> Result<Given, OpenError> {
    let domain = TrustDomain::default();
    build(files, &contents(files)?, &domain, NOW, &random)
}

fn refusal(files: &MeshCa) -> String {
    build_of(files).err().unwrap().to_string()
}

#[test]
fn a_root_of_ones_own_signs() {
    let dir = tempfile::tempdir().unwrap();
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
    ] {
        let files = root(
            dir.path(),
            &Kind {
                algorithm,
                ..Kind::default()
            },
        );
        let given = build_of(&files).unwrap();
        assert_eq!(given.roots, given.ca.chain);
    }
}

#[test]
fn a_key_that_others_can_read_is_named_and_taken() {
    let dir = tempfile::tempdir().unwrap();
    let files = root(dir.path(), &Kind::default());
    let exposed = |mode| {
        std::fs::set_permissions(&files.key, PermissionsExt::from_mode(mode)).unwrap();
        build_of(&files).unwrap().exposed.map(|why| why.to_string())
    };
    let why = exposed(0o644).unwrap();
    assert!(why.contains("ca.key") && why.contains("chmod 600"), "{why}");
    assert_eq!(exposed(0o600), None);
}

#[test]
fn an_intermediate_signs_under_a_root_that_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (params, key) = Kind::default().params("above");
    let above = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let (params, key) = Kind::default().params("between");
    let between = params.signed_by(&key, &issuer).unwrap();
    let mut files = MeshCa {
        cert: write(dir.path(), "ca.crt", &between.pem()),
        key: write(dir.path(), "ca.key", &key.serialize_pem()),
        root: Some(write(dir.path(), "root.crt", &above.pem())),
    };
    let given = build_of(&files).unwrap();
    assert_eq!(given.roots, [above.der().clone()]);
    assert!(given.ca.is_under(above.der()));
    files.root = None;
    assert!(refusal(&files).contains("mesh.ca.root"));
    let (params, key) = Kind::default().params("above");
    files.root = Some(write(
        dir.path(),
        "other.crt",
        &params.self_signed(&key).unwrap().pem(),
    ));
    let error = refusal(&files);
    assert!(
        error.contains("ca.crt") && error.contains("other.crt"),
        "{error}"
    );
}

#[test]
fn nothing_begins_before_what_signed_it() {
    let dir = tempfile::tempdir().unwrap();
    let kind = Kind {
        begins: NOW - 10,
        ..Kind::default()
    };
    let given = build_of(&root(dir.path(), &kind)).unwrap();
    let wanted = Wanted {
        id: &SpiffeId::of_control(&TrustDomain::default()),
        names: &[],
        lifetime: 3600,
        now: NOW,
    };
    let leaf = given
        .ca
        .sign(&wanted, &KeyPair::generate().unwrap(), &random)
        .unwrap();
    assert_eq!((leaf.not_before, leaf.not_after), (NOW - 10, NOW + 3600));
}

#[test]
fn what_cannot_sign_is_refused_by_the_name_of_its_file() {
    let dir = tempfile::tempdir().unwrap();
    for (kind, file, part) in [
        (
            Kind {
                ca: false,
                ..Kind::default()
            },
            "ca.crt",
            "CA:TRUE",
        ),
        (
            Kind {
                usage: KeyUsagePurpose::DigitalSignature,
                ..Kind::default()
            },
            "ca.crt",
            "keyCertSign",
        ),
        (
            Kind {
                algorithm: &rcgen::PKCS_RSA_SHA256,
                ..Kind::default()
            },
            "ca.key",
            "neither ECDSA",
        ),
        (
            Kind {
                ends: NOW - 1,
                ..Kind::default()
            },
            "ca.crt",
            "has ended",
        ),
        (
            Kind {
                begins: NOW + 1,
                ..Kind::default()
            },
            "ca.crt",
            "clock",
        ),
    ] {
        let error = refusal(&root(dir.path(), &kind));
        assert!(
            error.contains(file) && error.contains(part),
            "{part}: {error}"
        );
    }
    let files = root(dir.path(), &Kind::default());
    write(
        dir.path(),
        "ca.key",
        &KeyPair::generate().unwrap().serialize_pem(),
    );
    assert!(refusal(&files).contains("do not fit"));
    write(dir.path(), "ca.key", "");
    assert!(refusal(&files).contains("no private key"));
    write(dir.path(), "ca.crt", "");
    assert!(refusal(&files).contains("no certificate"));
    std::fs::remove_file(&files.cert).unwrap();
    assert!(refusal(&files).contains("ca.crt"));
}
