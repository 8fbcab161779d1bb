//! The embedded database against what happens to files: a process that is killed, a disk that lies, another process.

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use weir_control::store::database::{Batch, Database};
use weir_control::store::redb::{FILE, Opening, Redb};

/// Tells this very binary to be the writer that is killed.
const WRITER: &str = "WEIR_TEST_WRITES_TO";
const ROUNDS: u32 = 25;

fn ready(dir: &Path) -> (Redb, Option<String>) {
    match Redb::open_in(dir) {
        Opening::Ready(database, complaint) => (database, complaint),
        Opening::Unusable(reason) => panic!("{reason}"),
    }
}

/// One change: three keys that say the same, and a value that fills several pages.
fn batch(number: u64) -> Batch {
    let mut batch = Batch::default();
    batch.put("last", number.to_string().into_bytes());
    batch.put(format!("a/{number:020}"), number.to_string().into_bytes());
    batch.put(format!("b/{number:020}"), vec![b'x'; 30_000]);
    if let Some(old) = number.checked_sub(50) {
        batch.remove(format!("a/{old:020}"));
        batch.remove(format!("b/{old:020}"));
    }
    batch
}

async fn last(database: &Redb) -> u64 {
    let bytes = database.get("last".into()).await.unwrap();
    bytes.map_or(0, |bytes| {
        String::from_utf8(bytes).unwrap().parse().unwrap()
    })
}

/// Not a test of its own: what [`a_process_killed_while_it_writes_leaves_whole_changes`] kills.
#[tokio::test]
async fn writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(WRITER) else {
        return;
    };
    let (database, complaint) = ready(Path::new(&dir));
    assert_eq!(complaint, None);
    let mut number = last(&database).await;
    loop {
        number += 1;
        database.commit(batch(number)).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "committed {number}").unwrap();
        out.flush().unwrap();
    }
}

fn writer(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writes_until_it_is_killed", "--nocapture"])
        .env(WRITER, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Reads what the writer says until it has made `wait` changes more, kills it, and reads the rest: the last change that it
/// said was made.
fn kill_after(mut child: Child, wait: u32) -> u64 {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = 0;
    let mut seen = 0;
    for line in lines.map_while(Result::ok) {
        let Some((_, number)) = line.rsplit_once("committed ") else {
            continue;
        };
        told = number.parse().unwrap();
        seen += 1;
        if seen == wait {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    told
}

#[tokio::test]
async fn a_process_killed_while_it_writes_leaves_whole_changes() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..ROUNDS {
        let dir_of_writer = dir.path().to_owned();
        let told =
            tokio::task::spawn_blocking(move || kill_after(writer(&dir_of_writer), 1 + round % 7));
        let told = told.await.unwrap();
        let (database, complaint) = ready(dir.path());
        assert_eq!(complaint, None, "round {round}");
        let last = last(&database).await;
        assert!(
            last >= told,
            "round {round}: {told} was made, {last} is there"
        );
        let a = database.scan("a/".into()).await.unwrap();
        let b = database.scan("b/".into()).await.unwrap();
        let kept = usize::try_from(last.min(50)).unwrap();
        assert_eq!((a.len(), b.len()), (kept, kept), "round {round}");
        assert!(a.last().unwrap().0.ends_with(&format!("{last:020}")));
        assert!(b.iter().all(|(_, value)| value.len() == 30_000));
    }
}

#[tokio::test]
async fn a_damaged_file_is_moved_aside_and_named_and_a_new_one_serves() {
    let good = tempfile::tempdir().unwrap();
    let (database, _) = ready(good.path());
    for number in 1..30 {
        database.commit(batch(number)).await.unwrap();
    }
    drop(database);
    let bytes = std::fs::read(good.path().join(FILE)).unwrap();
    let half = bytes.len() / 2;
    let flipped = |from: usize, count: usize| {
        let mut bytes = bytes.clone();
        bytes[from..from + count]
            .iter_mut()
            .for_each(|b| *b ^= 0xff);
        bytes
    };
    for (what, damaged) in [
        ("cut in half", bytes[..half].to_vec()),
        ("cut to a few bytes", bytes[..100].to_vec()),
        ("no database at all", b"services: []\n".to_vec()),
        ("its head overwritten", flipped(0, 512)),
    ] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), &damaged).unwrap();
        let (database, complaint) = ready(dir.path());
        let complaint = complaint.unwrap_or_else(|| panic!("{what}: nothing was said"));
        assert!(complaint.contains("weir.redb is damaged"), "{complaint}");
        let aside = dir.path().join("weir.redb.corrupt");
        assert_eq!(std::fs::read(aside).unwrap(), damaged, "{what}");
        database.commit(batch(1)).await.unwrap();
        assert_eq!(last(&database).await, 1, "{what}");
    }
}

#[tokio::test]
async fn a_flipped_byte_is_found_or_does_not_matter() {
    let good = tempfile::tempdir().unwrap();
    let (database, _) = ready(good.path());
    for number in 1..30 {
        database.commit(batch(number)).await.unwrap();
    }
    let whole = database.scan(String::new()).await.unwrap();
    drop(database);
    let bytes = std::fs::read(good.path().join(FILE)).unwrap();
    let (mut found, mut harmless) = (0, 0);
    for n in 0..60 {
        let dir = tempfile::tempdir().unwrap();
        let mut damaged = bytes.clone();
        let at = n * bytes.len() / 60 + 7;
        damaged[at] ^= 0x55;
        std::fs::write(dir.path().join(FILE), &damaged).unwrap();
        let (database, complaint) = ready(dir.path());
        if complaint.is_some() {
            found += 1;
            database.commit(batch(1)).await.unwrap();
            continue;
        }
        harmless += 1;
        let now = database.scan(String::new()).await.unwrap();
        assert!(now == whole, "byte {at} changed what is read");
    }
    assert!(
        found > 5 && harmless > 0,
        "{found} found, {harmless} harmless"
    );
}

#[tokio::test]
async fn a_process_that_ends_hands_its_file_to_the_one_that_starts() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = ready(dir.path());
    first.commit(batch(1)).await.unwrap();
    let path = dir.path().to_owned();
    let second = tokio::task::spawn_blocking(move || ready(&path));
    first.release();
    let (second, complaint) = second.await.unwrap();
    assert_eq!((last(&second).await, complaint), (1, None));
    let error = first.commit(batch(2)).await.unwrap_err().to_string();
    assert!(error.contains("weir.redb"), "{error}");
}

#[tokio::test]
async fn a_file_that_stays_in_use_is_named_after_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let (_first, _) = ready(dir.path());
    let before = std::time::Instant::now();
    let path = dir.path().to_owned();
    let second = tokio::task::spawn_blocking(move || Redb::open_in(&path));
    let Opening::Unusable(reason) = second.await.unwrap() else {
        panic!("two have it open");
    };
    assert!(reason.contains("weir.redb is in use"), "{reason}");
    assert!(before.elapsed() < Duration::from_secs(10));
}
