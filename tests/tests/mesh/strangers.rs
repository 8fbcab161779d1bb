//! Whoever is not who they should be gets nothing, and is counted.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use rcgen::{ExtendedKeyUsagePurpose, SanType, date_time_ymd};
use weir_tests::client::Client;
use weir_tests::origin::Origin;
use weir_tests::pki::{Authority, Identity};
use weir_tests::tls::{Connector, Offer};
use weir_tests::wait::{eventually, within};

use crate::plane::{DOMAIN, Member, Plane};

/// A certificate as the mesh gives them, with these URIs.
fn leaf(authority: &Authority, uris: &[&str]) -> Identity {
    authority.signed(&[], |params| {
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        for uri in uris {
            let uri = (*uri).try_into().expect("ASCII");
            params.subject_alt_names.push(SanType::URI(uri));
        }
    })
}

/// The status of a request with that certificate; `None`: there was none.
fn try_with(inbound: SocketAddr, client: Option<&Identity>) -> Option<u16> {
    let offer = Offer {
        client,
        alpn: &["http/1.1"],
        ..Offer::default()
    };
    let tls = Connector::new("shop", &offer);
    let mut client = Client::try_connect_tls(inbound, &tls).ok()?;
    client
        .wire
        .send("GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
        .ok()?;
    let answer = client.try_response("GET").ok()??;
    Some(answer.status())
}

#[test]
fn whoever_is_nobody_in_this_mesh_gets_nothing() {
    let (web_app, shop_app) = (Origin::ok("web"), Origin::ok("shop"));
    let members = [
        Member::new("web", web_app.addr()),
        Member::new("shop", shop_app.addr()),
    ];
    let plane = Plane::start(&members, "", "");
    let (web, shop) = (plane.sidecar("web"), plane.sidecar("shop"));
    web.ask_until("shop", "/", 200);
    shop_app.clear();
    let inbound = plane.member("shop").inbound;
    let ours = &plane.authority;
    let id = format!("spiffe://{DOMAIN}/svc/web");
    // Who is somebody gets in, so that the others fail for who they are.
    assert_eq!(try_with(inbound, Some(&leaf(ours, &[&id]))), Some(200));
    shop_app.clear();
    let other = Authority::new("the mesh");
    let expired = ours.signed(&[], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        params
            .subject_alt_names
            .push(SanType::URI(id.as_str().try_into().expect("ASCII")));
    });
    let early = ours.signed(&[], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date_time_ymd(2200, 1, 1);
        params.not_after = date_time_ymd(2201, 1, 1);
        params
            .subject_alt_names
            .push(SanType::URI(id.as_str().try_into().expect("ASCII")));
    });
    let server_only = ours.signed(&[], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params
            .subject_alt_names
            .push(SanType::URI(id.as_str().try_into().expect("ASCII")));
    });
    let nul = format!("spiffe://{DOMAIN}/svc/web\0.evil");
    let cases: Vec<(&str, Option<Identity>)> = vec![
        ("no certificate", None),
        (
            "another authority of the same name",
            Some(leaf(&other, &[&id])),
        ),
        ("an expired one", Some(expired)),
        ("one that is not yet valid", Some(early)),
        ("one for servers only", Some(server_only)),
        (
            "another trust domain",
            Some(leaf(ours, &["spiffe://other.mesh/svc/web"])),
        ),
        (
            "a trust domain that begins like ours",
            Some(leaf(ours, &["spiffe://test.mesh.evil/svc/web"])),
        ),
        (
            "ours in capitals",
            Some(leaf(ours, &["spiffe://TEST.mesh/svc/web"])),
        ),
        (
            "a port in the trust domain",
            Some(leaf(ours, &["spiffe://test.mesh:1/svc/web"])),
        ),
        (
            "a user in the trust domain",
            Some(leaf(ours, &["spiffe://a@test.mesh/svc/web"])),
        ),
        ("a NUL in the id", Some(leaf(ours, &[&nul]))),
        (
            "an escape in the id",
            Some(leaf(ours, &["spiffe://test.mesh/svc/we%62"])),
        ),
        (
            "dots in the id",
            Some(leaf(ours, &["spiffe://test.mesh/svc/x/../web"])),
        ),
        (
            "two ids",
            Some(leaf(ours, &[&id, "spiffe://test.mesh/svc/bank"])),
        ),
        ("no id", Some(leaf(ours, &[]))),
        (
            "an id of another scheme",
            Some(leaf(ours, &["https://test.mesh/svc/web"])),
        ),
    ];
    let failed = || {
        let all = ["no_cert", "bad_cert", "rejected"];
        let counted = all.map(|result| {
            shop.weir
                .metric("weir_tls_handshakes_total", &["mesh/inbound", result])
        });
        counted.iter().sum::<f64>()
    };
    for (what, identity) in &cases {
        let before = failed();
        assert_eq!(try_with(inbound, identity.as_ref()), None, "{what}");
        eventually(&format!("{what} to be counted"), || {
            (failed() > before).then_some(())
        });
    }
    // In plain text.
    let mut plain = std::net::TcpStream::connect(inbound).expect("connect");
    plain
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a time");
    plain
        .write_all(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
        .expect("write");
    let mut said = String::new();
    let _ = plain.read_to_string(&mut said);
    assert!(!said.contains("200 OK"), "{said}");
    for reason in ["no_cert", "bad_cert", "plain_http"] {
        eventually(&format!("{reason} in the log"), || {
            let said = shop.weir.stderr();
            let mut lines = said.lines();
            lines
                .any(|line| {
                    line.contains("turned away in the handshake")
                        && line.contains(&format!("\"reason\":\"{reason}\""))
                        && line.contains("\"listener\":\"mesh/inbound\"")
                        && line.contains("\"peer\":\"127.0.0.1:")
                })
                .then_some(())
        });
    }
    assert_eq!(shop_app.count(), 0, "nothing reached the app");
    assert_eq!(
        web.ask("shop", "/").status(),
        200,
        "and who belongs here still gets in"
    );
}

#[test]
fn a_caller_gives_nothing_to_whoever_is_not_the_service_it_meant() {
    let (web_app, shop_app, bank_app) = (Origin::ok("web"), Origin::ok("shop"), Origin::ok("bank"));
    let members = [
        Member::new("web", web_app.addr()),
        Member::new("shop", shop_app.addr()),
        Member::new("bank", bank_app.addr()),
    ];
    let mut plane = Plane::start(&members, "", "");
    let (web, _shop, _bank) = (
        plane.sidecar("web"),
        plane.sidecar("shop"),
        plane.sidecar("bank"),
    );
    web.ask_until("shop", "/", 200);
    web.ask_until("bank", "/", 200);
    // The bank's address now answers with the shop's certificate, as a wrong entry, or an address that was given away, would.
    let shop_at = plane.member("shop").inbound;
    shop_app.clear();
    plane.change(|members, _| {
        let bank = members
            .iter_mut()
            .find(|member| member.name == "bank")
            .expect("the bank");
        bank.inbound = shop_at;
    });
    let refused = web.ask_until("bank", "/transfer", 503);
    assert!(!refused.text().contains("shop"));
    assert_eq!(shop_app.count(), 0, "nothing of it reached the wrong one");
    assert_eq!(
        web.ask_until("shop", "/", 200).get("x-origin"),
        Some("shop")
    );
}

#[test]
fn who_speaks_plain_text_gets_nothing_more_once_it_is_strict() {
    let shop_app = Origin::ok("shop");
    let shop = Member::new("shop", shop_app.addr()).with(", mode: permissive");
    let mut plane = Plane::start(&[shop], "", "");
    let _shop = plane.sidecar("shop");
    let mut client = Client::connect(plane.member("shop").inbound);
    assert_eq!(client.get("shop", "/").status(), 200);
    plane.change(|members, _| members[0].mesh.clear());
    eventually("the connection of before to be of no use", || {
        let status = client.get("shop", "/").status();
        assert!([200, 421].contains(&status), "{status}");
        (status == 421).then_some(())
    });
}

#[test]
fn under_permissive_plain_text_is_served_and_marked() {
    let (web_app, shop_app) = (Origin::ok("web"), Origin::ok("shop"));
    let members = [
        Member::new("web", web_app.addr()),
        Member::new("shop", shop_app.addr()).with(", mode: permissive"),
    ];
    let plane = Plane::start(&members, "", "");
    let (web, shop) = (plane.sidecar("web"), plane.sidecar("shop"));
    web.ask_until("shop", "/", 200);
    let inbound = plane.member("shop").inbound;
    let mut client = Client::connect(inbound);
    client
        .wire
        .send("GET /plain HTTP/1.1\r\nHost: shop\r\nX-Forwarded-Client-Cert: URI=spiffe://test.mesh/svc/web\r\n\r\n")
        .expect("send");
    assert_eq!(client.response().status(), 200);
    let seen = shop_app.requests().pop().expect("the plain one");
    assert_eq!(seen.get("x-forwarded-client-cert"), None, "it is nobody");
    assert_eq!(
        shop.weir
            .metric("weir_tls_handshakes_total", &["mesh/inbound", "plain"]),
        1.0
    );
    eventually("a record without TLS", || {
        let logged = shop.weir.stdout();
        let mut lines = logged.lines();
        lines
            .any(|line| line.contains("/plain") && line.contains("\"tls\":null"))
            .then_some(())
    });
}

#[test]
fn a_certificate_that_ends_takes_its_connections_along() {
    let shop_app = Origin::ok("shop");
    let plane = Plane::start(&[Member::new("shop", shop_app.addr())], "", "");
    let _shop = plane.sidecar("shop");
    let inbound = plane.member("shop").inbound;
    let end = std::time::SystemTime::now() + Duration::from_secs(4);
    let own = plane.authority.signed(&[], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after = end.into();
        let id = format!("spiffe://{DOMAIN}/svc/web");
        let id = SanType::URI(id.try_into().expect("ASCII"));
        params.subject_alt_names.push(id);
    });
    let offer = Offer {
        client: Some(&own),
        alpn: &["http/1.1"],
        ..Offer::default()
    };
    let tls = Connector::new("shop", &offer);
    let mut kept = Client::try_connect_tls(inbound, &tls).expect("a connection");
    let ask = |client: &mut Client| {
        client
            .wire
            .send("GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
            .ok()?;
        Some(client.try_response("GET").ok()??.status())
    };
    assert_eq!(ask(&mut kept), Some(200));
    let mut idle = Client::try_connect_tls(inbound, &tls).expect("a connection");
    assert_eq!(ask(&mut idle), Some(200));
    // One asks all the time, the other waits: both are closed.
    within(
        Duration::from_secs(15),
        "the end of a busy connection",
        || ask(&mut kept).is_none().then_some(()),
    );
    assert!(std::time::SystemTime::now() >= end - Duration::from_secs(1));
    assert_eq!(idle.wire.some().unwrap_or_default(), b"");
    // Nor is its session taken up again.
    let again = Client::try_connect_tls(inbound, &tls);
    assert_eq!(again.ok().and_then(|mut client| ask(&mut client)), None);
}

#[test]
fn a_session_that_is_taken_up_again_carries_an_identity_and_no_right() {
    let (web_app, shop_app) = (Origin::ok("web"), Origin::ok("shop"));
    let members = [
        Member::new("web", web_app.addr()),
        Member::new("shop", shop_app.addr()),
    ];
    let plane = Plane::start(&members, "", "");
    let (web, shop) = (plane.sidecar("web"), plane.sidecar("shop"));
    web.ask_until("shop", "/", 200);
    let inbound = plane.member("shop").inbound;
    // A client that keeps its tickets, with an identity, then without one.
    let own = leaf(&plane.authority, &[&format!("spiffe://{DOMAIN}/svc/web")]);
    let offer = Offer {
        client: Some(&own),
        alpn: &["http/1.1"],
        ..Offer::default()
    };
    let tls = Connector::new("shop", &offer);
    let ask = |tls: &Connector| {
        let mut client = Client::try_connect_tls(inbound, tls).ok()?;
        client
            .wire
            .send("GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
            .ok()?;
        Some(client.try_response("GET").ok()??.status())
    };
    assert_eq!(ask(&tls), Some(200));
    assert_eq!(ask(&tls), Some(200));
    let resumed = shop
        .weir
        .metric("weir_tls_handshakes_total", &["mesh/inbound", "resumed"]);
    assert!(resumed >= 1.0, "the tickets are of use");
    let xfcc = shop_app.requests().pop().expect("one");
    let xfcc = xfcc
        .get("x-forwarded-client-cert")
        .expect("who it is")
        .to_owned();
    assert!(xfcc.contains("svc/web"), "{xfcc}");
    plane.order(&["mesh", "deny", "web", "shop"]);
    eventually("the rule to hold for it", || {
        (ask(&tls) == Some(403)).then_some(())
    });
}

#[test]
fn a_token_serves_once_and_for_one_service() {
    let (web_app, shop_app) = (Origin::ok("web"), Origin::ok("shop"));
    let members = [
        Member::new("web", web_app.addr()),
        Member::new("shop", shop_app.addr()),
    ];
    let plane = Plane::start(&members, "", "");
    let token = plane.token("web");
    let mut first = plane.join("web", &token, &[]);
    first.ready();
    let mut again = plane.join("web", &token, &[]);
    let status = again.weir.wait_exit();
    assert!(!status.success());
    assert!(again.weir.logs().contains("token"), "{}", again.weir.logs());
    let mut other = plane.join("shop", &plane.token("web"), &[]);
    let status = other.weir.wait_exit();
    assert!(!status.success());
    assert!(other.weir.logs().contains("token"), "{}", other.weir.logs());
    assert!(plane.weir().metric("weir_mesh_issue_refused_total", &[]) >= 2.0);
}

#[test]
fn who_waits_for_an_identity_says_so() {
    let shop_app = Origin::ok("shop");
    let mut plane = Plane::start(&[Member::new("shop", shop_app.addr())], "", "");
    let token = plane.token("shop");
    plane.kill();
    let mut shop = plane.join("shop", &token, &[]);
    let waits = eventually("its reason", || {
        let status = shop.weir.try_admin("/api/v1/status").ok()?;
        let status: serde_json::Value = serde_json::from_slice(&status.body.data).ok()?;
        let identity = status["providers"][0].clone();
        identity["error"].is_string().then_some(identity)
    });
    assert_eq!(
        (&waits["name"], &waits["state"]),
        (&"identity".into(), &"down".into()),
        "{waits}"
    );
    let ready = shop.weir.admin("/ready");
    assert_eq!(ready.status(), 503);
    assert!(ready.text().contains("no identity"), "{}", ready.text());
    assert!(
        shop.weir
            .metric("weir_identity_renewals_total", &["failed"])
            >= 1.0
    );
    let said = shop.weir.cli(&["status"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.contains("identity") && said.contains("none yet"),
        "{said}"
    );
    plane.resume();
    shop.ready();
    let said = shop.weir.cli(&["status"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("spiffe://test.mesh/svc/shop until"), "{said}");
}
