//! Deadlines without a timer per request.
//!
//! Each connection owns an [`Alarm`] and writes its next deadline into it, which costs a store. One sweep
//! every [`TICK`] looks at all alarms of the worker and wakes the tasks whose time has come. A
//! deadline is therefore met within one tick after it.

use crate::moment::Moment;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

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
    /// The rules have changed, and the client may not go on.
    Forbidden,
}

impl Rung {
    /// Whether it stays so whatever moves meanwhile.
    fn lasts(self) -> bool {
        matches!(self, Self::Removed | Self::Forbidden)
    }
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
        if !self.rung.get().is_some_and(Rung::lasts) {
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

    /// Rings at once: the client may not go on.
    pub(crate) fn forbid(&self) {
        self.ring(Rung::Forbidden);
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
    start: Moment,
    /// As of the last sweep or request, in milliseconds.
    now: Cell<u64>,
    alarms: RefCell<Slab<Rc<Alarm>>>,
    /// Alarms that are of streams.
    streams: Cell<usize>,
}

impl Timers {
    /// `start` is the same for all workers, so that they can tell one another the time.
    pub(crate) fn new(start: Moment) -> Self {
        Self {
            start,
            now: Cell::new(0),
            alarms: RefCell::default(),
            streams: Cell::new(0),
        }
    }

    /// Milliseconds since the worker started, at most one tick old: deadlines are no finer than that, and a look at
    /// the clock for each of them would be dear.
    pub(crate) fn now(&self) -> u64 {
        self.now.get()
    }

    /// Reads the clock for everybody.
    pub(crate) fn refresh(&self, moment: Moment) -> u64 {
        let now = self.at(moment);
        self.now.set(now);
        now
    }

    /// A time on the worker's clock.
    pub(crate) fn at(&self, moment: Moment) -> u64 {
        moment.millis_since(self.start)
    }

    /// A new alarm; it is taken out when the guard drops.
    pub(crate) fn alarm(self: &Rc<Self>) -> AlarmGuard {
        self.refresh(Moment::now());
        self.add(false)
    }

    /// The same for one stream of a connection, which has an alarm of its own. Its request looks at the clock anyway.
    pub(crate) fn alarm_of_stream(self: &Rc<Self>) -> AlarmGuard {
        self.streams.set(self.streams.get() + 1);
        self.add(true)
    }

    fn add(self: &Rc<Self>, of_stream: bool) -> AlarmGuard {
        let alarm = Rc::new(Alarm::default());
        alarm.clear();
        let key = self.alarms.borrow_mut().insert(Rc::clone(&alarm));
        AlarmGuard {
            alarm,
            key,
            of_stream,
            timers: Rc::clone(self),
        }
    }

    /// Wakes all whose time has come; on a drain the idle ones, too.
    pub(crate) fn sweep(&self, draining: bool) {
        let now = self.refresh(Moment::now());
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

    /// Connections there are: each has one alarm, beside those of its streams.
    pub(crate) fn len(&self) -> usize {
        self.alarms.borrow().len() - self.streams.get()
    }
}

/// An alarm for as long as its connection lives.
pub(crate) struct AlarmGuard {
    alarm: Rc<Alarm>,
    key: usize,
    of_stream: bool,
    timers: Rc<Timers>,
}

impl AlarmGuard {
    /// The alarm itself, for who sets it from elsewhere.
    pub(crate) fn share(&self) -> Rc<Alarm> {
        Rc::clone(&self.alarm)
    }
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
        if self.of_stream {
            self.timers.streams.set(self.timers.streams.get() - 1);
        }
    }
}
