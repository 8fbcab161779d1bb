//! Changing weights by hand: at once, atomically, visibly, and only with the token.

use std::time::{Duration, Instant};

use serde_json::Value;
use weir_tests::client::{Client, Response};
use weir_tests::config::Setup;
use weir_tests::load::Load;
use weir_tests::origin::Origin;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

struct Shop {
    weir: Weir,
    _origins: Vec<Origin>,
}

/// Service `shop` with these versions, split by the service's own weights.
fn shop(versions: &[(&str, &str)]) -> Shop {
    let origins: Vec<Origin> = versions.iter().map(|(name, _)| Origin::ok(name)).collect();
    let endpoints: Vec<(&str, std::net::SocketAddr)> = versions
        .iter()
        .zip(&origins)
        .map(|((name, _), o)| (*name, o.addr()))
        .collect();
    let weights: Vec<String> = versions
        .iter()
        .map(|(name, weight)| format!("{{ name: {name}, weight: {weight} }}"))
        .collect();
    let last = versions.last().map_or("stable", |(name, _)| name);
    let setup = Setup::new().service_with("shop", &endpoints, &format!("versions: [{}]", weights.join(", "))).rules(
        "shop",
        "",
        &[
            &format!("matches: [{{ headers: [{{ name: x-version, value: {last} }}] }}], backendRefs: [{{ name: shop, version: {last} }}]"),
            "backendRefs: [{ name: shop }]",
        ],
    );
    Shop {
        weir: Weir::start(&setup),
        _origins: origins,
    }
}

impl Shop {
    /// Runs `weir canary …`, which must succeed.
    fn canary(&self, args: &[&str]) -> String {
        let output = self.weir.cli(&[&["canary"], args].concat());
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "weir canary {args:?}: {}: {said}",
            output.status
        );
        said
    }

    /// How many of that many requests each version served.
    fn share(&self, version: &str, of: usize) -> usize {
        let mut client = self.weir.client();
        (0..of)
            .filter(|_| client.get("a.example", "/").get("x-origin") == Some(version))
            .count()
    }

    fn post(&self, path: &str, fields: &str, body: &str) -> Response {
        let admin = self.weir.ports().admin;
        let mut client = Client::connect(admin);
        client.send(format!("POST {path} HTTP/1.1\r\nHost: {admin}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{fields}\r\n{body}", body.len())).response()
    }

    fn token(&self) -> String {
        let path = self.weir.state_dir().join("admin.token");
        std::fs::read_to_string(&path)
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
            .trim()
            .to_owned()
    }
}

#[test]
fn set_changes_the_split_and_clear_gives_it_back() {
    let shop = shop(&[("stable", "90"), ("canary", "10")]);
    assert_eq!(shop.share("canary", 100), 10);
    shop.canary(&["set", "shop", "canary=25"]);
    assert_eq!(shop.share("canary", 100), 25);
    shop.canary(&["set", "shop", "canary=0.5"]);
    assert_eq!(shop.share("canary", 1000), 5);
    shop.canary(&["set", "shop", "canary=0"]);
    assert_eq!(shop.share("canary", 100), 0);
    shop.canary(&["clear", "shop"]);
    assert_eq!(
        shop.share("canary", 100),
        10,
        "the file's own weights again"
    );
}

#[test]
fn a_change_is_in_force_within_100_ms() {
    let shop = shop(&[("blue", "100"), ("green", "0")]);
    let mut client = shop.weir.client();
    let mut times = Vec::new();
    for round in 0..7 {
        let (to, weights) = if round % 2 == 0 {
            ("green", "{\"weights\":{\"green\":\"100\",\"blue\":\"0\"}}")
        } else {
            ("blue", "{\"weights\":{\"green\":\"0\",\"blue\":\"100\"}}")
        };
        let auth = format!("Authorization: Bearer {}\r\n", shop.token());
        let start = Instant::now();
        let response = shop.post("/api/v1/canary/shop", &auth, weights);
        assert_eq!(response.status(), 200, "{}", response.text());
        eventually("the new version to answer", || {
            (client.get("a.example", "/").get("x-origin") == Some(to)).then_some(())
        });
        times.push(start.elapsed());
        // From the first answer of the new version there is none of the old.
        assert!((0..20).all(|_| client.get("a.example", "/").get("x-origin") == Some(to)));
    }
    // The middle one: a busy disk may keep any one of them waiting.
    let middle = weir_tests::stats::quantile(&times, 0.5);
    assert!(
        middle < Duration::from_millis(100),
        "switches took {times:?}"
    );
}

#[test]
fn a_blue_green_switch_under_load_fails_nothing_and_is_complete() {
    let shop = shop(&[("blue", "100"), ("green", "0")]);
    let load = Load::gets(shop.weir.addr(), 4, "a.example");
    load.advance(100);
    shop.canary(&["set", "shop", "green=100", "blue=0"]);
    load.advance(100);
    let report = load.stop_unharmed();
    assert!(
        report.kinds.contains_key("blue") && report.kinds.contains_key("green"),
        "{:?}",
        report.kinds
    );
    assert_eq!(shop.share("green", 200), 200);
}

#[test]
fn versions_that_are_not_named_share_what_remains_as_before() {
    let shop = shop(&[("a", "60"), ("b", "20"), ("c", "20")]);
    shop.canary(&["set", "shop", "c=60"]);
    let shares: Vec<usize> = ["a", "b", "c"].iter().map(|v| shop.share(v, 100)).collect();
    assert_eq!(shares, [30, 10, 60]);
}

// semantics 22
#[test]
fn a_rule_that_names_one_version_is_not_touched() {
    let shop = shop(&[("stable", "90"), ("canary", "10")]);
    shop.canary(&["set", "shop", "canary=0"]);
    let mut client = shop.weir.client();
    let response = client
        .send("GET / HTTP/1.1\r\nHost: a.example\r\nx-version: canary\r\n\r\n")
        .response();
    assert_eq!(response.get("x-origin"), Some("canary"));
}

#[test]
fn an_override_outlives_a_restart_and_a_reload() {
    let mut shop = shop(&[("stable", "90"), ("canary", "10")]);
    shop.canary(&["set", "shop", "canary=50"]);
    shop.weir.restart();
    assert_eq!(shop.share("canary", 100), 50, "after a kill and a start");
    let before = shop.weir.generation();
    let text = std::fs::read_to_string(shop.weir.config()).expect("the file");
    shop.weir
        .rewrite_text(&text.replace("x-version", "x-other"));
    eventually("the reload", || {
        (shop.weir.generation() > before).then_some(())
    });
    assert_eq!(shop.share("canary", 100), 50, "after a reload");
    shop.canary(&["clear", "shop"]);
    shop.weir.restart();
    assert_eq!(
        shop.share("canary", 100),
        10,
        "a cleared override does not come back"
    );
}

#[test]
fn an_override_is_visible_beside_what_the_file_says() {
    let shop = shop(&[("stable", "90"), ("canary", "10")]);
    shop.canary(&["set", "shop", "canary=25"]);
    let said = shop.canary(&["get", "shop"]);
    assert!(
        said.contains("25") && said.contains("10"),
        "weir canary get shows both: {said}"
    );
    let output = shop.weir.cli(&["-o", "json", "canary", "get", "shop"]);
    let json: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stdout)));
    assert_eq!(json["apiVersion"], "weir/v1");
    let rollouts = shop.weir.json("/api/v1/rollouts").to_string();
    assert!(
        rollouts.contains("shop") && rollouts.contains("25"),
        "{rollouts}"
    );
    let events = shop.weir.json("/api/v1/events").to_string();
    assert!(
        events.contains("shop") && events.contains("canary") && events.contains("25"),
        "the change is an event: {events}"
    );
    let list = shop.canary(&["list"]);
    assert!(list.contains("shop"), "{list}");
    eventually("the weight in the metrics", || {
        let weight = shop
            .weir
            .metric("weir_route_weight", &["version=\"canary\""]);
        (weight > 0.0).then_some(())
    });
}

#[test]
fn nothing_is_changed_without_the_token() {
    let shop = shop(&[("stable", "90"), ("canary", "10")]);
    let body = "{\"weights\":{\"canary\":\"100\"}}";
    let good = format!("Authorization: Bearer {}\r\n", shop.token());
    let admin = shop.weir.ports().admin;
    let cases = [
        ("no token", String::new(), vec![401]),
        (
            "a wrong token",
            "Authorization: Bearer wrong\r\n".to_owned(),
            vec![401, 403],
        ),
        (
            "an empty token",
            "Authorization: Bearer \r\n".to_owned(),
            vec![401, 403],
        ),
        (
            "another scheme",
            format!("Authorization: Basic {}\r\n", shop.token()),
            vec![401, 403],
        ),
        (
            "a foreign origin",
            format!("{good}Origin: http://evil.example\r\n"),
            vec![403],
        ),
        (
            "a null origin",
            format!("{good}Origin: null\r\n"),
            vec![403],
        ),
    ];
    for (what, fields, statuses) in cases {
        let status = shop.post("/api/v1/canary/shop", &fields, body).status();
        assert!(statuses.contains(&status), "{what}: {status}");
    }
    assert_eq!(shop.share("canary", 50), 5, "nothing changed");
    let get = Client::connect(admin)
        .send(format!(
            "GET /api/v1/canary/shop HTTP/1.1\r\nHost: {admin}\r\n{good}\r\n"
        ))
        .response();
    assert_ne!(get.status(), 200, "a GET never changes anything");
    let own = format!("{good}Origin: http://{admin}\r\n");
    assert_eq!(
        shop.post("/api/v1/canary/shop", &own, body).status(),
        200,
        "the dashboard's own origin may"
    );
    let mut cli = shop
        .weir
        .cli_command(&["canary", "set", "shop", "canary=1"]);
    let refused = cli.env("WEIR_TOKEN", "wrong").output().expect("run weir");
    assert_eq!(
        refused.status.code(),
        Some(8),
        "{}",
        String::from_utf8_lossy(&refused.stderr)
    );
}

#[test]
fn the_token_is_in_a_private_file_and_in_no_dump() {
    use std::os::unix::fs::PermissionsExt as _;
    let shop = shop(&[("stable", "90"), ("canary", "10")]);
    let path = shop.weir.state_dir().join("admin.token");
    let mode = std::fs::metadata(&path)
        .expect("the token file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let token = shop.token();
    assert!(token.len() >= 32, "{} characters", token.len());
    for target in [
        "/metrics",
        "/",
        "/api/v1/status",
        "/api/v1/config",
        "/api/v1/services",
        "/api/v1/routes",
        "/api/v1/listeners",
        "/api/v1/endpoints",
        "/api/v1/discovery",
        "/api/v1/rollouts",
        "/api/v1/events",
    ] {
        let response = shop.weir.admin(target);
        assert_eq!(response.status(), 200, "{target}");
        assert!(
            !response.text().contains(&token),
            "{target} shows the token"
        );
    }
    assert!(
        !shop.weir.logs().contains(&token),
        "the logs show the token"
    );
}

#[test]
fn a_request_that_makes_no_sense_is_refused_and_changes_nothing() {
    let shop = shop(&[("stable", "90"), ("canary", "10")]);
    let auth = format!("Authorization: Bearer {}\r\n", shop.token());
    for (path, body) in [
        ("/api/v1/canary/nobody", "{\"weights\":{\"canary\":\"1\"}}"),
        ("/api/v1/canary/shop", "{\"weights\":{\"nobody\":\"1\"}}"),
        ("/api/v1/canary/shop", "{\"weights\":{\"canary\":\"-1\"}}"),
        ("/api/v1/canary/shop", "{\"weights\":{\"canary\":\"101\"}}"),
        (
            "/api/v1/canary/shop",
            "{\"weights\":{\"canary\":\"0\",\"stable\":\"0\"}}",
        ),
        ("/api/v1/canary/shop", "{\"weights\":{}}"),
        ("/api/v1/canary/shop", "not json"),
    ] {
        let response = shop.post(path, &auth, body);
        assert!(
            (400..500).contains(&response.status()),
            "{path} {body}: {}",
            response.status()
        );
        let json: Value = serde_json::from_slice(&response.body.data).unwrap_or_default();
        assert!(
            json["error"]["message"].is_string(),
            "{path} {body}: {}",
            response.text()
        );
    }
    assert_eq!(shop.share("canary", 50), 5);
}

#[test]
fn a_page_of_another_name_cannot_read_the_admin_server() {
    let shop = shop(&[("stable", "90"), ("canary", "10")]);
    let admin = shop.weir.ports().admin;
    let ask = |host: &str| {
        Client::connect(admin)
            .send(format!(
                "GET /api/v1/config HTTP/1.1\r\nHost: {host}\r\n\r\n"
            ))
            .response()
            .status()
    };
    assert_eq!(ask(&admin.to_string()), 200);
    assert_eq!(ask(&format!("localhost:{}", admin.port())), 200);
    assert!(
        [400, 403, 421].contains(&ask("rebound.evil.example")),
        "DNS rebinding is refused"
    );
}
