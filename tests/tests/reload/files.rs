//! Files that are wrong, and files that are replaced.

use weir_tests::config::Setup;
use weir_tests::origin::Origin;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

// semantics 38
#[test]
fn a_file_that_does_not_parse_changes_nothing_and_says_so_everywhere() {
    let origin = Origin::ok("app");
    let setup = Setup::to(&origin);
    let weir = Weir::start(&setup);
    let generation = weir.generation();
    let mut client = weir.client();
    assert_eq!(client.get("a.example", "/").status(), 200);
    weir.rewrite_text("listeners: [ { name: web, bind: ");
    eventually("the rejected configuration in the metrics", || {
        (weir.metric("weir_config_rejected_total", &[]) >= 1.0).then_some(())
    });
    assert_eq!(
        client.get("a.example", "/").status(),
        200,
        "the old one serves on, on the same connection"
    );
    assert_eq!(weir.generation(), generation, "no new generation");
    eventually("a message", || {
        weir.stderr().contains("weir.yaml").then_some(())
    });
    let status = weir.cli(&["status"]);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&status.stdout),
        String::from_utf8_lossy(&status.stderr)
    );
    assert!(
        text.contains("weir.yaml"),
        "weir status says what is wrong and where: {text}"
    );
    weir.apply(&setup.rules(
        "extra",
        "hostnames: [b.example]",
        &["backendRefs: [{ name: app }]"],
    ));
    assert_eq!(
        client.get("b.example", "/").status(),
        200,
        "and the next good file is taken"
    );
}

// semantics 38
#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let origin = Origin::ok("app");
    let setup = Setup::to(&origin);
    let weir = Weir::start(&setup);
    let typo = setup
        .render(weir.ports())
        .replace("backendRefs", "backendRef");
    weir.rewrite_text(&typo);
    eventually("the rejected configuration in the metrics", || {
        (weir.metric("weir_config_rejected_total", &[]) >= 1.0).then_some(())
    });
    assert_eq!(weir.get("a.example", "/").status(), 200);
    let check = std::process::Command::new(weir_tests::binary::weir())
        .arg("check")
        .arg(weir.config())
        .output()
        .expect("weir check");
    let said = String::from_utf8_lossy(&check.stdout).into_owned()
        + &String::from_utf8_lossy(&check.stderr);
    assert_eq!(check.status.code(), Some(3), "{said}");
    assert!(
        said.contains("backendRefs") && said.contains("weir.yaml"),
        "{said}"
    );
}

#[test]
fn a_file_replaced_by_writing_or_by_renaming_or_behind_a_link_is_noticed() {
    let origin = Origin::ok("app");
    let setup = Setup::to(&origin);
    let weir = Weir::start(&setup);
    let route = |host: &str| {
        setup.clone().rules(
            "extra",
            &format!("hostnames: [{host}]"),
            &["filters: [{ type: DirectResponse, directResponse: { status: 299 } }]"],
        )
    };
    let seen = |host: &str| {
        eventually(&format!("the route for {host}"), || {
            (weir.get(host, "/").status() == 299).then_some(())
        })
    };
    std::fs::write(weir.config(), route("written.example").render(weir.ports()))
        .expect("write in place");
    seen("written.example");
    weir.rewrite(&route("renamed.example"));
    seen("renamed.example");
    // As a mounted ConfigMap or secret changes: the name is a link to a file elsewhere.
    let elsewhere = tempfile::tempdir().expect("a directory");
    let target = elsewhere.path().join("data.yaml");
    std::fs::write(&target, route("linked.example").render(weir.ports())).expect("write elsewhere");
    let link = weir.config().with_extension("link");
    std::os::unix::fs::symlink(&target, &link).expect("a link");
    std::fs::rename(&link, weir.config()).expect("put the link in place");
    seen("linked.example");
}
