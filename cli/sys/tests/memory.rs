//! What becomes of memory that was freed. A process of its own: what other tests hold would be counted.

use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: weir_sys::Allocator = weir_sys::Allocator;

/// Resident MiB of this process without its files.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kib = line.unwrap().split_ascii_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() / 1024
}

#[test]
fn memory_that_was_freed_goes_back_to_the_system_while_the_thread_that_used_it_sleeps() {
    let (freed, wait) = std::sync::mpsc::channel();
    let (leave, stay) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let blocks: Vec<Box<[u8; 64]>> = (0..1_000_000).map(|_| Box::new([1; 64])).collect();
        let most = resident();
        drop(blocks);
        freed.send(most).unwrap();
        let _ = stay.recv();
    });
    let most = wait.recv().unwrap();
    assert!(most >= 60, "{most} MiB");
    let deadline = Instant::now() + Duration::from_secs(30);
    while resident() > 20 {
        assert!(Instant::now() < deadline, "{} MiB of {most}", resident());
        std::thread::sleep(Duration::from_millis(50));
        weir_sys::release_memory();
    }
    drop(leave);
    thread.join().unwrap();
}
