//! What has been taken of each rate limit goes on from one snapshot to the next.

use std::collections::HashMap;
use std::sync::Arc;

use weir_config::model::{Filter, Route, RouteName};

use super::Snapshot;
use crate::http::filter::limit::Limiter;

/// Limits by route, number of the rule, and number among the rule's limits: the same for every listener that serves
/// the route.
pub(super) struct Limiters(HashMap<(RouteName, usize, usize), Arc<Limiter>>);

impl Limiters {
    /// Those of the last snapshot.
    pub(super) fn of(previous: &Snapshot) -> Self {
        let rules = previous
            .listeners
            .iter()
            .flatten()
            .flat_map(|table| &table.rules);
        let limits = rules.flat_map(|rule| {
            let numbered = rule.limits.iter().enumerate();
            numbered
                .map(|(at, limit)| ((rule.route.name.clone(), rule.rule, at), Arc::clone(limit)))
        });
        Self(limits.collect())
    }

    /// The limits of a rule, in their order. One that states what it stated before goes on where it was (as
    /// semantics 14 has it for endpoints); one that was changed starts full.
    pub(super) fn rule(&mut self, route: &Route, rule: usize) -> Vec<Arc<Limiter>> {
        let policies = route.rules[rule].filters.iter().filter_map(|f| match f {
            Filter::RateLimit(policy) => Some(policy),
            _ => None,
        });
        let mut limits = Vec::new();
        for (at, policy) in policies.enumerate() {
            let key = (route.name.clone(), rule, at);
            let same = self.0.get(&key).filter(|limit| limit.policy() == policy);
            let limit = match same {
                Some(limit) => Arc::clone(limit),
                None => Arc::new(Limiter::new(policy)),
            };
            self.0.insert(key, Arc::clone(&limit));
            limits.push(limit);
        }
        limits
    }
}
