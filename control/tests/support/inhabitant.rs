//! The only program in the test image: statically linked, it runs where there is nothing else.
//!
//! As process 1 it ignores SIGTERM, as careless applications do. `check` is a health check that passes while the file
//! /healthy exists; `heal` and `sicken` make and remove that file.

fn main() {
    let healthy = std::path::Path::new("/healthy");
    match std::env::args().nth(1).as_deref() {
        Some("check") => std::process::exit(i32::from(!healthy.exists())),
        Some("heal") => std::fs::write(healthy, "").expect("the file system can be written to"),
        Some("sicken") => std::fs::remove_file(healthy).expect("it was healthy"),
        _ => loop {
            std::thread::sleep(std::time::Duration::from_secs(3600));
        },
    }
}
