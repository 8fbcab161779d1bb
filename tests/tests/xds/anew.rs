//! A control plane that has forgotten everything, its numbers of generations as well.

use weir_tests::client;
use weir_tests::load::Load;
use weir_tests::origin::Origin;
use weir_tests::wait::eventually;

use crate::cluster::proxy;
use crate::plane::{Addresses, Plane, open};

fn yaml(at: Addresses, origin: &Origin) -> String {
    format!(
        "{}listeners: [{{ name: web, bind: \"{}\" }}]
services: [{{ name: app, endpoints: [{{ address: \"{}\" }}] }}]
routes: [{{ name: app, rules: [{{ backendRefs: [{{ name: app }}] }}] }}]
",
        open(at),
        at.listen,
        origin.addr()
    )
}

#[test]
fn one_whose_state_was_wiped_is_followed_from_its_first_generation_on() {
    let origins = ["one", "two", "three"].map(Origin::ok);
    let mut plane = Plane::start(|at| yaml(at, &origins[0]));
    let (at, state) = (plane.at, tempfile::tempdir().expect("a directory"));
    let mut weir = proxy(&[format!("http://{}", at.xds)], state.path(), &[]);
    weir.wait_ready()
        .unwrap_or_else(|why| panic!("weir {why}\n{}", weir.logs()));
    plane.synced("edge-1");
    for turn in [1, 0, 1, 0, 1] {
        plane.moved("edge-1", &yaml(at, &origins[turn]));
    }
    let before = plane.weir().generation();
    assert!(before > 5, "{before}");
    let load = Load::gets(at.listen, 1, "a");
    plane.kill();
    plane.wipe();
    assert_eq!(
        client::get(at.listen, "a", "/").get("x-origin"),
        Some("two")
    );
    plane.rewrite(&yaml(at, &origins[2]));
    plane.resume();
    eventually("what the new one says in force", || {
        let response = client::get(at.listen, "a", "/");
        (response.get("x-origin") == Some("three")).then_some(())
    });
    plane.synced("edge-1");
    let after = plane.weir().generation();
    assert!(after < before, "{after} after {before}");
    assert_eq!(weir.metric("weir_xds_refused_total", &["replayed"]), 0.0);
    // And it goes on from there.
    plane.moved("edge-1", &yaml(at, &origins[0]));
    assert_eq!(
        client::get(at.listen, "a", "/").get("x-origin"),
        Some("one")
    );
    assert_eq!(load.stop().failures, Vec::<String>::new());
}
