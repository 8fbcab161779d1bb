//! Which version and which endpoint a rule leads to, as far as that is certain.

use weir_config::model::StickyKey;
use weir_decide::split;

use super::candidates::{Judged, Seen};
use super::question::Question;
use super::{key, limits};
use crate::admin::lists::share;
use crate::admin::text;
use crate::admin::types::{Candidate, Destination, Leaf, Limits, Pick, Sticky};
use crate::snapshot::{self, RuleTable, Snapshot};

/// What comes of it.
pub(super) enum Lead {
    /// No reference of the rule leads anywhere: 500 in the Gateway API.
    NoBackend,
    /// Nobody is there to answer: 503.
    NoEndpoint,
    /// In words.
    Forwarded(String),
}

/// Follows the steps of the request path (`upstream::pick`) up to where chance or turn would decide.
pub(super) fn of(
    snapshot: &Snapshot,
    rule: &RuleTable,
    question: &Question,
) -> (Lead, Destination) {
    let sticky = rule
        .rule()
        .sticky
        .as_ref()
        .map(|sticky| placed(&sticky.key, rule, question));
    let bucket = sticky.as_ref().and_then(|(_, bucket)| *bucket);
    let mut leaves: Vec<_> = rule
        .leaves
        .iter()
        .map(|leaf| row(snapshot, rule, leaf, question))
        .collect();
    for at in 0..leaves.len() {
        leaves[at].problem = problem(rule, &leaves, at);
    }
    let (first, version_by) = first_choice(rule, bucket);
    let sticky = sticky.map(|(sticky, _)| sticky);
    let certain = first.map(|at| with_failover(rule, &leaves, at));
    let mut pick = Pick {
        leaf: certain,
        version_by: version_by.to_owned(),
        balancer: None,
        available: 0,
        endpoint: None,
    };
    let lead = match certain {
        Some(at) => choose(snapshot, rule, &leaves, at, &mut pick),
        None => among(rule, &leaves, &mut pick),
    };
    (
        lead,
        Destination {
            leaves,
            sticky,
            limits: services(snapshot, rule),
            pick,
        },
    )
}

/// The limits of each service that the rule leads to.
fn services(snapshot: &Snapshot, rule: &RuleTable) -> Vec<Limits> {
    let mut services: Vec<_> = rule.leaves.iter().filter_map(|leaf| leaf.service).collect();
    services.sort_unstable();
    services.dedup();
    let tables = services
        .into_iter()
        .filter_map(|at| snapshot.services.get(at));
    tables.map(|table| limits::of(table)).collect()
}

/// The leaf that gets the request whatever the turn, and what decides.
fn first_choice(rule: &RuleTable, bucket: Option<u64>) -> (Option<usize>, &'static str) {
    let mut weighted = (0..rule.leaves.len()).filter(|at| rule.leaves[*at].weight.tenths() > 0);
    match (weighted.next(), weighted.next(), bucket) {
        (None, ..) => (None, "no version has weight"),
        (Some(only), None, _) => (Some(only), "the only one with weight"),
        (_, _, Some(bucket)) => (rule.split.by_bucket(bucket), "by bucket"),
        _ => (None, "in turn, by weight"),
    }
}

/// The heaviest sibling with an endpoint, where the leaf has none and may be stood in for (semantics 24).
fn with_failover(rule: &RuleTable, leaves: &[Leaf], at: usize) -> usize {
    match leaves[at].available {
        0 => sibling(rule, leaves, at).unwrap_or(at),
        _ => at,
    }
}

fn sibling(rule: &RuleTable, leaves: &[Leaf], at: usize) -> Option<usize> {
    let own = &rule.leaves[at];
    if !own.shared {
        return None;
    }
    let fits = |other: &usize| {
        let leaf = &rule.leaves[*other];
        leaf.shared
            && leaf.service == own.service
            && leaf.weight.tenths() > 0
            && leaves[*other].available > 0
    };
    (0..leaves.len())
        .filter(fits)
        .max_by_key(|other| rule.leaves[*other].weight)
}

fn problem(rule: &RuleTable, leaves: &[Leaf], at: usize) -> Option<String> {
    let (leaf, row) = (&rule.leaves[at], &leaves[at]);
    if leaf.service.is_none() {
        return Some(format!("there is no service {}", row.service));
    }
    if leaf.weight.tenths() == 0 {
        return Some("its weight is 0".to_owned());
    }
    if row.available > 0 {
        return None;
    }
    let why = match leaf.version {
        None => "the service has no such version",
        Some(_) if row.candidates.is_empty() => "it has no endpoint",
        Some(_) => "none of its endpoints takes requests now",
    };
    Some(
        match sibling(rule, leaves, at).and_then(|other| leaves[other].version.as_deref()) {
            Some(other) => format!("{why}; its share goes to {other}"),
            None => format!("{why}; its share is answered with 503"),
        },
    )
}

/// The way of a request whose leaf is certain.
fn choose(
    snapshot: &Snapshot,
    rule: &RuleTable,
    leaves: &[Leaf],
    at: usize,
    pick: &mut Pick,
) -> Lead {
    let leaf = &leaves[at];
    let Some(table) = rule.leaves[at]
        .service
        .and_then(|service| snapshot.services.get(service))
    else {
        return Lead::NoBackend;
    };
    let balancer = text::balancer(&table.service.load_balancer.balancer);
    pick.balancer = Some(balancer.to_owned());
    pick.available = leaf.available;
    let version = leaf.version.as_deref().unwrap_or("no version");
    let only = leaf.endpoint.as_ref().and_then(|id| {
        let mut candidates = leaf.candidates.iter();
        candidates.find(|candidate: &&Candidate| candidate.id == *id)
    });
    match (leaf.available, only) {
        (0, _) => Lead::NoEndpoint,
        (_, Some(only)) => {
            pick.endpoint = Some(only.id.clone());
            Lead::Forwarded(format!(
                "forwarded to {} ({version}) at {}",
                leaf.service, only.address
            ))
        }
        _ => Lead::Forwarded(format!(
            "forwarded to {} ({version}), one of {} endpoints by {balancer}",
            leaf.service, leaf.available
        )),
    }
}

/// The ways of a request that is split in turn.
fn among(rule: &RuleTable, leaves: &[Leaf], pick: &mut Pick) -> Lead {
    let weighted: Vec<_> = (0..leaves.len())
        .filter(|at| rule.leaves[*at].weight.tenths() > 0)
        .collect();
    if weighted.is_empty() {
        return Lead::NoBackend;
    }
    pick.available = weighted.iter().map(|at| leaves[*at].available).sum();
    if weighted.iter().all(|at| leaves[*at].available == 0) {
        return match weighted.iter().any(|at| rule.leaves[*at].service.is_some()) {
            true => Lead::NoEndpoint,
            false => Lead::NoBackend,
        };
    }
    let ways: Vec<_> = weighted.iter().map(|at| way(&leaves[*at])).collect();
    Lead::Forwarded(format!("split: {}", ways.join(", ")))
}

fn way(leaf: &Leaf) -> String {
    let version = leaf.version.as_deref().unwrap_or("no version");
    match &leaf.problem {
        Some(problem) => format!("{}% to {} ({version}: {problem})", leaf.share, leaf.service),
        None => format!("{}% to {} ({version})", leaf.share, leaf.service),
    }
}

fn row(snapshot: &Snapshot, rule: &RuleTable, leaf: &snapshot::Leaf, question: &Question) -> Leaf {
    let total: f64 = rule.leaves.iter().map(|leaf| leaf.weight.as_f64()).sum();
    let table = leaf.service.and_then(|at| snapshot.services.get(at));
    let version = table
        .zip(leaf.version)
        .and_then(|(table, at)| table.service.versions.get(at));
    let keyed = table.and_then(|table| key::of(&table.service, question));
    let (key, hashed) = match keyed {
        Some((key, hashed)) => (Some(key), hashed),
        None => (None, None),
    };
    let members = table
        .zip(leaf.version)
        .and_then(|(table, at)| Some((table, table.versions.get(at)?)));
    let judged = members.map(|(table, version)| Seen::new(table, version, hashed).judge());
    let Judged {
        candidates,
        groups,
        usable,
        only,
    } = judged.unwrap_or_default();
    Leaf {
        service: table.map_or_else(
            || unknown(snapshot, rule),
            |table| table.service.name.to_string(),
        ),
        version: version.map(|version| version.name.to_string()),
        weight: leaf.weight.as_f64(),
        share: share(leaf.weight.as_f64(), total),
        available: usable,
        key,
        endpoint: only.and_then(|at| Some(candidates.get(at)?.id.clone())),
        groups,
        candidates,
        problem: None,
    }
}

/// The names that the rule has for services that are not there.
fn unknown(snapshot: &Snapshot, rule: &RuleTable) -> String {
    let names = rule
        .rule()
        .backends
        .iter()
        .map(|backend| backend.service.as_str());
    let missing: Vec<_> = names
        .filter(|name| snapshot.model.service(name).is_none())
        .collect();
    missing.join(" or ")
}

/// Where a sticky client falls, by the same key and salt as on the request path.
fn placed(key: &StickyKey, rule: &RuleTable, question: &Question) -> (Sticky, Option<u64>) {
    let value = match key {
        StickyKey::ClientIp => Some(question.client.to_canonical().to_string()),
        StickyKey::Header(name) => key::header(question, name),
        StickyKey::Cookie { name, .. } => key::cookie(question, name),
    };
    let salt = rule
        .rule()
        .backends
        .first()
        .map_or("", |backend| backend.service.as_str());
    let bucket = value
        .as_ref()
        .map(|value| split::bucket(value.as_bytes(), salt));
    #[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
    let percent = bucket.map(|bucket| text::percent(bucket as f64 / u64::MAX as f64));
    (
        Sticky {
            key: text::sticky(key),
            value,
            bucket: percent,
        },
        bucket,
    )
}
