//! A process that is killed while it writes the last good state: whatever the moment, there is a whole file afterwards.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use weir_wire::{Kind, Resource, Resources};
use weir_xds_client::last_good::{Saved, Store};

/// Where the child is to write; without it the child's test does nothing.
const PLACE: &str = "WEIR_TEST_LAST_GOOD";

fn saved(generation: u64) -> Saved {
    let mut resources = Resources::default();
    // Some hundred kilobytes, so that a kill falls into the middle of a write now and then.
    for at in 0..40_u64 {
        let bytes = vec![u8::try_from((generation + at) % 251).unwrap(); 8000];
        resources.insert(Arc::new(Resource::new(
            Kind::Endpoint,
            format!("e{at}"),
            bytes,
        )));
    }
    Saved {
        node: "edge-1".into(),
        generation,
        run: String::new(),
        at_ms: 0,
        resources,
    }
}

fn open(place: &Path) -> Store {
    Store::open(place, "edge-1").expect("a store")
}

/// Not a test of its own: the process that is killed.
#[test]
#[allow(clippy::print_stdout)]
fn writes_one_state_after_the_other() {
    let Some(place) = std::env::var_os(PLACE) else {
        return;
    };
    let store = open(Path::new(&place));
    let first = store
        .load(|_| Ok(()))
        .map_or(0, |(saved, ())| saved.generation);
    for generation in first + 1.. {
        store.save(&saved(generation)).expect("write a state");
        println!("wrote {generation}");
    }
}

#[test]
fn a_kill_at_any_moment_leaves_what_was_written_last() {
    let dir = tempfile::tempdir().expect("a directory");
    let seed = rand::rng().random();
    let mut random = rand::rngs::SmallRng::seed_from_u64(seed);
    let mut floor = 0;
    for round in 0..25 {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "writes_one_state_after_the_other", "--nocapture"])
            .env(PLACE, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("start the writer");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let number = |line: &str| line.strip_prefix("wrote ")?.parse::<u64>().ok();
        let mut next = || lines.find_map(|line| number(&line.ok()?));
        floor = next().expect("it writes").max(floor);
        // Anywhere in the next few writes.
        std::thread::sleep(Duration::from_micros(random.random_range(0..30_000)));
        child.kill().expect("kill the writer");
        while let Some(written) = next() {
            floor = written;
        }
        child.wait().expect("the end of the writer");
        let (found, ()) = open(dir.path())
            .load(|_| Ok(()))
            .unwrap_or_else(|| panic!("nothing in round {round}, seed {seed}"));
        assert!(
            (floor..=floor + 1).contains(&found.generation),
            "{} where {floor} was confirmed, round {round}, seed {seed}",
            found.generation
        );
        assert_eq!(found, saved(found.generation), "seed {seed}");
        floor = found.generation;
    }
}
