//! Who may call whom, between sidecars.

use weir_tests::origin::Origin;
use weir_tests::wait::eventually;

use crate::plane::{Member, Plane};

#[test]
fn what_an_app_says_of_certificates_is_no_identity_and_for_whom_it_calls_is_an_address() {
    let (web_app, shop_app) = (Origin::ok("web"), Origin::ok("shop"));
    let members = [
        Member::new("web", web_app.addr()),
        Member::new("shop", shop_app.addr()),
    ];
    let rules = "  authorization:
    - { name: of-bank, service: shop, action: allow, rules: [{ to: [{ operation: { paths: [/cert] } }], when: [{ key: 'request.headers[x-forwarded-client-cert]', values: ['*svc/bank'] }] }] }
    - { name: of-net, service: shop, action: allow, paths: [/net], remoteIpBlocks: [203.0.113.0/24] }
";
    let plane = Plane::start(&members, rules, "");
    let (web, _shop) = (plane.sidecar("web"), plane.sidecar("shop"));
    let ask = |path: &str, field: &str| {
        let mut client = web.weir.client();
        let head = format!("GET {path} HTTP/1.1\r\nHost: shop\r\n{field}\r\n\r\n");
        client.send(head).response().status()
    };
    let of_net = "X-Forwarded-For: 203.0.113.7";
    eventually("the shop", || (ask("/net", of_net) == 200).then_some(()));
    assert_eq!(ask("/net", "X-Forwarded-For: 198.51.100.7"), 403);
    assert_eq!(ask("/net", "X-Other: 1"), 403);
    let of_bank = "X-Forwarded-Client-Cert: URI=spiffe://test.mesh/svc/bank";
    assert_eq!(ask("/cert", of_bank), 403);
}

#[test]
fn once_a_rule_names_a_service_only_who_is_listed_gets_in_and_the_rest_is_counted() {
    let (web_app, shop_app, bank_app) = (Origin::ok("web"), Origin::ok("shop"), Origin::ok("bank"));
    let members = [
        Member::new("web", web_app.addr()),
        Member::new("shop", shop_app.addr()),
        Member::new("bank", bank_app.addr()),
    ];
    let plane = Plane::start(&members, "", "");
    let (web, shop, bank) = (
        plane.sidecar("web"),
        plane.sidecar("shop"),
        plane.sidecar("bank"),
    );
    web.ask_until("shop", "/api/cart", 200);
    bank.ask_until("shop", "/api/cart", 200);
    plane.order(&[
        "mesh",
        "allow",
        "web",
        "shop",
        "--methods",
        "GET",
        "--path",
        "/api",
    ]);
    bank.ask_until("shop", "/api/cart", 403);
    assert_eq!(web.ask("shop", "/api/cart").status(), 200);
    for outside in [
        "/",
        "/apix",
        "/api/../admin",
        "/api/%2e%2e/admin",
        "//admin",
        "/API/cart",
    ] {
        assert_eq!(web.ask("shop", outside).status(), 403, "{outside}");
    }
    let refused = shop
        .weir
        .metric("weir_authorization_total", &["mesh/inbound", "refused"]);
    assert!(refused >= 7.0, "{refused}");
    eventually("a record of a refusal", || {
        let logged = shop.weir.stdout();
        let mut lines = logged.lines();
        lines
            .any(|line| line.contains("\"status\":403") && line.contains("\"AZ\""))
            .then_some(())
    });
    // By caller and service, in what is counted.
    let by = |source: &str| {
        shop.weir.metric(
            "weir_requests_total",
            &["mesh/inbound", &format!("source=\"{source}\"")],
        )
    };
    eventually("requests of web and of bank, in the metrics", || {
        (by("web") >= 2.0 && by("bank") >= 1.0).then_some(())
    });
    let said = plane.weir().cli(&[
        "mesh",
        "check",
        "bank",
        "shop",
        // A path is one of a request, and that a GET.
        "--path",
        "/api/cart",
    ]);
    let told = String::from_utf8_lossy(&said.stdout).into_owned();
    assert_eq!(
        said.status.code(),
        Some(6),
        "{told}{}",
        String::from_utf8_lossy(&said.stderr)
    );
    assert!(told.contains("refused"), "{told}");
    let view = plane.weir().json("/api/v1/mesh");
    let service = |name: &str| {
        let all = view["services"].as_array().expect("services");
        all.iter().find(|it| it["name"] == name).cloned()
    };
    let (web_seen, shop_seen) = (service("web").expect("web"), service("shop").expect("shop"));
    assert_eq!(view["trustDomain"], "test.mesh");
    assert_eq!(
        (&web_seen["open"], &shop_seen["open"]),
        (&true.into(), &false.into())
    );
    for seen in [&web_seen, &shop_seen] {
        assert_eq!(
            (&seen["sidecars"], &seen["mode"]),
            (&1.into(), &"strict".into())
        );
    }
    let table = plane.weir().cli(&["mesh"]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(
        table.contains("1 of 1") && table.contains("everybody in the mesh"),
        "{table}"
    );
    // A refusal stands before what is allowed.
    plane.order(&["mesh", "deny", "web", "shop", "--path", "/api/admin"]);
    web.ask_until("shop", "/api/admin/x", 403);
    assert_eq!(web.ask("shop", "/api/cart").status(), 200);
}

#[test]
fn edges_show_who_calls_whom_and_how() {
    let (web_app, shop_app, old) = (Origin::ok("web"), Origin::ok("shop"), Origin::ok("old"));
    let members = [
        Member::new("web", web_app.addr()),
        Member::new("shop", shop_app.addr()),
    ];
    let more = format!(
        "  - name: old\n    endpoints: [{{ address: \"{}\" }}]\n",
        old.addr()
    );
    let plane = Plane::start(&members, "", &more);
    let (web, _shop) = (plane.sidecar("web"), plane.sidecar("shop"));
    web.ask_until("shop", "/", 200);
    web.ask_until("old", "/", 200);
    let edge = |server: &str| {
        let answer = plane.weir().json("/api/v1/edges");
        let all = answer["edges"].as_array().cloned().unwrap_or_default();
        all.into_iter()
            .find(|edge| edge["client"] == "web" && edge["server"] == server)
    };
    let seen = weir_tests::wait::within(std::time::Duration::from_secs(30), "both edges", || {
        for _ in 0..5 {
            web.ask_until("shop", "/", 200);
        }
        Some((edge("shop")?, edge("old")?))
    });
    assert_eq!(seen.0["security"], "mtls");
    assert_eq!(seen.0["serverIdentity"], "spiffe://test.mesh/svc/shop");
    assert_eq!(seen.0["clientIdentity"], "spiffe://test.mesh/svc/web");
    assert_eq!(seen.1["security"], "plain");
    for seen in [&seen.0, &seen.1] {
        assert!(seen["requestsPerSecond"].as_f64() > Some(0.0), "{seen}");
        assert_eq!(seen["successPercent"], 100.0, "{seen}");
        assert!(seen["p99Ms"].as_f64() > Some(0.0), "{seen}");
    }
    assert_eq!(seen.1["serverIdentity"], serde_json::Value::Null);
    let table = plane.weir().cli(&["edges"]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("mTLS") && table.contains("plain"), "{table}");
}
