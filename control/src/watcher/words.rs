//! A generation in words.

use std::collections::BTreeMap;

use weir_config::{Change, ChangeKind, Diff};

/// Changes spelled out in one event; more are counted.
const TOLD_CHANGES: usize = 4;

/// What a generation changes, in a line: each change, or how many of which kind when there are many.
pub(crate) fn changes(diff: &Diff) -> String {
    if diff.changes.is_empty() {
        return "only where things are written changed".into();
    }
    if diff.changes.len() > TOLD_CHANGES {
        let mut kinds: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for change in &diff.changes {
            *kinds.entry((change.what, verb(change.kind))).or_default() += 1;
        }
        let one = |((what, verb), count): ((&str, &str), usize)| {
            let plural = if count == 1 { "" } else { "s" };
            format!("{count} {what}{plural} {verb}")
        };
        return kinds.into_iter().map(one).collect::<Vec<_>>().join(", ");
    }
    let one = |change: &Change| {
        let told = format!("{} {} {}", change.what, change.name, verb(change.kind));
        match (change.kind, change.details.is_empty()) {
            (ChangeKind::Changed, false) => format!("{told} ({})", change.details.join(", ")),
            _ => told,
        }
    };
    diff.changes.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn verb(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Added => "added",
        ChangeKind::Removed => "removed",
        ChangeKind::Changed => "changed",
    }
}
