//! `weir mesh`: who may call whom, by the command line.

use weir_tests::config::Setup;
use weir_tests::origin::Origin;
use weir_tests::weir::Weir;

use super::{cli, entries, entry_of};

fn weir() -> (Weir, Origin) {
    let app = Origin::ok("app");
    let setup = Setup::to(&app)
        .service("web", &[("stable", app.addr())])
        .top("mesh: { trustDomain: prod.example }");
    (Weir::start(&setup), app)
}

/// Whether the caller may, and what is said of it.
fn check(weir: &Weir, args: &[&str], may: bool) -> String {
    let all = [&["mesh", "check"], args].concat();
    cli(weir, &all).ends(if may { 0 } else { 6 })
}

#[test]
fn a_rule_is_in_force_recorded_and_kept_until_it_is_taken_back() {
    let (mut weir, _app) = weir();
    let get = ["web", "app", "--method", "GET", "--path", "/api/x"];
    let open = check(&weir, &get, true);
    assert!(open.contains("no policy in force"), "{open}");

    let did = cli(
        &weir,
        &[
            "mesh",
            "allow",
            "web",
            "app",
            "--methods",
            "GET",
            "--path",
            "/api",
            "--wait",
        ],
    );
    let did = did.ends(0);
    assert!(
        did.contains("applied mesh.allow-web-app (generation "),
        "{did}"
    );
    assert!(did.contains("+ access app"), "{did}");
    assert_eq!(entry_of(&weir, "apply mesh.allow-web-app")["author"], "cli");

    let yes = check(&weir, &get, true);
    for part in [
        "the policy allow-web-app admits it",
        "identity  spiffe://prod.example/svc/web",
        "path      /api/x",
    ] {
        assert!(yes.contains(part), "no {part:?} in {yes}");
    }
    let post = check(
        &weir,
        &["web", "app", "--method", "POST", "--path", "/api"],
        false,
    );
    assert!(post.contains("method POST is not GET"), "{post}");
    let trick = ["web", "app", "--method", "GET", "--path", "/api/../admin"];
    let trick = check(&weir, &trick, false);
    assert!(trick.contains("path /admin is not /api/**"), "{trick}");
    let stranger = check(
        &weir,
        &["", "app", "--method", "GET", "--path", "/api"],
        false,
    );
    assert!(stranger.contains("there is no identity"), "{stranger}");
    let other = "spiffe://other.example/svc/web";
    check(
        &weir,
        &[other, "app", "--method", "GET", "--path", "/api"],
        false,
    );
    check(&weir, &["web", "web", "--method", "GET"], true);

    // A second rule for the same two stands beside the first.
    cli(&weir, &["mesh", "allow", "web", "app", "--path", "/more"]).ends(0);
    check(&weir, &get, true);
    cli(&weir, &["mesh", "deny", "*", "*", "--path", "/api/x"]).ends(0);
    let denied = check(&weir, &get, false);
    assert!(
        denied.contains("the policy deny-any-any refuses it"),
        "{denied}"
    );

    weir.restart();
    check(&weir, &get, false);
    let list = cli(&weir, &["mesh", "list"]).ends(0);
    for part in [
        "allow-web-app",
        "allow-web-app-2",
        "deny-any-any",
        "service app",
        "every service",
    ] {
        assert!(list.contains(part), "no {part:?} in {list}");
    }
    assert_eq!(list.matches("deny-any-any").count(), 1, "{list}");

    cli(&weir, &["mesh", "remove", "deny-any-any"]).ends(0);
    check(&weir, &get, true);
    let removed = &entries(&weir)[0];
    assert_eq!(removed["source"], "remove mesh.deny-any-any");
    let unknown = cli(&weir, &["mesh", "remove", "nothing"]).ends(1);
    assert!(
        unknown.contains("allow-web-app, allow-web-app-2"),
        "{unknown}"
    );
}

#[test]
fn a_rule_that_makes_no_sense_changes_nothing() {
    let (weir, _app) = weir();
    let before = weir.generation();
    for args in [
        &["mesh", "allow", "a@b", "app"] as &[&str],
        &["mesh", "deny", "web", "app", "--path", "/a/../b"],
        &["mesh", "deny", "web", "app", "--methods", "get"],
        &["mesh", "deny", "https://web", "app"],
    ] {
        let said = cli(&weir, args).ends(3);
        assert!(said.contains("nothing was changed"), "{said}");
    }
    cli(&weir, &["mesh", "allow", "web", "app", "--dry-run"]).ends(0);
    assert_eq!(weir.generation(), before);
    // A path that no request can have is none to ask about.
    let said = cli(
        &weir,
        &[
            "mesh", "check", "web", "app", "--method", "GET", "--path", "/a%2fb",
        ],
    );
    assert!(said.ends(6).contains("400"));
}

#[test]
fn a_rule_of_a_file_is_shown_and_left_to_the_file() {
    let app = Origin::ok("app");
    let setup = Setup::to(&app)
        .top(
            "mesh: { authorization: [{ name: written, service: app, action: deny, from: [web] }] }",
        )
        .listener("authorization: [{ name: door, action: deny, paths: [/admin] }]");
    let weir = Weir::start(&setup);
    let list = cli(&weir, &["mesh", "list", "-o", "wide"]).ends(0);
    assert!(
        list.contains("written") && list.contains("listener web"),
        "{list}"
    );
    let said = cli(&weir, &["mesh", "remove", "written"]).ends(6);
    assert!(said.contains("weir.yaml"), "{said}");
    check(&weir, &["web", "app", "--method", "GET"], false);
    let door = ["web", "--listener", "web", "--method", "GET", "--path"];
    check(&weir, &[&door[..], &["/"]].concat(), true);
    let shut = check(&weir, &[&door[..], &["/ADMIN;x/y"]].concat(), false);
    assert!(shut.contains("the policy door refuses it"), "{shut}");
    // And that is what a request gets.
    assert_eq!(weir.get("a.example", "/ADMIN;x/y").status(), 403);
    assert_eq!(weir.get("a.example", "/").status(), 200);
}

#[test]
fn an_applied_document_says_who_may_call_and_not_whose_mesh_it_is() {
    let (weir, _app) = weir();
    let dir = tempfile::tempdir().unwrap();
    let policy = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: viewer }\nspec: { selector: { matchLabels: { app: app } }, rules: [{ from: [{ source: { principals: [prod.example/svc/web] } }] }] }\n";
    let path = super::file(dir.path(), "istio.yaml", policy);
    cli(&weir, &["apply", path.to_str().unwrap()]).ends(0);
    check(&weir, &["web", "app", "--method", "GET"], true);
    check(&weir, &["shop", "app", "--method", "GET"], false);
    let said = cli(&weir, &["mesh", "remove", "viewer"]).ends(6);
    assert!(said.contains("weir apply --remove istio"), "{said}");
    let path = super::file(
        dir.path(),
        "mine.yaml",
        "mesh: { trustDomain: evil.example }\n",
    );
    let said = cli(&weir, &["apply", path.to_str().unwrap()]).ends(3);
    assert!(
        said.contains("mesh.trustDomain is a setting of the process"),
        "{said}"
    );
}
