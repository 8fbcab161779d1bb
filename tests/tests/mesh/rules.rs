//! The rules of `weir sidecar --init`, as the kernel has them.

use std::process::Output;

use weir_tests::binary;
use weir_tests::namespace::Namespace;

const TABLE: &str = "list table inet weir-sidecar";
const MANY: &[&str] = &[
    "--app",
    "127.0.0.1:8000",
    "--ports",
    "8000,9000",
    "--exclude-ports",
    "53,5432",
    "--exclude",
    "10.0.0.0/8,fd00::/9,192.168.1.7",
    "--user",
    "1337",
];

fn init(namespace: &Namespace, args: &[&str]) -> String {
    let mut command = namespace.command(binary::weir());
    command.args(["sidecar", "--init"]).args(args);
    said(command.output().expect("run weir sidecar --init"))
}

fn nft(namespace: &Namespace, args: &str) -> String {
    let mut command = namespace.command("nft");
    said(command.args(args.split(' ')).output().expect("run nft"))
}

fn said(output: Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn what_the_kernel_is_told_is_what_is_printed() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().display().to_string();
    for how in ["redirect", "tproxy"] {
        let args = [MANY, &["--interception", how]].concat();
        init(&namespace, &args);
        let told = nft(&namespace, TABLE);
        init(&namespace, &["--remove"]);
        assert_eq!(nft(&namespace, "list ruleset"), "", "{how}");
        let printed = init(&namespace, &[&args[..], &["--print"]].concat());
        std::fs::write(file.path(), &printed).expect("write the rules");
        nft(&namespace, &format!("-f {path}"));
        assert_eq!(nft(&namespace, TABLE), told, "{printed}");
        // Nothing of the other way stays behind.
        let other = ["redirect", "tproxy"].into_iter().find(|it| *it != how);
        init(&namespace, &["--interception", other.expect("the other")]);
        init(&namespace, &args);
        assert_eq!(nft(&namespace, TABLE), told, "after another");
    }
}

#[test]
fn dns_is_left_alone_unasked() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    init(&namespace, &["--app", "127.0.0.1:8000"]);
    let told = nft(&namespace, TABLE);
    let at = |part: &str| told.find(part).unwrap_or_else(|| panic!("{part}: {told}"));
    assert!(at("tcp dport 53 return") < at("redirect to :15001"));
}
