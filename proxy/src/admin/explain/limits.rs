//! How near a service is to its limits.

use weir_decide::breaker::retry_limit;

use crate::admin::types::{Limit, Limits};
use crate::snapshot::ServiceTable;
use crate::upstream::service::Limit as Kind;

/// The limits that hold for all endpoints of a service together.
pub(super) fn of(table: &ServiceTable) -> Limits {
    let (pool, breakers) = (&table.service.pool, &table.state.breakers);
    let limit = |kind: Kind| {
        let (permits, allowed) = match kind {
            Kind::Connections => (&breakers.connections, pool.max_connections),
            Kind::Pending => (&breakers.pending, pool.max_pending),
            Kind::Requests => (&breakers.requests, pool.max_requests),
            Kind::Retries => {
                let active = breakers.requests.taken();
                (&breakers.retries, retry_limit(pool.retries, active))
            }
        };
        Limit {
            limit: kind.text().to_owned(),
            taken: permits.taken(),
            allowed,
            refused: breakers.refused(kind),
        }
    };
    Limits {
        service: table.service.name.to_string(),
        limits: Kind::ALL.map(limit).into(),
    }
}
