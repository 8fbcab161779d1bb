//! What a sidecar holds that knows many services and has nothing to do.
//!
//! Its own memory is judged in every build; what is mapped of its file beside that only in one for use.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use weir_tests::wait::within;
use weir_tests::{binary, ports};

use crate::plane::{Member, Plane, Sidecar};

/// For 100 services of two endpoints, all of them told. It is 6.6 MiB in a build for tests, and 5.5 in one for use.
const OF_A_HUNDRED: usize = 8 * 1024;
/// Between two sidecars that are told the same.
const SAME: usize = 512;

/// All that is resident of one for use, in KiB: 12 MB.
const ALL_OF_A_HUNDRED: usize = 12_000_000 / 1024;
/// For moments: once a minute it asks what is to be trusted, and for some seconds has the code that this takes.
const AT_MOST: usize = 16 * 1024;

/// A control plane that knows that many services, of two endpoints each.
fn knowing(services: usize) -> Plane {
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
    Plane::start(&[Member::new("shop", ports::free())], "", &others)
}

/// The same, and a sidecar of one of them.
fn idle(services: usize, more: &[&str]) -> (Plane, Sidecar) {
    let plane = knowing(services);
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
fn all_that_is_resident_of_an_idle_sidecar_is_twelve_megabytes() {
    let Some(released) = binary::released() else {
        return;
    };
    let plane = knowing(100);
    let mut sidecar = plane.join_by(&released, "shop", &plane.token("shop"), &[]);
    sidecar.ready();
    let _ = settled(&sidecar, OF_A_HUNDRED);
    // One of the questions of every minute is among it.
    let mut seen: Vec<usize> = (0..140)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(500));
            sidecar.weir.rss_kib()
        })
        .collect();
    seen.sort_unstable();
    let (median, most) = (seen[seen.len() / 2], seen[seen.len() - 1]);
    weir_tests::say(&format!("{median} KiB resident, at most {most}"));
    assert!(median <= ALL_OF_A_HUNDRED && most <= AT_MOST, "{seen:?}");
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
