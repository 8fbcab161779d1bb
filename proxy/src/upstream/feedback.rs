//! Feedback: what each attempt tells of its endpoint, without a lock.
//!
//! A success of an endpoint that was well costs a few loads and no store. Only a failure, a success after failures, and
//! what a policy asks for (rates, latency) write, each to one word of the endpoint by compare-exchange.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::Rng;
use weir_config::model::{Balancer, OutlierDetection, Service, VersionName};
use weir_decide::balance::{Ewma, Penalty};
pub(crate) use weir_decide::outlier::Outcome;
use weir_decide::outlier::{Counted, Streak, Streaks, Window};

use super::endpoint::EndpointState;

/// How an attempt ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    /// From the request's leaving to the head of the answer.
    pub(crate) latency: Option<Duration>,
    /// On the clock of the process.
    pub(crate) now_ms: u64,
}

/// Takes in how an attempt over a connection ended. One that found nobody has the endpoint looked at, off the data path.
pub(crate) fn report(
    state: &Arc<EndpointState>,
    service: &Service,
    version: &VersionName,
    ended: Ended,
    rng: &mut impl Rng,
) {
    record(state, service, version, ended, rng);
    if ended.outcome == Outcome::LocalOrigin && service.outlier.judges_unanswered() {
        state.suspect(ended.now_ms);
    }
}

/// Takes in how an attempt ended, where a connection would prove nothing of it.
pub(crate) fn record(
    state: &EndpointState,
    service: &Service,
    version: &VersionName,
    ended: Ended,
    rng: &mut impl Rng,
) {
    let Ended {
        outcome,
        latency,
        now_ms,
    } = ended;
    let failed = outcome != Outcome::Success;
    if failed {
        state.count_error();
    }
    let told = &state.told;
    if failed || told.penalty.load(Ordering::Relaxed) != 0 {
        update(&told.penalty, |bits| {
            Penalty::from_bits(bits).after(failed, now_ms).to_bits()
        });
    }
    if let Some(latency) = latency.filter(|_| !failed)
        && service.load_balancer.balancer == Balancer::PeakEwma
    {
        update(&told.latency, |bits| {
            Ewma::from_bits(bits).after(latency, now_ms).to_bits()
        });
    }
    let policy = &service.outlier;
    if policy.success_rate.is_some() || policy.failure_percentage.is_some() {
        match Window::counts(outcome, policy) {
            Counted::Success => told.window.fetch_add(1 | 1 << 32, Ordering::Relaxed),
            Counted::Failure => told.window.fetch_add(1, Ordering::Relaxed),
            Counted::Unanswered => told.unanswered.fetch_add(1, Ordering::Relaxed),
        };
    }
    if let Some(streak) = streak(&told.streaks, outcome, policy) {
        state.home.on_streak(version, &state.id, streak, rng);
    }
}

fn streak(word: &AtomicU64, outcome: Outcome, policy: &OutlierDetection) -> Option<Streak> {
    let mut bits = word.load(Ordering::Relaxed);
    loop {
        let streaks = Streaks::from_bits(bits);
        if outcome == Outcome::Success && streaks.is_clear() {
            return None;
        }
        let (next, complete) = streaks.after(outcome, policy);
        match word.compare_exchange_weak(bits, next.to_bits(), Ordering::Relaxed, Ordering::Relaxed)
        {
            Ok(_) => return complete,
            Err(now) => bits = now,
        }
    }
}

fn update(word: &AtomicU64, next: impl Fn(u64) -> u64) {
    let mut bits = word.load(Ordering::Relaxed);
    while let Err(now) =
        word.compare_exchange_weak(bits, next(bits), Ordering::Relaxed, Ordering::Relaxed)
    {
        bits = now;
    }
}
