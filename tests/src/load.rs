//! Steady load from keep-alive clients, for tests in which not one request may fail.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::client::{Client, Response};
use crate::wait::eventually;

/// What the clients saw.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Requests answered as they should be.
    pub good: usize,
    /// Each request that was not, in words.
    pub failures: Vec<String>,
    /// Connections that the server closed after announcing it.
    pub announced_closes: usize,
    /// Answers by the label that the load's judge gave them.
    pub kinds: BTreeMap<String, usize>,
}

type Judge = dyn Fn(&Response) -> Result<String, String> + Send + Sync;

/// Clients at work until they are stopped.
pub struct Load {
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    report: Arc<Mutex<Report>>,
}

impl Load {
    /// That many clients, each sending `request` over and over on one connection; the judge
    /// labels a good answer, or says what is wrong with it.
    #[must_use]
    pub fn start(
        addr: SocketAddr,
        clients: usize,
        request: &str,
        judge: impl Fn(&Response) -> Result<String, String> + Send + Sync + 'static,
    ) -> Self {
        Self::paced(addr, clients, Duration::ZERO, request, judge)
    }

    /// As [`Load::start`], each client resting that long after each answer.
    #[must_use]
    pub fn paced(
        addr: SocketAddr,
        clients: usize,
        rest: Duration,
        request: &str,
        judge: impl Fn(&Response) -> Result<String, String> + Send + Sync + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicUsize::new(0));
        let report = Arc::new(Mutex::new(Report::default()));
        let judge: Arc<Judge> = Arc::new(judge);
        let threads = (0..clients)
            .map(|_| {
                let (stop, done, report, judge) = (
                    Arc::clone(&stop),
                    Arc::clone(&done),
                    Arc::clone(&report),
                    Arc::clone(&judge),
                );
                let request = request.to_owned();
                std::thread::spawn(move || {
                    work(addr, &request, rest, &stop, &done, &report, &*judge)
                })
            })
            .collect();
        Self {
            threads,
            stop,
            done,
            report,
        }
    }

    /// GETs of `/` at that host, of which every one must be a 200; labelled with `x-origin`.
    #[must_use]
    pub fn gets(addr: SocketAddr, clients: usize, host: &str) -> Self {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        Self::start(addr, clients, &request, |response| {
            match response.status() {
                200 => Ok(response.get("x-origin").unwrap_or_default().to_owned()),
                status => Err(format!("{status}: {}", response.text())),
            }
        })
    }

    /// Requests done so far.
    #[must_use]
    pub fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    /// Waits until that many more requests are done.
    pub fn advance(&self, count: usize) {
        let goal = self.done() + count;
        eventually("the load to go on", || (self.done() >= goal).then_some(()));
    }

    /// Lets the clients finish what they do, and tells what they saw.
    ///
    /// # Panics
    /// When a client panicked.
    #[must_use]
    pub fn stop(mut self) -> Report {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().expect("a client of the load");
        }
        self.report
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// As [`Load::stop`], for a load in which nothing may fail and no connection may close.
    ///
    /// # Panics
    /// When something did, with the first failures.
    pub fn stop_unharmed(self) -> Report {
        let report = self.stop();
        let first: Vec<_> = report.failures.iter().take(5).collect();
        assert!(
            first.is_empty(),
            "{} of {} requests failed: {first:#?}",
            report.failures.len(),
            report.good
        );
        assert_eq!(report.announced_closes, 0, "connections were closed");
        assert!(report.good > 0, "the load did nothing");
        report
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn work(
    addr: SocketAddr,
    request: &str,
    rest: Duration,
    stop: &AtomicBool,
    done: &AtomicUsize,
    report: &Mutex<Report>,
    judge: &Judge,
) {
    let report = || report.lock().unwrap_or_else(PoisonError::into_inner);
    let method = request.split(' ').next().unwrap_or("GET");
    let mut client = None;
    while !stop.load(Ordering::Relaxed) {
        if client.is_none() {
            match Client::try_connect(addr) {
                Ok(connected) => client = Some(connected),
                Err(e) => {
                    report().failures.push(format!("connect: {e}"));
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                }
            }
        }
        let Some(open) = client.as_mut() else {
            continue;
        };
        let answer = open
            .wire
            .send(request)
            .and_then(|()| open.try_response(method));
        done.fetch_add(1, Ordering::Relaxed);
        // Behind the count, before the lock: nobody else may have to wait for it.
        if !rest.is_zero() {
            std::thread::sleep(rest);
        }
        let mut report = report();
        match answer {
            Ok(Some(response)) => {
                match judge(&response) {
                    Ok(kind) => {
                        report.good += 1;
                        *report.kinds.entry(kind).or_default() += 1;
                    }
                    Err(why) => report.failures.push(why),
                }
                if response.closes() {
                    report.announced_closes += 1;
                    client = None;
                }
            }
            Ok(None) => {
                report.failures.push("closed without an answer".into());
                client = None;
            }
            Err(e) => {
                report.failures.push(format!("no proper answer: {e}"));
                client = None;
            }
        }
    }
}
