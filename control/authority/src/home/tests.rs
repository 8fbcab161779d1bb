use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::ca::validity;

fn random(bytes: &mut [u8]) {
    rand::fill(bytes);
}

const NOW: i64 = 1_800_000_000;

fn open_as(dir: &Path, domain: &str) -> Result<Home, OpenError> {
    let domain = TrustDomain::new(domain).unwrap();
    Home::open(
        dir,
        &Opening {
            domain: &domain,
            lifetime: 3600,
            now: NOW,
            random: &random,
        },
    )
}

fn open(dir: &Path) -> Home {
    open_as(dir, "weir.local").unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_first_start_makes_a_root_that_the_next_one_finds() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("mesh");
    let first = open(&dir);
    assert_eq!(mode(&dir), 0o700);
    for name in names(&dir) {
        assert_eq!(mode(&dir.join(&name)), 0o600, "{name}");
    }
    let root = first.issuer();
    assert_eq!(crate::verify::uris(root.der()), ["spiffe://weir.local"]);
    let (not_before, not_after) = validity(root.der()).unwrap();
    assert_eq!(
        (not_before, not_after),
        (NOW - 300, NOW + 10 * 365 * 24 * 3600)
    );
    let again = open(&dir);
    assert_eq!(again.issuer().der(), root.der());
    assert_eq!(again.state, first.state);
}

#[test]
fn a_key_that_others_can_read_is_refused_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("mesh");
    open(&dir);
    let key = names(&dir)
        .into_iter()
        .find(|name| name.ends_with(".key"))
        .unwrap();
    std::fs::set_permissions(dir.join(&key), PermissionsExt::from_mode(0o640)).unwrap();
    let error = open_as(&dir, "weir.local").err().unwrap().to_string();
    assert!(
        error.contains(&key) && error.contains("chmod 600"),
        "{error}"
    );
    std::fs::set_permissions(dir.join(&key), PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).unwrap();
    let error = open_as(&dir, "weir.local").err().unwrap().to_string();
    assert!(error.contains("chmod 700"), "{error}");
}

#[test]
fn another_trust_domain_does_not_sign_with_the_roots_of_this_one() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("mesh");
    open(&dir);
    let error = open_as(&dir, "other.local").err().unwrap().to_string();
    assert!(
        error.contains("spiffe://weir.local") && error.contains("other.local"),
        "{error}"
    );
}

/// A crash leaves what was written until then.
#[test]
fn a_crash_at_any_step_leaves_a_state_that_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("mesh");
    // In the first start: the root is there and the state is not.
    let root = open(&dir).issuer().der().clone();
    std::fs::remove_file(dir.join(STATE)).unwrap();
    std::fs::write(dir.join("authority.json.new"), "{").unwrap();
    assert_eq!(
        open(&dir).issuer().der(),
        &root,
        "the same root, not another"
    );
    // After a root to come was written, before the state named it.
    let mut home = open(&dir);
    let coming = home.prepare(NOW, &random).unwrap();
    drop(home);
    let home = open(&dir);
    assert_eq!(home.state.phase, Phase::Steady);
    assert!(!certificate_path(&dir, &coming).exists() && !key_path(&dir, &coming).exists());
    // With only one of its files written, or a part of one.
    for left in ["root-00.key", "root-00.crt", "root-00.key.new"] {
        std::fs::write(dir.join(left), "half").unwrap();
        assert_eq!(open(&dir).issuer().der(), &root);
        assert!(!dir.join(left).exists(), "{left} is a key that nobody uses");
    }
    // After the state no longer names the old root, before that was taken away.
    let mut home = open(&dir);
    let coming = home.prepare(NOW, &random).unwrap();
    let next = home.state.start(coming.clone(), NOW).unwrap();
    home.commit(next.clone()).unwrap();
    assert_eq!(open(&dir).state.phase, next.phase);
    let done = next.force(NOW).unwrap().force(NOW).unwrap();
    home.write(&done).unwrap();
    drop(home);
    let home = open(&dir);
    assert_eq!(home.state.issuer, coming);
    assert_eq!(home.roots.len(), 1);
    assert_eq!(
        names(&dir)
            .iter()
            .filter(|name| name.ends_with(".crt"))
            .count(),
        1
    );
}

#[test]
fn a_state_that_makes_no_sense_is_not_replaced_by_a_new_root() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("mesh");
    let root = open(&dir).issuer().der().clone();
    let kept = std::fs::read(dir.join(STATE)).unwrap();
    std::fs::write(dir.join(STATE), "{}").unwrap();
    let error = open_as(&dir, "weir.local").err().unwrap().to_string();
    assert!(error.contains("authority.json"), "{error}");
    std::fs::write(dir.join(STATE), kept).unwrap();
    assert_eq!(open(&dir).issuer().der(), &root);
    let key = names(&dir)
        .into_iter()
        .find(|name| name.ends_with(".key"))
        .unwrap();
    let other = KeyPair::generate().unwrap().serialize_pem();
    std::fs::write(dir.join(&key), other).unwrap();
    let error = open_as(&dir, "weir.local").err().unwrap().to_string();
    assert!(
        error.contains("do not fit") && error.contains(&key),
        "{error}"
    );
}
