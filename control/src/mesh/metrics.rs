//! Metric families of the mesh.

use std::sync::atomic::Ordering::Relaxed;

use crate::control::Shared;
use crate::metrics::{family, line};

/// The family that [`crate::metrics`] began: the authority's certificates, under names that no file has.
pub(crate) fn not_after(shared: &Shared) -> Vec<(String, i64)> {
    let Some(mesh) = &shared.mesh else {
        return Vec::new();
    };
    let standing = mesh.authority.standing();
    let domain = mesh.authority.trust_domain();
    let roots = standing.roots.iter().map(|root| {
        let short = root.fingerprint.get(..8).unwrap_or_default();
        (format!("mesh {domain} root {short}"), root.not_after)
    });
    let signs = (format!("mesh {domain}"), standing.not_after);
    roots.chain([signs]).collect()
}

/// All families; nothing where there is no mesh.
pub(crate) fn text(shared: &Shared, out: &mut String) {
    const ISSUED: &str = "weir_mesh_certificates_issued_total";
    const REFUSED: &str = "weir_mesh_issue_refused_total";
    const ASKED: &str = "weir_mesh_trust_questions_total";
    const HOLDERS: &str = "weir_mesh_certificates";
    const UNWRITTEN: &str = "weir_mesh_certificates_unwritten";
    const AWAITED: &str = "weir_mesh_rotation_awaited";
    let Some(mesh) = &shared.mesh else {
        return;
    };
    family(
        out,
        ISSUED,
        "counter",
        "Certificates that were handed out to workloads.",
    );
    line(out, ISSUED, &[], mesh.issued.load(Relaxed));
    family(
        out,
        REFUSED,
        "counter",
        "Requests for a certificate that were refused.",
    );
    for (reason, count) in mesh.refused() {
        line(out, REFUSED, &[("reason", reason)], count);
    }
    family(
        out,
        ASKED,
        "counter",
        "Questions of workloads what is to be trusted.",
    );
    line(out, ASKED, &[], mesh.asked.load(Relaxed));
    let standing = mesh.authority.standing();
    family(
        out,
        HOLDERS,
        "gauge",
        "Certificates of workloads that hold now.",
    );
    line(out, HOLDERS, &[], standing.holders);
    family(
        out,
        UNWRITTEN,
        "gauge",
        "Certificates that were renewed and are not written down, because the disk takes nothing.",
    );
    line(out, UNWRITTEN, &[], standing.unwritten);
    family(
        out,
        AWAITED,
        "gauge",
        "Certificates that a rotation of the root waits for.",
    );
    line(out, AWAITED, &[], standing.awaited);
}
