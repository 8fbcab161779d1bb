use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};

use super::*;
use crate::{Source, Status, start};

type Root = CertifiedIssuer<'static, KeyPair>;

fn root() -> Root {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and a key in PEM.
fn pair(root: &Root) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    let id = "spiffe://example.org/shop";
    params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
    (
        params.signed_by(&key, root).unwrap().pem(),
        key.serialize_pem(),
    )
}

fn files(dir: &Path, root: &Root) -> FromFiles {
    let from = FromFiles {
        cert: dir.join("svid.pem"),
        key: dir.join("svid.key"),
        bundle: dir.join("bundle.pem"),
    };
    let (cert, key) = pair(root);
    std::fs::write(&from.cert, cert).unwrap();
    std::fs::write(&from.key, key).unwrap();
    std::fs::write(&from.bundle, root.pem()).unwrap();
    from
}

#[tokio::test]
async fn files_are_read_again_when_they_fit_together_and_not_before() {
    let (dir, root) = (tempfile::tempdir().unwrap(), root());
    let from = files(dir.path(), &root);
    let status: Arc<Status> = Arc::default();
    // They are looked at 50 times as often.
    let kept = start(
        Source::Files(from.clone()),
        World::fast(50),
        Arc::clone(&status),
    )
    .await
    .unwrap();
    let first = kept.identity();
    let ((cert, key), before) = (pair(&root), std::fs::read(&from.cert).unwrap());
    let becomes = async |refused: bool| {
        let looking = async {
            while status.standing().problem.is_some() != refused {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(20), looking);
        found.await.unwrap();
    };
    std::fs::write(&from.cert, &cert).unwrap();
    becomes(true).await;
    assert!(status.standing().problem.unwrap().contains("svid.key"));
    // Who takes it back has none that is new, and no trouble either.
    std::fs::write(&from.cert, before).unwrap();
    becomes(false).await;
    std::fs::write(&from.cert, &cert).unwrap();
    becomes(true).await;
    assert_eq!(kept.identity(), first, "half of a change is none");
    let mut identities = kept.watch();
    std::fs::write(&from.key, key).unwrap();
    tokio::time::timeout(Duration::from_secs(20), identities.changed())
        .await
        .unwrap()
        .unwrap();
    assert_ne!(kept.identity().chain, first.chain);
    assert_eq!(status.standing().problem, None);
}

#[tokio::test]
async fn files_that_hold_no_identity_are_named_at_the_start() {
    let (dir, root) = (tempfile::tempdir().unwrap(), root());
    for (name, text) in [
        ("svid.pem", ""),
        ("svid.key", "half a key"),
        ("bundle.pem", ""),
    ] {
        let from = files(dir.path(), &root);
        std::fs::write(dir.path().join(name), text).unwrap();
        let started = start(Source::Files(from), World::real(), Arc::default()).await;
        let error = started.unwrap_err().to_string();
        assert!(error.contains(name), "{name}: {error}");
    }
    let from = files(dir.path(), &root);
    std::fs::remove_file(&from.bundle).unwrap();
    let started = start(Source::Files(from), World::real(), Arc::default()).await;
    assert!(started.unwrap_err().to_string().contains("bundle.pem"));
}
