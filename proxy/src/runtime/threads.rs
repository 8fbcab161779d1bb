//! The threads: workers, and one beside them for probes and exports.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};

use super::{Options, Shared, StartError};
use crate::telemetry::trace::export;
use crate::upstream::probe::Prober;
use crate::worker::{self, Worker};

/// Enough for the deepest call chain with room to spare; only what is touched becomes resident.
const STACK: usize = 1 << 20;

/// How often it is looked whether an interval of outlier detection has passed.
const SWEEP: Duration = Duration::from_millis(100);

/// Joins nothing on drop: the threads end by themselves when the process does, or their channel.
pub(super) struct Threads {
    workers: Vec<JoinHandle<()>>,
    /// Dropping it ends the auxiliary runtime.
    _auxiliary: oneshot::Sender<()>,
}

impl Threads {
    pub(super) fn start(shared: &Arc<Shared>, options: &Options) -> Result<Self, StartError> {
        let count = options.workers.max(1);
        let workers = (0..count)
            .map(|at| start_worker(shared, at, count))
            .collect::<Result<_, _>>()?;
        let auxiliary = start_auxiliary(shared)?;
        Ok(Self {
            workers,
            _auxiliary: auxiliary,
        })
    }

    pub(super) fn workers_are_done(&self) -> bool {
        self.workers.iter().all(JoinHandle::is_finished)
    }
}

fn start_worker(
    shared: &Arc<Shared>,
    at: usize,
    count: usize,
) -> Result<JoinHandle<()>, StartError> {
    let (commands, receiver) = mpsc::unbounded_channel();
    let shared = Arc::clone(shared);
    shared.add_worker(commands);
    let (started, failed) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new()
        .name(format!("worker-{at}"))
        .stack_size(STACK);
    let handle = thread
        .spawn(move || {
            let runtime = Builder::new_current_thread()
                .enable_all()
                // Sockets are looked at after this many tasks: low, for the latency of those that wait.
                .event_interval(61)
                .max_blocking_threads(1)
                .build_local(LocalOptions::default());
            match runtime {
                Ok(runtime) => {
                    drop(started.send(None));
                    let worker =
                        Worker::new(Arc::clone(&shared), shared.share_of_descriptors(count));
                    runtime.block_on(worker::run(worker, receiver));
                }
                Err(error) => drop(started.send(Some(error))),
            }
        })
        .map_err(StartError::Thread)?;
    match failed.recv() {
        Ok(None) => Ok(handle),
        Ok(Some(error)) => Err(StartError::Runtime(error)),
        Err(_) => Err(StartError::Runtime(std::io::Error::other(
            "the worker ended at once",
        ))),
    }
}

/// Ends ejections and judges rates, off the data path.
async fn judge(shared: &Shared) {
    let mut random = SmallRng::from_rng(&mut rand::rng());
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        shared.registry().sweep(&mut random);
        shared.sweep();
    }
}

/// Looks at memory where it has a limit; does not end.
async fn watch(shared: &Shared) {
    shared.overload().watch_memory().await;
    std::future::pending().await
}

fn start_auxiliary(shared: &Arc<Shared>) -> Result<oneshot::Sender<()>, StartError> {
    let (alive, gone) = oneshot::channel::<()>();
    let (started, failed) = std::sync::mpsc::channel();
    let shared = Arc::clone(shared);
    let thread = std::thread::Builder::new()
        .name("auxiliary".into())
        .stack_size(STACK);
    thread
        .spawn(move || {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(1)
                .build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Some(error))),
            };
            runtime.block_on(async {
                shared.set_prober(Prober::start(shared.registry().suspects()));
                drop(started.send(None));
                tokio::select! {
                    _ = gone => {}
                    () = judge(&shared) => {}
                    () = watch(&shared) => {}
                    () = export::run(shared.traces(), shared.published()) => {}
                }
            });
        })
        .map_err(StartError::Thread)?;
    match failed.recv() {
        Ok(None) => Ok(alive),
        Ok(Some(error)) => Err(StartError::Runtime(error)),
        Err(_) => Err(StartError::Runtime(std::io::Error::other(
            "the auxiliary thread ended at once",
        ))),
    }
}
