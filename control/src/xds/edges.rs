//! Who calls whom, from what proxies report.

use std::collections::BTreeMap;

use weir_config::model::TrustDomain;
use weir_xds::server::{Load, Recent};

use crate::api::types::{Edge, Security};
use crate::control::Shared;

/// The proxy in this process, among those that report. No node is called that.
pub(crate) const OWN: &str = "";

/// Between what two names.
type Ends = (String, String);

/// What is added up of one edge.
#[derive(Debug, Default)]
struct Sum {
    issued: u64,
    secured: u64,
    last: Recent,
    /// The client is a service of the mesh.
    identified: bool,
}

/// Every edge that proxies which are connected have reported, and that in this process.
pub(crate) fn edges(shared: &Shared) -> Vec<Edge> {
    let Some(seen) = super::seen(shared) else {
        return Vec::new();
    };
    let mut sums: BTreeMap<Ends, Sum> = BTreeMap::new();
    for status in seen.proxies.list() {
        let client = status.service.clone();
        let identified = client.is_some();
        let client = client.unwrap_or_else(|| status.name.clone());
        for (server, load) in seen.loads.of(&status.name) {
            let sum = sums.entry((client.clone(), server)).or_default();
            sum.identified |= identified;
            add(sum, &load);
        }
    }
    if let Some(mesh) = &shared.mesh {
        for (server, load) in seen.loads.of(OWN) {
            let sum = sums.entry((mesh.edge.to_string(), server)).or_default();
            sum.identified = true;
            add(sum, &load);
        }
    }
    let domain = shared
        .mesh
        .as_ref()
        .map(|mesh| mesh.authority.trust_domain().clone());
    let all = sums.into_iter();
    all.map(|(ends, sum)| edge(ends, &sum, domain.as_ref()))
        .collect()
}

fn add(sum: &mut Sum, load: &Load) {
    sum.issued = sum.issued.saturating_add(load.issued);
    sum.secured = sum.secured.saturating_add(load.secured);
    sum.last.add(&load.last);
}

fn edge((client, server): Ends, sum: &Sum, domain: Option<&TrustDomain>) -> Edge {
    let security = match sum.secured {
        0 => Security::Plain,
        secured if secured < sum.issued => Security::Mixed,
        _ => Security::Mtls,
    };
    let id = |service: &str| domain.map(|domain| format!("spiffe://{domain}/svc/{service}"));
    let secured = security != Security::Plain;
    let last = &sum.last;
    let succeeded = last.requests.saturating_sub(last.failed);
    Edge {
        client_identity: id(&client).filter(|_| secured && sum.identified),
        server_identity: id(&server).filter(|_| secured),
        client,
        server,
        security,
        requests: sum.issued,
        requests_per_second: (last.rate() * 10.0).round() / 10.0,
        success_percent: (last.requests > 0)
            .then(|| (succeeded as f64 / last.requests as f64 * 10_000.0).round() / 100.0),
        p99_ms: last.quantile_us(0.99).map(|us| us as f64 / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn sum(issued: u64, secured: u64, failed: u64) -> Sum {
        let mut sum = Sum {
            identified: true,
            ..Sum::default()
        };
        add(
            &mut sum,
            &Load {
                issued,
                secured,
                last: Recent {
                    requests: issued,
                    failed,
                    over: Duration::from_secs(10),
                    buckets: vec![(5000, issued)],
                },
                ..Load::default()
            },
        );
        sum
    }

    #[test]
    fn an_edge_is_secured_only_if_all_of_it_is() {
        let domain = TrustDomain::default();
        let of = |secured| {
            let ends = ("web".to_owned(), "shop".to_owned());
            edge(ends, &sum(200, secured, 1), Some(&domain))
        };
        let all = of(200);
        assert_eq!(all.security, Security::Mtls);
        assert_eq!(
            all.server_identity.as_deref(),
            Some("spiffe://weir.local/svc/shop")
        );
        assert_eq!(
            all.client_identity.as_deref(),
            Some("spiffe://weir.local/svc/web")
        );
        assert_eq!(
            (all.requests_per_second, all.success_percent),
            (20.0, Some(99.5))
        );
        assert_eq!(all.p99_ms, Some(5.0));
        assert_eq!(of(10).security, Security::Mixed);
        let plain = of(0);
        assert_eq!(
            (plain.security, plain.server_identity, plain.client_identity),
            (Security::Plain, None, None)
        );
    }
}
