//! httpwg: the tests of RFC 9113 that the HTTP working group's participants keep.

use std::process::Command;

use weir_tests::origin::Origin;
use weir_tests::weir::Weir;
use weir_tests::{say, tools};

/// How long it waits for a frame.
const PATIENCE_MS: &str = "5000";

#[test]
fn every_test_of_httpwg_passes_in_clear() {
    let hint = "cargo install httpwg-cli --locked --root target/tools";
    let Some(program) = tools::find("WEIR_HTTPWG", &["httpwg"], hint) else {
        return;
    };
    // It takes a request whole before it answers, and answers with a body: what some of the tests are about happens in between.
    let origin = Origin::start(|exchange| {
        exchange.body()?;
        exchange.reply(200, "", "a body of some length")
    });
    let weir = Weir::start_text(|ports| {
        format!(
            "admin: {{ bind: '{}' }}\nlisteners: [{{ name: web, bind: '{}' }}]\nservices: [{{ name: app, endpoints: [{{ address: '{}' }}] }}]\nroutes: [{{ name: app, rules: [{{ backendRefs: [{{ name: app }}] }}] }}]\n",
            ports.admin,
            ports.listen,
            origin.addr()
        )
    });
    let output = Command::new(program)
        .arg("--address")
        .arg(weir.addr().to_string())
        // It runs all of its tests at once, and its own quarter of a second is short for a machine that does other things.
        .args([
            "--connect-timeout",
            PATIENCE_MS,
            "--frame-timeout",
            PATIENCE_MS,
        ])
        .env("NO_COLOR", "1")
        .output()
        .expect("run httpwg");
    let text = [output.stdout, output.stderr].concat();
    let text = plain(&String::from_utf8_lossy(&text));
    let told = |line: &&str| line.contains("Test failed") || line.starts_with("   0: ");
    let failures: Vec<&str> = text.lines().filter(told).collect();
    let passed = text.lines().find(|line| line.contains("Passed"));
    say(passed.unwrap_or("httpwg printed no total"));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(output.status.success(), "{text}");
    let passed = passed.and_then(|line| line.split_once("Passed "));
    let count = passed.and_then(|(_, rest)| rest.split_once(' '));
    let (done, all) = count.and_then(|(c, _)| c.split_once('/')).expect("a total");
    assert_eq!(done, all);
    assert!(
        all.parse::<usize>().is_ok_and(|all| all >= 100),
        "{all} tests"
    );
}

/// Without the escapes that colour it.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('\x1b') {
        out.push_str(before);
        rest = behind.split_once('m').map_or("", |(_, after)| after);
    }
    out + rest
}
