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

impl Setup {
    /// Whether that call may be made, and by which policy.
    async fn check(&self, question: &str) -> (bool, Value) {
        let path = format!("/api/v1/access/check?service=shop&{question}");
        let told = self.get(&path).await;
        (told["admitted"].as_bool().unwrap(), told["by"].clone())
    }
}

#[tokio::test]
async fn a_call_is_judged_as_the_services_sidecars_judge_it() {
    let rules = [
        ("ports: [8000], paths: [/port]", "/port"),
        ("hosts: [shop], paths: [/host]", "/host"),
        ("hosts: [other], paths: [/other]", "/other"),
    ];
    let rules: String = rules
        .iter()
        .enumerate()
        .map(|(at, (rule, _))| {
            format!("  - {{ name: rule-{at}, service: shop, action: deny, {rule} }}\n")
        })
        .collect();
    let text = format!(
        "services: [{{ name: shop, mesh: {{}}, endpoints: [{{ address: 127.0.0.1:8000 }}] }}]
mesh:
  authorization:
{rules}"
    );
    let setup = start_with(&text).await;
    for (question, by) in [
        // Neither port nor host has to be said: they are the service's own.
        ("path=/port", Some("rule-0")),
        ("path=/port&port=9000", None),
        ("path=/host", Some("rule-1")),
        ("path=/host&host=SHOP:8000", Some("rule-1")),
        ("path=/host&host=other", None),
        ("path=/other", None),
        ("path=/other&host=other:1", Some("rule-2")),
    ] {
        let (admitted, told) = setup
            .check(&format!("from=web&method=GET&{question}"))
            .await;
        assert_eq!((admitted, told.as_str()), (by.is_none(), by), "{question}");
    }
    let (admitted, by) = setup.check("method=GET&path=/").await;
    assert!(
        !admitted && by.is_null(),
        "a strict service takes nobody without an identity"
    );
}

#[tokio::test]
async fn a_health_check_is_judged_as_the_sidecars_admit_it() {
    let setup = start_with(LISTED).await;
    for (question, admitted) in [
        ("method=GET&path=/up", true),
        ("method=POST&path=/up", false),
        ("method=GET&path=/up/more", false),
        ("method=GET&path=/api", false),
    ] {
        let (may, by) = setup.check(&format!("from=bank&{question}")).await;
        assert_eq!(may, admitted, "{question}");
        assert_eq!(by == "mesh/health-check", admitted, "{question}");
    }
}

#[tokio::test]
async fn of_a_service_of_connections_nothing_is_known_of_what_they_carry() {
    let text = "
services: [{ name: shop, mesh: { protocol: tcp }, endpoints: [{ address: 127.0.0.1:5432 }] }]
mesh: { authorization: [{ name: reads, service: shop, action: allow, from: [web], methods: [GET] }] }
";
    let setup = start_with(text).await;
    assert!(!setup.check("from=web&method=GET").await.0);
}
