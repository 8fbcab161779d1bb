//! Endpoints from names and from files, through the whole process.

mod dns;
mod files;
mod resolver;

use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

/// What `weir discovery` prints.
fn discovery(weir: &Weir) -> String {
    String::from_utf8_lossy(&weir.cli(&["discovery"]).stdout).into_owned()
}

/// Waits until it prints all of these on one line.
fn until_told(weir: &Weir, words: &[&str]) {
    eventually(&format!("{words:?} in weir discovery"), || {
        let told = discovery(weir);
        let line = told
            .lines()
            .any(|line| words.iter().all(|word| line.contains(word)));
        line.then_some(())
    });
}

/// Waits until that origin answers.
fn until_served_by(weir: &Weir, origin: &str) {
    eventually(&format!("an answer of {origin}"), || {
        let answer = weir.get("web.example", "/");
        (answer.status() == 200 && answer.get("x-origin") == Some(origin)).then_some(())
    });
}
