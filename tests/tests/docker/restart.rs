//! A real engine that restarts while its containers run on.

use rustix::process::Signal;
use weir_tests::docker::{Engine, Kind, Spec, watching_at};
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

use crate::{discovery, load, served_by};

// semantics 36
#[test]
fn an_engine_that_restarts_or_is_killed_under_its_containers_costs_no_request() {
    let Some(mut engine) = Engine::start(Kind::LiveRestore) else {
        return;
    };
    let weir = Weir::start(&watching_at(&engine.socket(), Engine::NETWORK));
    let host = "restart.example";
    let start = |engine: &Engine, name: &str| {
        let spec = Spec::origin_in(Engine::NETWORK, name, "stable").routed("shop", host, "stable");
        let _ = engine.run(&spec);
        served_by(&weir, host, name);
    };
    start(&engine, "first");
    start(&engine, "second");
    let running = load(&weir, 3, host);
    running.advance(50);
    for (signal, next) in [(Signal::TERM, "third"), (Signal::KILL, "fourth")] {
        engine.stop(signal);
        eventually("the outage in weir discovery and its metric", || {
            let down = weir.metric("weir_discovery_up", &["docker"]) == 0.0;
            (down && discovery(&weir).starts_with("docker: DOWN")).then_some(())
        });
        running.advance(300);
        assert_eq!(weir.admin("/ready").status(), 200, "it serves");
        engine.up();
        eventually("the return in weir discovery", || {
            discovery(&weir).starts_with("docker: up").then_some(())
        });
        running.advance(300);
        start(&engine, next);
        running.advance(100);
    }
    let report = running.stop();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    for name in ["first", "second", "third", "fourth"] {
        assert!(
            report.kinds.contains_key(name),
            "{name}: {:?}",
            report.kinds
        );
    }
}
