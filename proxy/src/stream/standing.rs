//! Streams that are open while rules change: one that a new generation does not admit is ended.
//!
//! Each request is judged by the rules of its moment. A stream may stay for days, and whoever takes a right away means those that
//! are open, too. While the generation stays the same this costs one comparison of pointers in a while.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use slab::Slab;
use weir_config::model::PolicyName;

use super::authorize::{self, Who};
use crate::snapshot::{ListenerId, Snapshot};
use crate::timer::{Alarm, AlarmGuard};
use crate::worker::Worker;

/// The open streams of one worker.
#[derive(Default)]
pub(crate) struct Standings {
    streams: RefCell<Slab<Rc<Stream>>>,
    /// By which they were judged last; it is not kept alive by this.
    by: RefCell<Weak<Snapshot>>,
}

struct Stream {
    listener: ListenerId,
    who: Who,
    alarm: Rc<Alarm>,
    refused_by: RefCell<Option<PolicyName>>,
}

/// A stream that was admitted, and is judged anew for as long as this lives. When it may not go on its alarm rings
/// [`Forbidden`](crate::timer::Rung::Forbidden).
pub(crate) struct Standing {
    worker: Rc<Worker>,
    stream: Rc<Stream>,
    key: usize,
}

impl Standing {
    /// To be called before anything is waited for since it was admitted.
    pub(crate) fn new(
        worker: &Rc<Worker>,
        listener: ListenerId,
        who: Who,
        alarm: &AlarmGuard,
    ) -> Self {
        let stream = Rc::new(Stream {
            listener,
            who,
            alarm: alarm.share(),
            refused_by: RefCell::default(),
        });
        let mut streams = worker.standings.streams.borrow_mut();
        Self {
            key: streams.insert(Rc::clone(&stream)),
            worker: Rc::clone(worker),
            stream,
        }
    }

    /// What ended it, if a policy did.
    pub(crate) fn refused_by(&self) -> Option<PolicyName> {
        self.stream.refused_by.borrow().clone()
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.worker.standings.streams.borrow_mut().remove(self.key);
    }
}

impl Standings {
    /// Judges all of them, if the generation is another than the last time. Only who is refused is counted.
    pub(crate) fn judge(&self, snapshot: &Arc<Snapshot>, worker: &Worker) {
        let is_same = std::ptr::eq(self.by.borrow().as_ptr(), Arc::as_ptr(snapshot));
        if is_same {
            return;
        }
        *self.by.borrow_mut() = Arc::downgrade(snapshot);
        for (_, stream) in &*self.streams.borrow() {
            // One whose listener was removed has until its drain is over.
            let Some(table) = snapshot.listener(stream.listener) else {
                continue;
            };
            if authorize::judge(table, &stream.who, None).admitted {
                continue;
            }
            let judged = authorize::judge(table, &stream.who, Some(&worker.metrics));
            *stream.refused_by.borrow_mut() = judged.policy.cloned();
            stream.alarm.forbid();
        }
    }
}
