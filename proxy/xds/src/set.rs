//! Resources with what each of them names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_wire::{Kind, Resource, Resources};

use crate::references::{self, Key};

/// Whether a type is asked for by name; the others are taken as they come.
pub(crate) fn is_named(kind: Kind) -> bool {
    !matches!(kind, Kind::Cluster | Kind::Listener)
}

/// Some resources. Cheap to copy: their bytes are shared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Set {
    resources: Resources,
    names: BTreeMap<Key, Arc<BTreeSet<Key>>>,
    counts: BTreeMap<Kind, usize>,
    bytes: usize,
}

impl Set {
    pub(crate) fn of(resources: &Resources) -> Self {
        let mut set = Self::default();
        for resource in resources.iter() {
            set.insert(Arc::clone(resource));
        }
        set
    }

    pub(crate) fn resources(&self) -> &Resources {
        &self.resources
    }

    pub(crate) fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Resource>> {
        self.resources.get(kind, name)
    }

    /// Resources of a type.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    /// Bytes of all of them.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn insert(&mut self, resource: Arc<Resource>) {
        let names = Arc::new(references::of(&resource));
        self.put(resource, names);
    }

    fn put(&mut self, resource: Arc<Resource>, names: Arc<BTreeSet<Key>>) {
        let kind = resource.kind;
        self.remove(kind, &resource.name);
        self.bytes += resource.body.value.len();
        *self.counts.entry(kind).or_default() += 1;
        if !names.is_empty() {
            self.names.insert((kind, resource.name.clone()), names);
        }
        self.resources.insert(resource);
    }

    pub(crate) fn remove(&mut self, kind: Kind, name: &str) -> bool {
        let Some(old) = self.resources.remove(kind, name) else {
            return false;
        };
        self.names.remove(&(kind, name.to_owned()));
        self.bytes -= old.body.value.len();
        if let Some(count) = self.counts.get_mut(&kind) {
            *count -= 1;
        }
        true
    }

    /// All that its resources name.
    pub(crate) fn named(&self) -> impl Iterator<Item = &Key> {
        self.names.values().flat_map(|names| names.iter())
    }

    /// What is named and not there. Routes that no listener names lead nowhere, and wait for nothing.
    pub(crate) fn missing(&self) -> BTreeSet<Key> {
        let of_listeners = |owner: &Key| owner.0 == Kind::Listener;
        let owners = || self.names.iter();
        let served: BTreeSet<&Key> = owners()
            .filter(|(owner, _)| of_listeners(owner))
            .flat_map(|(_, names)| names.iter())
            .collect();
        let counts = |owner: &Key| owner.0 != Kind::Route || served.contains(owner);
        let absent = |(kind, name): &&Key| self.get(*kind, name).is_none();
        owners()
            .filter(|(owner, _)| counts(owner))
            .flat_map(|(_, names)| names.iter().filter(absent))
            .cloned()
            .collect()
    }

    /// Whether something is not there that this one names.
    pub(crate) fn lacks_for(&self, kind: Kind, name: &str) -> bool {
        let names = self.names.get(&(kind, name.to_owned()));
        let mut names = names.into_iter().flat_map(|names| names.iter());
        names.any(|(kind, name)| self.get(*kind, name).is_none())
    }

    /// Those that cannot be served without something that is not there: endpoints, routes, a certificate. Routes can:
    /// a cluster that nobody tells is theirs to answer for.
    pub(crate) fn incomplete(&self) -> Vec<Key> {
        let lacks = |(kind, name): &Key| is_named(*kind) && self.get(*kind, name).is_none();
        let owners = self
            .names
            .iter()
            .filter(|(_, names)| names.iter().any(lacks));
        owners.map(|(owner, _)| owner.clone()).collect()
    }

    /// Puts in the place of one what `other` has there, with all that it names and this set lacks; where `other` has none,
    /// it is taken out. Returns whether anything changed.
    pub(crate) fn revert(&mut self, key: &Key, other: &Self) -> bool {
        let (kind, name) = key;
        let Some(old) = other.get(*kind, name) else {
            return self.remove(*kind, name);
        };
        let same = self.get(*kind, name).is_some_and(|it| Arc::ptr_eq(it, old));
        let names = other.names.get(key).cloned().unwrap_or_default();
        let mut changed = !same;
        if !same {
            self.put(Arc::clone(old), Arc::clone(&names));
        }
        for key in names.iter() {
            if self.get(key.0, &key.1).is_none() && other.get(key.0, &key.1).is_some() {
                changed |= self.revert(key, other);
            }
        }
        changed
    }
}
