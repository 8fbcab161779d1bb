//! From app to app, over two sidecars.

use weir_tests::client::Client;
use weir_tests::origin::Origin;
use weir_tests::ports;

use crate::plane::{Member, Plane};

/// Two services that nobody but their sidecars knows how to reach.
fn pair(web: &Origin, shop: &Origin) -> [Member; 2] {
    [
        Member::new("web", web.addr()),
        Member::new("shop", shop.addr()),
    ]
}

#[test]
fn an_app_reaches_another_by_its_name_and_both_know_who_the_other_is() {
    let (web_app, shop_app) = (Origin::ok("web"), Origin::ok("shop"));
    let plane = Plane::start(&pair(&web_app, &shop_app), "", "");
    let (web, shop) = (plane.sidecar("web"), plane.sidecar("shop"));
    let answer = web.ask_until("shop", "/cart", 200);
    assert_eq!(answer.get("x-origin"), Some("shop"));
    let seen = shop_app.only();
    assert_eq!(seen.target(), "/cart");
    // The caller's identity is passed on, and nobody else's.
    let xfcc = seen
        .get("x-forwarded-client-cert")
        .expect("the caller's certificate");
    assert!(xfcc.contains("URI=spiffe://test.mesh/svc/web"), "{xfcc}");
    // What came in was TLS.
    assert!(
        shop.weir
            .metric("weir_tls_handshakes_total", &["mesh/inbound", "ok"])
            >= 1.0
    );
    let table = plane.weir().cli(&["proxies"]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("web@") && table.contains("shop@"), "{table}");
}

#[test]
fn the_same_by_a_proxy_setting_as_many_clients_have_it() {
    let (web_app, shop_app) = (Origin::ok("web"), Origin::ok("shop"));
    let plane = Plane::start(&pair(&web_app, &shop_app), "", "");
    let (web, _shop) = (plane.sidecar("web"), plane.sidecar("shop"));
    web.ask_until("shop", "/", 200);
    // HTTP_PROXY=http://127.0.0.1:15001: the target is absolute (RFC 9112, section 3.2.2).
    let mut client = Client::connect(web.weir.addr());
    client
        .wire
        .send("GET http://shop/by-proxy HTTP/1.1\r\nHost: shop\r\n\r\n")
        .expect("send");
    assert_eq!(client.response().status(), 200);
    assert_eq!(
        shop_app.requests().last().expect("one").target(),
        "/by-proxy"
    );
}

#[test]
fn what_a_caller_says_of_itself_is_not_believed() {
    let (web_app, shop_app) = (Origin::ok("web"), Origin::ok("shop"));
    let plane = Plane::start(&pair(&web_app, &shop_app), "", "");
    let (web, _shop) = (plane.sidecar("web"), plane.sidecar("shop"));
    web.ask_until("shop", "/", 200);
    shop_app.clear();
    let mut client = Client::connect(web.weir.addr());
    client
        .wire
        .send("GET / HTTP/1.1\r\nHost: shop\r\nX-Forwarded-Client-Cert: URI=spiffe://test.mesh/svc/bank\r\nClient-Cert: :abcd:\r\n\r\n")
        .expect("send");
    assert_eq!(client.response().status(), 200);
    let seen = shop_app.only();
    let xfcc = seen
        .get("x-forwarded-client-cert")
        .expect("the caller's certificate");
    assert!(!xfcc.contains("bank") && xfcc.contains("svc/web"), "{xfcc}");
    assert_eq!(seen.get("client-cert"), None);
}

#[test]
fn a_service_that_is_not_in_the_mesh_is_reached_in_plain_text() {
    let (web_app, old) = (Origin::ok("web"), Origin::ok("old"));
    let more = format!(
        "  - name: old\n    endpoints: [{{ address: \"{}\" }}]\n",
        old.addr()
    );
    let plane = Plane::start(&[Member::new("web", web_app.addr())], "", &more);
    let web = plane.sidecar("web");
    assert_eq!(web.ask_until("old", "/", 200).get("x-origin"), Some("old"));
    assert_eq!(web.ask("nobody", "/").status(), 404);
}

#[test]
fn a_sidecar_that_starts_without_a_control_plane_is_who_it_was() {
    let (web_app, shop_app) = (Origin::ok("web"), Origin::ok("shop"));
    let mut plane = Plane::start(&pair(&web_app, &shop_app), "", "");
    let (web, _shop) = (plane.sidecar("web"), plane.sidecar("shop"));
    web.ask_until("shop", "/", 200);
    plane.kill();
    let web = web.resume();
    assert_eq!(
        web.ask_until("shop", "/", 200).get("x-origin"),
        Some("shop")
    );
    // The key is for nobody else to read.
    for file in walk(web.state()) {
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(&file).expect("a file").permissions(),
        );
        assert_eq!(
            mode & 0o077,
            0,
            "{} is open to others: {mode:o}",
            file.display()
        );
    }
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory").flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => found.extend(walk(&path)),
            false => found.push(path),
        }
    }
    found
}

#[test]
fn an_app_is_started_when_its_sidecar_is_ready_and_served_until_it_ends() {
    let shop_app = Origin::slow("shop", std::time::Duration::from_millis(800));
    let plane = Plane::start(
        &[
            Member::new("web", ports::free()),
            Member::new("shop", shop_app.addr()),
        ],
        "",
        "",
    );
    let _shop = plane.sidecar("shop");
    let dir = tempfile::tempdir().expect("a directory");
    let (started, done) = (dir.path().join("started"), dir.path().join("done"));
    // It asks once more when it is told to end, which takes longer than telling does.
    let script = format!(
        "trap 'curl -sf -o /dev/null -x http://$OUT http://shop/last && touch {done}; exit 0' TERM; touch {started}; while :; do sleep 0.05; done",
        done = done.display(),
        started = started.display()
    );
    let token = plane.token("web");
    let script = format!("OUT=$(cat {0}/out); {script}", dir.path().display());
    let mut web = plane.join("web", &token, &["--wait", "--", "sh", "-c", &script]);
    std::fs::write(dir.path().join("out"), web.weir.addr().to_string()).expect("write");
    web.ready();
    weir_tests::wait::eventually("the app to start", || started.exists().then_some(()));
    web.ask_until("shop", "/", 200);
    web.weir.signal(rustix::process::Signal::TERM);
    let status = web.weir.wait_exit();
    assert!(status.success(), "{status}: {}", web.weir.logs());
    assert!(
        done.exists(),
        "its last request failed: {}",
        web.weir.logs()
    );
}

#[test]
fn an_edge_speaks_mtls_to_sidecars_and_says_who_called_it() {
    let shop_app = Origin::ok("shop");
    let inbound = ports::free();
    let xds = ports::free();
    // All in one process: listeners, control plane and authority.
    let edge = weir_tests::weir::Weir::start_text(|at| {
        format!(
            "admin: {{ bind: \"{}\" }}\ncontrol: {{ bind: \"{xds}\" }}\nmesh: {{ trustDomain: test.mesh }}\n\
             listeners: [{{ name: web, bind: \"{}\" }}]\n\
             services:\n  - name: shop\n    mesh: {{ port: {} }}\n    endpoints: [{{ address: \"{}\" }}]\n\
             routes: [{{ name: shop, listeners: [web], rules: [{{ backendRefs: [{{ name: shop }}] }}] }}]\n",
            at.admin,
            at.listen,
            inbound.port(),
            shop_app.addr()
        )
    });
    let token = edge.cli(&["token", "create", "--service", "shop"]);
    assert!(
        token.status.success(),
        "{}",
        String::from_utf8_lossy(&token.stderr)
    );
    let token = String::from_utf8_lossy(&token.stdout).trim().to_owned();
    let (app, inbound) = (shop_app.addr().to_string(), inbound.to_string());
    let control = format!("https://{xds}");
    let mut shop = weir_tests::weir::Weir::command(|at| {
        let (admin, outbound) = (at.admin.to_string(), at.listen.to_string());
        [
            "sidecar",
            "--service",
            "shop",
            "--app",
            &app,
            "--control",
            &control,
            "--inbound",
            &inbound,
            "--outbound",
            &outbound,
            "--admin-listen",
            &admin,
            "--join-token",
            &token,
        ]
        .map(str::to_owned)
        .to_vec()
    });
    shop.wait_ready()
        .unwrap_or_else(|why| panic!("{why}: {}", shop.logs()));
    weir_tests::wait::eventually("the edge to reach the shop", || {
        (edge.get("shop.example", "/").status() == 200).then_some(())
    });
    let seen = shop_app.requests().pop().expect("one");
    let xfcc = seen
        .get("x-forwarded-client-cert")
        .expect("the edge's certificate");
    assert!(
        xfcc.contains("URI=spiffe://test.mesh/svc/ingress"),
        "{xfcc}"
    );
    // For whom the edge called.
    assert!(
        seen.get("x-forwarded-for")
            .expect("a client")
            .contains("127.0.0.1")
    );
    let labels = ["mesh/inbound", "source=\"ingress\""];
    weir_tests::wait::eventually("the edge's request in the metrics", || {
        (shop.metric("weir_requests_total", &labels) >= 1.0).then_some(())
    });
    let seen = weir_tests::wait::within(
        std::time::Duration::from_secs(30),
        "the edge of the edge",
        || {
            let all = edge.json("/api/v1/edges")["edges"].as_array().cloned()?;
            all.into_iter().find(|edge| edge["server"] == "shop")
        },
    );
    assert_eq!(
        (&seen["client"], &seen["security"]),
        (&"ingress".into(), &"mtls".into()),
        "{seen}"
    );
    assert_eq!(seen["clientIdentity"], "spiffe://test.mesh/svc/ingress");
    assert!(seen["requests"].as_u64() >= Some(1), "{seen}");
    // Nobody beside it is let in.
    let plain = Client::try_connect(inbound.parse().expect("an address")).map(|mut client| {
        let _ = client.wire.send("GET / HTTP/1.1\r\nHost: shop\r\n\r\n");
        client
            .try_response("GET")
            .ok()
            .flatten()
            .map(|answer| answer.status())
    });
    assert_ne!(plain.expect("a connection"), Some(200));
}
