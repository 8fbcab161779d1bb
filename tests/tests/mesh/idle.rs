//! What a sidecar holds that knows many services and has nothing to do.
//!
//! Judged is its own memory, not what is mapped of its file: that is the same in every build. In one for use the file adds
//! what benches/README.md says.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use weir_tests::ports;
use weir_tests::wait::within;

use crate::plane::{Member, Plane, Sidecar};

/// For 100 services of two endpoints, all of them told. It is 6.6 MiB in a build for tests, and 5.5 in one for use.
const OF_A_HUNDRED: usize = 8 * 1024;
/// Between two sidecars that are told the same.
const SAME: usize = 512;

/// A control plane that knows that many services, of two endpoints each, and a sidecar of one of them.
fn idle(services: usize, more: &[&str]) -> (Plane, Sidecar) {
    let mut others = String::new();
    for at in 1..services {
        let (high, low) = (at / 250, at % 250);
        let endpoints = [1, 2].map(|end| format!("{{ address: \"10.{high}.{low}.{end}:8000\" }}"));
        let _ = writeln!(
            others,
            "  - name: svc-{at}\n    mesh: {{}}\n    endpoints: [{}]",
            endpoints.join(", ")
        );
    }
    let plane = Plane::start(&[Member::new("shop", ports::free())], "", &others);
    let mut sidecar = plane.join("shop", &plane.token("shop"), more);
    sidecar.ready();
    (plane, sidecar)
}

/// The most that is held of its own once what starting took is given back, in KiB.
fn settled(sidecar: &Sidecar, most: usize) -> usize {
    // The last look of a start is at ten seconds.
    within(
        Duration::from_secs(60),
        "what starting took to be given back",
        || (sidecar.weir.own_kib() <= most).then_some(()),
    );
    let long = std::env::var_os("WEIR_LONG_TESTS").is_some_and(|value| value == "1");
    let time = Duration::from_secs(if long { 180 } else { 15 });
    let (start, mut held) = (Instant::now(), 0);
    while start.elapsed() < time {
        held = held.max(sidecar.weir.own_kib());
        std::thread::sleep(Duration::from_millis(500));
    }
    held
}

#[test]
fn an_idle_sidecar_that_knows_a_hundred_services_is_small() {
    let (_plane, sidecar) = idle(100, &[]);
    let held = settled(&sidecar, OF_A_HUNDRED);
    weir_tests::say(&format!("{held} KiB with 100 services"));
    assert!(held <= OF_A_HUNDRED, "{held} KiB");
}

#[test]
fn a_sidecar_grows_with_what_it_calls_and_not_with_the_fleet() {
    let calls = ["--calls", "svc-1,svc-2,svc-3,svc-4,svc-5"];
    let [small, large] = [100, 1000].map(|services| {
        let (_plane, sidecar) = idle(services, &calls);
        let held = settled(&sidecar, OF_A_HUNDRED);
        weir_tests::say(&format!("{held} KiB for 5 of {services} services"));
        held
    });
    assert!(
        large <= small + SAME,
        "{large} KiB, and {small} in a small fleet"
    );
}
