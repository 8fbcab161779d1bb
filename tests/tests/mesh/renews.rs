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
    // Beyond the end of the first ones.
    std::thread::sleep(Duration::from_secs(25));
    load.advance(100);
    load.stop_unharmed();
    let ends = web.weir.metric("weir_cert_not_after_seconds", &["svc/web"]);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("a clock");
    assert!(ends > now.as_secs_f64(), "it holds");
}

#[test]
fn past_its_end_a_certificate_opens_nothing_and_that_is_said() {
    let (web_app, shop_app) = (Origin::ok("web"), Origin::ok("shop"));
    let members = [
        Member::new("web", web_app.addr()),
        Member::new("shop", shop_app.addr()),
    ];
    let mut plane = Plane::start(&members, SHORT, "");
    let (web, _shop) = (plane.sidecar("web"), plane.sidecar("shop"));
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
    // Its token is used, and its certificate has ended: somebody must let it in again.
    plane.resume();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(web.weir.get("shop", "/").status(), 503);
}
