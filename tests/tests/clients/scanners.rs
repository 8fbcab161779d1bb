//! sslyze and testssl.sh against the TLS listener: Mozilla's intermediate profile, and nothing to be said of it.

use std::process::Command;

use serde::Deserialize;
use weir_tests::{say, tools};

use crate::front::Front;

#[test]
fn sslyze_finds_mozillas_intermediate_profile() {
    let Some(python) = tools::python(&["sslyze"]) else {
        return;
    };
    let front = Front::start();
    let output = Command::new(python)
        .args([
            "-m",
            "sslyze",
            "--mozilla_config=intermediate",
            "--certinfo_ca_file",
        ])
        .arg(&front.ca)
        .arg(front.secure())
        .output()
        .expect("run sslyze");
    let text = String::from_utf8_lossy(&output.stdout);
    let (_, verdict) = text.split_once("COMPLIANCE AGAINST").unwrap_or(("", &text));
    assert!(
        output.status.success() && verdict.contains("OK - Compliant."),
        "{text}"
    );
}

/// One thing that testssl.sh looked at.
#[derive(Deserialize)]
struct Finding {
    id: String,
    severity: String,
    finding: String,
}

/// About the test's own authority, which nobody else trusts, and which revokes nothing.
const OF_THE_TEST: [&str; 6] = [
    "cert_chain_of_trust",
    "cert_revocation",
    "cert_crlDistributionPoints",
    "cert_ocspURL",
    "OCSP_stapling",
    "DNS_CAArecord",
];

#[test]
fn testssl_has_nothing_to_say() {
    let Some(program) = tools::find(
        "WEIR_TESTSSL",
        &["testssl", "testssl.sh"],
        "apt-get install testssl.sh",
    ) else {
        return;
    };
    let front = Front::start();
    let dir = tempfile::tempdir().expect("a directory");
    let report = dir.path().join("report.json");
    let output = Command::new(program)
        // Protocols, ciphers, forward secrecy, the certificate, the server's choices, vulnerabilities.
        .args([
            "--protocols",
            "--std",
            "--fs",
            "--server-defaults",
            "--vulnerable",
        ])
        .args([
            "--quiet",
            "--color",
            "0",
            "--warnings",
            "off",
            "--nodns",
            "none",
            "--ip",
            "127.0.0.1",
        ])
        .arg("--add-ca")
        .arg(&front.ca)
        .arg("--jsonfile")
        .arg(&report)
        .arg(front.secure())
        .output()
        .expect("run testssl");
    let said = String::from_utf8_lossy(&output.stdout);
    let json =
        std::fs::read_to_string(&report).unwrap_or_else(|e| panic!("no report ({e}): {said}"));
    let findings: Vec<Finding> = serde_json::from_str(&json).expect("a list of findings");
    let bad = |f: &&Finding| {
        matches!(
            f.severity.as_str(),
            "LOW" | "MEDIUM" | "HIGH" | "CRITICAL" | "FATAL"
        ) && !OF_THE_TEST.iter().any(|id| f.id.starts_with(id))
    };
    let words = |f: &Finding| format!("{} {}: {}", f.severity, f.id, f.finding);
    let bad: Vec<String> = findings.iter().filter(bad).map(words).collect();
    say(&format!(
        "testssl: {} findings, {} of them bad",
        findings.len(),
        bad.len()
    ));
    assert!(bad.is_empty(), "{bad:#?}");
    let good = |id: &str| findings.iter().any(|f| f.id == id && f.severity == "OK");
    assert!(
        good("TLS1_2") && good("TLS1_3"),
        "not both versions: {said}"
    );
    assert!(
        findings.len() > 40,
        "only {} findings: {said}",
        findings.len()
    );
}
