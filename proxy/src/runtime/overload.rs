//! What the process refuses when there is more to do than it can hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use weir_config::settings;
use weir_decide::breaker::Permits;
use weir_decide::overload::{Level, Marks};

use super::memory::{self, Resident};

/// How often memory is looked at. Buffers grow with requests, not at once, and a look costs tens of microseconds.
const LOOK: Duration = Duration::from_millis(250);

/// Set in [`Overload::state`] beside the level when requests are counted.
const CAPPED: u8 = 1 << 2;

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shed {
    /// Memory is full.
    Memory,
    /// As many requests as allowed are in flight.
    Requests,
}

impl Shed {
    /// As it stands in the metric.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Requests => "requests",
        }
    }
}

/// The process's state of overload.
pub(crate) struct Overload {
    /// The level of memory, and [`CAPPED`]. Written by the auxiliary thread, read by workers for every request: 0 where
    /// nothing is to be done.
    state: AtomicU8,
    /// `None`: memory is not watched.
    marks: Option<Marks>,
    /// Bytes, as of the last look.
    used: AtomicU64,
    max_requests: Option<u32>,
    requests: Permits,
}

impl Overload {
    pub(super) fn new(settings: &settings::Overload) -> Self {
        let limit = settings.memory_limit.or_else(memory::cgroup_limit);
        let capped = settings.max_requests.map_or(0, |_| CAPPED);
        Self {
            state: AtomicU8::new(Level::Normal.number() | capped),
            marks: limit.map(|limit| Marks::new(limit, settings.close_idle_at, settings.shed_at)),
            used: AtomicU64::new(0),
            max_requests: settings.max_requests,
            requests: Permits::new(),
        }
    }

    /// Lets a request in, with its place among those that are counted, if they are.
    ///
    /// No ordering: the level guards no data, and a request that comes with a change may be judged by either.
    #[inline]
    pub(crate) fn admit(self: &Arc<Self>) -> Result<Option<Place>, Shed> {
        match self.state.load(Ordering::Relaxed) {
            0 => Ok(None),
            state => self.admit_watched(state),
        }
    }

    #[cold]
    fn admit_watched(self: &Arc<Self>, state: u8) -> Result<Option<Place>, Shed> {
        if state & !CAPPED >= Level::Full.number() {
            return Err(Shed::Memory);
        }
        let Some(most) = self.max_requests else {
            return Ok(None);
        };
        match self.requests.try_acquire(most) {
            true => Ok(Some(Place(Arc::clone(self)))),
            false => Err(Shed::Requests),
        }
    }

    /// Whether what is not needed should be given back.
    #[inline]
    pub(crate) fn is_tight(&self) -> bool {
        self.state.load(Ordering::Relaxed) & !CAPPED >= Level::Tight.number()
    }

    /// The share in use of each resource that has a limit, where 1 is all of it; `connections` are held of `most`.
    pub(crate) fn pressure(&self, connections: usize, most: usize) -> Vec<(&'static str, f64)> {
        let share = |used: u64, of: u64| used as f64 / of.max(1) as f64;
        let memory = self.marks.map(|marks| {
            let used = self.used.load(Ordering::Relaxed);
            ("memory", share(used, marks.limit()))
        });
        let requests = self.max_requests.map(|most| {
            let taken = self.requests.taken();
            ("requests", share(u64::from(taken), u64::from(most)))
        });
        let connections = ("connections", share(connections as u64, most as u64));
        memory
            .into_iter()
            .chain(requests)
            .chain([connections])
            .collect()
    }

    /// Looks at memory for ever; ends only where there is nothing to look at.
    pub(super) async fn watch_memory(&self) {
        let Some(marks) = &self.marks else { return };
        let resident = match Resident::open() {
            Ok(resident) => resident,
            Err(error) => return tracing::error!(%error, "memory cannot be watched"),
        };
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut level = Level::Normal;
        loop {
            ticks.tick().await;
            // A look that failed says nothing; the level stays.
            let Ok(used) = resident.read() else { continue };
            let next = level.after(used, marks);
            self.used.store(used, Ordering::Relaxed);
            if next != level {
                self.set_level(next);
                tell(level, next, used, marks.limit());
            }
            level = next;
        }
    }

    /// Only the auxiliary thread writes, so that a store is enough.
    fn set_level(&self, level: Level) {
        let capped = self.max_requests.map_or(0, |_| CAPPED);
        self.state.store(level.number() | capped, Ordering::Relaxed);
    }
}

fn tell(before: Level, level: Level, used: u64, limit: u64) {
    let (used_mib, limit_mib) = (used >> 20, limit >> 20);
    let level_text = level.text();
    if level > before {
        tracing::warn!(level = level_text, used_mib, limit_mib, "memory runs short");
    } else {
        tracing::info!(
            level = level_text,
            used_mib,
            limit_mib,
            "memory is there again"
        );
    }
}

/// A place among the requests that are counted, until it is dropped.
pub(crate) struct Place(Arc<Overload>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.requests.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overload(max_requests: Option<u32>) -> Arc<Overload> {
        Arc::new(Overload::new(&settings::Overload {
            memory_limit: Some(1 << 40),
            max_requests,
            ..settings::Overload::default()
        }))
    }

    #[test]
    fn requests_are_let_in_until_memory_is_full_and_again_after() {
        let overload = overload(None);
        for (level, tight, refused) in [
            (Level::Normal, false, None),
            (Level::Tight, true, None),
            (Level::Full, true, Some(Shed::Memory)),
            (Level::Normal, false, None),
        ] {
            overload.set_level(level);
            assert_eq!(overload.is_tight(), tight, "{level:?}");
            assert_eq!(overload.admit().err(), refused, "{level:?}");
        }
    }

    #[test]
    fn the_cap_on_requests_is_exact_and_holds_at_every_level() {
        let overload = overload(Some(2));
        let first = overload.admit().ok().flatten();
        overload.set_level(Level::Tight);
        let second = overload.admit().ok().flatten();
        assert!(first.is_some() && second.is_some());
        assert_eq!(overload.admit().err(), Some(Shed::Requests));
        overload.set_level(Level::Full);
        assert_eq!(overload.admit().err(), Some(Shed::Memory));
        overload.set_level(Level::Normal);
        drop(first);
        assert!(overload.admit().is_ok_and(|place| place.is_some()));
        drop(second);
        assert_eq!(overload.requests.taken(), 0);
    }

    #[test]
    fn pressure_is_told_of_what_has_a_limit() {
        let names = |overload: &Overload| -> Vec<&str> {
            let pressure = overload.pressure(1, 4);
            assert!(pressure.contains(&("connections", 0.25)));
            pressure.iter().map(|(name, _)| *name).collect()
        };
        assert_eq!(names(&overload(None)), ["memory", "connections"]);
        assert_eq!(
            names(&overload(Some(1))),
            ["memory", "requests", "connections"]
        );
    }
}
