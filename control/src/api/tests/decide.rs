//! Documents, going back and the history, as the API has them.

use super::*;

const DOCUMENT: &str = "
services: [{ name: blog, endpoints: [{ address: 127.0.0.1:9005 }] }]
routes: [{ name: blog, hostnames: [blog.example.com], rules: [{ backendRefs: [{ name: blog }] }] }]
";

impl Setup {
    async fn decide(&self, path: &str, body: Value) -> (StatusCode, Value) {
        let body = Body::from(body.to_string());
        self.send(self.post(path).body(body).unwrap()).await
    }

    async fn apply(&self, name: &str, text: &str) -> (StatusCode, Value) {
        let path = format!("/api/v1/documents/{name}");
        self.decide(&path, serde_json::json!({ "text": text }))
            .await
    }

    /// Everything in the history, the newest first, once there are that many entries.
    async fn history(&self, entries: usize) -> Vec<Value> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let list = self.get("/api/v1/generations").await;
            let list = list["generations"].as_array().unwrap().clone();
            if list.len() >= entries {
                return list;
            }
            assert!(tokio::time::Instant::now() < deadline, "{list:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn routes(&self) -> Vec<String> {
        let model = Arc::clone(&self.control.models().borrow().model);
        model.routes.iter().map(|r| r.name.to_string()).collect()
    }
}

#[tokio::test]
async fn a_document_is_in_force_beside_the_file_until_it_is_removed() {
    let setup = start().await;
    let (status, body) = setup.apply("blog", DOCUMENT).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["message"], "applied blog");
    assert_eq!(setup.routes(), ["blog", "shop"]);
    let list = setup.get("/api/v1/documents").await;
    assert_eq!(list["documents"][0]["name"], "blog");
    assert!(!list.to_string().contains("9005"), "the text is not shown");
    assert_eq!(setup.get("/api/v1/status").await["documents"], 1);
    let (status, _) = setup
        .decide("/api/v1/documents/blog/remove", serde_json::json!({}))
        .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(setup.routes(), ["shop"]);
    let (status, body) = setup
        .decide("/api/v1/documents/blog/remove", serde_json::json!({}))
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
}

#[tokio::test]
async fn nothing_is_changed_by_a_document_with_an_error_and_all_of_them_are_told() {
    let setup = start().await;
    let before = setup.control.models().borrow().generation;
    let text = "routes: [{ nam: x }]\nservices: [{ name: shop }]\nadmin: {}\n";
    let (status, body) = setup.apply("bad", text).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(body["error"]["code"], "invalid_configuration");
    let rendered = body["error"]["rendered"].as_str().unwrap();
    for part in [
        "document bad:1:",
        "unknown key \"nam\"",
        "the service shop is given twice",
        "admin is a setting of the process",
    ] {
        assert!(rendered.contains(part), "no {part:?} in {rendered}");
    }
    assert_eq!(setup.control.models().borrow().generation, before);
    assert_eq!(setup.get("/api/v1/status").await["documents"], 0);
}

#[tokio::test]
async fn a_dry_run_tells_the_difference_and_makes_none() {
    let setup = start().await;
    let before = setup.control.models().borrow().generation;
    let body = serde_json::json!({ "text": DOCUMENT, "dryRun": true });
    let (status, body) = setup.decide("/api/v1/documents/blog", body).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["dryRun"], true);
    let changes = body["changes"].to_string();
    assert!(changes.contains("blog"), "{changes}");
    assert_eq!(setup.control.models().borrow().generation, before);
    assert_eq!(setup.routes(), ["shop"]);
}

#[tokio::test]
async fn only_with_the_token_and_from_no_foreign_page() {
    let setup = start().await;
    for path in [
        "/api/v1/documents/x",
        "/api/v1/documents/x/remove",
        "/api/v1/rollback",
        "/api/v1/rollback/clear",
    ] {
        let bare = || {
            Request::post(path)
                .header("host", "127.0.0.1:9900")
                .header("content-type", "application/json")
        };
        let request = bare().body(Body::from("{}")).unwrap();
        assert_eq!(setup.send(request).await.0, StatusCode::UNAUTHORIZED);
        let request = bare()
            .header("authorization", "Bearer not-the-token-of-this-server")
            .body(Body::from("{}"))
            .unwrap();
        assert_eq!(setup.send(request).await.0, StatusCode::UNAUTHORIZED);
        let request = setup
            .post(path)
            .header("origin", "http://evil.example")
            .body(Body::from("{}"))
            .unwrap();
        assert_eq!(setup.send(request).await.0, StatusCode::FORBIDDEN, "{path}");
    }
}

#[tokio::test]
async fn documents_have_plain_names_and_a_bounded_size() {
    let setup = start().await;
    for name in ["a%20b", "..%2fx", "caf%C3%A9", &"x".repeat(300)] {
        let (status, body) = setup.apply(name, DOCUMENT).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{name}: {body}");
    }
    let (status, _) = setup.apply("big", &"#".repeat(1024 * 1024 + 1)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let (status, _) = setup.apply("huge", &"#".repeat(9 * 1024 * 1024)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    for n in 0..100 {
        let (status, body) = setup.apply(&format!("d{n}"), "services: []").await;
        assert_eq!(status, StatusCode::OK, "{n}: {body}");
    }
    let (status, body) = setup.apply("one-more", "services: []").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(body.to_string().contains("at most 100"), "{body}");
}

#[tokio::test]
async fn the_history_says_who_changed_what() {
    let setup = start().await;
    setup
        .set(r#"{"weights":{"canary":"25"},"by":"anna"}"#)
        .await;
    setup.apply("blog", DOCUMENT).await;
    let history = setup.history(3).await;
    let of = |at: usize, key: &str| history[at][key].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        (of(0, "source"), of(0, "author")),
        ("apply blog".into(), "api".into())
    );
    assert_eq!(
        (of(1, "source"), of(1, "author")),
        ("canary set".into(), "anna".into())
    );
    assert_eq!(of(2, "source"), "start");
    let weights = history[1]["changes"].to_string();
    assert!(weights.contains("weight: 5 -> 25"), "{weights}");
    let number = history[0]["generation"].as_u64().unwrap();
    let detail = setup.get(&format!("/api/v1/generations/{number}")).await;
    let routes = detail["config"]["routes"].as_array().unwrap().len();
    assert_eq!(routes, 2);
}

#[tokio::test]
async fn going_back_restores_documents_and_weights_without_holding_on_to_anything() {
    let setup = start().await;
    setup.apply("blog", DOCUMENT).await;
    let good = setup.history(2).await[0]["generation"].clone();
    setup.set(r#"{"weights":{"canary":"50"}}"#).await;
    setup.apply("blog", "services: [{ name: blog }]").await;
    setup.history(4).await;
    assert_eq!(setup.routes(), ["shop"]);
    let body = serde_json::json!({ "generation": good });
    let (status, body) = setup.decide("/api/v1/rollback", body).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(setup.routes(), ["blog", "shop"]);
    let splits = setup.get("/api/v1/rollouts").await["rollouts"].clone();
    let shop = splits
        .as_array()
        .unwrap()
        .iter()
        .find(|s| s["service"] == "shop");
    assert!(shop.unwrap()["override"].is_null(), "{splits}");
    assert!(setup.get("/api/v1/status").await["pinned"].is_null());
    let newest = &setup.history(5).await[0];
    assert_eq!(newest["source"], format!("rollback to {good}"));
    let (status, body) = setup
        .decide("/api/v1/rollback/clear", serde_json::json!({}))
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
}

#[tokio::test]
async fn what_a_file_said_is_laid_over_it_until_that_is_cleared() {
    let setup = start().await;
    let first = setup.history(1).await[0]["generation"].clone();
    let file = setup.dir.path().join("weir.yaml");
    let renamed = CONFIG.replace("- name: shop\n    rules", "- name: changed\n    rules");
    assert_ne!(renamed, CONFIG);
    std::fs::write(&file, renamed).unwrap();
    setup.history(2).await;
    assert_eq!(setup.routes(), ["changed"]);
    let body = serde_json::json!({ "generation": first });
    let (status, body) = setup.decide("/api/v1/rollback", body).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(setup.routes(), ["shop"]);
    let pinned = setup.get("/api/v1/status").await["pinned"].clone();
    assert_eq!(pinned["generation"], first);
    let (status, body) = setup.apply("blog", DOCUMENT).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(body.to_string().contains("rollback --clear"), "{body}");

    setup.control.stop();
    let again = start_in(setup.dir, |_| {}).await;
    assert_eq!(again.routes(), ["shop"], "also after a restart");
    let (status, _) = again
        .decide("/api/v1/rollback/clear", serde_json::json!({}))
        .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(again.routes(), ["changed"]);
}

#[tokio::test]
async fn numbers_rise_over_a_restart_and_the_history_stays() {
    let setup = start().await;
    setup.apply("blog", DOCUMENT).await;
    let before = setup.history(2).await;
    let last = setup.control.models().borrow().generation;
    setup.control.hand_over().await;
    setup.control.stop();
    let again = start_in(setup.dir, |_| {}).await;
    assert_eq!(again.control.models().borrow().generation, last + 1);
    assert_eq!(again.routes(), ["blog", "shop"]);
    // Nothing is different, so the start is no entry.
    again.set(r#"{"weights":{"canary":"25"}}"#).await;
    let after = again.history(3).await;
    assert_eq!(after[0]["source"], "canary set");
    assert_eq!(after[1..], before[..]);
}

#[tokio::test]
async fn what_nobody_recorded_cannot_be_gone_back_to() {
    let setup = start().await;
    setup.history(1).await;
    let body = serde_json::json!({ "generation": 77 });
    let (status, body) = setup.decide("/api/v1/rollback", body).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body.to_string().contains("the newest are: 1"), "{body}");
}

#[tokio::test]
async fn who_waits_is_told_who_is_behind() {
    let setup = start_in(tempfile::tempdir().unwrap(), |_| {}).await;
    let following = setup.get("/api/v1/generations/1/followers").await;
    assert_eq!(following["inForce"], false);
    assert_eq!(following["behind"][0]["name"], "embedded");
    setup.control.applied(1, Vec::new());
    let following = setup.get("/api/v1/generations/1/followers?wait=5").await;
    assert_eq!(following["inForce"], true);
    setup
        .control
        .applied(2, vec!["listener web: in use".into()]);
    let following = setup.get("/api/v1/generations/2/followers").await;
    assert_eq!(following["refused"][0]["reason"], "listener web: in use");
}

#[tokio::test]
async fn a_document_takes_nothing_from_one_that_holds_it() {
    let setup = start().await;
    setup.apply("blog", DOCUMENT).await;
    // In the order of names it would come first.
    let (status, body) = setup.apply("another", DOCUMENT).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    let rendered = body["error"]["rendered"].as_str().unwrap();
    assert!(
        rendered.contains("the service blog is given twice"),
        "{rendered}"
    );
    assert_eq!(setup.get("/api/v1/status").await["documents"], 1);
}
