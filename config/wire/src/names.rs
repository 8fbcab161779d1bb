//! Names of services, versions and routes as others' resources carry them.

use weir_config::model::{RouteName, ServiceName, VersionName};

use crate::refusal::Refusal;

/// Stands between a service and its version in the name of a cluster. No name in a model holds it.
pub(crate) const BAR: char = '|';

/// The cluster of a service, or of one of its versions.
pub(crate) fn cluster(service: &ServiceName, version: Option<&VersionName>) -> String {
    match version {
        None => service.to_string(),
        Some(version) => format!("{service}{BAR}{version}"),
    }
}

/// The service that a cluster's name stands for: what no name in a model may hold becomes `_`.
pub(crate) fn service(cluster: &str) -> Result<ServiceName, Refusal> {
    ServiceName::new(&fitting(cluster))
        .map_err(|error| Refusal::new(format!("is refused: {error}")))
}

/// A route's name out of any text.
pub(crate) fn route(text: &str) -> Result<RouteName, Refusal> {
    RouteName::new(&fitting(text)).map_err(|error| Refusal::new(format!("is refused: {error}")))
}

fn fitting(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_./:@".contains(c);
    text.chars()
        .map(|c| if fits(c) { c } else { '_' })
        .collect()
}

/// Which service, and which of its versions, a cluster's name means where it is referred to. `known` tells the clusters that are
/// there under that very name, which are services of their own.
pub(crate) fn reference(
    cluster: &str,
    known: &dyn Fn(&str) -> bool,
) -> Result<(ServiceName, Option<VersionName>), Refusal> {
    if cluster.is_empty() {
        return Err(Refusal::new("is empty"));
    }
    if let Some((name, version)) = cluster.split_once(BAR)
        && let (Ok(name), Ok(version)) = (ServiceName::new(name), VersionName::new(version))
        && !known(cluster)
    {
        return Ok((name, Some(version)));
    }
    Ok((service(cluster)?, None))
}
