//! Picking: first the version, then the endpoint.

use std::rc::Rc;

use weir_config::model::ConnectionPool;
use weir_decide::balance::{Candidates, Spread};

use super::local::{Local, LocalEndpoint, LocalService, LocalVersion};
use super::multiplex::Bounds;
use crate::snapshot::{Leaf, ListenerId, RuleTable};
use crate::worker::Random;

/// Most endpoints that one request remembers to have tried.
pub(crate) const MAX_TRIED: usize = 8;

/// What a request was given to.
pub(crate) struct Choice {
    pub(crate) service: Rc<LocalService>,
    /// Index into the service's versions.
    pub(crate) version: usize,
}

/// Why nothing was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoChoice {
    /// No reference of the rule leads anywhere: 500 in the Gateway API.
    NoBackend,
    /// The reference was to a version without endpoints: 503.
    NoEndpoint,
}

/// Picks the version for a request; `bucket` for those that stick to one.
pub(crate) fn version(
    local: &Local,
    listener: ListenerId,
    rule: &RuleTable,
    rule_id: usize,
    bucket: Option<u64>,
) -> Result<Choice, NoChoice> {
    let picked = match (&rule.leaves[..], bucket) {
        ([], _) => None,
        ([only], _) => (only.weight.tenths() > 0).then_some(0),
        (_, Some(bucket)) => rule.split.by_bucket(bucket),
        (_, None) => local
            .split(listener, rule_id)
            .and_then(|state| state.borrow_mut().pick()),
    };
    let leaf = &rule.leaves[picked.ok_or(NoChoice::NoBackend)?];
    let choice = at_leaf(local, leaf)?;
    // A sibling in order comes before the own version's panic.
    if leaf.shared && !has_ready(&choice) {
        return Ok(sibling(local, rule, leaf).unwrap_or(choice));
    }
    Ok(choice)
}

fn at_leaf(local: &Local, leaf: &Leaf) -> Result<Choice, NoChoice> {
    let service = leaf.service.ok_or(NoChoice::NoBackend)?;
    let service = local.services.get(service).ok_or(NoChoice::NoBackend)?;
    let version = leaf.version.ok_or(NoChoice::NoEndpoint)?;
    Ok(Choice {
        service: Rc::clone(service),
        version,
    })
}

/// The heaviest version beside this one that can answer; weight 0 is never picked.
fn sibling(local: &Local, rule: &RuleTable, leaf: &Leaf) -> Option<Choice> {
    let others = rule
        .leaves
        .iter()
        .filter(|other| other.shared && other.service == leaf.service);
    others
        .filter(|other| other.weight.tenths() > 0)
        .filter_map(|other| Some((other.weight, at_leaf(local, other).ok()?)))
        .filter(|(_, choice)| has_ready(choice))
        .max_by_key(|(weight, _)| *weight)
        .map(|(_, choice)| choice)
}

fn has_ready(choice: &Choice) -> bool {
    let members = &choice.service.versions[choice.version].members;
    members.iter().any(|member| member.state.is_available())
}

/// Whether somebody would answer: one that is in order, or in panic one that is not.
pub(crate) fn has_available(choice: &Choice) -> bool {
    let version = &choice.service.versions[choice.version];
    version.refresh(&choice.service.table);
    let panic = version.levels.borrow().any_panic();
    let mut members = version.members.iter().map(|m| &m.state);
    members.any(|m| m.is_available() || (panic && m.is_usable_in_panic()))
}

/// Whether at least half of the endpoints beside this one can take requests and have not failed lately.
#[cold]
pub(crate) fn others_are_well(choice: &Choice, beside: &Rc<LocalEndpoint>, now_ms: u64) -> bool {
    let members = &choice.service.versions[choice.version].members;
    let others = members.iter().filter(|m| !Rc::ptr_eq(m, beside));
    let (mut all, mut well) = (0, 0);
    for other in others {
        all += 1;
        well += usize::from(other.state.is_available() && other.state.penalty(now_ms) == 0);
    }
    well > 0 && well * 2 >= all
}

/// What a request brings to the choice of an endpoint.
pub(crate) struct Asked<'a> {
    /// Not picked while another is left.
    pub(crate) tried: &'a [Rc<LocalEndpoint>],
    /// Where the service is balanced by key.
    pub(crate) key: Option<u64>,
    /// On the clock of the process.
    pub(crate) now_ms: u64,
}

/// Picks an endpoint of the version, not one that was tried while another is left.
pub(crate) fn endpoint(
    choice: &Choice,
    asked: &Asked<'_>,
    random: &mut Random,
) -> Option<Rc<LocalEndpoint>> {
    let (table, version) = (
        &choice.service.table,
        &choice.service.versions[choice.version],
    );
    version.refresh(table);
    let mut candidates = Members {
        version,
        asked,
        limits: Limits::of(&table.service.pool),
        pauses: table.state.has_pauses(asked.now_ms),
    };
    let mut balancers = version.balancers.borrow_mut();
    let mut pick = |candidates: &Members<'_>| {
        let levels = version.levels.borrow();
        balancers.pick(candidates, &version.groups, &levels, random)
    };
    let mut at = pick(&candidates).or_else(|| {
        // An endpoint is marked a moment before word of it is out: by what was counted there was no panic yet.
        version.recount(table);
        pick(&candidates)
    })?;
    if candidates.pauses && candidates.was_tried(at) {
        // Only paused ones are left that were not tried, and a retry avoids what was tried (semantics 26).
        candidates.pauses = false;
        at = pick(&candidates)?;
    }
    version.members.get(at).map(Rc::clone)
}

/// An endpoint that has an idle connection on this worker: for a request that waited for one.
pub(crate) fn with_idle_connection(
    choice: &Choice,
    asked: &Asked<'_>,
) -> Option<Rc<LocalEndpoint>> {
    let (table, version) = (
        &choice.service.table,
        &choice.service.versions[choice.version],
    );
    let members = Members {
        version,
        asked,
        limits: Limits::of(&table.service.pool),
        pauses: table.state.has_pauses(asked.now_ms),
    };
    let fits = |at: &usize| {
        let member = &version.members[*at];
        members.available(*at)
            && !members.tried(*at)
            && member.has_connection(Bounds::of(&table.service.pool))
    };
    let at = (0..members.len()).find(fits)?;
    version.members.get(at).map(Rc::clone)
}

/// Whether an endpoint that was picked a while ago takes the request still.
pub(crate) fn still_takes(choice: &Choice, picked: &LocalEndpoint) -> bool {
    let limits = Limits::of(&choice.service.table.service.pool);
    picked.state.is_available() && !limits.are_reached(picked)
}

/// Bounds on one endpoint.
#[derive(Clone, Copy, Default)]
struct Limits {
    requests: Option<u32>,
    connections: Option<(u32, Bounds)>,
}

impl Limits {
    fn of(pool: &ConnectionPool) -> Self {
        Self {
            requests: pool.max_requests_per_endpoint,
            connections: pool
                .max_connections_per_endpoint
                .map(|most| (most, Bounds::of(pool))),
        }
    }

    /// Whether one more request would go beyond them. Looked at, not taken: who is picked takes the permit.
    #[inline]
    fn are_reached(self, endpoint: &LocalEndpoint) -> bool {
        let state = &endpoint.state;
        self.requests.is_some_and(|most| state.in_flight() >= most)
            || self.connections.is_some_and(|(most, bounds)| {
                state.connections.taken() >= most && !endpoint.has_connection(bounds)
            })
    }
}

/// The members of a version as a balancer sees them.
pub(crate) struct Members<'a> {
    version: &'a LocalVersion,
    asked: &'a Asked<'a>,
    limits: Limits,
    /// Whether any of the service's endpoints may be paused.
    pauses: bool,
}

impl<'a> Members<'a> {
    /// As they are, whoever asks.
    pub(crate) fn all(version: &'a LocalVersion) -> Self {
        const NOBODY: &Asked<'static> = &Asked {
            tried: &[],
            key: None,
            now_ms: 0,
        };
        Self {
            version,
            asked: NOBODY,
            limits: Limits::default(),
            pauses: false,
        }
    }

    fn was_tried(&self, at: usize) -> bool {
        let member: *const LocalEndpoint = self.member(at);
        self.asked
            .tried
            .iter()
            .any(|tried| Rc::as_ptr(tried) == member)
    }

    #[inline]
    fn member(&self, at: usize) -> &LocalEndpoint {
        &self.version.members[at]
    }
}

impl Candidates for Members<'_> {
    fn len(&self) -> usize {
        self.version.members.len()
    }

    fn spread(&self) -> Spread {
        self.version.spread.get()
    }

    fn weight(&self, at: usize) -> u32 {
        self.member(at).weight.get()
    }

    fn load(&self, at: usize) -> u32 {
        self.member(at).state.in_flight()
    }

    fn available(&self, at: usize) -> bool {
        let member = self.member(at);
        member.state.is_available() && !self.limits.are_reached(member)
    }

    fn usable_in_panic(&self, at: usize) -> bool {
        let member = self.member(at);
        member.state.is_usable_in_panic() && !self.limits.are_reached(member)
    }

    /// One that asked for a pause counts as tried, too: left out while there is another, and never to the last
    /// (semantics 11). What is healthy, and so panic, does not change.
    fn tried(&self, at: usize) -> bool {
        self.was_tried(at) || (self.pauses && self.member(at).state.is_paused(self.asked.now_ms))
    }

    fn latency_us(&self, at: usize) -> Option<f32> {
        self.member(at).state.latency_us(self.asked.now_ms)
    }

    fn penalty(&self, at: usize) -> u32 {
        self.member(at).state.penalty(self.asked.now_ms)
    }

    fn key(&self) -> Option<u64> {
        self.asked.key
    }
}
