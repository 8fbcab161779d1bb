//! A person's request to change weights: whether it makes sense, and what it changes, in words.

use std::collections::BTreeMap;

use weir_config::model::{Admission, Model, Service, ServiceName, VersionName, Weight};

use crate::overrides::{Overrides, is_dormant};
use crate::shares::WHOLE;
use crate::view::{VersionSplit, configured_split};

/// Why a request was refused. Every message names what there is instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    #[error("there is no service {asked:?}; known services: {}", list(known))]
    UnknownService { asked: String, known: Vec<String> },
    #[error(
        "service {service} has no version {asked:?}; its versions: {}",
        list(known)
    )]
    UnknownVersion {
        service: String,
        asked: String,
        known: Vec<String>,
    },
    #[error("weight of {version}: {reason}")]
    BadWeight { version: String, reason: String },
    #[error("name at least one version and its weight, as in canary=25")]
    Nothing,
    #[error("all weights are 0: nothing of {service} would be served; give one version a weight")]
    AllZero { service: String },
    #[error(
        "{} of 100 percent are given away and {} would get nothing of what is left; name every version, \
         or weights that add up to 100 at most",
        percent,
        list(others)
    )]
    OverWhole {
        percent: String,
        others: Vec<String>,
    },
    #[error("service {service} has no weights set by hand")]
    NotSet { service: String },
}

/// A request that makes sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub service: ServiceName,
    pub weights: BTreeMap<VersionName, Weight>,
    /// True things that the person may not have meant.
    pub warnings: Vec<String>,
}

/// Reads and checks `weights` (version to text such as `25`, `0.5`, `25%`) against what is configured.
///
/// # Errors
/// [`SetError`], which lists what is known where a name is not.
pub fn check_set(
    configured: &Model,
    service: &str,
    weights: &BTreeMap<String, String>,
) -> Result<Change, SetError> {
    let found = find(configured, service)?;
    let split = configured_split(configured, found);
    let known = || {
        split
            .weights
            .iter()
            .map(|(name, _)| name.to_string())
            .collect::<Vec<_>>()
    };
    let mut named = BTreeMap::new();
    for (version, text) in weights {
        let Some((name, _)) = split
            .weights
            .iter()
            .find(|(name, _)| name.as_str() == version)
        else {
            let (service, asked) = (service.to_owned(), version.clone());
            return Err(SetError::UnknownVersion {
                service,
                asked,
                known: known(),
            });
        };
        let weight = text
            .trim()
            .parse::<Weight>()
            .map_err(|invalid| SetError::BadWeight {
                version: version.clone(),
                reason: invalid.to_string(),
            })?;
        named.insert(name.clone(), weight);
    }
    if named.is_empty() {
        return Err(SetError::Nothing);
    }
    check_sum(service, &named, &known())?;
    let warnings = warnings(found, &named, split.own);
    Ok(Change {
        service: found.name.clone(),
        weights: named,
        warnings,
    })
}

/// Checks that there is something to clear.
///
/// An override outlives its service, so the service need not be known.
///
/// # Errors
/// [`SetError::NotSet`], or [`SetError::UnknownService`] where neither service nor override exists.
pub fn check_clear(
    configured: &Model,
    overrides: &Overrides,
    service: &str,
) -> Result<ServiceName, SetError> {
    if let Some(name) = overrides
        .services
        .keys()
        .find(|name| name.as_str() == service)
    {
        return Ok(name.clone());
    }
    find(configured, service)?;
    Err(SetError::NotSet {
        service: service.to_owned(),
    })
}

/// What changed, in words with numbers: `canary 5% -> 25%, stable 95% -> 75%`.
///
/// Versions whose share stays are left out; `no change` when all do.
#[must_use]
pub fn describe(before: &[VersionSplit], after: &[VersionSplit]) -> String {
    let was = |name: &VersionName| {
        before
            .iter()
            .find(|v| v.version == *name)
            .map_or(Weight::ZERO, |v| v.effective)
    };
    let words: Vec<String> = after
        .iter()
        .filter(|v| was(&v.version) != v.effective)
        .map(|v| format!("{} {}% -> {}%", v.version, was(&v.version), v.effective))
        .collect();
    match words.is_empty() {
        true => "no change".into(),
        false => words.join(", "),
    }
}

fn find<'m>(model: &'m Model, service: &str) -> Result<&'m Service, SetError> {
    model
        .service(service)
        .map(AsRef::as_ref)
        .ok_or_else(|| SetError::UnknownService {
            asked: service.to_owned(),
            known: model.services.iter().map(|s| s.name.to_string()).collect(),
        })
}

fn check_sum(
    service: &str,
    named: &BTreeMap<VersionName, Weight>,
    known: &[String],
) -> Result<(), SetError> {
    let sum: u64 = named.values().map(|w| u64::from(w.tenths())).sum();
    let others: Vec<String> = known
        .iter()
        .filter(|name| !named.keys().any(|told| told.as_str() == name.as_str()))
        .cloned()
        .collect();
    match (others.is_empty(), sum) {
        (true, 0) => Err(SetError::AllZero {
            service: service.to_owned(),
        }),
        (false, sum) if sum > WHOLE => {
            let percent = crate::shares::weight(sum).to_string();
            Err(SetError::OverWhole { percent, others })
        }
        _ => Ok(()),
    }
}

/// A version that would get traffic and has nobody to serve it: allowed, since its endpoints may be on
/// their way, but its share errors until then (semantics 24), or waits where the version is just starting.
fn warnings(service: &Service, named: &BTreeMap<VersionName, Weight>, own: bool) -> Vec<String> {
    let serves = |version: &VersionName| {
        let takes = |a: &Admission| matches!(a, Admission::Ready | Admission::Probe);
        service
            .endpoints
            .iter()
            .any(|e| e.version == *version && takes(&e.admission))
    };
    named
        .iter()
        .filter(|(version, weight)| **weight > Weight::ZERO && !serves(version))
        .map(|(version, _)| {
            let meanwhile = match own && is_dormant(service, version) {
                true => "it gets its share when it has one",
                false => "its share is answered with 503 until it has one",
            };
            format!(
                "{version} of {} has no endpoint that is ready: {meanwhile}",
                service.name
            )
        })
        .collect()
}

fn list(names: &[String]) -> String {
    match names.is_empty() {
        true => "none".into(),
        false => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weir_config::model::{Endpoint, EndpointId};

    use super::*;
    use crate::overrides::tests::{service, told};

    fn model() -> Model {
        let mut shop = service("shop", "canary=5 stable=95");
        let endpoint = |version: &str, admission| Endpoint {
            version: VersionName::new(version).unwrap(),
            admission,
            ..Endpoint::new(
                EndpointId::new(version).unwrap(),
                ([127, 0, 0, 1], 9001).into(),
            )
        };
        Arc::get_mut(&mut shop).unwrap().endpoints = vec![
            endpoint("canary", Admission::NotReady(Arc::from("starting"))),
            endpoint("stable", Admission::Ready),
        ];
        Model {
            services: vec![service("cart", "stable=100"), shop],
            ..Model::default()
        }
    }

    fn set(service: &str, weights: &[(&str, &str)]) -> Result<Change, SetError> {
        let weights = weights
            .iter()
            .map(|(v, w)| ((*v).to_owned(), (*w).to_owned()))
            .collect();
        check_set(&model(), service, &weights)
    }

    #[test]
    fn unknown_names_are_answered_with_the_known_ones() {
        let refused = set("shpo", &[("canary", "5")]).unwrap_err().to_string();
        assert_eq!(
            refused,
            "there is no service \"shpo\"; known services: cart, shop"
        );
        let refused = set("shop", &[("green", "5")]).unwrap_err().to_string();
        assert_eq!(
            refused,
            "service shop has no version \"green\"; its versions: canary, stable"
        );
    }

    #[test]
    fn weights_that_make_no_sense_are_refused() {
        assert!(matches!(
            set("shop", &[("canary", "-1")]),
            Err(SetError::BadWeight { .. })
        ));
        assert!(matches!(
            set("shop", &[("canary", "0.55")]),
            Err(SetError::BadWeight { .. })
        ));
        assert!(matches!(set("shop", &[]), Err(SetError::Nothing)));
        assert!(matches!(
            set("shop", &[("canary", "0"), ("stable", "0")]),
            Err(SetError::AllZero { .. })
        ));
        assert!(matches!(
            set("cart", &[("stable", "0")]),
            Err(SetError::AllZero { .. })
        ));
        assert!(matches!(
            set("shop", &[("canary", "101")]),
            Err(SetError::OverWhole { .. })
        ));
    }

    #[test]
    fn relative_weights_may_pass_a_hundred_when_every_version_is_named() {
        let change = set("shop", &[("canary", "300"), ("stable", "100%")]).unwrap();
        assert_eq!(change.weights.len(), 2);
    }

    // semantics 24
    #[test]
    fn traffic_for_a_version_that_nobody_serves_is_allowed_with_a_warning() {
        let change = set("shop", &[("canary", "25")]).unwrap();
        assert_eq!(change.warnings.len(), 1);
        assert!(
            change.warnings[0].contains("canary of shop has no endpoint"),
            "{:?}",
            change.warnings
        );
        assert!(
            set("shop", &[("stable", "100")])
                .unwrap()
                .warnings
                .is_empty()
        );
        assert!(set("shop", &[("canary", "0")]).unwrap().warnings.is_empty());
    }

    #[test]
    fn an_override_can_be_cleared_after_its_service_is_gone() {
        let gone = told("gone", "canary=5");
        assert!(check_clear(&model(), &gone, "gone").is_ok());
        assert!(matches!(
            check_clear(&model(), &gone, "shop"),
            Err(SetError::NotSet { .. })
        ));
        assert!(matches!(
            check_clear(&model(), &gone, "nope"),
            Err(SetError::UnknownService { .. })
        ));
    }
}
