//! Picking: first the version, then the endpoint.

use std::rc::Rc;

use weir_decide::balance::{Balance, Candidates, Spread};

use super::local::{Local, LocalEndpoint, LocalService, LocalVersion};
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
    if leaf.shared && !has_available(&choice) {
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
        .filter(|(_, choice)| has_available(choice))
        .max_by_key(|(weight, _)| *weight)
        .map(|(_, choice)| choice)
}

fn has_available(choice: &Choice) -> bool {
    choice.service.versions[choice.version]
        .members
        .iter()
        .any(|m| m.state.is_available())
}

/// Picks an endpoint of the version, not one that was tried while another is left.
pub(crate) fn endpoint(
    version: &LocalVersion,
    tried: &[Rc<LocalEndpoint>],
    random: &mut Random,
) -> Option<Rc<LocalEndpoint>> {
    let candidates = Members {
        members: &version.members,
        tried,
        spread: version.spread,
    };
    let at = version.balancer.borrow_mut().pick(&candidates, random)?;
    version.members.get(at).map(Rc::clone)
}

struct Members<'a> {
    members: &'a [Rc<LocalEndpoint>],
    tried: &'a [Rc<LocalEndpoint>],
    spread: Spread,
}

impl Candidates for Members<'_> {
    fn len(&self) -> usize {
        self.members.len()
    }

    fn spread(&self) -> Spread {
        self.spread
    }

    fn weight(&self, at: usize) -> u32 {
        self.members[at].weight.get()
    }

    fn load(&self, at: usize) -> u32 {
        self.members[at].state.in_flight()
    }

    fn available(&self, at: usize) -> bool {
        self.members[at].state.is_available()
    }

    fn tried(&self, at: usize) -> bool {
        self.tried
            .iter()
            .any(|tried| Rc::ptr_eq(tried, &self.members[at]))
    }
}
