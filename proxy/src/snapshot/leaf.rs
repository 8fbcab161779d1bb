//! Leaves: the (service, version) pairs that a rule's traffic is split among.

use weir_config::model::{BackendRef, Model, Weight};

/// One destination of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Index into the snapshot's services; `None` where the rule names a service that is not there.
    pub service: Option<usize>,
    /// Index into the service's versions; `None` where it has no such version.
    pub version: Option<usize>,
    pub weight: Weight,
    /// Made from a reference without a version: when its version has no endpoint to answer, a sibling may.
    /// One that was written out keeps its share of errors (Gateway API; semantics 24).
    pub shared: bool,
}

/// The leaves of a rule's references. A reference without a version becomes one leaf for each version of its service,
/// which divide the reference's weight as the service says.
pub(super) fn leaves(model: &Model, backends: &[BackendRef]) -> Vec<Leaf> {
    let alone = backends.len() == 1;
    let mut leaves = Vec::with_capacity(backends.len());
    for backend in backends {
        let at = model
            .services
            .binary_search_by(|s| s.name.cmp(&backend.service))
            .ok();
        let Some(service) = at.map(|i| &model.services[i]) else {
            leaves.push(Leaf {
                service: None,
                version: None,
                weight: backend.weight,
                shared: false,
            });
            continue;
        };
        if let Some(name) = &backend.version {
            let version = service.versions.iter().position(|v| v.name == *name);
            leaves.push(Leaf {
                service: at,
                version,
                weight: backend.weight,
                shared: false,
            });
            continue;
        }
        if service.versions.is_empty() {
            // The service is there and has nobody to answer: 503, not 500.
            leaves.push(Leaf {
                service: at,
                version: None,
                weight: backend.weight,
                shared: false,
            });
            continue;
        }
        let total: u64 = service
            .versions
            .iter()
            .map(|v| u64::from(v.weight.tenths()))
            .sum();
        for (index, version) in service.versions.iter().enumerate() {
            let weight = match alone {
                true => version.weight,
                false => part(backend.weight, version.weight, total),
            };
            leaves.push(Leaf {
                service: at,
                version: Some(index),
                weight,
                shared: true,
            });
        }
    }
    if !alone {
        scale_written(backends, &mut leaves);
    }
    leaves
}

/// Weights beside a divided reference are multiplied by this, so that the parts keep their proportions.
const SCALE: u64 = 1000;

fn part(whole: Weight, share: Weight, total: u64) -> Weight {
    let tenths = (u64::from(whole.tenths()) * SCALE * u64::from(share.tenths()))
        .checked_div(total)
        .unwrap_or(0);
    clamp(tenths)
}

/// Where one reference was divided by [`part`], the others are scaled alike.
fn scale_written(backends: &[BackendRef], leaves: &mut [Leaf]) {
    if backends.iter().all(|b| b.version.is_some()) {
        return;
    }
    for leaf in leaves.iter_mut().filter(|leaf| !leaf.shared) {
        leaf.weight = clamp(u64::from(leaf.weight.tenths()) * SCALE);
    }
}

fn clamp(tenths: u64) -> Weight {
    let most = Weight::MAX.tenths();
    Weight::from_tenths(u32::try_from(tenths).unwrap_or(most).min(most)).unwrap_or(Weight::MAX)
}
