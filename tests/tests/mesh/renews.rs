//! Certificates that end, and authorities that follow one another, under load.

use std::time::Duration;

use weir_tests::load::Load;
use weir_tests::origin::Origin;
use weir_tests::wait::{eventually, within};

use crate::plane::{Member, Plane};

/// The shortest life there may be.
const SHORT: &str = "  leafLifetime: 1m\n";

#[test]
fn leaves_of_a_minute_are_renewed_under_load_and_the_authority_may_be_away_for_a_while() {
    let (web_app, shop_app) = (Origin::ok("web"), Origin::ok("shop"));
    let members = [
        Member::new("web", web_app.addr()),
        Member::new("shop", shop_app.addr()),
    ];
    let mut plane = Plane::start(&members, SHORT, "");
    let (web, shop) = (plane.sidecar("web"), plane.sidecar("shop"));
    web.ask_until("shop", "/", 200);
    let load = Load::gets(web.weir.addr(), 2, "shop");
    let renewed =
        |of: &crate::plane::Sidecar| of.weir.metric("weir_identity_renewals_total", &["done"]);
    // Past half of their life.
    plane.kill();
    std::thread::sleep(Duration::from_secs(38));
    plane.resume();
    within(Duration::from_secs(30), "both to be renewed", || {
        (renewed(&web) >= 2.0 && renewed(&shop) >= 2.0).then_some(())
    });
    // Beyond the end of the first ones, or through a dozen of lives.
    let long = std::env::var_os("WEIR_LONG_TESTS").is_some_and(|value| value == "1");
    std::thread::sleep(Duration::from_secs(if long { 540 } else { 25 }));
    load.advance(100);
    let report = load.stop_unharmed();
    for sidecar in [&web, &shop] {
        weir_tests::say(&format!(
            "{} requests, {} renewals",
            report.good,
            renewed(sidecar)
        ));
        assert!(renewed(sidecar) >= if long { 12.0 } else { 2.0 });
    }
    let ends = web.weir.metric("weir_cert_not_after_seconds", &["svc/web"]);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("a clock");
    assert!(ends > now.as_secs_f64(), "it holds");
}

#[test]
fn the_root_is_replaced_under_load_without_a_connection_that_fails() {
    let (web_app, shop_app) = (Origin::ok("web"), Origin::ok("shop"));
    let members = [
        Member::new("web", web_app.addr()),
        Member::new("shop", shop_app.addr()),
        Member::new("news", web_app.addr()),
    ];
    let plane = Plane::sovereign(&members);
    let (web, shop) = (plane.sidecar("web"), plane.sidecar("shop"));
    web.ask_until("shop", "/", 200);
    let authority = || plane.weir().json("/api/v1/mesh/authority");
    let signs = |info: &serde_json::Value| {
        let roots = info["roots"].as_array().expect("roots");
        let signer = roots.iter().find(|root| root["signs"] == true);
        signer.expect("one that signs")["fingerprint"].clone()
    };
    let before = authority();
    assert_eq!(before["roots"].as_array().map(Vec::len), Some(1));
    let shaken = || {
        shop.weir
            .metric("weir_tls_handshakes_total", &["result=\"ok\""])
    };
    let first = shaken();
    let load = Load::gets(web.weir.addr(), 3, "shop");
    load.advance(100);
    plane.order(&["cert", "rotate", "start"]);
    let mut met = std::collections::BTreeSet::new();
    let after = within(Duration::from_secs(200), "the end of the rotation", || {
        std::thread::sleep(Duration::from_millis(100));
        let now = authority();
        let phase = now["rotation"]["phase"]
            .as_str()
            .expect("a phase")
            .to_owned();
        met.insert(phase.clone());
        (phase == "steady" && signs(&now) != signs(&before)).then_some(now)
    });
    assert_eq!(after["roots"].as_array().map(Vec::len), Some(1), "{after}");
    assert!(met.len() == 3, "each phase: {met:?}");
    load.advance(100);
    let report = load.stop_unharmed();
    assert!(shaken() > first, "connections of the new root's time");
    weir_tests::say(&format!(
        "{} requests while the root was replaced",
        report.good
    ));
    // Who joins now is met by those who were there.
    let newcomer = plane.sidecar("news");
    newcomer.ask_until("shop", "/", 200);
}

#[test]
fn past_its_end_a_certificate_opens_nothing_and_that_is_said() {
    let (web_app, shop_app) = (Origin::ok("web"), Origin::ok("shop"));
    let members = [
        Member::new("web", web_app.addr()),
        Member::new("shop", shop_app.addr()),
    ];
    let mut plane = Plane::start(&members, SHORT, "");
    let (web, shop) = (plane.sidecar("web"), plane.sidecar("shop"));
    web.ask_until("shop", "/", 200);
    plane.kill();
    within(Duration::from_secs(100), "an end", || {
        let ended = web.weir.logs().contains("THE IDENTITY HAS EXPIRED");
        (ended && web.weir.get("shop", "/").status() == 503).then_some(())
    });
    let inbound = plane.member("shop").inbound;
    eventually("the shop to take nobody", || {
        std::net::TcpStream::connect(inbound).is_err().then_some(())
    });
    let ready = shop.weir.admin("/ready");
    assert_eq!(ready.status(), 503, "{}", ready.text());
    assert!(ready.text().contains("mesh/inbound"), "{}", ready.text());
    // Its token is used, and its certificate has ended: somebody must let it in again.
    plane.resume();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(web.weir.get("shop", "/").status(), 503);
}
