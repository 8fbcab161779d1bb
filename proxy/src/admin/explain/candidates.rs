//! The endpoints of a version as a pick would see them now, and what each is judged by.

use rand::SeedableRng;
use rand::rngs::SmallRng;
use weir_config::model::Endpoint;
use weir_decide::balance::{
    Candidates, Grouped, Groups, InPanic, Measure, Score, Spread, factor, scaled,
};
use weir_decide::levels::Levels;

use crate::admin::text;
use crate::admin::types::{Candidate, Group};
use crate::snapshot::{ServiceTable, VersionTable};
use crate::upstream::endpoint::EndpointState;

/// The endpoints of a version, with the request's key where the service is balanced by one.
pub(super) struct Seen<'a> {
    table: &'a ServiceTable,
    version: &'a VersionTable,
    /// As balancers see them: a part of the configured ones while the service warms some up.
    weights: Vec<u32>,
    key: Option<u64>,
    now_ms: u64,
}

/// What was found out about a version.
#[derive(Default)]
pub(super) struct Judged {
    pub(super) candidates: Vec<Candidate>,
    pub(super) groups: Vec<Group>,
    /// How many a pick would choose among.
    pub(super) usable: usize,
    /// The candidate that gets the request, where that is certain.
    pub(super) only: Option<usize>,
}

impl<'a> Seen<'a> {
    pub(super) fn new(
        table: &'a ServiceTable,
        version: &'a VersionTable,
        key: Option<u64>,
    ) -> Self {
        let now = table.state.clock.now();
        let states = || version.members.iter().map(|at| &table.endpoints[*at]);
        let tenths = version
            .members
            .iter()
            .map(|at| table.service.endpoints[*at].weight.tenths());
        let weights = match &table.service.load_balancer.warmup {
            None => tenths.collect(),
            Some(warmup) => {
                let serving = states().filter(|state| state.is_available());
                let oldest = serving.map(|state| state.admitted()).min().unwrap_or(now);
                let part = |state: &EndpointState| factor(warmup, state.admitted(), oldest, now);
                let both = tenths.zip(states());
                both.map(|(tenths, state)| scaled(tenths, part(state)))
                    .collect()
            }
        };
        Self {
            table,
            version,
            weights,
            key,
            now_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn state(&self, at: usize) -> &EndpointState {
        &self.table.endpoints[self.version.members[at]]
    }

    fn configured(&self, at: usize) -> &Endpoint {
        &self.table.service.endpoints[self.version.members[at]]
    }

    /// Whether its own limit on requests is reached. One on connections does not count: what is idle on a worker is known to
    /// that worker alone.
    fn full(&self, at: usize) -> bool {
        let most = self.table.service.pool.max_requests_per_endpoint;
        most.is_some_and(|most| self.state(at).in_flight() >= most)
    }

    /// Judges all, without drawing any.
    pub(super) fn judge(&self) -> Judged {
        let groups = &self.version.groups;
        let levels = groups.levels(self, self.table.service.outlier.min_health_percent);
        let mut random = SmallRng::from_rng(&mut rand::rng());
        let kind = &self.table.service.load_balancer.balancer;
        let mut balancers = Grouped::new(kind, groups, &mut random);
        let scores = self.scores(groups, &levels, &balancers);
        let takes = |at: &usize| {
            let (group, score) = &scores[*at];
            score.is_some_and(|score| score.measure != Measure::Out)
                && group.is_some_and(|group| levels.share(group) > 0.0)
        };
        let mut taking = (0..self.len()).filter(takes);
        let only = match (taking.next(), taking.next(), self.key) {
            (Some(only), None, _) => Some(only),
            // By a key the same one is picked every time.
            (_, _, Some(_)) => balancers.pick(self, groups, &levels, &mut random),
            _ => None,
        };
        let usable = scores
            .iter()
            .filter(|(_, score)| score.is_some_and(|score| score.measure != Measure::Out));
        Judged {
            usable: usable.count(),
            only,
            groups: (0..groups.len())
                .map(|group| self.group(group, groups, &levels))
                .collect(),
            candidates: (0..self.len())
                .map(|at| self.row(at, &scores[at], &levels))
                .collect(),
        }
    }

    /// For each its group, and what the balancer of that group holds of it.
    fn scores(
        &self,
        groups: &Groups,
        levels: &Levels,
        balancers: &Grouped,
    ) -> Vec<(Option<usize>, Option<Score>)> {
        let mut scores = vec![(None, None); self.len()];
        for group in 0..groups.len() {
            let both = balancers.balancer(group).zip(groups.subset(group, self));
            let Some((balancer, subset)) = both else {
                continue;
            };
            let of_group = match levels.in_panic(group) {
                true => balancer.scores(&InPanic(&subset)),
                false => balancer.scores(&subset),
            };
            for (at, score) in of_group.into_iter().enumerate() {
                scores[subset.whole(at)] = (Some(group), Some(score));
            }
        }
        scores
    }

    fn group(&self, group: usize, groups: &Groups, levels: &Levels) -> Group {
        let members = (0..self.len()).filter(|at| groups.of(*at) == Some(group));
        let (all, ready): (Vec<_>, Vec<_>) = members.map(|at| (at, self.available(at))).unzip();
        Group {
            level: groups.level(group).unwrap_or_default(),
            share: text::percent(levels.share(group)),
            panic: levels.in_panic(group),
            endpoints: all.len(),
            available: ready.into_iter().filter(|ready| *ready).count(),
        }
    }

    fn row(
        &self,
        at: usize,
        judged: &(Option<usize>, Option<Score>),
        levels: &Levels,
    ) -> Candidate {
        let (endpoint, state) = (self.configured(at), self.state(at));
        let standing = state.standing();
        let known = state.home.judgement(&state.id).unwrap_or_default();
        Candidate {
            id: endpoint.id.to_string(),
            address: endpoint.address.to_string(),
            weight: endpoint.weight.as_f64(),
            available: standing.available,
            state: standing.state.to_owned(),
            reason: standing.reason.to_string(),
            since: text::time(standing.since),
            until: standing.until.map(text::time),
            in_flight: state.in_flight(),
            penalty: state.penalty(self.now_ms),
            latency_ms: state
                .latency_us(self.now_ms)
                .map(|us| f64::from(us) / 1000.0),
            group: judged.0,
            judged: self.why(at, judged, levels),
            ejections: known.ejections,
            not_ejected: known.refused.map(|refused| text::refused(&refused)),
        }
    }

    /// What speaks for it or against it, in words.
    fn why(&self, at: usize, judged: &(Option<usize>, Option<Score>), levels: &Levels) -> String {
        let (Some(group), Some(score)) = judged else {
            return "out: the locality policy sends nothing to its place".to_owned();
        };
        let state = self.state(at);
        let usable = match levels.in_panic(*group) {
            true => state.is_usable_in_panic(),
            false => state.is_available(),
        };
        if score.measure == Measure::Out {
            return match (usable, self.full(at)) {
                (false, _) => format!("out: {}", state.standing().state),
                (true, true) => "out: it has as many requests as one endpoint may".to_owned(),
                (true, false) => "out: its weight is 0".to_owned(),
            };
        }
        let mut text = text::measure(score);
        if levels.in_panic(*group) && !state.is_available() {
            text.push_str("; in only because of panic");
        }
        if levels.share(*group) == 0.0 {
            text.push_str("; asked only when those before it cannot take more");
        }
        text
    }
}

impl Candidates for Seen<'_> {
    fn len(&self) -> usize {
        self.version.members.len()
    }

    fn spread(&self) -> Spread {
        Spread::of(self.weights.iter().copied())
    }

    fn weight(&self, at: usize) -> u32 {
        self.weights[at]
    }

    fn load(&self, at: usize) -> u32 {
        self.state(at).in_flight()
    }

    fn available(&self, at: usize) -> bool {
        self.state(at).is_available() && !self.full(at)
    }

    fn usable_in_panic(&self, at: usize) -> bool {
        self.state(at).is_usable_in_panic() && !self.full(at)
    }

    /// One that asked for a pause is passed over like one that was tried, as on the request path.
    fn tried(&self, at: usize) -> bool {
        self.state(at).is_paused(self.now_ms)
    }

    fn latency_us(&self, at: usize) -> Option<f32> {
        self.state(at).latency_us(self.now_ms)
    }

    fn penalty(&self, at: usize) -> u32 {
        self.state(at).penalty(self.now_ms)
    }

    fn key(&self) -> Option<u64> {
        self.key
    }
}
