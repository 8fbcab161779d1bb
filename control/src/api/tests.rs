use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;
use weir_config::model::Model;
use weir_config::settings::AdminBind;

use super::*;
use crate::ControlOptions;
use crate::operate::{EndpointOperation, EndpointOutcome, EndpointRefused};

const CONFIG: &str = "
listeners: [{ name: web, bind: 127.0.0.1:0 }]
services:
  - name: shop
    endpoints:
      - { address: 127.0.0.1:9001, version: stable }
      - { address: 127.0.0.1:9002, version: canary }
routes:
  - name: shop
    rules:
      - backendRefs:
          - { name: shop, version: stable, weight: 95 }
          - { name: shop, version: canary, weight: 5 }
";

mod access;
mod decide;
mod mesh;

/// A control plane over one file, with a data plane that applies everything at once unless told otherwise.
struct Setup {
    control: Control,
    app: Router,
    token: String,
    dir: tempfile::TempDir,
}

async fn start_in(dir: tempfile::TempDir, with: impl FnOnce(&mut ControlOptions)) -> Setup {
    let file = dir.path().join("weir.yaml");
    if !file.exists() {
        std::fs::write(&file, CONFIG).unwrap();
    }
    let state = dir.path().join("state");
    let mut options = ControlOptions {
        files: vec![file],
        state_dir: Some(state.clone()),
        ..ControlOptions::default()
    };
    with(&mut options);
    let control = Control::start(options).await.unwrap();
    let app = protect(router(control.clone()), &control);
    let token = std::fs::read_to_string(state.join("admin.token"))
        .unwrap_or_default()
        .trim()
        .to_owned();
    Setup {
        control,
        app,
        token,
        dir,
    }
}

async fn start() -> Setup {
    let setup = start_in(tempfile::tempdir().unwrap(), |_| {}).await;
    apply_all(&setup.control);
    setup
}

/// Plays the data plane.
fn apply_all(control: &Control) {
    let (control, mut models) = (control.clone(), control.models());
    tokio::spawn(async move {
        loop {
            let generation = models.borrow_and_update().generation;
            control.applied(generation, Vec::new());
            if models.changed().await.is_err() {
                return;
            }
        }
    });
}

impl Setup {
    async fn send(&self, request: Request<Body>) -> (StatusCode, Value) {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let status = response.status();
        (status, json(response).await)
    }

    async fn get(&self, path: &str) -> Value {
        let request = Request::get(path)
            .header("host", "127.0.0.1:9900")
            .body(Body::empty())
            .unwrap();
        let (status, body) = self.send(request).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    fn post(&self, path: &str) -> axum::http::request::Builder {
        Request::post(path)
            .header("host", "127.0.0.1:9900")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", self.token))
    }

    async fn set(&self, body: &'static str) -> (StatusCode, Value) {
        let request = self
            .post("/api/v1/canary/shop")
            .body(Body::from(body))
            .unwrap();
        self.send(request).await
    }
}

async fn json(response: Response<Body>) -> Value {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&bytes).unwrap_or(Value::Null)
}

fn weights(model: &Model) -> Vec<String> {
    let backends = &model.routes[0].rules[0].backends;
    backends
        .iter()
        .map(|b| format!("{}={}", b.version.as_ref().unwrap(), b.weight))
        .collect()
}

fn in_force(control: &Control) -> Vec<String> {
    weights(&control.models().borrow().model)
}

#[tokio::test]
async fn weights_set_by_hand_are_in_force_when_the_answer_comes() {
    let setup = start().await;
    assert_eq!(in_force(&setup.control), ["stable=95", "canary=5"]);
    let (status, body) = setup.set(r#"{"weights":{"canary":"25"},"by":"cli"}"#).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["apiVersion"], "weir/v1");
    assert_eq!(body["inForce"], true);
    assert_eq!(
        body["message"],
        "set shop: canary 5% -> 25%, stable 95% -> 75%"
    );
    assert_eq!(body["warnings"], serde_json::json!([]));
    assert_eq!(in_force(&setup.control), ["stable=75", "canary=25"]);
    let shown = &setup.get("/api/v1/rollouts").await["rollouts"][0];
    assert_eq!(shown["override"]["by"], "cli");
    assert_eq!(shown["versions"][0]["configured"], 5.0);
    assert_eq!(shown["versions"][0]["override"], 25.0);
    assert_eq!(shown["versions"][0]["effective"], 25.0);
    let events = setup.get("/api/v1/events").await;
    let told = events["events"].as_array().unwrap().iter().any(|event| {
        event["text"] == "set shop: canary 5% -> 25%, stable 95% -> 75% by cli"
            && event["service"] == "shop"
    });
    assert!(told, "{events}");
}

#[tokio::test]
async fn a_blue_green_switch_and_a_clear_go_through() {
    let setup = start().await;
    let (status, _) = setup
        .set(r#"{"weights":{"canary":"100","stable":"0"}}"#)
        .await;
    assert_eq!(
        (status, in_force(&setup.control)),
        (StatusCode::OK, vec!["stable=0".into(), "canary=100".into()])
    );
    let request = setup
        .post("/api/v1/canary/shop/clear")
        .body(Body::empty())
        .unwrap();
    let (status, body) = setup.send(request).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(
        body["message"],
        "clear shop: canary 100% -> 5%, stable 0% -> 95%"
    );
    assert_eq!(in_force(&setup.control), ["stable=95", "canary=5"]);
    let request = setup
        .post("/api/v1/canary/shop/clear")
        .body(Body::empty())
        .unwrap();
    assert_eq!(setup.send(request).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn weights_set_by_hand_are_kept_over_a_restart() {
    let setup = start().await;
    setup.set(r#"{"weights":{"canary":"12.5"}}"#).await;
    setup.control.stop();
    let again = start_in(setup.dir, |_| {}).await;
    assert_eq!(in_force(&again.control), ["stable=87.5", "canary=12.5"]);
    assert_eq!(again.token, setup.token);
}

#[tokio::test]
async fn a_request_that_makes_no_sense_changes_nothing_and_says_what_is_known() {
    let setup = start().await;
    let before = setup.control.models().borrow().generation;
    for (path, body, expected, says) in [
        (
            "/api/v1/canary/shpo",
            r#"{"weights":{"canary":"5"}}"#,
            404,
            "known services: shop",
        ),
        (
            "/api/v1/canary/shop",
            r#"{"weights":{"green":"5"}}"#,
            422,
            "its versions: canary, stable",
        ),
        (
            "/api/v1/canary/shop",
            r#"{"weights":{"canary":"-5"}}"#,
            422,
            "not a weight",
        ),
        (
            "/api/v1/canary/shop",
            r#"{"weights":{"canary":"0","stable":"0"}}"#,
            422,
            "all weights are 0",
        ),
        (
            "/api/v1/canary/shop",
            r#"{"weights":{}}"#,
            422,
            "at least one version",
        ),
        (
            "/api/v1/canary/shop",
            r#"{"wieghts":{}}"#,
            400,
            "unknown field",
        ),
        ("/api/v1/canary/shop", "{", 400, "EOF"),
        (
            "/api/v1/canary/shop/clear",
            "{}",
            404,
            "no weights set by hand",
        ),
    ] {
        let request = setup.post(path).body(Body::from(body)).unwrap();
        let (status, reply) = setup.send(request).await;
        let message = reply["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(status.as_u16(), expected, "{path} {body}: {reply}");
        assert!(message.contains(says), "{path} {body}: {message}");
        assert_eq!(reply["apiVersion"], "weir/v1");
    }
    assert_eq!(setup.control.models().borrow().generation, before);
}

#[tokio::test]
async fn a_change_needs_the_token_the_origin_and_json() {
    let setup = start().await;
    let good = r#"{"weights":{"canary":"25"}}"#;
    let bearer = format!("Bearer {}", setup.token);
    let wrong = format!("Bearer {}", "0".repeat(64));
    let bearer_only = setup.token.clone();
    let json = "application/json";
    for (authorization, origin, kind, expected) in [
        (None, None, json, 401),
        (Some(wrong.as_str()), None, json, 401),
        (Some("Bearer"), None, json, 401),
        (Some("Bearer "), None, json, 401),
        (Some(bearer_only.as_str()), None, json, 401),
        (
            Some(bearer.as_str()),
            Some("https://evil.example"),
            json,
            403,
        ),
        (Some(bearer.as_str()), Some("null"), json, 403),
        (
            Some(bearer.as_str()),
            Some("http://127.0.0.1:9901"),
            json,
            403,
        ),
        (Some(bearer.as_str()), None, "text/plain", 415),
        (
            Some(bearer.as_str()),
            None,
            "application/x-www-form-urlencoded",
            415,
        ),
        (
            Some(bearer.as_str()),
            Some("http://127.0.0.1:9900"),
            "application/json; charset=utf-8",
            200,
        ),
    ] {
        let mut request = Request::post("/api/v1/canary/shop")
            .header("host", "127.0.0.1:9900")
            .header("content-type", kind);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        if let Some(value) = origin {
            request = request.header("origin", value);
        }
        let (status, _) = setup.send(request.body(Body::from(good)).unwrap()).await;
        assert_eq!(
            status.as_u16(),
            expected,
            "{authorization:?} {origin:?} {kind}"
        );
    }
}

#[tokio::test]
async fn a_body_has_a_limit() {
    let setup = start().await;
    let body = format!(r#"{{"weights":{{"canary":"{}"}}}}"#, "1".repeat(MAX_BODY));
    let request = setup
        .post("/api/v1/canary/shop")
        .body(Body::from(body))
        .unwrap();
    let (status, reply) = setup.send(request).await;
    assert_eq!(
        (status.as_u16(), &reply["error"]["code"]),
        (413, &Value::from("too_large"))
    );
}

#[tokio::test]
async fn on_loopback_only_names_of_this_machine_are_answered() {
    let setup = start_in(tempfile::tempdir().unwrap(), |options| {
        options.admin.hosts = vec!["weir.internal".into()];
    })
    .await;
    let ask = async |host: &str| {
        let request = Request::get("/api/v1/status")
            .header("host", host)
            .body(Body::empty())
            .unwrap();
        setup.send(request).await.0.as_u16()
    };
    for host in [
        "127.0.0.1:9900",
        "localhost",
        "LOCALHOST:9900",
        "weir.localhost",
        "[::1]:9900",
        "weir.internal:80",
    ] {
        assert_eq!(ask(host).await, 200, "{host}");
    }
    for host in [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:9900",
        "",
        "a:b:c",
    ] {
        assert_eq!(ask(host).await, 421, "{host}");
    }
    let request = Request::get("/api/v1/status").body(Body::empty()).unwrap();
    assert_eq!(setup.send(request).await.0.as_u16(), 421);
}

#[tokio::test]
async fn elsewhere_any_name_is_answered() {
    let setup = start_in(tempfile::tempdir().unwrap(), |options| {
        options.admin.bind = AdminBind::Tcp(([0, 0, 0, 0], 9900).into());
    })
    .await;
    let request = Request::get("/api/v1/status")
        .header("host", "weir.corp")
        .body(Body::empty())
        .unwrap();
    assert_eq!(setup.send(request).await.0, StatusCode::OK);
}

#[tokio::test]
async fn every_answer_keeps_a_browser_strict() {
    let setup = start().await;
    for path in [
        "/",
        "/assets/weir.js",
        "/assets/weir.css",
        "/api/v1/status",
        "/nowhere",
    ] {
        let request = Request::get(path)
            .header("host", "localhost")
            .body(Body::empty())
            .unwrap();
        let response = setup.app.clone().oneshot(request).await.unwrap();
        let headers = response.headers();
        let csp = headers["content-security-policy"].to_str().unwrap();
        assert!(
            csp.starts_with("default-src 'self';") && !csp.contains("unsafe"),
            "{path}: {csp}"
        );
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert!(
            !headers.contains_key("access-control-allow-origin"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_dashboard_holds_nothing_inline_and_nothing_from_elsewhere() {
    let setup = start().await;
    let request = Request::get("/")
        .header("host", "localhost")
        .body(Body::empty())
        .unwrap();
    let response = setup.app.clone().oneshot(request).await.unwrap();
    let page = response.into_body().collect().await.unwrap().to_bytes();
    let page = String::from_utf8(page.to_vec()).unwrap();
    assert!(page.contains("/assets/weir.js") && page.contains(env!("CARGO_PKG_VERSION")));
    for forbidden in [
        "<script>", "style=", "onclick=", "http://", "https://", "//cdn",
    ] {
        assert!(!page.contains(forbidden), "the page holds {forbidden}");
    }
    let script = include_str!("../../assets/weir.js");
    for forbidden in [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        ".style",
    ] {
        assert!(!script.contains(forbidden), "the script uses {forbidden}");
    }
}

#[tokio::test]
async fn an_unconfirmed_change_is_accepted_with_a_note() {
    let setup = start_in(tempfile::tempdir().unwrap(), |_| {}).await;
    let (status, body) = setup.set(r#"{"weights":{"canary":"25"}}"#).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(body["inForce"], false);
    assert!(
        body["warnings"][0]
            .as_str()
            .unwrap()
            .contains("has not confirmed"),
        "{body}"
    );
}

#[tokio::test]
async fn without_a_state_directory_nothing_can_be_changed() {
    let setup = start_in(tempfile::tempdir().unwrap(), |options| {
        options.state_dir = None
    })
    .await;
    let (status, body) = setup.set(r#"{"weights":{"canary":"25"}}"#).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
}

#[tokio::test]
async fn the_observed_share_counts_from_the_last_change() {
    let counts = Arc::new(std::sync::Mutex::new(BTreeMap::from([
        ("stable", 950_u64),
        ("canary", 50),
    ])));
    let asked = Arc::clone(&counts);
    let setup = start_in(tempfile::tempdir().unwrap(), move |options| {
        options.observed = Arc::new(move |_| {
            asked
                .lock()
                .unwrap()
                .iter()
                .map(|(version, n)| ((*version).to_owned(), *n))
                .collect()
        });
    })
    .await;
    apply_all(&setup.control);
    let observed = async || {
        let shown = setup.get("/api/v1/rollouts").await;
        let versions = &shown["rollouts"][0]["versions"];
        (
            versions[0]["observed"].clone(),
            versions[1]["observed"].clone(),
        )
    };
    assert_eq!(observed().await, (Value::Null, Value::Null));
    counts.lock().unwrap().insert("canary", 60);
    counts.lock().unwrap().insert("stable", 1040);
    assert_eq!(observed().await, (Value::from(10.0), Value::from(90.0)));
    setup.set(r#"{"weights":{"canary":"50"}}"#).await;
    assert_eq!(observed().await, (Value::Null, Value::Null));
    counts.lock().unwrap().insert("canary", 61);
    counts.lock().unwrap().insert("stable", 1041);
    assert_eq!(observed().await, (Value::from(50.0), Value::from(50.0)));
}

#[tokio::test]
async fn the_status_tells_generation_config_and_providers() {
    let setup = start().await;
    let followers = setup.control.followers();
    let reached = followers.wait(1, Duration::from_secs(5)).await;
    assert_eq!(reached, Ok(()));
    let status = setup.get("/api/v1/status").await;
    assert_eq!(status["apiVersion"], "weir/v1");
    assert_eq!(
        (&status["generation"], &status["appliedGeneration"]),
        (&Value::from(1), &Value::from(1))
    );
    assert_eq!(status["config"]["state"], "ok");
    assert_eq!(status["providers"][0]["name"], "file");
    assert_eq!(status["providers"][0]["state"], "up");
    assert_eq!(setup.get("/api/v1/config").await["generation"], 1);
    assert!(
        setup.get("/api/v1/discovery").await["containers"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let metrics = setup.control.metrics_text();
    for line in [
        "weir_config_generation 1",
        "weir_config_rejected_total 0",
        "weir_discovery_up{provider=\"file\"} 1",
        "weir_route_weight{service=\"shop\",version=\"canary\"} 5",
    ] {
        assert!(
            metrics.lines().any(|have| have == line),
            "{line} is not in\n{metrics}"
        );
    }
}

#[tokio::test]
async fn events_are_streamed_as_they_happen() {
    let setup = start().await;
    let request = Request::get("/api/v1/stream")
        .header("host", "localhost")
        .body(Body::empty())
        .unwrap();
    let response = setup.app.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    setup.set(r#"{"weights":{"canary":"25"}}"#).await;
    let mut text = String::new();
    let wanted = "set shop: canary 5% -> 25%, stable 95% -> 75% by api";
    let read = async {
        while !text.contains(wanted) {
            let frame = body.frame().await.unwrap().unwrap();
            text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(5), read)
        .await
        .expect("no event came");
    assert!(
        text.contains("event: weir\n") && text.contains("id: "),
        "{text}"
    );
}

#[tokio::test]
async fn a_data_planes_complaint_is_shown() {
    let setup = start_in(tempfile::tempdir().unwrap(), |_| {}).await;
    setup
        .control
        .applied(1, vec!["listener web: address in use".into()]);
    assert_eq!(
        setup.get("/api/v1/status").await["applyErrors"][0],
        "listener web: address in use"
    );
}

#[tokio::test]
async fn a_damaged_state_is_reported_and_does_not_stop_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::write(state.join("overrides.json"), "{\"format\":1,\"serv").unwrap();
    let setup = start_in(dir, |_| {}).await;
    assert_eq!(in_force(&setup.control), ["stable=95", "canary=5"]);
    let events = setup.get("/api/v1/events").await.to_string();
    assert!(events.contains("overrides.json.corrupt"), "{events}");
    assert!(Path::new(&state.join("overrides.json.corrupt")).exists());
}

/// What a data plane was asked.
type Asked = Arc<std::sync::Mutex<Vec<EndpointOperation>>>;

/// With a data plane that has one endpoint, `a:80`, and knows it to be the last one.
async fn with_endpoint() -> (Setup, Asked) {
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    let setup = start_in(tempfile::tempdir().unwrap(), |options| {
        options.operate = Arc::new(move |operation| {
            seen.lock().unwrap().push(operation.clone());
            if (operation.service.as_str(), operation.id.as_str()) != ("shop", "a/b:80") {
                return Err(EndpointRefused::Unknown("no such endpoint".into()));
            }
            if operation.action == types::EndpointAction::Eject && !operation.force {
                return Err(EndpointRefused::Harmful("it is the last one".into()));
            }
            Ok(EndpointOutcome {
                changed: operation.action != types::EndpointAction::Uneject,
                state: "draining".into(),
                reason: operation.by.clone(),
                since: std::time::UNIX_EPOCH,
                until: operation.time.map(|time| std::time::UNIX_EPOCH + time),
                available: false,
                in_flight: 3,
                left: 0,
                panic: false,
            })
        });
    })
    .await;
    (setup, asked)
}

const ENDPOINT: &str = "/api/v1/endpoints/shop/a%2Fb:80";

async fn operate(setup: &Setup, path: &str, body: &'static str) -> (u16, Value) {
    let request = setup.post(path).body(Body::from(body)).unwrap();
    let (status, reply) = setup.send(request).await;
    (status.as_u16(), reply)
}

async fn told(setup: &Setup, text: &str) -> bool {
    let events = setup.get("/api/v1/events").await;
    let events = events["events"].as_array().unwrap();
    events
        .iter()
        .any(|e| e["kind"] == "endpoint" && e["service"] == "shop" && e["text"] == text)
}

#[tokio::test]
async fn what_is_asked_of_an_endpoint_is_handed_on_and_recorded() {
    let (setup, asked) = with_endpoint().await;
    let body = r#"{"action":"drain","for":"10m","reason":"disk\nswap","by":"cli"}"#;
    let (status, reply) = operate(&setup, ENDPOINT, body).await;
    assert_eq!(status, 200, "{reply}");
    assert_eq!(reply["message"], "drain a/b:80 for 10m");
    assert_eq!(reply["state"], "draining");
    assert_eq!(reply["until"], "1970-01-01T00:10:00Z");
    assert_eq!(
        (&reply["inFlight"], &reply["changed"]),
        (&3.into(), &true.into())
    );
    let warning = reply["warnings"][0].as_str().unwrap();
    assert!(warning.contains("503"), "{warning}");
    let operation = asked.lock().unwrap().pop().unwrap();
    assert_eq!(operation.time, Some(Duration::from_secs(600)));
    assert_eq!(operation.by, "diskswap, by cli");
    assert!(told(&setup, "drain a/b:80 for 10m (diskswap) by cli").await);

    let (status, reply) = operate(&setup, ENDPOINT, r#"{"action":"uneject"}"#).await;
    assert_eq!((status, &reply["changed"]), (200, &false.into()));
    assert!(told(&setup, "uneject a/b:80: there was nothing to end by api").await);
}

#[tokio::test]
async fn what_makes_no_sense_of_an_endpoint_is_refused_with_the_reason() {
    let (setup, asked) = with_endpoint().await;
    for (path, body, expected, says) in [
        (ENDPOINT, r#"{"action":"eject"}"#, 409, "it is the last one"),
        (
            "/api/v1/endpoints/shop/b:80",
            r#"{"action":"drain"}"#,
            404,
            "no such endpoint",
        ),
        (ENDPOINT, r#"{"action":"stop"}"#, 400, "unknown variant"),
        (
            ENDPOINT,
            r#"{"action":"drain","fro":"1m"}"#,
            400,
            "unknown field",
        ),
        (ENDPOINT, "", 400, "send {"),
        (
            ENDPOINT,
            r#"{"action":"drain","for":"soon"}"#,
            422,
            "a duration such as",
        ),
        (
            ENDPOINT,
            r#"{"action":"drain","for":"0"}"#,
            422,
            "more than 0",
        ),
        (
            ENDPOINT,
            r#"{"action":"ready","for":"1m"}"#,
            422,
            "takes no time",
        ),
        (
            ENDPOINT,
            r#"{"action":"drain","force":true}"#,
            422,
            "takes no force",
        ),
    ] {
        let (status, reply) = operate(&setup, path, body).await;
        let message = reply["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(status, expected, "{path} {body}: {reply}");
        assert!(message.contains(says), "{path} {body}: {message}");
    }
    assert_eq!(
        asked.lock().unwrap().len(),
        2,
        "only what makes sense is handed on"
    );
    let refused = "eject a/b:80 was refused: it is the last one, asked by api";
    assert!(told(&setup, refused).await);
}

#[tokio::test]
async fn an_endpoint_is_taken_out_with_the_token_only() {
    let (setup, asked) = with_endpoint().await;
    let request = Request::post(ENDPOINT)
        .header("host", "127.0.0.1:9900")
        .header("content-type", "application/json")
        .body(Body::from(r#"{"action":"drain"}"#))
        .unwrap();
    assert_eq!(setup.send(request).await.0.as_u16(), 401);
    assert!(asked.lock().unwrap().is_empty());
    let (status, reply) = operate(&start().await, ENDPOINT, r#"{"action":"drain"}"#).await;
    assert_eq!(
        (status, &reply["error"]["code"]),
        (503, &"unavailable".into())
    );
}
