//! An app that is started when its sidecar is ready, by it or beside it, and how both end.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use rustix::process::Signal;
use tempfile::TempDir;
use weir_tests::ports;
use weir_tests::wait::{SILENCE, eventually};

use crate::plane::{Member, Plane, Sidecar};

/// A plane, and a place for the app to say how it is.
struct Alone {
    plane: Plane,
    dir: TempDir,
}

impl Alone {
    fn new() -> Self {
        Self {
            plane: Plane::start(&[Member::new("web", ports::free())], "", ""),
            dir: tempfile::tempdir().expect("a directory"),
        }
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// A file that nobody may execute.
    fn data(&self) -> String {
        let path = self.file("data");
        fs::write(&path, "no program").expect("write");
        path
    }

    /// A sidecar that starts this.
    fn sidecar(&self, command: &[&str]) -> Sidecar {
        let more = [&["--wait", "--"], command].concat();
        self.plane.join("web", &self.plane.token("web"), &more)
    }

    /// The same for a script, which has begun.
    fn script(&self, script: &str) -> Sidecar {
        let begun = self.file("begun");
        let script = format!("{script}; echo $$ > {begun}; while :; do sleep 0.05; done");
        let sidecar = self.sidecar(&["sh", "-c", &script]);
        eventually("the app", || said(&begun).ends_with('\n').then_some(()));
        sidecar
    }
}

fn said(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn a_sidecar_ends_as_its_app_ended() {
    let alone = Alone::new();
    let data = alone.data();
    let cases: [(&[&str], i32); 6] = [
        (&["sh", "-c", "exit 0"], 0),
        (&["sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "kill -KILL $$"], 128 + 9),
        (&["sh", "-c", "kill -TERM $$"], 128 + 15),
        (&["/there/is/none"], 127),
        (&[&data], 126),
    ];
    for (command, code) in cases {
        let mut sidecar = alone.sidecar(command);
        let status = sidecar.weir.wait_exit();
        assert_eq!(
            status.code(),
            Some(code),
            "{command:?}: {}",
            sidecar.weir.logs()
        );
    }
}

#[test]
fn what_means_something_to_an_app_is_passed_on_to_it() {
    let alone = Alone::new();
    let heard = alone.file("heard");
    let mut sidecar = alone.script(&format!(
        "for name in HUP QUIT USR1 USR2 WINCH; do trap \"echo $name >> {heard}\" $name; done"
    ));
    for (signal, name) in [
        (Signal::HUP, "HUP"),
        (Signal::QUIT, "QUIT"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
        (Signal::WINCH, "WINCH"),
    ] {
        sidecar.weir.signal(signal);
        eventually(name, || {
            said(&heard).ends_with(&format!("{name}\n")).then_some(())
        });
    }
    assert_eq!(said(&heard).lines().count(), 5, "each of them once");
    sidecar.weir.signal(Signal::TERM);
    let status = sidecar.weir.wait_exit();
    assert_eq!(status.code(), Some(128 + 15), "{}", sidecar.weir.logs());
}

#[test]
fn an_app_that_does_not_end_is_killed_when_it_is_told_twice() {
    let alone = Alone::new();
    let mut sidecar = alone.script("trap '' TERM");
    let app = said(alone.file("begun")).trim().to_owned();
    sidecar.weir.signal(Signal::TERM);
    eventually("the first to be heard", || {
        let logs = sidecar.weir.stderr();
        logs.contains("the app is told to end").then_some(())
    });
    assert!(Path::new("/proc").join(&app).exists(), "it does not listen");
    sidecar.weir.signal(Signal::TERM);
    let status = sidecar.weir.wait_exit();
    assert_eq!(status.code(), Some(128 + 9), "{}", sidecar.weir.logs());
    assert!(!Path::new("/proc").join(&app).exists(), "an orphan");
}

#[test]
fn beside_another_process_it_waits_until_that_is_ready_and_becomes_the_app() {
    let mut alone = Alone::new();
    let token = alone.plane.token("web");
    alone.plane.kill();
    let mut sidecar = alone.plane.join("web", &token, &[]);
    let begun = alone.file("begun");
    let script = format!("echo $$ > {begun}; kill -KILL $$");
    let words = ["sidecar", "--wait", "--", "sh", "-c", &script];
    let mut app = sidecar.weir.cli_command(&words);
    let mut app = app.spawn().expect("start weir");
    std::thread::sleep(SILENCE);
    assert_eq!(said(&begun), "", "there is no sidecar yet");
    assert!(app.try_wait().expect("ask").is_none(), "it waits");
    alone.plane.resume();
    sidecar.ready();
    eventually("the app", || said(&begun).ends_with('\n').then_some(()));
    assert_eq!(
        said(&begun).trim(),
        app.id().to_string(),
        "the same process"
    );
    // By the signal itself: nobody stands between.
    assert_eq!(app.wait().expect("its end").signal(), Some(9));

    let data = alone.data();
    for (command, code) in [
        (&["sh", "-c", "exit 7"][..], 7),
        (&["/there/is/none"], 127),
        (&[&data], 126),
    ] {
        let words = [&["sidecar", "--wait", "--"], command].concat();
        let ended = sidecar.weir.cli_command(&words).output().expect("run weir");
        assert_eq!(ended.status.code(), Some(code), "{command:?}");
    }
}
