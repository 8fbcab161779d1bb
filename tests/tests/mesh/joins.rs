//! How a workload shows its token.

use weir_tests::origin::Origin;
use weir_tests::wait::eventually;

use crate::plane::{Member, Plane, Sidecar};

#[test]
fn a_token_is_read_from_a_file_as_an_editor_or_a_shell_leaves_it() {
    let app = Origin::ok("web");
    let plane = Plane::start(&[Member::new("web", app.addr())], "", "");
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("weir-token").display().to_string();
    std::fs::write(&file, plane.token("web") + "\n").expect("write the token");
    let mut web = plane.join("web", "", &["--join-token-file", &file]);
    web.ready();
    assert_eq!(web.ask_until("web", "/", 200).get("x-origin"), Some("web"));
}

#[test]
fn of_two_with_the_same_token_one_gets_in() {
    let app = Origin::ok("web");
    let plane = Plane::start(&[Member::new("web", app.addr())], "", "");
    let is_ready = |one: &Sidecar| {
        let ready = one.weir.try_admin("/ready");
        ready.is_ok_and(|answer| answer.status() == 200)
    };
    for round in 1..=5 {
        let token = plane.token("web");
        let mut both = [(); 2].map(|()| plane.join("web", &token, &[]));
        let loser = eventually("one to be ready, and the other to have given up", || {
            let [first, second] = &mut both;
            let running = [first.weir.running(), second.weir.running()];
            let loser = running.iter().position(|running| !running)?;
            assert!(running.contains(&true), "one of them is to get in");
            is_ready(&both[1 - loser]).then_some(loser)
        });
        let issued = plane.weir();
        let issued = issued.metric("weir_mesh_certificates_issued_total", &[]);
        assert_eq!(issued, f64::from(round), "one for each token");
        let loser = &mut both[loser].weir;
        assert!(!loser.wait_exit().success());
        assert!(loser.logs().contains("token"), "{}", loser.logs());
    }
}
