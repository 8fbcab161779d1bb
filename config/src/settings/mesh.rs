//! The mesh: its names, its authority and how long certificates live.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::Diagnostic;
use crate::model::{HostPattern, ServiceName, TrustDomain};
use crate::raw;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Names in the control plane's certificate.
const MAX_NAMES: usize = 100;

/// The `mesh` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mesh {
    /// Default `weir.local`.
    pub trust_domain: TrustDomain,
    /// `None`: an authority is made in the state directory.
    pub ca: Option<MeshCa>,
    /// 1 minute to 90 days. Default 24 h.
    pub leaf_lifetime: Duration,
    /// DNS names in lower case and IP addresses of the control plane. Empty: this machine's name and those of loopback.
    pub names: Vec<String>,
    /// The service that a proxy in the same process is. Default `ingress`.
    pub edge: ServiceName,
}

/// An authority given as files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshCa {
    pub cert: PathBuf,
    pub key: PathBuf,
    /// `None`: the certificate is the root.
    pub root: Option<PathBuf>,
}

impl Default for Mesh {
    fn default() -> Self {
        Self {
            trust_domain: TrustDomain::default(),
            ca: None,
            leaf_lifetime: DAY,
            names: Vec::new(),
            edge: ServiceName::new("ingress").expect("a name that fits"),
        }
    }
}

/// Resolves the section; `None` with an error: a mesh with another trust domain than the one meant is worse than none.
pub(super) fn resolve(raw: &raw::Mesh, found: &mut Vec<Diagnostic>) -> Option<Mesh> {
    let before = found.len();
    let mut mesh = Mesh::default();
    if let Some(at) = &raw.trust_domain {
        match TrustDomain::new(&at.value) {
            Ok(domain) => mesh.trust_domain = domain,
            Err(invalid) => found.push(Diagnostic::error(&at.place, invalid.to_string())),
        }
    }
    mesh.ca = raw.ca.as_ref().and_then(|ca| resolve_ca(ca, found));
    if let Some(at) = &raw.leaf_lifetime {
        match (MINUTE..=90 * DAY).contains(&at.value) {
            true => mesh.leaf_lifetime = at.value,
            false => found.push(Diagnostic::error(
                &at.place,
                "leafLifetime is from 1m to 2160h (90 days)",
            )),
        }
    }
    mesh.names = resolve_names(raw, found);
    if let Some(at) = &raw.edge {
        match ServiceName::new(&at.value) {
            Ok(name) => mesh.edge = name,
            Err(invalid) => found.push(Diagnostic::error(&at.place, invalid.to_string())),
        }
    }
    let complaints = found[before..]
        .iter()
        .any(|d| d.severity == crate::Severity::Error);
    (!complaints && !raw.meta.broken).then_some(mesh)
}

fn resolve_ca(raw: &raw::MeshCa, found: &mut Vec<Diagnostic>) -> Option<MeshCa> {
    let (Some(cert), Some(key)) = (&raw.cert, &raw.key) else {
        if !raw.meta.broken {
            let help = "leave ca out for an authority that is made in the state directory";
            let message = "mesh.ca needs cert and key";
            found.push(Diagnostic::error(&raw.meta.place, message).help(help));
        }
        return None;
    };
    Some(MeshCa {
        cert: cert.value.clone(),
        key: key.value.clone(),
        root: raw.root.as_ref().map(|root| root.value.clone()),
    })
}

fn resolve_names(raw: &raw::Mesh, found: &mut Vec<Diagnostic>) -> Vec<String> {
    let Some(names) = &raw.names else {
        return Vec::new();
    };
    if names.is_empty() || names.len() > MAX_NAMES {
        let message = format!("mesh.names has 1 to {MAX_NAMES} entries");
        let help = "leave names out for this machine's name and those of loopback";
        found.push(Diagnostic::error(&raw.meta.place, message).help(help));
    }
    let mut all = Vec::new();
    for name in names {
        if let Ok(address) = name.value.parse::<IpAddr>() {
            all.push(address.to_string());
            continue;
        }
        match HostPattern::parse(&name.value) {
            Ok(Some(HostPattern::Exact(host))) => all.push(host.to_string()),
            Ok(_) => found.push(Diagnostic::error(
                &name.place,
                "a name of the control plane has no star",
            )),
            Err(invalid) => found.push(Diagnostic::error(&name.place, invalid.to_string())),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    /// The settings of a text, and what is said of it.
    fn read(text: &str) -> (Settings, String) {
        let loaded = crate::file::parse("weir.yaml".as_ref(), text);
        let said = loaded.diagnostics.iter().map(|d| d.message.as_str());
        let said = said.collect::<Vec<_>>().join("; ");
        (loaded.settings, said)
    }

    #[test]
    fn an_empty_section_is_a_mesh_with_defaults() {
        let (settings, said) = read("mesh: {}\n");
        assert_eq!(settings.mesh, Some(Mesh::default()));
        assert!(said.starts_with("mesh without control"), "{said}");
        assert_eq!(read("workers: 1\n").0.mesh, None);
    }

    #[test]
    fn everything_that_is_written_is_taken() {
        let text = "control: {}\nmesh:\n  trustDomain: prod.example\n  leafLifetime: 1m\n  names: [Control.example, '::1', 10.0.0.7]\n  \
                    ca: { cert: /c, key: /k, root: /r }\n";
        let (settings, said) = read(text);
        assert_eq!(said, "");
        let mesh = settings.mesh.unwrap();
        assert_eq!(mesh.trust_domain.as_str(), "prod.example");
        assert_eq!(mesh.leaf_lifetime, MINUTE);
        assert_eq!(mesh.names, ["control.example", "::1", "10.0.0.7"]);
        let ca = mesh.ca.unwrap();
        assert_eq!(
            (ca.cert, ca.key, ca.root),
            ("/c".into(), "/k".into(), Some("/r".into()))
        );
    }

    #[test]
    fn mistakes_are_named_and_leave_no_mesh() {
        for (section, part) in [
            ("{ trustDomain: Weir.local }", "lower case"),
            ("{ leafLifetime: 59s }", "from 1m"),
            ("{ leafLifetime: 2161h }", "90 days"),
            ("{ ca: { cert: /c } }", "cert and key"),
            ("{ names: [] }", "1 to 100"),
            ("{ names: ['*.example'] }", "no star"),
            ("{ trustdomain: a }", "trustdomain"),
        ] {
            let (settings, said) = read(&format!("mesh: {section}\n"));
            assert!(said.contains(part), "{section}: {said}");
            assert_eq!(settings.mesh, None, "{section}");
        }
    }

    #[test]
    fn with_a_mesh_the_control_plane_needs_neither_a_certificate_nor_nodes() {
        let (settings, said) = read("mesh: {}\ncontrol: { bind: 0.0.0.0:9902 }\n");
        assert_eq!(said, "");
        let control = settings.control.unwrap();
        assert!(control.tls.is_none() && control.nodes.is_empty());
        // The other way round in the file, and with a node that only an identity opens.
        let (settings, said) = read("control: { nodes: [{ name: edge }] }\nmesh: {}\n");
        assert_eq!(
            (settings.control.unwrap().nodes.len(), said.as_str()),
            (1, "")
        );
        let (settings, said) =
            read("control: { bind: 127.0.0.1:9902, insecure: true }\nmesh: {}\n");
        assert!(said.contains("exclude each other"), "{said}");
        assert_eq!(settings.control, None);
    }
}
