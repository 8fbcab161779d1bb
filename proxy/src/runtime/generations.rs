//! The generation in force: how one is put there, and how workers follow.
//!
//! Who publishes goes in this order, and one generation after another:
//!
//! 1. The registry takes in what is new, and opens it. What the generation takes out stays open.
//! 2. The snapshot is built and swapped in.
//! 3. Then alone is taken out what it takes out ([`Retirement`](crate::upstream::registry::Retirement)): requests that were
//!    routed by the last generation must have found somebody until now.
//! 4. Sockets are handed out and closed by those who hold [`InForce`].
//!
//! A worker follows at its next request or tick ([`Follower::local`]), by one look at a pointer that orders nothing. A request
//! keeps the generation it began on, whole. What it can miss thereby is that everybody whom that generation knows has gone: so
//! who finds nobody asks whether there is a newer one ([`Follower::newer`]), and there is, since an endpoint is marked
//! (release) after the swap, and who saw the mark looks (acquire) after it.
//!
//! Nothing that a worker uses is closed by another: connections to endpoints that are gone end when the worker follows
//! (`Local::follow`), and a snapshot lives as long as a request on it. So there is nobody to wait for, and no acknowledgement.
//!
//! Levels and panic are counted anew by the worker when the service's epoch has risen. Who changes an endpoint marks it and then
//! raises (release); who looks reads the epoch (acquire), notes it, and then looks: a raise that comes meanwhile is seen the
//! next time.
//!
//! All of it is checked under every interleaving of a publisher and a worker or two (`generations/loom.rs`), with this code,
//! the registry's, the endpoints' and the picks'. Pools are not part of it: a pool, its connections and the checkout
//! are one worker's, and no other thread touches them (they hold `Rc`s, so the compiler sees to it). What a checkout shares is
//! the permit for a connection and the line of those who wait for one, which are checked in `weir_decide`
//! (`breaker/loom.rs`, `line/loom.rs`).

use std::cell::{Ref, RefCell};
use std::rc::Rc;
use std::sync::atomic::Ordering;
// The list of those replaced is nothing that workers touch.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weir_config::model::{Listener, Locality, Model};

use crate::snapshot::{Interner, ListenerId, Snapshot};
use crate::sync::{ArcSwap, Cache, fence};
use crate::upstream::local::Local;
use crate::upstream::registry::Registry;
use crate::worker::Random;

/// The generation in force, and what outlives it.
pub(crate) struct Generations {
    snapshots: Arc<ArcSwap<Snapshot>>,
    registry: Registry,
    /// Where this proxy runs.
    locality: Option<Locality>,
    labels: Arc<Interner>,
    /// Those that were replaced, until nobody uses them.
    replaced: Mutex<Vec<Arc<Snapshot>>>,
}

/// A snapshot that is in force: who holds this may do what must not be done before.
pub(crate) struct InForce(Arc<Snapshot>);

impl InForce {
    pub(crate) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.0
    }
}

impl Generations {
    pub(crate) fn new(locality: Option<Locality>, labels: Arc<Interner>) -> Self {
        Self {
            snapshots: Arc::default(),
            registry: Registry::default(),
            locality,
            labels,
            replaced: Mutex::default(),
        }
    }

    /// The one in force.
    pub(crate) fn current(&self) -> Arc<Snapshot> {
        self.snapshots.load_full()
    }

    /// The names of what is counted.
    pub(crate) fn labels(&self) -> &Interner {
        &self.labels
    }

    /// Where they are published.
    pub(crate) fn published(&self) -> &Arc<ArcSwap<Snapshot>> {
        &self.snapshots
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Puts a model into force; `ids` names the listeners that are bound. Called by one at a time.
    pub(crate) fn publish(
        &self,
        model: &Arc<Model>,
        generation: u64,
        ids: &[(ListenerId, Arc<Listener>)],
    ) -> InForce {
        let retirement = self.registry.reconcile(model);
        let previous = self.current();
        let next = Arc::new(Snapshot::build(
            Arc::clone(model),
            generation,
            ids,
            self.locality.as_ref(),
            &self.registry,
            &self.labels,
            &previous,
        ));
        self.snapshots.store(Arc::clone(&next));
        self.replaced().push(previous);
        retirement.carry_out();
        InForce(next)
    }

    /// Lets go of snapshots that nobody uses any more; to be called now and then, by no worker. A worker that follows is mostly
    /// the last to use the one before, and to take apart thousands of routes would hold up its requests.
    pub(crate) fn sweep(&self) {
        let mut replaced = self.replaced();
        let unused = replaced.extract_if(.., |snapshot| Arc::strong_count(snapshot) == 1);
        let unused: Vec<_> = unused.collect();
        // Whoever publishes need not wait for it.
        drop(replaced);
        drop(unused);
    }

    fn replaced(&self) -> MutexGuard<'_, Vec<Arc<Snapshot>>> {
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How one worker follows.
pub(crate) struct Follower {
    published: RefCell<Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>>,
    local: RefCell<Rc<Local>>,
}

impl Follower {
    pub(crate) fn new(published: &Arc<ArcSwap<Snapshot>>) -> Self {
        Self {
            published: RefCell::new(Cache::new(Arc::clone(published))),
            local: RefCell::new(Rc::new(Local::empty())),
        }
    }

    /// The generation in force, followed where that is another; one atomic load where it is not. `now` is on the worker's clock.
    #[inline]
    pub(crate) fn local(&self, now: u64, random: &RefCell<Random>) -> Rc<Local> {
        let mut published = self.published.borrow_mut();
        let snapshot = published.load();
        let local = self.local.borrow();
        if Arc::ptr_eq(snapshot, &local.snapshot) {
            return Rc::clone(&local);
        }
        let random = &mut random.borrow_mut();
        let next = Rc::new(local.follow(Arc::clone(snapshot), now, random));
        drop(local);
        *self.local.borrow_mut() = Rc::clone(&next);
        next
    }

    /// For a request that found nobody in the generation it began on: the one in force, if that is another.
    #[cold]
    pub(crate) fn newer(
        &self,
        than: &Rc<Local>,
        now: u64,
        random: &RefCell<Random>,
    ) -> Option<Rc<Local>> {
        // Who saw that an endpoint was taken out sees what did it.
        fence(Ordering::Acquire);
        let local = self.local(now, random);
        (!Rc::ptr_eq(&local, than)).then_some(local)
    }

    /// What was followed last.
    pub(crate) fn followed(&self) -> Ref<'_, Rc<Local>> {
        self.local.borrow()
    }
}

#[cfg(all(feature = "loom", test))]
mod loom;
#[cfg(all(test, not(feature = "loom")))]
mod tests;
