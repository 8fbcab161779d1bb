//! `weir rollback`.

use weir_tests::config::Setup;
use weir_tests::origin::Origin;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

use super::{cli, document, entry_of, file, number, served_by};

#[test]
fn a_bad_document_and_weights_are_undone_by_going_back() {
    let (app, good, bad) = (Origin::ok("app"), Origin::ok("good"), Origin::ok("bad"));
    let weir = Weir::start(&Setup::to(&app));
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "blog.yaml", &document("blog", &good));
    cli(&weir, &["apply", path.to_str().unwrap()]).ends(0);
    let before = number(&entry_of(&weir, "apply blog"));
    file(dir.path(), "blog.yaml", &document("blog", &bad));
    cli(&weir, &["apply", path.to_str().unwrap()]).ends(0);
    eventually("the second document in the history", || {
        (number(&entry_of(&weir, "apply blog")) != before).then_some(())
    });
    assert_eq!(served_by(&weir, "blog.example").as_deref(), Some("bad"));

    let would = cli(&weir, &["rollback", &before, "--dry-run", "--exit-code"]).ends(4);
    assert!(would.contains(&good.addr().to_string()), "{would}");
    assert_eq!(served_by(&weir, "blog.example").as_deref(), Some("bad"));
    let did = cli(&weir, &["rollback", &before, "--wait"]).ends(0);
    assert!(did.contains("documents and weights as they were"), "{did}");
    assert_eq!(served_by(&weir, "blog.example").as_deref(), Some("good"));
    let status = cli(&weir, &["status"]).ends(0);
    assert!(!status.contains("PINNED"), "{status}");
    let entry = entry_of(&weir, &format!("rollback to {before}"));
    assert_eq!(entry["author"], "cli");
}

#[test]
fn a_bad_file_is_overruled_with_live_endpoints_until_that_is_cleared() {
    let (a, b) = (Origin::ok("a"), Origin::ok("b"));
    let dir = tempfile::tempdir().expect("a directory");
    let list = dir.path().join("web.yaml");
    let listing = |origin: &Origin| {
        let text = format!(
            "service: web\nendpoints: [{{ address: {} }}]\n",
            origin.addr()
        );
        std::fs::write(&list, text).expect("write the endpoints");
    };
    listing(&a);
    let discovery = format!(
        "discovery: {{ files: {{ directory: \"{}\", hold: 100ms }} }}",
        dir.path().display()
    );
    let setup = |host: &str| {
        let host = format!("hostnames: [{host}]");
        Setup::new()
            .top(&discovery)
            .rules("web", &host, &["backendRefs: [{ name: web }]"])
    };
    let mut weir = Weir::start(&setup("right.example"));
    eventually("the first endpoint", || served_by(&weir, "right.example"));
    let good = number(&entry_of(&weir, "start"));
    weir.apply(&setup("wrong.example"));
    entry_of(&weir, "file");
    assert_eq!(served_by(&weir, "right.example"), None);

    let did = cli(&weir, &["rollback", &good, "--wait"]).ends(0);
    assert!(did.contains("weir rollback --clear"), "{did}");
    assert_eq!(served_by(&weir, "right.example").as_deref(), Some("a"));
    let status = cli(&weir, &["status"]).ends(0);
    assert!(
        status.contains(&format!("PINNED to generation {good} by cli")),
        "{status}"
    );
    // Endpoints are those of now.
    listing(&b);
    eventually("the new endpoint", || {
        (served_by(&weir, "right.example").as_deref() == Some("b")).then_some(())
    });
    let path = file(dir.path(), "doc", &document("blog", &a));
    let said = cli(&weir, &["apply", path.to_str().unwrap()]).ends(6);
    assert!(said.contains("weir rollback --clear"), "{said}");

    weir.restart();
    eventually("the same after a kill", || {
        (served_by(&weir, "right.example").as_deref() == Some("b")).then_some(())
    });
    let did = cli(&weir, &["rollback", "--clear"]).ends(0);
    assert!(did.contains("back to the sources"), "{did}");
    assert_eq!(served_by(&weir, "wrong.example").as_deref(), Some("b"));
    assert_eq!(served_by(&weir, "right.example"), None);
    cli(&weir, &["rollback", "--clear"]).ends(1);
}
