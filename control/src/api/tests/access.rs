//! Who may call whom, as it is shown and answered.

use super::*;

/// A control plane over that file.
async fn start_with(text: &str) -> Setup {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("weir.yaml"), text).unwrap();
    start_in(dir, |_| {}).await
}

/// A service of the mesh whose callers are listed.
const LISTED: &str = "
services:
  - name: shop
    mesh: {}
    healthCheck: { http: { path: /up } }
    endpoints: [{ address: 127.0.0.1:8000 }]
mesh: { authorization: [{ name: web-alone, service: shop, action: allow, from: [web], paths: [/api] }] }
";

#[tokio::test]
async fn what_sidecars_admit_beside_the_rules_is_listed() {
    let setup = start_with(LISTED).await;
    let access = setup.get("/api/v1/access").await;
    let policies = access["policies"].as_array().unwrap();
    let names: Vec<&str> = policies
        .iter()
        .map(|policy| policy["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["web-alone", "mesh/health-check"]);
    let admitted = &policies[1];
    assert_eq!(admitted["service"], "shop");
    assert_eq!(
        admitted["rules"][0]["to"][0]["operation"]["methods"],
        serde_json::json!(["GET"])
    );
}
