//! From a container's labels to a served request, against a real engine.

mod discover;
mod examples;
mod gate;
mod mesh;
mod outage;
mod packaged;
mod permission;
mod restart;
mod rolling;
mod swarm;
mod traefik;

use std::time::{Duration, Instant};

use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

/// GETs of `/` at that host, labelled with the name of the origin that answered.
fn load(weir: &Weir, clients: usize, host: &str) -> weir_tests::load::Load {
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    weir_tests::load::Load::start(weir.addr(), clients, &request, |response| {
        match response.status() {
            200 => Ok(response.get("x-origin-name").unwrap_or_default().to_owned()),
            status => Err(format!("{status}: {}", response.text())),
        }
    })
}

/// Waits until that host is answered with 200, and tells when that was.
fn served(weir: &Weir, host: &str) -> Instant {
    eventually(&format!("a 200 for {host}"), || {
        (weir.get(host, "/").status() == 200).then(Instant::now)
    })
}

/// Waits until one of the versions or names that answer is this one.
fn served_by(weir: &Weir, host: &str, name: &str) {
    eventually(&format!("an answer of {name} for {host}"), || {
        let response = weir.get(host, "/");
        (response.status() == 200 && response.get("x-origin-name") == Some(name)).then_some(())
    });
}

/// What `weir discovery` prints.
fn discovery(weir: &Weir) -> String {
    let output = weir.cli(&["discovery"]);
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Bound for what must follow an event of the engine at once.
const AT_ONCE: Duration = Duration::from_secs(1);
