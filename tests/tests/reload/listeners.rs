//! Listeners that come, go and widen.

use std::net::SocketAddr;
use std::time::Duration;

use weir_tests::client::Client;
use weir_tests::config::{Ports, Setup};
use weir_tests::load::Load;
use weir_tests::origin::Origin;
use weir_tests::wait::{eventually, within};
use weir_tests::weir::Weir;

use super::apply_text;

// semantics 32
#[test]
fn a_listener_can_come_and_go_without_disturbing_another() {
    let origin = Origin::ok("app");
    let setup = Setup::to(&origin);
    let weir = Weir::start(&setup);
    let second = weir_tests::ports::free();
    let with_second = setup.render(weir.ports()).replace(
        "listeners:\n",
        &format!("listeners:\n  - {{ name: second, bind: \"{second}\", protocol: http }}\n"),
    );
    let load = Load::gets(weir.addr(), 2, "a.example");
    load.advance(20);
    weir.rewrite_text(&with_second);
    eventually("the second listener", || Client::try_connect(second).ok());
    assert_eq!(
        weir_tests::client::get(second, "a.example", "/").status(),
        200
    );
    weir.rewrite(&setup);
    eventually("the end of the second listener", || {
        Client::try_connect(second).is_err().then_some(())
    });
    load.advance(20);
    load.stop_unharmed();
}

// semantics 32
#[test]
fn a_wider_bind_on_the_same_port_goes_on_serving_there() {
    let origin = Origin::ok("app");
    let setup = Setup::to(&origin);
    let weir = Weir::start(&setup);
    let narrow = weir.addr();
    // Reached only through the wider bind.
    let other = SocketAddr::from(([127, 0, 0, 2], narrow.port()));
    assert_eq!(weir.get("a.example", "/").status(), 200);
    assert!(Client::try_connect(other).is_err());
    apply_text(
        &weir,
        &setup.render(Ports {
            listen: SocketAddr::from(([0, 0, 0, 0], narrow.port())),
            ..weir.ports()
        }),
    );
    for addr in [narrow, other] {
        within(Duration::from_secs(1), "the wider bind", || {
            Client::try_connect(addr).ok()
        });
    }
    for _ in 0..20 {
        for addr in [narrow, other] {
            let answer = weir_tests::client::get(addr, "a.example", "/");
            assert_eq!(answer.status(), 200, "at {addr}");
        }
    }
}
