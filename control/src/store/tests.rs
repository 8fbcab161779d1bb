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

async fn open(dir: &Path) -> (Store, Arc<dyn Database>) {
    let store = Store::open(Some(dir.to_owned())).unwrap();
    let (database, complaints) = store.database().await;
    assert_eq!(complaints, Vec::<String>::new());
    (store, database)
}

async fn kept(database: &dyn Database) -> Option<Overrides> {
    records::load(database).await.unwrap().overrides
}

#[tokio::test]
async fn what_is_kept_comes_back_and_is_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let (_, database) = open(&path).await;
    let mut batch = Batch::default();
    batch.put_overrides(&overrides());
    database.commit(batch).await.unwrap();
    drop(database);
    let (_, database) = open(&path).await;
    assert_eq!(kept(&*database).await, Some(overrides()));
    assert_eq!((mode(&path), mode(&path.join(redb::FILE))), (0o700, 0o600));
}

#[tokio::test]
async fn the_overrides_of_an_earlier_version_are_taken_over_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(OVERRIDES_FILE);
    std::fs::write(&file, overrides_text(&overrides())).unwrap();
    let (store, database) = open(dir.path()).await;
    let taken = store.take_over_overrides(&*database).await;
    assert_eq!(taken, (Some(overrides()), None));
    assert_eq!(kept(&*database).await, Some(overrides()));
    assert!(!file.exists() && dir.path().join("overrides.json.old").exists());
    let taken = store.take_over_overrides(&*database).await;
    assert_eq!(taken, (None, None));
}

#[tokio::test]
async fn damaged_overrides_of_an_earlier_version_are_moved_aside_and_reported() {
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
        std::fs::write(dir.path().join(OVERRIDES_FILE), damaged).unwrap();
        let (store, database) = open(dir.path()).await;
        let (taken, complaint) = store.take_over_overrides(&*database).await;
        assert_eq!(taken, None, "{damaged}");
        assert!(complaint.unwrap().contains("overrides.json.corrupt"));
        let aside = dir.path().join("overrides.json.corrupt");
        assert_eq!(std::fs::read_to_string(aside).unwrap(), damaged);
        assert_eq!(kept(&*database).await, None);
    }
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

#[tokio::test]
async fn without_a_directory_there_is_no_token_and_nothing_is_kept() {
    let store = Store::open(None).unwrap();
    assert!(store.token(None).unwrap().is_none());
    let (database, complaints) = store.database().await;
    assert_eq!(complaints, Vec::<String>::new());
    assert!(!database.is_durable());
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
