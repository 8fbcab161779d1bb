use std::os::unix::fs::{FileExt as _, PermissionsExt as _};

use super::*;
use crate::testing::{assignment, whole};

fn saved(generation: u64) -> Saved {
    Saved {
        node: "edge-1".into(),
        generation,
        run: "run-1".into(),
        at_ms: 1_700_000_000_000,
        resources: whole(),
    }
}

struct Place {
    dir: tempfile::TempDir,
    tally: Arc<Tally>,
    store: Store,
}

impl Place {
    fn new() -> Self {
        let (dir, tally) = (tempfile::tempdir().unwrap(), Arc::<Tally>::default());
        let store = Store::open(&dir.path().join("state"), "edge-1").unwrap();
        let store = store.counting(&tally);
        Self { dir, tally, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("state").join(name)
    }

    /// The generation that a proxy would start with.
    fn found(&self) -> Option<u64> {
        let store = Store::open(&self.dir.path().join("state"), "edge-1").unwrap();
        let found = store.counting(&self.tally).load(|_| Ok(()));
        found.map(|(saved, ())| saved.generation)
    }

    fn count(&self, sample: &str) -> u64 {
        let text = self.tally.text();
        let line = text.lines().find(|line| line.starts_with(sample)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

#[test]
fn what_is_saved_is_what_is_loaded() {
    let place = Place::new();
    assert_eq!(place.found(), None);
    place.store.save(&saved(7)).unwrap();
    let (loaded, ()) = place.store.load(|_| Ok(())).unwrap();
    assert_eq!(loaded, saved(7));
    for (path, mode) in [("last-good", 0o600), (".", 0o700)] {
        let found = std::fs::metadata(place.path(path)).unwrap().permissions();
        assert_eq!(found.mode() & 0o777, mode, "{path}");
    }
}

#[test]
fn a_file_cut_short_anywhere_is_not_used_and_the_one_before_is() {
    let place = Place::new();
    place.store.save(&saved(6)).unwrap();
    place.store.save(&saved(7)).unwrap();
    let whole = std::fs::read(place.path(CURRENT)).unwrap();
    for end in 0..whole.len() {
        let error = format::read(&whole[..end]).unwrap_err();
        assert!(
            matches!(error, FormatError::Length { .. }),
            "{end}: {error}"
        );
    }
    for end in [0, 1, 19, 20, 51, 52, whole.len() / 2, whole.len() - 1] {
        std::fs::write(place.path(CURRENT), &whole[..end]).unwrap();
        assert_eq!(place.found(), Some(6), "{end}");
    }
    assert_eq!(
        place.count("weir_last_good_reads_total{result=\"refused\"}"),
        8
    );
    std::fs::write(place.path(CURRENT), [&whole[..], b"x"].concat()).unwrap();
    assert_eq!(place.found(), Some(6), "something was added");
    std::fs::remove_file(place.path(CURRENT)).unwrap();
    assert_eq!(place.found(), Some(6));
}

#[test]
fn no_single_bit_can_change_unnoticed() {
    let whole = format::write(&saved(7));
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            assert!(format::read(&flipped).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn with_both_files_broken_there_is_no_state_and_it_is_said() {
    let place = Place::new();
    place.store.save(&saved(6)).unwrap();
    place.store.save(&saved(7)).unwrap();
    for name in [CURRENT, PREVIOUS] {
        std::fs::write(place.path(name), "rubbish").unwrap();
    }
    assert_eq!(place.found(), None);
    assert_eq!(
        place.count("weir_last_good_reads_total{result=\"refused\"}"),
        2
    );
    assert_eq!(
        place.count("weir_last_good_reads_total{result=\"none\"}"),
        1
    );
}

#[test]
fn a_broken_file_does_not_take_the_place_of_the_one_before() {
    let place = Place::new();
    place.store.save(&saved(6)).unwrap();
    place.store.save(&saved(7)).unwrap();
    std::fs::write(place.path(CURRENT), "rubbish").unwrap();
    let store = Store::open(&place.path("."), "edge-1").unwrap();
    let store = store.counting(&place.tally);
    assert_eq!(store.load(|_| Ok(())).unwrap().0.generation, 6);
    store.save(&saved(8)).unwrap();
    assert_eq!(place.found(), Some(8));
    std::fs::remove_file(place.path(CURRENT)).unwrap();
    assert_eq!(
        place.found(),
        Some(6),
        "the rubbish was kept as the previous one"
    );
}

#[test]
fn another_version_another_node_and_what_makes_no_sense_are_not_used() {
    let place = Place::new();
    place.store.save(&saved(6)).unwrap();
    place.store.save(&saved(7)).unwrap();
    let mut other = format::write(&saved(8));
    other[8] = 2;
    assert_eq!(format::read(&other), Err(FormatError::Version(2)));
    let foreign = Saved {
        node: "edge-2".into(),
        ..saved(9)
    };
    std::fs::write(place.path(CURRENT), format::write(&foreign)).unwrap();
    assert_eq!(place.found(), Some(6), "the keys of another node");
    std::fs::write(place.path(CURRENT), format::write(&saved(7))).unwrap();
    let sense = |saved: &Saved| match saved.generation {
        7 => Err("Cluster shop: no".to_owned()),
        _ => Ok(()),
    };
    assert_eq!(place.store.load(sense).unwrap().0.generation, 6);
}

#[test]
fn a_file_of_any_size_is_not_read_into_memory() {
    let place = Place::new();
    let huge = std::fs::File::create(place.path(CURRENT)).unwrap();
    // Sparse: it takes no room.
    huge.write_all_at(b"x", MAX_FILE_BYTES).unwrap();
    assert_eq!(place.found(), None);
    let error = file::read(&place.path(CURRENT), MAX_FILE_BYTES).unwrap_err();
    assert!(error.to_string().contains("more than"), "{error}");
}

#[test]
fn the_writer_writes_the_newest_of_those_that_wait() {
    let place = Place::new();
    let dir = place.path(".");
    let store = Store::open(&dir, "edge-1").unwrap();
    let store = store.counting(&place.tally);
    let writer = Writer::start(store).unwrap();
    for generation in 1..=200 {
        let mut state = saved(generation);
        let ports = [u16::try_from(generation).unwrap()];
        state.resources.insert(Arc::new(assignment("shop", &ports)));
        writer.write(state);
    }
    writer.finish(std::time::Duration::from_secs(20));
    assert_eq!(place.found(), Some(200));
    assert_eq!(writer.error(), None);
    assert!(place.count("weir_last_good_writes_total{result=\"ok\"}") <= 200);
}
