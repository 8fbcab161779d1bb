//! Who is in the mesh, as it is shown.

use super::*;

/// One service of the mesh, with what else is said; as `weir mesh` has it.
async fn shown(own: &str, rules: &str, peers: Option<&str>) -> Value {
    let mut text = format!(
        "services: [{{ name: shop, mesh: {{ {own} }}, endpoints: [{{ address: 127.0.0.1:8000 }}] }}]
mesh: {{ authorization: [{rules}] }}
"
    );
    if let Some(mode) = peers {
        text += &format!(
            "---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{ name: all }}
spec: {{ mtls: {{ mode: {mode} }} }}
"
        );
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("weir.yaml"), text).unwrap();
    let with = |options: &mut ControlOptions| options.mesh = Some(Default::default());
    let setup = start_in(dir, with).await;
    let view = setup.get("/api/v1/mesh").await;
    view["services"][0].clone()
}

#[tokio::test]
async fn the_mode_is_the_one_in_force() {
    for (own, peers, mode) in [
        ("mode: permissive", None, "permissive"),
        ("mode: permissive", Some("STRICT"), "strict"),
        ("", Some("PERMISSIVE"), "permissive"),
        ("", Some("DISABLE"), "off"),
    ] {
        let shown = shown(own, "", peers).await;
        assert_eq!(shown["mode"], mode, "{own} {peers:?}");
    }
}

#[tokio::test]
async fn what_refuses_nobody_closes_nothing() {
    let rule = |name: &str, more: &str| format!("{{ name: {name}, service: shop, {more} }}");
    let audit = rule("watched", "action: audit, paths: [/]");
    let tried = rule("tried", "action: deny, from: [web], mode: log");
    let deny = rule("no-web", "action: deny, from: [web]");
    for (rules, enforced, policies) in [
        (String::new(), 0, 0),
        (format!("{audit}, {tried}"), 0, 2),
        (format!("{audit}, {deny}"), 1, 2),
    ] {
        let shown = shown("", &rules, None).await;
        assert_eq!(shown["enforced"], enforced, "{rules}");
        assert_eq!(shown["policies"], policies, "{rules}");
        assert_eq!(shown["open"], enforced == 0, "{rules}");
    }
}
