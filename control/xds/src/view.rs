//! What a group of nodes is to know at one generation.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use weir_wire::{Kind, Resource, Resources};

/// Numbers views of this process, so that two can be told apart without a look inside.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// All that some nodes are to know, at one generation. Many sessions share it.
#[derive(Debug)]
pub struct View {
    pub(crate) generation: u64,
    pub(crate) resources: Resources,
    id: u64,
    /// The view this one replaced, and what differs.
    step: Option<(u64, Vec<Change>)>,
}

/// A resource that differs between two views.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// As it was before; `None`: it was not there.
    pub(crate) old: Option<Arc<Resource>>,
}

impl View {
    /// A view without a predecessor.
    #[must_use]
    pub fn new(generation: u64, resources: Resources) -> Self {
        Self {
            generation,
            resources,
            id: NEXT_ID.fetch_add(1, Relaxed),
            step: None,
        }
    }

    /// The view that follows this one. What both have is held once.
    #[must_use]
    pub fn next(&self, generation: u64, fresh: &Resources) -> Self {
        let mut resources = Resources::default();
        for resource in fresh.iter() {
            let known = self.resources.get(resource.kind, &resource.name);
            let same = known.filter(|known| known.version == resource.version);
            resources.insert(Arc::clone(same.unwrap_or(resource)));
        }
        let changes = compare(&self.resources, &resources);
        Self {
            step: Some((self.id, changes)),
            ..Self::new(generation, resources)
        }
    }

    /// The control plane's number of it.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What is in it.
    #[must_use]
    pub fn resources(&self) -> &Resources {
        &self.resources
    }

    /// How many resources differ from the view before; 0 for the first.
    #[must_use]
    pub fn changed(&self) -> usize {
        self.step.as_ref().map_or(0, |(_, changes)| changes.len())
    }

    /// Hands out what differs from an older view: as it was worked out once where that is the one before.
    pub(crate) fn changes_since(&self, old: &Self, mut each: impl FnMut(&Change)) {
        if old.id == self.id {
            return;
        }
        match &self.step {
            Some((before, changes)) if *before == old.id => changes.iter().for_each(each),
            _ => compare(&old.resources, &self.resources)
                .iter()
                .for_each(&mut each),
        }
    }
}

/// What differs, by walking both in the order of names.
fn compare(old: &Resources, new: &Resources) -> Vec<Change> {
    let mut changes = Vec::new();
    for kind in Kind::ALL {
        let (mut left, mut right) = (old.of(kind).peekable(), new.of(kind).peekable());
        while let Some(change) = step(kind, &mut left, &mut right) {
            changes.extend(change);
        }
    }
    changes
}

/// Takes the next name of either side; `None` at the end of both, `Some(None)` where nothing differs.
fn step<'a>(
    kind: Kind,
    left: &mut Peekable<impl Iterator<Item = &'a Arc<Resource>>>,
    right: &mut Peekable<impl Iterator<Item = &'a Arc<Resource>>>,
) -> Option<Option<Change>> {
    let order = match (left.peek(), right.peek()) {
        (None, None) => return None,
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (Some(old), Some(new)) => old.name.cmp(&new.name),
    };
    let old = left.next_if(|_| order != Ordering::Greater);
    let new = right.next_if(|_| order != Ordering::Less);
    if let (Some(old), Some(new)) = (old, new)
        && (Arc::ptr_eq(old, new) || old.version == new.version)
    {
        return Some(None);
    }
    let name = &old.or(new)?.name;
    Some(Some(Change {
        kind,
        name: name.clone(),
        old: old.cloned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(all: &[(Kind, &str, &str)]) -> Resources {
        let mut out = Resources::default();
        for (kind, name, body) in all {
            out.insert(Arc::new(Resource::new(
                *kind,
                *name,
                body.as_bytes().to_vec(),
            )));
        }
        out
    }

    fn told(view: &View, old: &View) -> Vec<String> {
        let mut out = Vec::new();
        view.changes_since(old, |change| {
            out.push(format!("{} {}", change.name, change.old.is_some()));
        });
        out
    }

    #[test]
    fn a_view_tells_what_is_new_what_changed_and_what_is_gone() {
        let first = View::new(
            1,
            resources(&[
                (Kind::Cluster, "a", "1"),
                (Kind::Cluster, "b", "1"),
                (Kind::Cluster, "d", "1"),
            ]),
        );
        let second = first.next(
            2,
            &resources(&[
                (Kind::Cluster, "b", "2"),
                (Kind::Cluster, "c", "1"),
                (Kind::Cluster, "d", "1"),
                (Kind::Route, "a", "1"),
            ]),
        );
        let expected = ["a true", "b true", "c false", "a false"];
        assert_eq!(told(&second, &first), expected);
        let third = second.next(3, second.resources());
        assert_eq!(third.changed(), 0);
        // Two steps behind: worked out anew.
        assert_eq!(told(&third, &first), expected);
    }

    #[test]
    fn what_two_views_have_in_common_is_held_once() {
        let first = View::new(1, resources(&[(Kind::Cluster, "a", "1")]));
        let second = first.next(2, &resources(&[(Kind::Cluster, "a", "1")]));
        let held = |view: &View| Arc::clone(view.resources().get(Kind::Cluster, "a").unwrap());
        assert!(Arc::ptr_eq(&held(&first), &held(&second)));
    }
}
