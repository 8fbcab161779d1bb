use std::collections::BTreeMap;

use weir_config::model::{ServiceName, VersionName};
use weir_plan::Override;

use super::*;

fn overrides() -> Overrides {
    let weights: BTreeMap<_, _> = [("canary", "25"), ("stable", "0.1")]
        .map(|(v, w)| (VersionName::new(v).unwrap(), w.parse().unwrap()))
        .into();
    let told = Override {
        weights,
        by: "cli".into(),
        since_ms: 1_700_000_000_123,
    };
    Overrides {
        services: [(ServiceName::new("eu/shop").unwrap(), told)].into(),
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn overrides_come_back_as_they_were_saved() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let store = Store::open(Some(path.clone())).unwrap();
    assert_eq!(store.load_overrides(), (Overrides::default(), None));
    store.save_overrides(&overrides()).unwrap();
    assert_eq!(
        Store::open(Some(path.clone())).unwrap().load_overrides(),
        (overrides(), None)
    );
    assert_eq!(
        (mode(&path), mode(&path.join(OVERRIDES_FILE))),
        (0o700, 0o600)
    );
}

#[test]
fn a_damaged_file_is_moved_aside_and_reported() {
    for damaged in [
        "",
        "{",
        "\u{0}\u{0}\u{0}\u{0}",
        r#"{"format":9,"services":{}}"#,
        r#"{"format":1,"services":{"shop":{"weights":{},"by":"cli","since_ms":1}}}"#,
        r#"{"format":1,"services":{"shop":{"weights":{"canary":"-5"},"by":"cli","since_ms":1}}}"#,
        r#"{"format":1,"services":{"a shop":{"weights":{"canary":"5"},"by":"cli","since_ms":1}}}"#,
    ] {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Some(dir.path().to_owned())).unwrap();
        std::fs::write(dir.path().join(OVERRIDES_FILE), damaged).unwrap();
        let (loaded, complaint) = store.load_overrides();
        assert_eq!(loaded, Overrides::default(), "{damaged}");
        assert!(complaint.unwrap().contains("overrides.json.corrupt"));
        assert_eq!(
            std::fs::read_to_string(dir.path().join("overrides.json.corrupt")).unwrap(),
            damaged
        );
        store.save_overrides(&overrides()).unwrap();
        assert_eq!(store.load_overrides().0, overrides());
    }
}

#[test]
fn what_a_crash_left_half_written_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Some(dir.path().to_owned())).unwrap();
    store.save_overrides(&overrides()).unwrap();
    let left = dir
        .path()
        .join(format!("{OVERRIDES_FILE}.tmp-{}", std::process::id()));
    std::fs::write(&left, "{\"form").unwrap();
    assert_eq!(store.load_overrides(), (overrides(), None));
    store.save_overrides(&Overrides::default()).unwrap();
    assert!(!left.exists());
    assert_eq!(store.load_overrides(), (Overrides::default(), None));
}

#[test]
fn a_token_is_made_once_and_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Some(dir.path().to_owned())).unwrap();
    let made = store.token(None).unwrap().unwrap();
    let path = dir.path().join(TOKEN_FILE);
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!((text.trim().len(), mode(&path)), (64, 0o600));
    assert!(made.matches(text.trim()));
    assert!(!made.matches(""));
    assert!(!made.matches(&text.trim()[..63]));
    assert_eq!(store.token(None).unwrap().unwrap(), made);
    assert!(!format!("{made:?}").contains(text.trim()));
}

#[test]
fn a_named_token_file_must_hold_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(None).unwrap();
    let path = dir.path().join("token");
    assert!(matches!(
        store.token(Some(&path)),
        Err(StoreError::ReadToken { .. })
    ));
    std::fs::write(&path, "short\n").unwrap();
    assert!(matches!(
        store.token(Some(&path)),
        Err(StoreError::BadToken { .. })
    ));
    std::fs::write(&path, "with a space in the middle").unwrap();
    assert!(matches!(
        store.token(Some(&path)),
        Err(StoreError::BadToken { .. })
    ));
    std::fs::write(&path, "correct-horse-battery\n").unwrap();
    assert!(
        store
            .token(Some(&path))
            .unwrap()
            .unwrap()
            .matches("correct-horse-battery")
    );
}

#[test]
fn without_a_directory_there_is_no_token_and_nothing_is_kept() {
    let store = Store::open(None).unwrap();
    assert!(store.token(None).unwrap().is_none());
    assert!(store.save_overrides(&overrides()).is_ok());
    assert_eq!(store.load_overrides(), (Overrides::default(), None));
    assert!(!store.is_durable());
}

#[test]
fn a_directory_that_cannot_be_made_is_named_in_the_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Store::open(Some(file.join("state")))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("file/state") && error.contains("WEIR_STATE_DIR"),
        "{error}"
    );
}
