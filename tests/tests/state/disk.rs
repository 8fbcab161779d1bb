//! What happens to the disk under the state directory.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use weir_tests::config::Setup;
use weir_tests::origin::Origin;
use weir_tests::weir::{Weir, under};

use super::{cli, document, file, served_by};

#[test]
fn a_damaged_database_is_moved_aside_and_serving_goes_on() {
    let (app, blog) = (Origin::ok("app"), Origin::ok("blog"));
    let mut weir = Weir::start(&Setup::to(&app));
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "blog.yaml", &document("blog", &blog));
    cli(&weir, &["apply", path.to_str().unwrap()]).ends(0);
    let database = weir.state_dir().join("weir.redb");
    let bytes = std::fs::read(&database).unwrap();
    std::fs::write(&database, &bytes[..bytes.len() / 3]).unwrap();
    weir.restart();
    // The file's route, since the document is gone.
    assert_eq!(served_by(&weir, "blog.example").as_deref(), Some("app"));
    let said = weir.stderr();
    assert!(
        said.contains("weir.redb is damaged") && said.contains("weir.redb.corrupt"),
        "{said}"
    );
    let events = weir.json("/api/v1/events").to_string();
    assert!(events.contains("weir.redb is damaged"), "{events}");
    cli(&weir, &["apply", path.to_str().unwrap()]).ends(0);
    assert_eq!(served_by(&weir, "blog.example").as_deref(), Some("blog"));
}

#[test]
fn weights_of_an_earlier_version_are_taken_over_and_its_file_is_kept() {
    let (stable, canary) = (Origin::ok("stable"), Origin::ok("canary"));
    let setup = Setup::new()
        .service_with(
            "shop",
            &[("stable", stable.addr()), ("canary", canary.addr())],
            "versions: [{ name: stable, weight: 100 }, { name: canary, weight: 0 }]",
        )
        .route("shop", "backendRefs: [{ name: shop }]");
    let earlier = r#"{"format":1,"services":{"shop":{"weights":{"canary":"100","stable":"0"},"by":"cli","since_ms":1}}}"#;
    let mut weir = Weir::start_with(
        |ports| setup.render(ports),
        |command| {
            let state = state_dir(command);
            std::fs::create_dir_all(&state).unwrap();
            std::fs::write(state.join("overrides.json"), earlier).unwrap();
        },
    );
    assert_eq!(served_by(&weir, "a.example").as_deref(), Some("canary"));
    let old = weir.state_dir().join("overrides.json.old");
    assert_eq!(std::fs::read_to_string(old).unwrap(), earlier);
    weir.restart();
    assert_eq!(served_by(&weir, "a.example").as_deref(), Some("canary"));
}

/// Where a command that is about to start will keep its state.
fn state_dir(command: &Command) -> PathBuf {
    let mut envs = command.get_envs();
    let state = envs.find(|(key, _)| *key == "WEIR_STATE_DIR");
    state
        .and_then(|(_, value)| value)
        .expect("a state directory")
        .into()
}

#[test]
fn on_a_full_disk_a_change_is_refused_and_what_runs_goes_on() {
    if !rustix::process::geteuid().is_root() {
        assert!(!weir_tests::in_ci(), "a disk of its own wants root");
        weir_tests::say("LEFT OUT: a disk of its own wants root");
        return;
    }
    let (app, blog) = (Origin::ok("app"), Origin::ok("blog"));
    let setup = Setup::to(&app);
    let weir = Weir::start_with(
        |ports| setup.render(ports),
        |command| {
            let state = state_dir(command);
            std::fs::create_dir_all(&state).unwrap();
            let mount = "mount -t tmpfs -o size=8m,mode=0700 none \"$0\" && exec \"$@\"";
            let wrapper = ["unshare", "--mount", "sh", "-c", mount].map(Into::into);
            let wrapper = [&wrapper[..], &[state.into_os_string()]].concat();
            under(command, &wrapper);
        },
    );
    // The disk as the process sees it.
    let state = PathBuf::from(format!("/proc/{}/root", weir.pid()))
        .join(weir.state_dir().strip_prefix("/").unwrap());
    let token = state.join("admin.token");
    let apply = |path: &PathBuf| {
        let args = ["--token-file", token.to_str().unwrap(), "apply"];
        cli(&weir, &[&args[..], &[path.to_str().unwrap()]].concat())
    };
    let dir = tempfile::tempdir().unwrap();
    let small = file(dir.path(), "small.yaml", &document("blog", &blog));
    apply(&small).ends(0);
    let large = document("more", &app) + &format!("# {}\n", "x".repeat(900_000));
    let large = file(dir.path(), "large.yaml", &large);

    let fill = state.join("fill");
    let mut filler = std::fs::File::create(&fill).unwrap();
    while filler.write_all(&[0; 4096]).is_ok() {}
    drop(filler);
    let before = weir.generation();
    let said = apply(&large).ends(6);
    assert!(
        said.contains("nothing was changed")
            && said.contains("no room for")
            && said.contains("weir.redb"),
        "{said}"
    );
    assert_eq!(weir.generation(), before);
    assert_eq!(served_by(&weir, "blog.example").as_deref(), Some("blog"));
    assert_eq!(served_by(&weir, "more.example").as_deref(), Some("app"));

    std::fs::remove_file(&fill).unwrap();
    apply(&large).ends(0);
}
