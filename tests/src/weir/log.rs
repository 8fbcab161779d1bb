//! What a process prints, collected while it runs.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What a process has printed so far.
pub type Log = Arc<Mutex<String>>;

/// Collects what a pipe gives, line by line, until it ends.
pub(super) fn drain(pipe: impl Read + Send + 'static) -> Log {
    let log = Log::default();
    let into = Arc::clone(&log);
    std::thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader
            .read_until(b'\n', &mut line)
            .is_ok_and(|count| count > 0)
        {
            into.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
    log
}

/// Waits for a log to stop growing, at most a second.
pub(super) fn eventually_quiet(log: &Log) -> usize {
    let length = || log.lock().unwrap_or_else(PoisonError::into_inner).len();
    let mut last = length();
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(50));
        let now = length();
        if now == last && now > 0 {
            break;
        }
        last = now;
    }
    last
}
