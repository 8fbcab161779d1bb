//! Certificates: one line each, what expires first at the top.

use weir_control::api::types::{Cert, CertState, Certs};

use crate::output::{Cell, Printer, Table, Tone};

/// Names that a line shows; `get` shows all of them.
const NAMES: usize = 3;

/// One line per certificate.
pub(super) fn render(certs: &Certs, printer: Printer) -> String {
    let mut headings = vec![
        "CERTIFICATE",
        "HOSTNAMES",
        "LISTENER",
        "NOT AFTER",
        "DAYS LEFT",
        "STATE",
        "WHY",
    ];
    if printer.is_wide() {
        headings.extend(["SERVICE", "ISSUER", "SERIAL", "FINGERPRINT", "SOURCE"]);
    }
    let mut sorted: Vec<&Cert> = certs.certs.iter().collect();
    sorted.sort_by(|a, b| (a.days_left, &a.name).cmp(&(b.days_left, &b.name)));
    let mut table = Table::new(&headings);
    for cert in sorted {
        let mut row: Vec<Cell> = vec![
            cert.name.as_str().into(),
            names(&cert.names, printer.is_wide()).into(),
            cert.listeners.join(" ").into(),
            cert.not_after.get(..10).unwrap_or_default().into(),
            cert.days_left.to_string().into(),
            state(cert),
            cert.problem.clone().unwrap_or_default().into(),
        ];
        if printer.is_wide() {
            row.extend([
                cert.services.join(" ").into(),
                cert.issuer.as_str().into(),
                cert.serial.as_str().into(),
                cert.fingerprint.as_str().into(),
                cert.source.as_str().into(),
            ]);
        }
        table.row(row);
    }
    table.or_none(
        printer.color,
        "no certificates: give a listener protocol: https and tls, see docs/tls.md",
    )
}

fn names(names: &[String], all: bool) -> String {
    let shown = if all { names.len() } else { NAMES };
    let text = names
        .iter()
        .take(shown)
        .cloned()
        .collect::<Vec<_>>()
        .join(" ");
    match names.len().saturating_sub(shown) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

/// One whose files are bad now is no longer renewed, whatever its dates say.
fn state(cert: &Cert) -> Cell {
    match cert.state {
        CertState::Expired => Cell::toned("expired", Tone::Bad),
        CertState::NotYetValid => Cell::toned("not yet valid", Tone::Bad),
        CertState::Valid | CertState::Expiring if cert.problem.is_some() => {
            Cell::toned("kept", Tone::Warn)
        }
        CertState::Expiring => Cell::toned("expiring", Tone::Warn),
        CertState::Valid => Cell::toned("valid", Tone::Good),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;

    fn cert(name: &str, days_left: i64, state: CertState, problem: Option<&str>) -> Cert {
        Cert {
            name: name.into(),
            names: ["a", "b", "c", "d"].map(str::to_owned).to_vec(),
            listeners: vec!["websecure".into()],
            services: Vec::new(),
            not_before: "2026-01-01T00:00:00Z".into(),
            not_after: "2026-12-24T18:00:00Z".into(),
            days_left,
            state,
            problem: problem.map(str::to_owned),
            issuer: "CN=authority".into(),
            serial: "01".into(),
            fingerprint: "ab".into(),
            ocsp: false,
            source: "weir.yaml:6:25".into(),
        }
    }

    #[test]
    fn what_expires_first_is_at_the_top_and_what_is_not_renewed_says_why() {
        let certs = Certs {
            certs: vec![
                cert("/a.crt", 80, CertState::Valid, None),
                cert(
                    "/b.crt",
                    29,
                    CertState::Valid,
                    Some("/b.key: there is no such file"),
                ),
                cert("/c.crt", -1, CertState::Expired, None),
            ],
        };
        let printer = Printer {
            format: Format::Table,
            color: false,
            terminal: false,
        };
        let text = render(&certs, printer);
        let lines: Vec<&str> = text.lines().collect();
        for (line, parts) in [
            (1, ["/c.crt", "expired", "-1"]),
            (2, ["/b.crt", "kept", "/b.key: there is no such file"]),
            (3, ["/a.crt", "valid", "a b c and 1 more"]),
        ] {
            for part in parts {
                assert!(
                    lines[line].contains(part),
                    "no {part} in line {line} of\n{text}"
                );
            }
        }
        assert!(
            text.contains("2026-12-24") && !text.contains("CN=authority"),
            "{text}"
        );
    }
}
