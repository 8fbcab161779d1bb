//! A worker's own side of the snapshot: pools, balancer and split states, which no other worker touches.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use weir_config::model::{Balancer, EndpointId};
use weir_decide::balance::{Grouped, Groups, Spread, factor, scaled};
use weir_decide::levels::Levels;
use weir_decide::split::SplitState;

use super::endpoint::EndpointState;
use super::pick::Members;
use super::pool::Pool;
use super::wait::Waiters;
use crate::snapshot::{ListenerId, ListenerTable, ServiceTable, Snapshot};
use crate::worker::Random;

/// One generation as a worker uses it.
pub(crate) struct Local {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) services: Vec<Rc<LocalService>>,
    /// By listener, then by rule; `None` where there is nothing to split.
    splits: Vec<Vec<Option<RefCell<SplitState>>>>,
}

/// A service with the worker's balancers and pools.
pub(crate) struct LocalService {
    pub(crate) table: Arc<ServiceTable>,
    pub(crate) versions: Vec<LocalVersion>,
    endpoints: Vec<Rc<LocalEndpoint>>,
    /// Requests of this worker that wait for a connection.
    pub(crate) waiters: Rc<Waiters>,
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

    /// Follows a new snapshot; what it keeps of the last one keeps its pools and its place in every rotation.
    pub(crate) fn follow(&self, snapshot: Arc<Snapshot>, now: u64, random: &mut Random) -> Self {
        let mut kept: HashMap<*const EndpointState, Rc<LocalEndpoint>> = HashMap::new();
        for endpoint in self.services.iter().flat_map(|service| &service.endpoints) {
            kept.insert(Arc::as_ptr(&endpoint.state), Rc::clone(endpoint));
        }
        let services = snapshot
            .services
            .iter()
            .map(|table| self.service(table, &mut kept, random))
            .collect();
        self.retire(&snapshot, now);
        let splits = self.carry_splits(&snapshot, random);
        Self {
            snapshot,
            services,
            splits,
        }
    }

    fn service(
        &self,
        table: &Arc<ServiceTable>,
        kept: &mut HashMap<*const EndpointState, Rc<LocalEndpoint>>,
        random: &mut Random,
    ) -> Rc<LocalService> {
        let name = &table.service.name;
        let before = self
            .services
            .binary_search_by(|s| s.table.service.name.cmp(name))
            .ok();
        let before = before.map(|at| &self.services[at]);
        if let Some(same) = before.filter(|s| Arc::ptr_eq(&s.table, table)) {
            return Rc::clone(same);
        }
        Rc::new(LocalService::new(
            table,
            kept,
            before.map(Rc::as_ref),
            random,
        ))
    }

    /// Sets the time by which requests on endpoints that are gone must be over, and closes their idle
    /// connections (semantics 33).
    fn retire(&self, next: &Snapshot, now: u64) {
        // By absence from the new generation; the mark on the state itself may come a moment later.
        let states = next.services.iter().flat_map(|table| &table.endpoints);
        let live: HashSet<*const EndpointState> = states.map(Arc::as_ptr).collect();
        let is_gone = |e: &&Rc<LocalEndpoint>| !live.contains(&Arc::as_ptr(&e.state));
        for service in &self.services {
            for endpoint in service.endpoints.iter().filter(is_gone) {
                let drain = next
                    .model
                    .service(service.table.service.name.as_str())
                    .unwrap_or(&service.table.service);
                endpoint
                    .cut_at
                    .set(now + drain.drain_timeout.as_millis() as u64);
                endpoint.pool.close();
            }
        }
    }

    fn carry_splits(
        &self,
        next: &Snapshot,
        random: &mut Random,
    ) -> Vec<Vec<Option<RefCell<SplitState>>>> {
        let mut before: HashMap<(ListenerId, &str, usize), &RefCell<SplitState>> = HashMap::new();
        for (id, table) in numbered(&self.snapshot) {
            for (rule, state) in table.rules.iter().zip(&self.splits[id.0 as usize]) {
                if let Some(state) = state {
                    before.insert((id, rule.route.name.as_str(), rule.rule), state);
                }
            }
        }
        let mut splits: Vec<Vec<_>> = next.listeners.iter().map(|_| Vec::new()).collect();
        for (id, table) in numbered(next) {
            splits[id.0 as usize] = table
                .rules
                .iter()
                .map(|rule| {
                    if rule.leaves.len() < 2 {
                        return None;
                    }
                    let state = match before.get(&(id, rule.route.name.as_str(), rule.rule)) {
                        Some(old) => SplitState::carry(&rule.split, &old.borrow(), random),
                        None => SplitState::new(&rule.split, random),
                    };
                    Some(RefCell::new(state))
                })
                .collect();
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

fn numbered(snapshot: &Snapshot) -> impl Iterator<Item = (ListenerId, &Arc<ListenerTable>)> {
    let slots = snapshot.listeners.iter().enumerate();
    slots.filter_map(|(id, table)| Some((ListenerId(id as u32), table.as_ref()?)))
}

impl LocalService {
    fn new(
        table: &Arc<ServiceTable>,
        kept: &mut HashMap<*const EndpointState, Rc<LocalEndpoint>>,
        before: Option<&Self>,
        random: &mut Random,
    ) -> Self {
        let endpoints: Vec<_> = table
            .endpoints
            .iter()
            .zip(&table.service.endpoints)
            .map(|(state, endpoint)| {
                let old = kept.remove(&Arc::as_ptr(state));
                let local = old.unwrap_or_else(|| Rc::new(LocalEndpoint::new(state)));
                local.configured.set(endpoint.weight.tenths());
                local.weight.set(endpoint.weight.tenths());
                local
            })
            .collect();
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
        };
        if let Some(before) = before {
            service.keep_balancers(before);
        }
        service
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
            self.epoch.set(epoch);
            self.look_again(table);
        }
    }

    #[cold]
    fn look_again(&self, table: &ServiceTable) {
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
            cut_at: Cell::new(u64::MAX),
        }
    }

    /// The endpoint's id, as logged.
    pub(crate) fn id(&self) -> &EndpointId {
        &self.state.id
    }
}
