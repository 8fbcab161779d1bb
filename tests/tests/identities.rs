//! The mesh's authority through the binary: what a person types, what is on disk, and what a killed process leaves.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use weir_tests::weir::Weir;
use weir_tests::{binary, ports};

fn start() -> Weir {
    Weir::start_text(|at| {
        format!(
            "mesh: {{}}\ncontrol: {{ bind: \"{}\" }}\nadmin: {{ bind: \"{}\" }}\nlisteners: [{{ name: web, bind: \"{}\" }}]\n",
            ports::free(),
            at.admin,
            at.listen
        )
    })
}

fn text(output: &Output) -> String {
    let both = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn refused(output: &Output, code: i32, part: &str) {
    let text = text(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(part), "no {part:?} in {text}");
}

fn data(weir: &Weir, args: &[&str]) -> Value {
    let args = [args, &["-o", "json"]].concat();
    serde_json::from_str(&done(&weir.cli(&args))).expect("JSON")
}

#[test]
fn a_token_is_made_listed_and_revoked() {
    let weir = start();
    let made = done(&weir.cli(&["token", "create", "--service", "shop", "--ttl", "10m"]));
    let token = made.trim_end();
    assert_eq!(made.lines().count(), 1, "the token and nothing else");
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!((parts.len(), parts[0]), (4, "weir"), "{token}");
    let root = data(&weir, &["cert", "show"])["roots"][0]["fingerprint"]
        .as_str()
        .expect("a root")
        .to_owned();
    assert!(root.starts_with(parts[3]), "{token} names {root}");
    let list = done(&weir.cli(&["token", "list"]));
    assert!(list.contains(parts[1]) && list.contains("ready"), "{list}");
    assert!(!list.contains(parts[2]), "the secret is told once");
    done(&weir.cli(&["token", "revoke", parts[1]]));
    refused(
        &weir.cli(&["token", "revoke", parts[1]]),
        1,
        "weir token list",
    );
    assert!(done(&weir.cli(&["token", "list"])).contains("no tokens"));
    refused(
        &weir.cli(&["token", "create", "--service", "shop", "--ttl", "5s"]),
        6,
        "from 1m",
    );
    refused(
        &weir.cli(&["token", "create", "--service", "a:b"]),
        6,
        "cannot be in the mesh",
    );
    assert!(!weir.logs().contains(parts[2]), "the secret is not logged");
    let nobody = weir
        .cli_command(&["token", "create", "--service", "shop"])
        .env("WEIR_STATE_DIR", "/nowhere")
        .env("WEIR_TOKEN", "0123456789abcdef0123")
        .output()
        .expect("run it");
    refused(&nobody, 8, "");
}

#[test]
fn a_rotation_goes_forward_and_back_and_is_on_disk_at_each_step() {
    let mut weir = start();
    let phase = |weir: &Weir| {
        data(weir, &["cert", "show"])["rotation"]["phase"]
            .as_str()
            .expect("a phase")
            .to_owned()
    };
    let signer = |weir: &Weir| {
        let info = data(weir, &["cert", "show"]);
        let roots = info["roots"].as_array().expect("roots").clone();
        let signs = roots
            .iter()
            .find(|root| root["signs"] == true)
            .expect("one signs");
        (
            signs["fingerprint"].as_str().expect("a text").to_owned(),
            roots.len(),
        )
    };
    let (first, _) = signer(&weir);
    refused(
        &weir.cli(&["cert", "rotate", "abort"]),
        6,
        "weir cert rotate start",
    );
    done(&weir.cli(&["cert", "rotate", "start"]));
    refused(&weir.cli(&["cert", "rotate", "start"]), 6, "under way");
    weir.restart();
    assert_eq!(
        (phase(&weir).as_str(), signer(&weir)),
        ("spreading", (first.clone(), 2))
    );
    // Nobody holds a certificate, so nobody is waited for.
    done(&weir.cli(&["cert", "rotate", "next"]));
    weir.restart();
    let (second, trusted) = signer(&weir);
    assert_eq!((phase(&weir).as_str(), trusted), ("retiring", 2));
    assert_ne!(second, first);
    done(&weir.cli(&["cert", "rotate", "abort"]));
    assert_eq!(
        (phase(&weir).as_str(), signer(&weir)),
        ("retiring", (first.clone(), 2))
    );
    done(&weir.cli(&["cert", "rotate", "next"]));
    weir.restart();
    assert_eq!(
        (phase(&weir).as_str(), signer(&weir)),
        ("steady", (first, 1))
    );
    let pem = done(&weir.cli(&["cert", "show", "--pem"]));
    assert_eq!(pem.matches("BEGIN CERTIFICATE").count(), 1);
    assert!(!pem.contains("KEY"));
}

#[test]
fn keys_are_for_their_owner_alone_and_shown_to_nobody() {
    let weir = start();
    let dir = weir.state_dir().join("mesh");
    let mode = |path: &Path| {
        std::fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(&dir), 0o700);
    let mut key = None;
    for entry in std::fs::read_dir(&dir).expect("list it") {
        let path = entry.expect("an entry").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        key = Some(path)
            .filter(|path| path.extension().is_some_and(|end| end == "key"))
            .or(key);
    }
    let key = key.expect("a key");
    let secret = std::fs::read_to_string(&key).expect("read it");
    let secret = secret.lines().nth(1).expect("a line of it");
    for path in [
        "/api/v1/mesh/authority",
        "/api/v1/mesh/tokens",
        "/api/v1/config",
        "/metrics",
    ] {
        assert!(!weir.admin(path).text().contains(secret), "{path}");
    }
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("change it");
    let again = std::process::Command::new(binary::weir())
        .args(["run", "-c"])
        .arg(weir.config())
        .args(["--admin-listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"])
        .env("WEIR_STATE_DIR", copy(&weir, &dir))
        .output()
        .expect("run it");
    refused(&again, 1, "chmod 600");
}

/// What is in the mesh's directory in a state of its own: the running process keeps the rest.
fn copy(weir: &Weir, mesh: &Path) -> PathBuf {
    let state = weir.state_dir().with_extension("copy");
    std::fs::create_dir(&state).expect("a directory");
    let done = std::process::Command::new("cp")
        .arg("-a")
        .arg(mesh)
        .arg(&state)
        .status();
    assert!(done.expect("copy it").success());
    state
}
