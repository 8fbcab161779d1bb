//! The shares of destinations as weights of clusters.

use weir_config::model::{BackendRef, Model, Service, Weight};

use crate::names;

/// The sum that weights are scaled to where shares of shares must be told in whole numbers.
const WHOLE: u32 = 1_000_000;

/// Each destination by its own weight, rounded up, and as the service that it is of: for those who are noted the rest. They have no
/// clusters of versions, and must not wait for any.
pub(crate) fn rounded(backends: &[BackendRef]) -> Vec<(String, u32)> {
    let one = |backend: &BackendRef| {
        let name = names::cluster(&backend.service, None);
        (name, backend.weight.tenths().div_ceil(10))
    };
    backends.iter().map(one).collect()
}

/// Each destination by its own weight.
fn plain(backends: &[BackendRef]) -> Vec<(String, u32)> {
    let weights: Vec<Weight> = backends.iter().map(|backend| backend.weight).collect();
    backends.iter().map(name).zip(scaled(&weights)).collect()
}

fn name(backend: &BackendRef) -> String {
    names::cluster(&backend.service, backend.version.as_ref())
}

/// Each destination that names no version of a service with several is split, as Weir splits it.
pub(crate) fn split(backends: &[BackendRef], model: &Model) -> Vec<(String, u32)> {
    let parts = |backend: &BackendRef| {
        let service = model.service(backend.service.as_str())?;
        (backend.version.is_none() && service.versions.len() > 1).then(|| versions(service))
    };
    if backends.iter().all(|backend| parts(backend).is_none()) {
        return plain(backends);
    }
    if let [only] = backends
        && only.weight > Weight::ZERO
        && let Some((names, weights)) = parts(only)
    {
        return names.into_iter().zip(scaled(&weights)).collect();
    }
    let mut shares: Vec<(String, f64)> = Vec::new();
    for backend in backends {
        let own = backend.weight.as_f64();
        match parts(backend) {
            None => shares.push((name(backend), own)),
            Some((names, weights)) => {
                let sum: f64 = weights.iter().map(|weight| weight.as_f64()).sum();
                let share = |weight: &Weight| {
                    if sum > 0.0 {
                        own * weight.as_f64() / sum
                    } else {
                        0.0
                    }
                };
                shares.extend(names.into_iter().zip(weights.iter().map(share)));
            }
        }
    }
    let sum: f64 = shares.iter().map(|(_, share)| share).sum();
    let weight = |share: f64| {
        let part = share / sum * f64::from(WHOLE);
        // A share of something stays something. A cast of a float saturates.
        if share > 0.0 {
            (part.round() as u32).max(1)
        } else {
            0
        }
    };
    shares
        .into_iter()
        .map(|(name, share)| (name, weight(share)))
        .collect()
}

fn versions(service: &Service) -> (Vec<String>, Vec<Weight>) {
    let name =
        |version: &weir_config::model::Version| names::cluster(&service.name, Some(&version.name));
    let names = service.versions.iter().map(name).collect();
    (
        names,
        service
            .versions
            .iter()
            .map(|version| version.weight)
            .collect(),
    )
}

/// Whole numbers where all weights are whole, tenths otherwise.
fn scaled(weights: &[Weight]) -> Vec<u32> {
    let scale = scale(weights.iter().copied());
    weights
        .iter()
        .map(|weight| weight.tenths().div_ceil(scale))
        .collect()
}

/// How many tenths are written as one: ten where all weights are whole; where one is so large that its tenths would be no weight
/// that is taken, too, and what is not whole is rounded up then. Beside it that is less than a millionth.
pub(crate) fn scale(mut weights: impl Iterator<Item = Weight> + Clone) -> u32 {
    const WHOLE: u32 = 10;
    let is_large = |weight: Weight| weight.tenths() > Weight::MAX.tenths() / WHOLE;
    let all_whole = weights
        .clone()
        .all(|weight| weight.tenths().is_multiple_of(WHOLE));
    match all_whole || weights.any(is_large) {
        true => WHOLE,
        false => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_keep_their_proportions_and_are_never_more_than_is_taken() {
        for (tenths, expected) in [
            (&[950, 50][..], &[95, 5][..]),
            (&[955, 45], &[955, 45]),
            (&[745, 10_000_000, 42, 0], &[75, 1_000_000, 5, 0]),
            (&[1_000_000, 5], &[1_000_000, 5]),
            (&[1_000_001, 5], &[100_001, 1]),
        ] {
            let weights: Vec<Weight> = tenths
                .iter()
                .map(|tenths| Weight::from_tenths(*tenths).unwrap())
                .collect();
            assert_eq!(scaled(&weights), expected, "{tenths:?}");
        }
    }
}
