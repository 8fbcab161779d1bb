//! `weir history` and `weir diff` of generations.

use std::path::Path;

use weir_tests::config::Setup;
use weir_tests::origin::Origin;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

use super::{cli, entries, entry_of, number};

fn listing(origins: &[&Origin]) -> String {
    let list: Vec<String> = origins
        .iter()
        .map(|origin| format!("{{ address: {} }}", origin.addr()))
        .collect();
    format!("service: web\nendpoints: [{}]\n", list.join(", "))
}

fn replace(path: &Path, text: &str) {
    let aside = path.with_extension("new");
    std::fs::write(&aside, text).expect("write beside it");
    std::fs::rename(&aside, path).expect("rename over it");
}

#[test]
fn decisions_are_entries_and_endpoints_are_counted_under_them() {
    let (app, a, b) = (Origin::ok("app"), Origin::ok("a"), Origin::ok("b"));
    let dir = tempfile::tempdir().expect("a directory");
    let list = dir.path().join("web.yaml");
    replace(&list, &listing(&[&a]));
    let discovery = format!(
        "discovery: {{ files: {{ directory: \"{}\", hold: 100ms }} }}",
        dir.path().display()
    );
    let setup = |timeout: &str| {
        Setup::to(&app).top(&discovery).rules(
            "web",
            "hostnames: [web.example]",
            &[&format!(
                "backendRefs: [{{ name: web }}], timeouts: {{ request: {timeout} }}"
            )],
        )
    };
    let mut weir = Weir::start(&setup("15s"));
    let first = entry_of(&weir, "start");
    weir.apply(&setup("7s"));
    let second = entry_of(&weir, "file");

    replace(&list, &listing(&[&a, &b]));
    let counted = eventually("a change of endpoints", || {
        let newest = entries(&weir).into_iter().next()?;
        (newest["endpoints"]["count"].as_u64() >= Some(1)).then_some(newest)
    });
    assert_eq!(number(&counted), number(&second), "no entry of its own");

    let said = cli(&weir, &["history"]).ends(0);
    assert!(
        said.contains("route web changed (rules[0].timeouts.request: 15s -> 7s)"),
        "{said}"
    );
    let address = b.addr().to_string();
    assert!(!said.contains(&address), "{said}");
    let said = cli(&weir, &["history", "--endpoints"]).ends(0);
    assert!(
        said.contains(&format!("endpoint web/web@{address} added")),
        "{said}"
    );

    let (from, to) = (number(&first), number(&second));
    let said = cli(&weir, &["diff", &from, &to, "--exit-code"]).ends(4);
    assert_eq!(said, "~ route web (rules[0].timeouts.request: 15s -> 7s)\n");
    cli(&weir, &["diff", &to, &to, "--exit-code"]).ends(0);
    cli(&weir, &["diff", &from, "99999"]).ends(1);
    let said = cli(&weir, &["history", "get", &to]).ends(0);
    assert!(
        said.contains("by file") && said.contains("15s -> 7s"),
        "{said}"
    );
    let json = cli(&weir, &["history", "get", &from, "-o", "json"]).ends(0);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        json["config"]["routes"][1]["rules"][0]["timeouts"]["request"],
        "15s"
    );

    // A kill: numbers go on above all that were used, and what was decided is there.
    let last = weir.generation();
    weir.restart();
    let now = eventually("the generation of the new process", || {
        Some(weir.generation()).filter(|generation| *generation > 0)
    });
    assert!(now > last, "{now} after {last}");
    let kept: Vec<String> = entries(&weir).iter().map(number).collect();
    assert_eq!(kept, [to, from]);
}

#[test]
fn only_as_many_generations_are_kept_as_the_setting_says() {
    let app = Origin::ok("app");
    let setup = |timeout: u32| {
        let rule = format!("backendRefs: [{{ name: app }}], timeouts: {{ request: {timeout}s }}");
        Setup::new()
            .top("history: 3")
            .service("app", &[("stable", app.addr())])
            .route("app", &rule)
    };
    let weir = Weir::start(&setup(1));
    entry_of(&weir, "start");
    for timeout in 2..8 {
        weir.apply(&setup(timeout));
    }
    eventually("the last change in the history", || {
        let newest = entries(&weir).into_iter().next()?;
        newest["changes"]
            .to_string()
            .contains("6s -> 7s")
            .then_some(())
    });
    let kept = entries(&weir);
    assert_eq!(kept.len(), 3, "{kept:?}");
    let gone = cli(&weir, &["rollback", "1"]).ends(1);
    assert!(gone.contains("there is no generation 1"), "{gone}");
}
