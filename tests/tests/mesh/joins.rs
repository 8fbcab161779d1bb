//! How a token is made, and how a workload shows it.

use std::process::{Command, Stdio};

use weir_tests::origin::Origin;
use weir_tests::wait::{SILENCE, eventually};
use weir_tests::weir::Weir;
use weir_tests::{binary, ports};

use crate::plane::{Member, Plane, Sidecar};

#[test]
fn a_token_is_waited_for_where_the_control_plane_is_still_to_come() {
    let (admin, xds) = (ports::free().to_string(), ports::free());
    let dir = tempfile::tempdir().expect("a directory");
    let state = dir.path().join("state").display().to_string();
    let file = dir.path().join("weir.yaml").display().to_string();
    let text = format!("control: {{ bind: \"{xds}\" }}\nmesh: {{}}\n");
    std::fs::write(&file, text).expect("write the configuration");
    let create = |wait: &str| {
        let mut create = Command::new(binary::weir());
        create.args(["--admin", &format!("http://{admin}")]);
        create.args(["token", "create", "--service", "shop", wait]);
        create.env("WEIR_STATE_DIR", &state);
        create.stdout(Stdio::piped()).stderr(Stdio::piped());
        create
    };
    let tried = create("--wait=0").output().expect("run weir");
    assert_eq!(tried.status.code(), Some(5), "nobody is there: {tried:?}");
    let mut waiting = create("--wait").spawn().expect("start weir");
    std::thread::sleep(SILENCE);
    let ended = waiting.try_wait().expect("ask for the exit status");
    assert!(ended.is_none(), "{ended:?}");
    let _control = Weir::command(|_| {
        let own = ["control", "-c", &file, "--admin-listen", &admin];
        let own = [&own[..], &["--state-dir", &state]].concat();
        own.into_iter().map(str::to_owned).collect()
    });
    let made = waiting.wait_with_output().expect("its end");
    assert!(made.status.success(), "{made:?}");
    assert!(made.stdout.starts_with(b"weir."), "{made:?}");
}

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
