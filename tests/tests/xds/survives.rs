//! Without a control plane: serving goes on, and begins.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use weir_tests::load::Load;
use weir_tests::origin::Origin;
use weir_tests::wait::{SILENCE, eventually};
use weir_tests::weir::Weir;
use weir_tests::{client::Client, ports};

use crate::cluster::{cluster, endpoints, proxy, whole};
use crate::management::Management;

fn ready(weir: &mut Weir) {
    if let Err(why) = weir.wait_ready() {
        panic!("weir {why}\n{}", weir.logs());
    }
}

fn file(state: &Path, name: &str) -> PathBuf {
    state.join("proxy").join(name)
}

/// Waits until what is in force is on disk: the second file is there with the second state.
fn kept(state: &Path) {
    eventually("the last good state on disk", || {
        file(state, "last-good").exists().then_some(())
    });
}

#[test]
fn it_serves_the_last_good_state_within_a_second_of_its_start() {
    let Some(mut server) = Management::start("delta") else {
        return;
    };
    let (origin, web) = (Origin::ok("shop"), ports::free());
    let state = tempfile::tempdir().expect("a directory");
    server.put(&whole(web, &[origin.addr()]));
    let mut weir = proxy(&[server.url()], state.path(), &[]);
    ready(&mut weir);
    kept(state.path());
    server.kill();
    // The binary may be in no cache yet: what is measured is a start, not a disk.
    drop(weir);
    let began = Instant::now();
    let mut weir = proxy(&[server.url()], state.path(), &[]);
    let answered = loop {
        let answer = Client::try_connect(web).map(|mut client| client.get("shop.example", "/"));
        match answer {
            Ok(response) => {
                assert_eq!(response.status(), 200, "{}", response.text());
                break began.elapsed();
            }
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
        assert!(began.elapsed() < Duration::from_secs(15), "{}", weir.logs());
    };
    weir_tests::say(&format!(
        "first answer without a control plane: {answered:?} after the start"
    ));
    assert!(answered < Duration::from_secs(1), "{answered:?}");
    ready(&mut weir);
    let text = weir.cli(&["status"]);
    let text = String::from_utf8_lossy(&text.stdout);
    assert!(text.contains("stays in force as it was saved"), "{text}");
    assert_eq!(weir.metric("weir_xds_connected", &[]), 0.0);
    assert_eq!(weir.metric("weir_last_good_reads_total", &["current"]), 1.0);
}

#[test]
fn with_nothing_to_serve_it_is_not_ready_and_listens_nowhere() {
    let (state, nobody) = (tempfile::tempdir().expect("a directory"), ports::free());
    let weir = proxy(&[format!("http://{nobody}")], state.path(), &[]);
    let ready = eventually("an admin server", || weir.try_admin("/ready").ok());
    assert_eq!(ready.status(), 503);
    assert!(
        ready.text().contains("no last good state"),
        "{}",
        ready.text()
    );
    assert_eq!(weir.admin("/live").status(), 200);
    assert_eq!(weir.json("/api/v1/listeners")["listeners"], json!([]));
    let text = weir.cli(&["status"]);
    let text = String::from_utf8_lossy(&text.stdout);
    assert!(text.contains("nothing is in force"), "{text}");
}

#[test]
fn of_a_broken_file_nothing_is_taken_and_the_one_before_is_served() {
    let Some(mut server) = Management::start("delta") else {
        return;
    };
    let (first, second, web) = (Origin::ok("first"), Origin::ok("second"), ports::free());
    let state = tempfile::tempdir().expect("a directory");
    server.put(&whole(web, &[first.addr()]));
    let mut weir = proxy(&[server.url()], state.path(), &[]);
    ready(&mut weir);
    kept(state.path());
    server.put(&[endpoints("shop", &[second.addr()])]);
    eventually("the state before", || {
        file(state.path(), "last-good.previous")
            .exists()
            .then_some(())
    });
    weir.signal(Signal::TERM);
    weir.wait_exit();
    server.kill();
    let current = file(state.path(), "last-good");
    let whole = std::fs::read(&current).expect("the last good state");
    for (what, bytes) in [
        ("cut short", whole[..whole.len() / 2].to_vec()),
        ("one bit", {
            let mut flipped = whole.clone();
            flipped[whole.len() - 20] ^= 4;
            flipped
        }),
    ] {
        std::fs::write(&current, bytes).expect("break the file");
        let mut weir = proxy(&[server.url()], state.path(), &[]);
        ready(&mut weir);
        let response = Client::connect(web).get("shop.example", "/");
        assert_eq!(response.get("x-origin"), Some("first"), "{what}");
        assert_eq!(
            weir.metric("weir_last_good_reads_total", &["refused"]),
            1.0,
            "{what}"
        );
        assert!(
            weir.stderr().contains("the last good state is not used"),
            "{}",
            weir.stderr()
        );
    }
    // Neither: not ready, and no port that answers 404.
    std::fs::write(file(state.path(), "last-good.previous"), "rubbish").expect("break it, too");
    let weir = proxy(&[server.url()], state.path(), &[]);
    let ready = eventually("an admin server", || weir.try_admin("/ready").ok());
    assert_eq!(ready.status(), 503);
    assert!(Client::try_connect(web).is_err());
}

#[test]
fn no_request_notices_that_the_control_plane_was_killed_and_ejection_goes_on() {
    let Some(mut server) = Management::start("delta") else {
        return;
    };
    let (good, web) = (Origin::ok("good"), ports::free());
    let dying = weir_tests::program::Program::origin(&["--name", "dying"]);
    let state = tempfile::tempdir().expect("a directory");
    let mut set = whole(web, &[good.addr(), dying.addr()]);
    set[0]["healthChecks"] = json!([{
        "timeout": "0.5s", "interval": "0.1s", "unhealthyThreshold": 2, "healthyThreshold": 1,
        "tcpHealthCheck": {},
    }]);
    // A request that meets the endpoint's death is tried again.
    set[3]["virtualHosts"][0]["routes"][0]["route"]["retryPolicy"] =
        json!({ "retryOn": "connect-failure,reset-before-request,5xx", "numRetries": 3 });
    server.put(&set);
    let mut weir = proxy(&[server.url()], state.path(), &[]);
    ready(&mut weir);
    let request = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    let load = Load::start(web, 3, request, |response| match response.status() {
        200 => Ok(String::new()),
        status => Err(format!("{status}: {}", response.text())),
    });
    load.advance(200);
    server.kill();
    eventually("the proxy to notice", || {
        (weir.metric("weir_xds_connected", &[]) < 1.0).then_some(())
    });
    load.advance(500);
    let states = |weir: &Weir| {
        let endpoints = weir.json("/api/v1/endpoints");
        let all = endpoints["endpoints"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        all.iter().filter(|it| it["state"] == "ready").count()
    };
    assert_eq!(states(&weir), 2);
    drop(dying);
    eventually("the dead endpoint out of rotation", || {
        (states(&weir) == 1).then_some(())
    });
    load.advance(300);
    let report = load.stop();
    assert_eq!(report.failures, Vec::<String>::new());
    let age = weir.metric("weir_xds_last_update_timestamp_seconds", &[]);
    assert!(age > 1_700_000_000.0, "{age}");
}

#[test]
fn a_proxy_that_is_killed_at_any_moment_serves_the_last_state_it_had() {
    let Some(mut server) = Management::start("delta") else {
        return;
    };
    let (one, two, web) = (Origin::ok("one"), Origin::ok("two"), ports::free());
    let state = tempfile::tempdir().expect("a directory");
    server.put(&whole(web, &[one.addr()]));
    for round in 0..8 {
        let mut weir = proxy(&[server.url()], state.path(), &[]);
        ready(&mut weir);
        kept(state.path());
        let until = Instant::now() + Duration::from_millis(40 * round);
        while Instant::now() < until {
            for origin in [&two, &one] {
                server.put(&[endpoints("shop", &[origin.addr()])]);
            }
        }
        weir.signal(Signal::KILL);
        weir.wait_exit();
        // Nobody tells it anything now.
        let nobody = format!("http://{}", ports::free());
        let mut weir = proxy(&[nobody], state.path(), &[]);
        ready(&mut weir);
        assert_eq!(Client::connect(web).get("shop.example", "/").status(), 200);
        assert_eq!(
            weir.metric("weir_last_good_reads_total", &["refused"]),
            0.0,
            "{round}"
        );
    }
}

#[test]
fn a_listener_without_routes_is_not_served_before_they_come() {
    let Some(mut server) = Management::start("delta") else {
        return;
    };
    let (origin, web) = (Origin::ok("shop"), ports::free());
    let state = tempfile::tempdir().expect("a directory");
    let set = whole(web, &[origin.addr()]);
    server.put(&set[..3]);
    let mut weir = proxy(&[server.url()], state.path(), &[]);
    eventually("the routes to be awaited", || {
        (weir.try_admin("/live").is_ok() && weir.metric("weir_xds_awaited", &[]) > 0.0)
            .then_some(())
    });
    let silence = Instant::now();
    while silence.elapsed() < SILENCE {
        assert!(
            Client::try_connect(web).is_err(),
            "an empty listener answers 404"
        );
    }
    server.put(&[cluster("shop")]);
    server.put(&set[3..]);
    ready(&mut weir);
    assert_eq!(Client::connect(web).get("shop.example", "/").status(), 200);
}
