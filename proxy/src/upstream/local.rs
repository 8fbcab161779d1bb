//! A worker's own side of the snapshot: pools, balancer and split states, which no other worker touches.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use weir_config::model::{Balancer, EndpointId};
use weir_decide::balance::{Grouped, Groups, Spread, factor, scaled};
use weir_decide::levels::Levels;
use weir_decide::split::SplitState;

use super::endpoint::EndpointState;
use super::multiplex::{Bounds, Multiplex};
use super::pick::Members;
use super::pool::Pool;
use super::wait::Waiters;
use crate::snapshot::{ListenerId, ListenerTable, RuleTable, ServiceTable, Snapshot};
use crate::worker::Random;

/// One generation as a worker uses it.
pub(crate) struct Local {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) services: Vec<Rc<LocalService>>,
    /// By listener.
    splits: Vec<Splits>,
}

/// Of a listener, by rule; `None` where there is nothing to split. One that does not change keeps them as they are.
type Splits = Rc<[Option<RefCell<SplitState>>]>;

/// A service with the worker's balancers and pools.
pub(crate) struct LocalService {
    pub(crate) table: Arc<ServiceTable>,
    pub(crate) versions: Vec<LocalVersion>,
    endpoints: Vec<Rc<LocalEndpoint>>,
    /// Requests of this worker that wait for a connection.
    pub(crate) waiters: Rc<Waiters>,
    /// Counts the changes of how its endpoints are spoken to. A connection of an earlier one is not used again, whoever
    /// still had it in use, or was making it, at the change.
    pub(crate) era: u32,
}

/// A version's endpoints and the state of picking among them.
pub(crate) struct LocalVersion {
    pub(crate) members: Vec<Rc<LocalEndpoint>>,
    pub(crate) groups: Arc<Groups>,
    pub(crate) balancers: RefCell<Grouped>,
    /// What follows from availability, as of `epoch`.
    pub(crate) levels: RefCell<Levels>,
    pub(crate) spread: Cell<Spread>,
    epoch: Cell<u32>,
}

/// An endpoint with the worker's idle connections to it.
pub(crate) struct LocalEndpoint {
    pub(crate) state: Arc<EndpointState>,
    /// In tenths as configured; changes without the endpoint becoming another.
    configured: Cell<u32>,
    /// What balancers see: the same, or a part of it in finer steps while the service has a warm-up.
    pub(crate) weight: Cell<u32>,
    pub(crate) pool: Pool,
    pub(crate) multiplex: Multiplex,
    /// Its service's.
    pub(crate) era: Cell<u32>,
    /// On the worker's clock; `u64::MAX` while the endpoint is part of the configuration.
    pub(crate) cut_at: Cell<u64>,
}

impl Local {
    /// The worker's side of nothing at all.
    pub(crate) fn empty() -> Self {
        Self {
            snapshot: Arc::default(),
            services: Vec::new(),
            splits: Vec::new(),
        }
    }

    /// Follows a new snapshot; what it keeps of the last one keeps its pools and its place in every rotation. A worker serves
    /// nobody meanwhile, so what does not change costs a look at its address.
    pub(crate) fn follow(&self, snapshot: Arc<Snapshot>, now: u64, random: &mut Random) -> Self {
        let mut before = self.services.iter().peekable();
        let mut services = Vec::with_capacity(snapshot.services.len());
        // Both are in the order of names.
        for table in &snapshot.services {
            let name = &table.service.name;
            while let Some(gone) = before.next_if(|old| old.table.service.name < *name) {
                gone.retire_all(now);
            }
            let old = before.next_if(|old| old.table.service.name == *name);
            services.push(match old {
                Some(old) if Arc::ptr_eq(&old.table, table) => Rc::clone(old),
                _ => Rc::new(LocalService::follow(
                    table,
                    old.map(Rc::as_ref),
                    now,
                    random,
                )),
            });
        }
        before.for_each(|gone| gone.retire_all(now));
        let splits = self.carry_splits(&snapshot, random);
        Self {
            snapshot,
            services,
            splits,
        }
    }

    fn carry_splits(&self, next: &Snapshot, random: &mut Random) -> Vec<Splits> {
        let mut splits: Vec<Splits> = Vec::with_capacity(next.listeners.len());
        for (at, table) in next.listeners.iter().enumerate() {
            let before = self.snapshot.listeners.get(at).and_then(Option::as_ref);
            let before = before.zip(self.splits.get(at));
            splits.push(match (table, before) {
                (None, _) => Rc::default(),
                (Some(table), Some((old, states))) if Arc::ptr_eq(table, old) => Rc::clone(states),
                (Some(table), before) => carried(table, before, random),
            });
        }
        splits
    }

    /// The state of a rule's split.
    pub(crate) fn split(&self, listener: ListenerId, rule: usize) -> Option<&RefCell<SplitState>> {
        self.splits.get(listener.0 as usize)?.get(rule)?.as_ref()
    }

    /// The endpoints of a service.
    pub(crate) fn endpoints(service: &LocalService) -> &[Rc<LocalEndpoint>] {
        &service.endpoints
    }

    /// Every pool, for the sweep.
    pub(crate) fn pools(&self) -> impl Iterator<Item = (&LocalService, &Rc<LocalEndpoint>)> {
        self.services
            .iter()
            .flat_map(|service| service.endpoints.iter().map(move |e| (&**service, e)))
    }
}

/// The splits of a listener's rules; those that were there before go on.
fn carried(
    table: &ListenerTable,
    before: Option<(&Arc<ListenerTable>, &Splits)>,
    random: &mut Random,
) -> Splits {
    let mut known: HashMap<(&str, usize), &RefCell<SplitState>> = HashMap::new();
    if let Some((old, states)) = before {
        for (rule, state) in old.rules.iter().zip(states.iter()) {
            if let Some(state) = state {
                known.insert((rule.route.name.as_str(), rule.rule), state);
            }
        }
    }
    let split = |rule: &RuleTable| {
        if rule.leaves.len() < 2 {
            return None;
        }
        let state = match known.get(&(rule.route.name.as_str(), rule.rule)) {
            Some(old) => SplitState::carry(&rule.split, &old.borrow(), random),
            None => SplitState::new(&rule.split, random),
        };
        Some(RefCell::new(state))
    };
    table.rules.iter().map(split).collect()
}

impl LocalService {
    /// A service that is new or changed. Of ten thousand endpoints nearly all stay, and each of those costs a look at an address.
    fn follow(
        table: &Arc<ServiceTable>,
        before: Option<&Self>,
        now: u64,
        random: &mut Random,
    ) -> Self {
        let drain = table.service.drain_timeout;
        let mut old = before.iter().flat_map(|b| &b.endpoints).peekable();
        let each = table.endpoints.iter().zip(&table.service.endpoints);
        // Both are in the order of ids.
        let endpoints = each.map(|(state, endpoint)| {
            let local = loop {
                match old.peek() {
                    Some(same) if Arc::ptr_eq(&same.state, state) => break old.next().cloned(),
                    // By its absence, for the mark on the state itself may come a moment later.
                    Some(gone) if gone.state.id <= state.id => gone.retire(now, drain),
                    _ => break None,
                }
                old.next();
            };
            let local = local.unwrap_or_else(|| Rc::new(LocalEndpoint::new(state)));
            local.configured.set(endpoint.weight.tenths());
            local.weight.set(endpoint.weight.tenths());
            local
        });
        let endpoints = endpoints.collect();
        old.for_each(|gone| gone.retire(now, drain));
        Self::new(table, endpoints, before, random)
    }

    /// The service is gone.
    fn retire_all(&self, now: u64) {
        for endpoint in &self.endpoints {
            endpoint.retire(now, self.table.service.drain_timeout);
        }
    }

    fn new(
        table: &Arc<ServiceTable>,
        endpoints: Vec<Rc<LocalEndpoint>>,
        before: Option<&Self>,
        random: &mut Random,
    ) -> Self {
        let versions = table
            .versions
            .iter()
            .map(|version| {
                let members: Vec<_> = version
                    .members
                    .iter()
                    .map(|at| Rc::clone(&endpoints[*at]))
                    .collect();
                let kind = &table.service.load_balancer.balancer;
                LocalVersion {
                    balancers: RefCell::new(Grouped::new(kind, &version.groups, random)),
                    groups: Arc::clone(&version.groups),
                    levels: RefCell::default(),
                    spread: Cell::new(Spread::of(members.iter().map(|m| m.weight.get()))),
                    epoch: Cell::new(0),
                    members,
                }
            })
            .collect();
        let mut service = Self {
            table: Arc::clone(table),
            versions,
            endpoints,
            waiters: before.map_or_else(
                || Rc::new(Waiters::new(&table.state.breakers.line)),
                |before| Rc::clone(&before.waiters),
            ),
            era: before.map_or(0, |before| before.era),
        };
        if let Some(before) = before {
            service.keep_balancers(before);
            service.drop_connections(before);
        }
        for endpoint in &service.endpoints {
            endpoint.era.set(service.era);
        }
        service
    }

    /// What was agreed on with endpoints in another protocol, or on the word of authorities that are asked no more, is not
    /// used again.
    fn drop_connections(&mut self, before: &Self) {
        let (new, old) = (&self.table.service, &before.table.service);
        if new.protocol != old.protocol || new.tls != old.tls {
            self.era = before.era.wrapping_add(1);
            for endpoint in &self.endpoints {
                endpoint.pool.clear();
                endpoint.multiplex.clear();
            }
        }
    }

    /// A version whose endpoints are the same keeps its place in the rotation.
    fn keep_balancers(&mut self, before: &Self) {
        for (at, version) in self.versions.iter_mut().enumerate() {
            let name = &self.table.service.versions[at].name;
            let old = before
                .table
                .service
                .versions
                .iter()
                .position(|v| v.name == *name);
            let Some(old) = old.map(|at| &before.versions[at]) else {
                continue;
            };
            let same = old.members.len() == version.members.len()
                && old
                    .members
                    .iter()
                    .zip(&version.members)
                    .all(|(a, b)| Rc::ptr_eq(a, b))
                && old.spread == version.spread
                // A table by key has no place to keep, and follows the weights.
                && !matches!(
                    self.table.service.load_balancer.balancer,
                    Balancer::ConsistentHash(_)
                )
                && before.table.service.load_balancer == self.table.service.load_balancer;
            if same {
                version.balancers = RefCell::new(old.balancers.borrow().clone());
            }
        }
    }
}

impl LocalVersion {
    /// Looks at availability again where it has changed since the last time, and at the weights of those that warm up.
    #[inline]
    pub(crate) fn refresh(&self, table: &ServiceTable) {
        let epoch = table.state.epoch();
        if self.epoch.get() != epoch {
            // Before the look: what changes meanwhile raises it again.
            self.epoch.set(epoch);
            self.recount(table);
        }
    }

    /// Looks at availability and weights as they are at this moment.
    #[cold]
    pub(super) fn recount(&self, table: &ServiceTable) {
        if let Some(warmup) = &table.service.load_balancer.warmup {
            let now = table.state.clock.now();
            let serving = || self.members.iter().filter(|m| m.state.is_available());
            let oldest = serving().map(|m| m.state.admitted()).min().unwrap_or(now);
            for member in &self.members {
                let part = factor(warmup, member.state.admitted(), oldest, now);
                member.weight.set(scaled(member.configured.get(), part));
            }
            let weights = self.members.iter().map(|m| m.weight.get());
            self.spread.set(Spread::of(weights));
        }
        let percent = table.service.outlier.min_health_percent;
        *self.levels.borrow_mut() = self.groups.levels(&Members::all(self), percent);
    }
}

impl LocalService {
    /// Has those that warm up looked at again at the next pick; to be called a few times a second.
    pub(crate) fn warm_up(&self) {
        if self.table.service.load_balancer.warmup.is_some() {
            for version in &self.versions {
                version.epoch.set(0);
            }
        }
    }
}

impl LocalEndpoint {
    fn new(state: &Arc<EndpointState>) -> Self {
        Self {
            state: Arc::clone(state),
            configured: Cell::new(0),
            weight: Cell::new(0),
            pool: Pool::default(),
            multiplex: Multiplex::default(),
            era: Cell::new(0),
            cut_at: Cell::new(u64::MAX),
        }
    }

    /// Sets the time by which requests on it must be over, and closes its idle connections (semantics 33).
    fn retire(&self, now: u64, drain: Duration) {
        self.cut_at.set(now + drain.as_millis() as u64);
        self.pool.close();
        self.multiplex.close();
    }

    /// Whether a request could go on a connection that there is.
    pub(crate) fn has_connection(&self, bounds: Bounds) -> bool {
        self.pool.has_idle() || self.multiplex.has_room(bounds)
    }

    /// The endpoint's id, as logged.
    pub(crate) fn id(&self) -> &EndpointId {
        &self.state.id
    }
}
