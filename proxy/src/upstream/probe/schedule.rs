//! Who is probed when, and what the results mean. No I/O and no clock: times are arguments.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slab::Slab;
use weir_config::model::{EndpointId, HealthCheck, ServiceName};
use weir_decide::health::{self, Thresholds, Transition};

use crate::tls::ClientTls;
use crate::upstream::endpoint::{EndpointState, Health};

/// The first wait for an endpoint that does not answer yet. The wait then grows with the endpoint's age, up
/// to the check's interval: what took a minute to start is found at most six seconds late.
const FIRST_RETRY: Duration = Duration::from_millis(100);

/// A wait is the age divided by this.
const RETRY_SHARE: u32 = 10;

/// No endpoint is probed more often, whatever its check says.
const SHORTEST: Duration = Duration::from_millis(10);

/// An endpoint to probe.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) state: Arc<EndpointState>,
    /// Shared by the endpoints of a service.
    pub(super) check: Arc<HealthCheck>,
    /// How the service's endpoints are called.
    pub(super) tls: Option<Arc<ClientTls>>,
}

/// A probe to run now.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) ticket: Ticket,
    pub(super) address: SocketAddr,
    pub(super) check: Arc<HealthCheck>,
    pub(super) tls: Option<Arc<ClientTls>>,
}

/// One appointment of one endpoint; of no use once the endpoint is gone or has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    number: u64,
    slot: usize,
}

/// All appointments.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    entries: Slab<Entry>,
    slots: HashMap<(ServiceName, EndpointId), usize>,
    queue: BinaryHeap<Reverse<(Instant, Ticket)>>,
    last_ticket: u64,
}

#[derive(Debug)]
struct Entry {
    target: Target,
    health: health::Health,
    since: Instant,
    /// Results in a row that speak against the state.
    against: u32,
    ticket: u64,
    /// Whether its next wait puts it anywhere in the interval: those that came, or changed, at one time were asked
    /// at one time, and would be again.
    to_spread: bool,
    /// What was said last, so that nothing is said twice.
    said: Option<(Health, String)>,
}

impl Schedule {
    /// Takes new endpoints in, due at once; keeps what is known of the others; forgets the rest.
    pub(super) fn reconcile(&mut self, now: Instant, targets: Vec<Target>) {
        let mut kept = HashSet::with_capacity(targets.len());
        for target in targets {
            let key = (target.state.service.clone(), target.state.id.clone());
            let known = self.slots.get(&key).copied();
            let known =
                known.filter(|slot| Arc::ptr_eq(&self.entries[*slot].target.state, &target.state));
            match known {
                Some(slot) => self.change(now, slot, target),
                None => {
                    if let Some(old) = self.slots.remove(&key) {
                        self.entries.remove(old);
                    }
                    let slot = self.entries.insert(Entry::new(now, target));
                    self.slots.insert(key.clone(), slot);
                    self.appoint(slot, now);
                }
            }
            kept.insert(key);
        }
        let entries = &mut self.entries;
        self.slots.retain(|key, slot| {
            let keep = kept.contains(key);
            if !keep {
                entries.remove(*slot);
            }
            keep
        });
    }

    /// When the next probe is due.
    pub(super) fn next_due(&mut self) -> Option<Instant> {
        while let Some(Reverse((at, ticket))) = self.queue.peek() {
            if self.is_valid(*ticket) {
                return Some(*at);
            }
            self.queue.pop();
        }
        None
    }

    /// A probe that is due, to be answered with [`Schedule::finish`].
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Job> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse((_, ticket)) = self.queue.pop()?;
        let Target { state, check, tls } = &self.entries[ticket.slot].target;
        Some(Job {
            ticket,
            address: state.address,
            check: Arc::clone(check),
            tls: tls.clone(),
        })
    }

    /// Takes a result in: what was seen, or why it failed. `roll`, a random number from 0 to 1, places the next probe: the
    /// interval give or take 10%, or after a start in common a moment within it.
    pub(super) fn finish(
        &mut self,
        now: Instant,
        ticket: Ticket,
        outcome: Result<String, String>,
        roll: f64,
    ) {
        if !self.is_valid(ticket) {
            return;
        }
        let entry = &mut self.entries[ticket.slot];
        entry.judge(outcome);
        let interval = entry.target.check.interval.max(SHORTEST);
        let jitter = 0.9 + 0.2 * roll;
        let wait = match entry.health.is_new() {
            true => (now.saturating_duration_since(entry.since) / RETRY_SHARE)
                .clamp(FIRST_RETRY.min(interval), interval)
                .mul_f64(jitter),
            false if std::mem::take(&mut entry.to_spread) => interval.mul_f64(roll).max(SHORTEST),
            false => interval.mul_f64(jitter),
        };
        self.appoint(ticket.slot, now + wait);
    }

    /// A changed check is held against the endpoint at once, unless a probe is running: then after it.
    fn change(&mut self, now: Instant, slot: usize, new: Target) {
        let entry = &mut self.entries[slot];
        // Of what did not change, the same is taken over from one snapshot to the next.
        let identity = |tls: &Option<Arc<ClientTls>>| tls.as_ref().map(Arc::as_ptr);
        let same_tls = identity(&entry.target.tls) == identity(&new.tls);
        if entry.target.check != new.check || !same_tls {
            entry.health.set_thresholds(Thresholds::from(&*new.check));
            entry.target = new;
            entry.to_spread = true;
            self.appoint(slot, now);
        }
    }

    fn appoint(&mut self, slot: usize, at: Instant) {
        self.last_ticket += 1;
        let ticket = Ticket {
            number: self.last_ticket,
            slot,
        };
        self.entries[slot].ticket = ticket.number;
        self.queue.push(Reverse((at, ticket)));
    }

    fn is_valid(&self, ticket: Ticket) -> bool {
        self.entries
            .get(ticket.slot)
            .is_some_and(|entry| entry.ticket == ticket.number)
    }
}

impl Entry {
    /// Starts from what earlier probes said, for an endpoint that was not probed for a while.
    fn new(now: Instant, target: Target) -> Self {
        let mut health = health::Health::new(Thresholds { rise: 1, fall: 1 });
        if target.state.health() != Health::Unknown {
            health.on_probe(true);
        }
        if target.state.health() == Health::Failing {
            health.on_probe(false);
        }
        health.set_thresholds(Thresholds::from(&*target.check));
        Self {
            target,
            health,
            since: now,
            against: 0,
            ticket: 0,
            to_spread: true,
            said: None,
        }
    }

    fn judge(&mut self, outcome: Result<String, String>) {
        let passed = outcome.is_ok();
        let saw = outcome.unwrap_or_else(|why| why);
        let was_up = self.health.is_up();
        let transition = self.health.on_probe(passed);
        let state = &self.target.state;
        if !state.is_in_maintenance() {
            state.home.on_probe(&state.id, passed, self.health.is_up());
        }
        self.against = match transition.is_none() && passed != was_up {
            true => self.against.saturating_add(1),
            false => 0,
        };
        let check = &self.target.check;
        let (health, reason) = match (self.health.is_up(), passed) {
            (true, true) => (Health::Passing, saw),
            (true, false) => (
                Health::Passing,
                format!(
                    "failure {} of {}: {saw}",
                    self.against, check.unhealthy_threshold
                ),
            ),
            (false, _) if self.health.is_new() => (Health::Unknown, saw),
            (false, false) => (Health::Failing, saw),
            (false, true) => (
                Health::Failing,
                format!(
                    "pass {} of {}: {saw}",
                    self.against, check.healthy_threshold
                ),
            ),
        };
        self.tell(transition, health, reason);
    }

    fn tell(&mut self, transition: Option<Transition>, health: Health, reason: String) {
        let state = &self.target.state;
        let (service, endpoint) = (state.service.as_str(), state.id.as_str());
        match transition {
            // Someone works on it: that it is down now is no news. What is known when it comes back counts.
            _ if state.is_in_maintenance() => {}
            Some(Transition::Down) => {
                tracing::warn!(service, endpoint, reason, "endpoint fails its health check")
            }
            Some(_) => tracing::info!(
                service,
                endpoint,
                reason,
                "endpoint passes its health check"
            ),
            None => {}
        }
        if self
            .said
            .as_ref()
            .is_none_or(|said| (said.0, said.1.as_str()) != (health, reason.as_str()))
        {
            state.set_health(health, &reason);
            self.said = Some((health, reason));
        }
    }
}

#[cfg(test)]
mod tests;
