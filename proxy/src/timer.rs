//! Deadlines without a timer per request.
//!
//! Each connection owns an [`Alarm`] and writes its next deadline into it, which costs a store. One sweep
//! every [`TICK`] looks at all alarms of the worker and wakes the tasks whose time has come. A
//! deadline is therefore met within one tick after it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use slab::Slab;

use crate::upstream::local::LocalEndpoint;

/// How often deadlines are looked at.
pub(crate) const TICK: Duration = Duration::from_millis(25);

/// Why a wait was cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rung {
    /// The deadline passed.
    Time,
    /// The worker drains and the connection is idle.
    Drain,
    /// The endpoint in use was removed, and its drain timeout passed.
    Removed,
}

/// A connection's deadline, and what to wake.
#[derive(Default)]
pub(crate) struct Alarm {
    /// Milliseconds since the worker started; [`NEVER`] for none.
    at: Cell<u64>,
    rung: Cell<Option<Rung>>,
    /// Between requests: a drain may end the connection.
    idle: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// In use, to be cut when it was removed for longer than its drain timeout.
    endpoint: RefCell<Option<Rc<LocalEndpoint>>>,
}

const NEVER: u64 = u64::MAX;

impl Alarm {
    /// Polls until ready or rung.
    pub(crate) async fn watch<T>(
        &self,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<T, Rung> {
        poll_fn(|cx| {
            if let Poll::Ready(value) = poll(cx) {
                return Poll::Ready(Ok(value));
            }
            if let Some(rung) = self.rung.take() {
                return Poll::Ready(Err(rung));
            }
            self.park(cx);
            Poll::Pending
        })
        .await
    }

    fn park(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// Rings at that time, in place of any set before.
    pub(crate) fn set(&self, at: u64) {
        self.at.set(at);
        // That the endpoint is gone stays true whatever moves meanwhile.
        if self.rung.get() != Some(Rung::Removed) {
            self.rung.set(None);
        }
    }

    pub(crate) fn clear(&self) {
        self.set(NEVER);
    }

    pub(crate) fn set_idle(&self, idle: bool) {
        self.idle.set(idle);
    }

    pub(crate) fn set_endpoint(&self, endpoint: Option<Rc<LocalEndpoint>>) {
        *self.endpoint.borrow_mut() = endpoint;
        if self.rung.get() == Some(Rung::Removed) {
            self.rung.set(None);
        }
    }

    fn ring(&self, why: Rung) {
        self.rung.set(Some(why));
        self.at.set(NEVER);
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    fn is_cut(&self, now: u64) -> bool {
        self.endpoint
            .borrow()
            .as_ref()
            .is_some_and(|endpoint| endpoint.cut_at.get() <= now)
    }
}

/// All alarms of one worker, and its clock.
pub(crate) struct Timers {
    start: Instant,
    /// As of the last sweep or request, in milliseconds.
    now: Cell<u64>,
    alarms: RefCell<Slab<Rc<Alarm>>>,
}

impl Timers {
    /// `start` is the same for all workers, so that they can tell one another the time.
    pub(crate) fn new(start: Instant) -> Self {
        Self {
            start,
            now: Cell::new(0),
            alarms: RefCell::default(),
        }
    }

    /// Milliseconds since the worker started, at most one tick old: deadlines are no finer than that, and a look at
    /// the clock for each of them would be dear.
    pub(crate) fn now(&self) -> u64 {
        self.now.get()
    }

    /// Reads the clock for everybody.
    pub(crate) fn refresh(&self, instant: Instant) -> u64 {
        let now = self.at(instant);
        self.now.set(now);
        now
    }

    /// A time on the worker's clock.
    pub(crate) fn at(&self, instant: Instant) -> u64 {
        let elapsed = instant.saturating_duration_since(self.start);
        elapsed.as_secs() * 1000 + u64::from(elapsed.subsec_millis())
    }

    /// A new alarm; it is taken out when the guard drops.
    pub(crate) fn alarm(self: &Rc<Self>) -> AlarmGuard {
        self.refresh(Instant::now());
        let alarm = Rc::new(Alarm::default());
        alarm.clear();
        let key = self.alarms.borrow_mut().insert(Rc::clone(&alarm));
        AlarmGuard {
            alarm,
            key,
            timers: Rc::clone(self),
        }
    }

    /// Wakes all whose time has come; on a drain the idle ones, too.
    pub(crate) fn sweep(&self, draining: bool) {
        let now = self.refresh(Instant::now());
        for (_, alarm) in &*self.alarms.borrow() {
            if alarm.at.get() <= now {
                alarm.ring(Rung::Time);
            } else if draining && alarm.idle.get() {
                alarm.ring(Rung::Drain);
            } else if alarm.is_cut(now) {
                alarm.ring(Rung::Removed);
            }
        }
    }

    /// Alarms in use: one for each connection.
    pub(crate) fn len(&self) -> usize {
        self.alarms.borrow().len()
    }
}

/// An alarm for as long as its connection lives.
pub(crate) struct AlarmGuard {
    alarm: Rc<Alarm>,
    key: usize,
    timers: Rc<Timers>,
}

impl std::ops::Deref for AlarmGuard {
    type Target = Alarm;

    fn deref(&self) -> &Alarm {
        &self.alarm
    }
}

impl Drop for AlarmGuard {
    fn drop(&mut self) {
        self.timers.alarms.borrow_mut().remove(self.key);
    }
}
