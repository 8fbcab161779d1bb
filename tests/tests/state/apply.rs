//! `weir apply`.

use std::net::TcpListener;

use weir_tests::config::Setup;
use weir_tests::origin::Origin;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

use super::{cli, document, entries, entry_of, file, served_by};

#[test]
fn a_document_serves_at_once_after_a_kill_and_until_it_is_removed() {
    let (app, blog) = (Origin::ok("app"), Origin::ok("blog"));
    let mut weir = Weir::start(&Setup::to(&app));
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "blog.yaml", &document("blog", &blog));
    let path = path.to_str().unwrap();

    let would = cli(&weir, &["apply", path, "--dry-run", "--exit-code"]).ends(4);
    assert!(would.contains("+ route blog"), "{would}");
    // The file's route takes every host.
    assert_eq!(served_by(&weir, "blog.example").as_deref(), Some("app"));

    let did = cli(&weir, &["apply", path, "--wait"]).ends(0);
    for part in [
        "applied blog (generation ",
        "+ service blog",
        "in force in 1 proxy",
    ] {
        assert!(did.contains(part), "no {part:?} in {did}");
    }
    assert_eq!(served_by(&weir, "blog.example").as_deref(), Some("blog"));
    let again = cli(&weir, &["apply", path, "--dry-run", "--exit-code"]).ends(0);
    assert!(again.contains("no difference"), "{again}");
    let list = cli(&weir, &["apply", "--list"]).ends(0);
    assert!(list.contains("blog") && list.contains("cli"), "{list}");

    weir.restart();
    assert_eq!(served_by(&weir, "blog.example").as_deref(), Some("blog"));
    let status = cli(&weir, &["status"]).ends(0);
    assert!(status.contains("1 document applied"), "{status}");

    cli(&weir, &["apply", "--remove", "blog"]).ends(0);
    assert_eq!(served_by(&weir, "blog.example").as_deref(), Some("app"));
    let unknown = cli(&weir, &["apply", "--remove", "blog"]).ends(1);
    assert!(
        unknown.contains("there is no applied document blog"),
        "{unknown}"
    );
    assert_eq!(entry_of(&weir, "remove blog")["author"], "cli");
}

#[test]
fn a_document_with_a_mistake_changes_nothing_and_shows_all_of_them() {
    let app = Origin::ok("app");
    let weir = Weir::start(&Setup::to(&app));
    let dir = tempfile::tempdir().unwrap();
    let before = weir.generation();
    let text = "services:\n  - { name: app }\n  - { name: x, tls: { validation: { hostname: a.example, caCertificates: [/etc/shadow] } } }\nroutes: [{ nam: y }]\n";
    let path = file(dir.path(), "bad.yaml", text);
    let said = cli(&weir, &["apply", path.to_str().unwrap()]).ends(3);
    for part in [
        "nothing was changed",
        "the service app is given twice",
        "/etc/shadow is a file of the machine",
        "unknown key \"nam\"",
        "did you mean \"name\"?",
        "document bad:",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    assert_eq!(weir.generation(), before);
    assert_eq!(served_by(&weir, "any.example").as_deref(), Some("app"));
}

#[test]
fn a_document_that_a_proxy_cannot_serve_is_told_to_who_waits() {
    let app = Origin::ok("app");
    let weir = Weir::start(&Setup::to(&app));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "listeners: [{{ name: more, bind: {} }}]\n",
        taken.local_addr().unwrap()
    );
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "more.yaml", &text);
    let said = cli(&weir, &["apply", path.to_str().unwrap(), "--wait=5s"]).ends(6);
    assert!(
        said.contains("embedded refused generation") && said.contains("listener more"),
        "{said}"
    );
}

#[test]
fn a_file_that_claims_what_a_document_holds_comes_first_and_that_is_reported() {
    let (app, old, new) = (Origin::ok("app"), Origin::ok("old"), Origin::ok("new"));
    let weir = Weir::start(&Setup::to(&app));
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "blog.yaml", &document("blog", &old));
    cli(&weir, &["apply", path.to_str().unwrap()]).ends(0);
    assert_eq!(served_by(&weir, "blog.example").as_deref(), Some("old"));
    let setup = Setup::to(&app)
        .service("blog", &[("stable", new.addr())])
        .rules(
            "own",
            "hostnames: [own.example]",
            &["backendRefs: [{ name: blog }]"],
        );
    weir.apply(&setup);
    assert_eq!(served_by(&weir, "own.example").as_deref(), Some("new"));
    let status = cli(&weir, &["status"]).ends(0);
    assert!(
        status.contains("the service blog is given twice"),
        "{status}"
    );
}

#[test]
fn without_the_token_nothing_is_applied() {
    let app = Origin::ok("app");
    let weir = Weir::start(&Setup::to(&app));
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "blog.yaml", &document("blog", &app));
    let token = file(dir.path(), "token", "not-the-token-of-this-weir");
    let token = token.to_str().unwrap();
    for args in [
        &["apply", path.to_str().unwrap()][..],
        &["rollback", "1"],
        &["rollback", "--clear"],
    ] {
        let args = [&["--token-file", token][..], args].concat();
        let said = cli(&weir, &args).ends(8);
        assert!(said.contains("not the token"), "{said}");
    }
    eventually("the first entry", || {
        (!entries(&weir).is_empty()).then_some(())
    });
    assert_eq!(entries(&weir).len(), 1);
}
