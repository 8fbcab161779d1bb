//! Endpoint files.

use std::path::Path;

use weir_tests::config::Setup;
use weir_tests::origin::Origin;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

use crate::{until_served_by, until_told};

fn replace(path: &Path, text: &str) {
    let aside = path.with_extension("new");
    std::fs::write(&aside, text).expect("write beside it");
    std::fs::rename(&aside, path).expect("rename over it");
}

fn listing(origin: &Origin) -> String {
    format!(
        "service: web\nendpoints: [{{ address: {} }}]\n",
        origin.addr()
    )
}

// semantics 38
#[test]
fn endpoints_follow_a_file_and_outlive_its_mistakes() {
    let (first, second) = (Origin::ok("first"), Origin::ok("second"));
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("web.yaml");
    replace(&path, &listing(&first));
    let setup = Setup::new()
        .top(&format!(
            "discovery: {{ files: {{ directory: \"{}\", hold: 500ms }} }}",
            dir.path().display()
        ))
        .route("web", "backendRefs: [{ name: web }]");
    let weir = Weir::start(&setup);
    until_served_by(&weir, "first");
    replace(&path, "service: web\nendpoints: [{ address: nowhere }]\n");
    until_told(
        &weir,
        &[
            "web.yaml",
            "the file is bad now and counts as it was before",
        ],
    );
    until_told(&weir, &["error", "web.yaml:2", "nowhere"]);
    assert_eq!(weir.get("web.example", "/").status(), 200);
    replace(&path, &listing(&second));
    until_told(&weir, &["web.yaml", &second.addr().to_string(), "listed"]);
    // The first one was not said to stop, so it is held for a while.
    until_served_by(&weir, "second");
    eventually("the end of the hold", || {
        let before = first.count();
        (0..6).for_each(|_| assert_eq!(weir.get("web.example", "/").status(), 200));
        (first.count() == before).then_some(())
    });
}
