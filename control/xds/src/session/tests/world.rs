//! A small configuration whose resources refer to each other, and changes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::RngExt as _;
use rand::rngs::StdRng;
use weir_wire::{Kind, Resource, Resources};

/// What a client will not take.
pub(super) const POISON: &str = "poison";

/// Clusters with endpoints, routes that name clusters, listeners that name a route and a secret.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    /// Name to its version and its endpoints' version.
    pub(super) clusters: BTreeMap<String, (u32, u32)>,
    pub(super) routes: BTreeMap<String, (u32, BTreeSet<String>)>,
    /// Name to its version; its route has its name, its secret too.
    pub(super) listeners: BTreeMap<String, u32>,
    pub(super) secrets: BTreeMap<String, u32>,
    /// Resources that clients refuse.
    pub(super) poison: BTreeSet<(Kind, String)>,
}

impl World {
    /// As resources. A body names what it refers to, behind its version.
    pub(super) fn resources(&self) -> Resources {
        let mut out = Resources::default();
        let mut put = |kind, name: &str, version: u32, refers: Vec<String>| {
            let poisoned = self.poison.contains(&(kind, name.to_owned()));
            let mark = if poisoned { POISON } else { "fine" };
            let body = format!("{mark} {version} {}", refers.join(","));
            out.insert(Arc::new(Resource::new(kind, name, body.into_bytes())));
        };
        for (name, (version, endpoints)) in &self.clusters {
            put(Kind::Cluster, name, *version, Vec::new());
            put(Kind::Endpoint, name, *endpoints, Vec::new());
        }
        for (name, version) in &self.secrets {
            put(Kind::Secret, name, *version, Vec::new());
        }
        for (name, version) in &self.listeners {
            put(Kind::Listener, name, *version, vec![name.clone()]);
        }
        for (name, (version, clusters)) in &self.routes {
            put(
                Kind::Route,
                name,
                *version,
                clusters.iter().cloned().collect(),
            );
        }
        out
    }

    /// One random change that leaves nothing dangling.
    pub(super) fn change(&mut self, rng: &mut StdRng) {
        let version = rng.random_range(0..1_000_000);
        let name = format!("c{}", rng.random_range(0..6));
        match rng.random_range(0..9) {
            0 | 1 => {
                self.clusters.insert(name, (version, version));
            }
            2 => {
                self.clusters.remove(&name);
                for (_, clusters) in self.routes.values_mut() {
                    clusters.remove(&name);
                }
            }
            3 | 4 => {
                if let Some((_, endpoints)) = self.clusters.get_mut(&name) {
                    *endpoints = version;
                }
            }
            5 | 6 => {
                let listener = format!("l{}", rng.random_range(0..3));
                let half = |_: &&String| rng.random_bool(0.5);
                let clusters = self.clusters.keys().filter(half).cloned().collect();
                self.secrets.entry(listener.clone()).or_insert(version);
                self.listeners.entry(listener.clone()).or_insert(version);
                self.routes.insert(listener, (version, clusters));
            }
            7 => {
                let listener = format!("l{}", rng.random_range(0..3));
                self.listeners.remove(&listener);
                self.secrets.remove(&listener);
                self.routes.remove(&listener);
            }
            _ => {
                let listener = format!("l{}", rng.random_range(0..3));
                if let Some(secret) = self.secrets.get_mut(&listener) {
                    *secret = version;
                }
            }
        }
    }

    /// Makes something refused, or all of it fine again.
    pub(super) fn poison(&mut self, rng: &mut StdRng) {
        if rng.random_bool(0.5) {
            self.poison.clear();
            return;
        }
        let all: Vec<(Kind, String)> = self
            .resources()
            .iter()
            .map(|resource| (resource.kind, resource.name.clone()))
            .collect();
        if !all.is_empty() {
            let chosen = rng.random_range(0..all.len());
            self.poison.insert(all[chosen].clone());
        }
    }
}

/// Names that a body refers to.
pub(super) fn refers(body: &str) -> Vec<String> {
    let names = body.split(' ').nth(2).unwrap_or_default();
    names
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}
