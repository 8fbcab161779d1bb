//! Configured, overridden and effective weights side by side: what `weir canary get` and the dashboard show.

use std::collections::BTreeMap;

use weir_config::model::{Admission, Model, Service, ServiceName, VersionName, Weight};

use crate::overrides::{Overrides, group, is_dormant};
use crate::shares::{overlay_awake, percent};

/// One service's split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    pub service: ServiceName,
    pub versions: Vec<VersionSplit>,
    /// Where the configured weights were read: `service shop`, `route shop, rule 2`.
    pub origin: String,
    /// Who set the override and when (milliseconds since 1970), if there is one.
    pub overridden: Option<(String, u64)>,
}

/// One version's part. `configured` and `effective` are percentages that add up to 100 over the versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionSplit {
    pub version: VersionName,
    pub configured: Weight,
    /// As the person wrote it.
    pub told: Option<Weight>,
    pub effective: Weight,
    pub endpoints: usize,
    /// Endpoints whose source lets them take requests; the proxy's own probes come on top.
    pub admitted: usize,
}

/// The weights that labels or files give to a service's versions.
pub(crate) struct Split {
    /// Of the service itself, rather than of a rule.
    pub(crate) own: bool,
    pub(crate) weights: Vec<(VersionName, Weight)>,
    pub(crate) origin: String,
}

/// The split of every service that has two or more versions or an override, in the order of names.
///
/// `configured` is the model before [`crate::apply`].
#[must_use]
pub fn rollouts(configured: &Model, overrides: &Overrides) -> Vec<Rollout> {
    let mut out: BTreeMap<ServiceName, Rollout> = BTreeMap::new();
    for service in &configured.services {
        let split = configured_split(configured, service);
        let told = overrides.get(&service.name);
        if split.weights.len() < 2 && told.is_none() {
            continue;
        }
        out.insert(service.name.clone(), rollout(service, split, overrides));
    }
    for (name, told) in &overrides.services {
        out.entry(name.clone()).or_insert_with(|| Rollout {
            service: name.clone(),
            versions: Vec::new(),
            origin: "not configured now".into(),
            overridden: Some((told.by.clone(), told.since_ms)),
        });
    }
    out.into_values().collect()
}

/// The split of one service, however many versions it has.
#[must_use]
pub fn rollout_of(configured: &Model, overrides: &Overrides, service: &str) -> Option<Rollout> {
    let service = configured.service(service)?;
    Some(rollout(
        service,
        configured_split(configured, service),
        overrides,
    ))
}

/// What is configured for a service: the first rule, in the order of routes, that splits between versions of it,
/// since requests meet that one; else the service's own versions. Versions that only the other of the two
/// knows are listed with weight 0.
pub(crate) fn configured_split(model: &Model, service: &Service) -> Split {
    let own: Vec<_> = service
        .versions
        .iter()
        .map(|v| (v.name.clone(), v.weight))
        .collect();
    let rules = model.routes.iter().flat_map(|route| {
        route
            .rules
            .iter()
            .enumerate()
            .map(move |(i, rule)| (&route.name, i + 1, &rule.backends))
    });
    let streams = model.streams.iter();
    let streams = streams.map(|route| (&route.name, 1, &route.backends));
    for (route, number, backends) in rules.chain(streams) {
        let mut weights = group(backends, &service.name);
        if weights.len() < 2 {
            continue;
        }
        for (name, _) in own {
            if !weights.iter().any(|(known, _)| *known == name) {
                weights.push((name, Weight::ZERO));
            }
        }
        weights.sort();
        return Split {
            own: false,
            weights,
            origin: format!("route {route}, rule {number}"),
        };
    }
    Split {
        own: true,
        weights: own,
        origin: format!("service {}", service.name),
    }
}

fn rollout(service: &Service, split: Split, overrides: &Overrides) -> Rollout {
    let told = overrides.get(&service.name);
    let nothing = BTreeMap::new();
    let named = told.map_or(&nothing, |told| &told.weights);
    let raw: Vec<Weight> = split.weights.iter().map(|(_, weight)| *weight).collect();
    let dormant = |version: &VersionName| split.own && is_dormant(service, version);
    let effective = match told {
        Some(_) => percent(&overlay_awake(&split.weights, named, dormant)),
        None => percent(&raw),
    };
    let versions = split
        .weights
        .iter()
        .zip(percent(&raw).into_iter().zip(effective))
        .map(|((name, _), (configured, effective))| VersionSplit {
            version: name.clone(),
            configured,
            told: named.get(name).copied(),
            effective,
            endpoints: count(service, name, |_| true),
            admitted: count(service, name, |a| {
                matches!(a, Admission::Ready | Admission::Probe)
            }),
        })
        .collect();
    Rollout {
        service: service.name.clone(),
        versions,
        origin: split.origin,
        overridden: told.map(|told| (told.by.clone(), told.since_ms)),
    }
}

fn count(service: &Service, version: &VersionName, fits: impl Fn(&Admission) -> bool) -> usize {
    service
        .endpoints
        .iter()
        .filter(|e| e.version == *version && fits(&e.admission))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overrides::tests::{route, rule, service, told};
    use crate::request::describe;

    fn check(model: &Model, overrides: &Overrides, expected: &[&str]) {
        let got: Vec<String> = rollouts(model, overrides)
            .iter()
            .flat_map(|r| {
                r.versions.iter().map(move |v| {
                    let told = v.told.map_or("-".into(), |w| w.to_string());
                    format!(
                        "{}/{} {} {told} {}",
                        r.service, v.version, v.configured, v.effective
                    )
                })
            })
            .collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn an_override_is_shown_beside_what_is_configured() {
        let model = Model {
            services: vec![
                service("cart", "stable=100"),
                service("shop", "canary=1 stable=19"),
            ],
            ..Model::default()
        };
        check(
            &model,
            &Overrides::default(),
            &["shop/canary 5 - 5", "shop/stable 95 - 95"],
        );
        check(
            &model,
            &told("shop", "canary=25"),
            &["shop/canary 5 25 25", "shop/stable 95 - 75"],
        );
    }

    #[test]
    fn a_rule_that_splits_is_what_is_configured() {
        let model = Model {
            services: vec![service("shop", "blue=50 canary=50 stable=0")],
            routes: vec![route(
                "web",
                vec![rule("shop/canary=1"), rule("shop/stable=90 shop/canary=10")],
            )],
            ..Model::default()
        };
        check(
            &model,
            &Overrides::default(),
            &[
                "shop/blue 0 - 0",
                "shop/canary 10 - 10",
                "shop/stable 90 - 90",
            ],
        );
        assert_eq!(
            rollouts(&model, &Overrides::default())[0].origin,
            "route web, rule 2"
        );
    }

    #[test]
    fn an_override_of_a_service_that_is_gone_stays_visible() {
        let shown = rollouts(&Model::default(), &told("gone", "canary=5"));
        assert_eq!(shown.len(), 1);
        assert_eq!(shown[0].overridden, Some(("cli".into(), 1)));
    }

    // semantics 42
    #[test]
    fn a_change_is_told_in_words_with_numbers() {
        let model = Model {
            services: vec![service("shop", "canary=5 stable=95")],
            ..Model::default()
        };
        let before = rollouts(&model, &Overrides::default());
        let after = rollouts(&model, &told("shop", "canary=25"));
        assert_eq!(
            describe(&before[0].versions, &after[0].versions),
            "canary 5% -> 25%, stable 95% -> 75%"
        );
        assert_eq!(
            describe(&after[0].versions, &after[0].versions),
            "no change"
        );
    }
}
