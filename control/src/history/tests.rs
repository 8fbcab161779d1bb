use weir_config::ChangeKind;

use super::*;

fn change(what: &'static str) -> Change {
    Change {
        kind: ChangeKind::Changed,
        what,
        name: "x".into(),
        details: vec!["é".repeat(500); 50],
    }
}

fn draft(why: Why, what: &[&'static str]) -> Draft {
    Draft {
        number: 1,
        why,
        diff: Arc::new(Diff {
            changes: what.iter().map(|what| change(what)).collect(),
        }),
        model: Arc::default(),
        written: Arc::default(),
        overrides: String::new(),
        documents: BTreeMap::new(),
    }
}

#[test]
fn only_what_discovery_found_about_endpoints_is_counted_under_another_entry() {
    for (why, what, expected) in [
        (Why::found("docker"), &["endpoint"][..], true),
        (Why::found("docker"), &["endpoint", "version weight"], true),
        (Why::found("docker"), &["endpoint", "route"], false),
        (Why::written("file"), &["endpoint"], false),
        (Why::asked("canary set", "cli"), &["version weight"], false),
    ] {
        assert_eq!(draft(why, what).is_endpoints_only(), expected, "{what:?}");
    }
}

#[test]
fn an_entry_lists_a_bounded_part_of_its_changes() {
    let changes: Vec<Change> = (0..250).map(|_| change("route")).collect();
    let (listed, more) = listed(&changes);
    assert_eq!((listed.len(), more), (100, 150));
    assert_eq!(listed[0].details.len(), MAX_DETAILS);
    assert!(listed[0].details[0].len() <= MAX_DETAIL + 4);
}

fn entry(generation: u64) -> Entry {
    serde_json::from_value(serde_json::json!({
        "generation": generation, "time": "", "source": "file", "changes": [], "kept": true,
        "bytes": 0, "overrides": "", "documents": {},
    }))
    .unwrap()
}

#[test]
fn a_number_between_two_entries_belongs_to_the_earlier_one() {
    let mut last = entry(9);
    last.shown.endpoints.recent = serde_json::from_value(serde_json::json!([
        { "generation": 11, "time": "", "source": "docker", "text": "" },
    ]))
    .unwrap();
    let (history, _inbox) = History::new(vec![entry(4), last]);
    let of = |number| history.get(number).map(|entry| entry.shown.generation);
    for (number, expected) in [
        (3, None),
        (4, Some(4)),
        (8, Some(4)),
        (9, Some(9)),
        (11, Some(9)),
        (12, None),
    ] {
        assert_eq!(of(number), expected, "{number}");
    }
}

#[test]
fn a_full_queue_loses_entries_and_says_so_rather_than_wait() {
    let (history, _inbox) = History::new(Vec::new());
    for _ in 0..QUEUE {
        history.take(draft(Why::written("file"), &["route"]));
    }
    assert_eq!(history.problem(), None);
    history.take(draft(Why::written("file"), &["route"]));
    let problem = history.problem().unwrap();
    assert!(problem.contains("1 changes are missing"), "{problem}");
}

#[test]
fn what_discovery_made_is_dropped_before_what_people_decided() {
    let entries = |found: &[bool]| -> VecDeque<Entry> {
        let all = found.iter().zip(1..);
        all.map(|(found, number)| Entry {
            found: *found,
            ..entry(number)
        })
        .collect()
    };
    for (found, expected) in [
        (&[false, true, true, true][..], 1),
        (&[false, false, true, true], 0),
        (&[true, false, true, true], 0),
        (&[false, false, false], 0),
    ] {
        assert_eq!(recorder::expendable(&entries(found)), expected, "{found:?}");
    }
}
