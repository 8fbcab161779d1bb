//! Who may follow: by an identity of the mesh, and by the `control.nodes` of the configuration.

use std::collections::BTreeSet;
use std::sync::Arc;

use weir_config::model::SpiffeId;
use weir_config::settings::{ControlNode, ControlServer};
use weir_xds::server::{Admitted, Gate, Offered, Refusal};

use crate::store::Token;

/// Bytes of a node's name; DNS names are no longer.
const MAX_NAME: usize = 253;

pub(super) struct Nodes {
    nodes: Arc<[(ControlNode, Option<Token>)]>,
    /// Whether there is a mesh: then connections without a certificate get this far too.
    mesh: bool,
    /// Whether certificates of nodes are believed.
    certificates: bool,
}

impl Nodes {
    pub(super) fn new(settings: &ControlServer, mesh: bool) -> Self {
        let nodes = settings.nodes.iter().cloned();
        let with_token = nodes.map(|node| {
            let token = node.token_sha256.map(Token::from_digest);
            (node, token)
        });
        Self {
            nodes: with_token.collect(),
            mesh,
            certificates: settings
                .tls
                .as_ref()
                .is_some_and(|tls| tls.client_ca.is_some()),
        }
    }

    /// A workload of the mesh. It is told nothing of listeners unless a node's entry says so: what belongs to its service does not
    /// stand there.
    fn admit_workload(&self, id: &SpiffeId, offered: &Offered<'_>) -> Result<Admitted, Refusal> {
        let service = id.service().ok_or_else(|| Refusal::NoService(id.clone()))?;
        // What it is told is what its identity is for.
        if let Some(sidecar) = offered.sidecar
            && sidecar.service != service.as_str()
        {
            return Err(Refusal::OtherService(id.clone(), sidecar.service.clone()));
        }
        let name = workload(service.as_str(), offered.node);
        let listed = self.nodes.iter().find(|(node, token)| {
            let shown = token
                .as_ref()
                .is_none_or(|token| offered.token.is_some_and(|shown| token.matches(shown)));
            shown && node.name.matches(&name)
        });
        Ok(Admitted {
            listeners: match listed {
                Some((node, _)) => node.listeners.clone(),
                None => Some(BTreeSet::new()),
            },
            sidecar: offered.sidecar.cloned(),
            service: Some(service.to_string()),
            name,
        })
    }

    /// Whether an entry without a token lets in who shows what was shown.
    fn is_proof(&self, offered: &Offered<'_>) -> bool {
        !self.mesh || (self.certificates && offered.certificate.is_some())
    }
}

impl Gate for Nodes {
    fn admit(&self, offered: &Offered<'_>) -> Result<Admitted, Refusal> {
        if let Some(id) = offered.identity {
            return self.admit_workload(id, offered);
        }
        let name = name(offered)?;
        let shows_nothing = offered.token.is_none() && offered.certificate.is_none();
        let mut refusal = match self.mesh && shows_nothing {
            true => Refusal::NoIdentity(name.clone()),
            false => Refusal::UnknownNode(name.clone()),
        };
        for (node, token) in self
            .nodes
            .iter()
            .filter(|(node, _)| node.name.matches(&name))
        {
            match (token, offered.token) {
                (Some(_), None) => refusal = Refusal::NoToken,
                (Some(token), Some(shown)) if !token.matches(shown) => {
                    refusal = Refusal::WrongToken(name.clone());
                }
                (None, _) if !self.is_proof(offered) => {
                    refusal = Refusal::NoIdentity(name.clone());
                }
                _ => {
                    return Ok(Admitted {
                        name,
                        listeners: node.listeners.clone(),
                        service: None,
                        sidecar: None,
                    });
                }
            }
        }
        Err(refusal)
    }
}

/// The name of a workload: always that of its service, with what it calls itself behind it. No service of a mesh has an `@` in its
/// name, so nobody takes the name of a workload of another one.
fn workload(service: &str, own: &str) -> String {
    let prefix = format!("{service}@");
    let fits = |text: &str| {
        !text.is_empty()
            && prefix.len() + text.len() <= MAX_NAME
            && !text.chars().any(char::is_control)
    };
    match own.strip_prefix(&prefix).unwrap_or(own) {
        own if own == service || !fits(own) => service.to_owned(),
        own => prefix + own,
    }
}

/// The name that a client is known by: its own, which its certificate must bear if it has one.
fn name(offered: &Offered<'_>) -> Result<String, Refusal> {
    let own = offered.node;
    let fits = own.len() <= MAX_NAME && !own.chars().any(char::is_control);
    let own = if fits { own } else { "" };
    match offered.certificate {
        None if own.is_empty() => Err(Refusal::NoName),
        None => Ok(own.to_owned()),
        Some(names) if own.is_empty() => names.first().cloned().ok_or(Refusal::NoName),
        Some(names) if names.iter().any(|name| bears(name, own)) => Ok(own.to_owned()),
        Some(_) => Err(Refusal::OtherName(own.to_owned())),
    }
}

/// Whether a certificate's name is a node's; a wildcard stands for one label (RFC 9525, section 6.3).
fn bears(certificate: &str, node: &str) -> bool {
    match certificate.strip_prefix("*.") {
        Some(rest) => node
            .split_once('.')
            .is_some_and(|(_, domain)| domain == rest),
        None => certificate == node,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name, those of its certificate, its token, and what becomes of it.
    type Case<'a> = (&'a str, Option<&'a [&'a str]>, Option<&'a str>, &'a str);

    /// The nodes of a configuration, and those who come.
    fn check(nodes: &str, cases: &[Case<'_>]) {
        let text =
            format!("control:\n  tls: {{ cert: c, key: k, clientCa: a }}\n  nodes: {nodes}\n");
        let settings = weir_config::file::parse("weir.yaml".as_ref(), &text).settings;
        let gate = Nodes::new(&settings.control.unwrap(), false);
        for (node, certificate, token, expected) in cases {
            let names: Option<Vec<String>> =
                certificate.map(|names| names.iter().map(ToString::to_string).collect());
            let offered = Offered {
                node,
                certificate: names.as_deref(),
                identity: None,
                sidecar: None,
                token: *token,
            };
            let got = match gate.admit(&offered) {
                Ok(admitted) => match admitted.listeners {
                    None => format!("{} all", admitted.name),
                    Some(listeners) => format!("{} {}", admitted.name, listeners.len()),
                },
                Err(refusal) => refusal.word().to_owned(),
            };
            assert_eq!(got, *expected, "{node} {certificate:?} {token:?}");
        }
    }

    #[test]
    fn a_node_is_who_its_certificate_says_it_is() {
        check(
            r#"[{ name: "edge-*", listeners: [web] }, { name: bank }]"#,
            &[
                ("edge-1", Some(&["edge-1"]), None, "edge-1 1"),
                ("", Some(&["edge-1", "other"]), None, "edge-1 1"),
                ("bank", Some(&["edge-1"]), None, "other_name"),
                ("bank", Some(&["cn", "bank"]), None, "bank all"),
                ("stranger", Some(&["stranger"]), None, "unknown_node"),
                ("", Some(&[]), None, "no_name"),
            ],
        );
    }

    #[test]
    fn a_token_is_asked_for_where_one_is_written_and_either_of_two_will_do() {
        // SHA-256 of "test" and of "new".
        let test = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        let new = "11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437";
        check(
            &format!(
                "[{{ name: edge, tokenSha256: {test} }}, {{ name: edge, tokenSha256: {new}, listeners: [web] }}]"
            ),
            &[
                ("edge", None, Some("test"), "edge all"),
                ("edge", None, Some("new"), "edge 1"),
                ("edge", None, Some("old"), "wrong_token"),
                ("edge", None, None, "no_token"),
                ("", None, Some("test"), "no_name"),
                ("e\ndge", None, Some("test"), "no_name"),
            ],
        );
    }

    #[test]
    fn a_wildcard_of_a_certificate_stands_for_one_label() {
        assert!(bears("*.edge.example", "a.edge.example"));
        assert!(!bears("*.edge.example", "a.b.edge.example"));
        assert!(!bears("*.edge.example", "edge.example"));
    }

    /// In a mesh: an identity, a name, names of a certificate, a token, and what becomes of it.
    type Joined<'a> = (
        Option<&'a str>,
        &'a str,
        Option<&'a [&'a str]>,
        Option<&'a str>,
        &'a str,
    );

    fn check_mesh(control: &str, cases: &[Joined<'_>]) {
        let text = format!("mesh: {{}}\ncontrol: {control}\n");
        let settings = weir_config::file::parse("weir.yaml".as_ref(), &text).settings;
        let gate = Nodes::new(&settings.control.unwrap(), true);
        for (id, node, certificate, token, expected) in cases {
            let names: Option<Vec<String>> =
                certificate.map(|names| names.iter().map(ToString::to_string).collect());
            let id = id.map(|id| SpiffeId::new(id).unwrap());
            let offered = Offered {
                sidecar: None,
                node,
                certificate: names.as_deref(),
                identity: id.as_ref(),
                token: *token,
            };
            let got = match gate.admit(&offered) {
                Ok(admitted) => format!(
                    "{} {} {}",
                    admitted.name,
                    admitted.service.as_deref().unwrap_or("-"),
                    admitted
                        .listeners
                        .map_or("all".to_owned(), |them| them.len().to_string())
                ),
                Err(refusal) => refusal.word().to_owned(),
            };
            assert_eq!(got, *expected, "{id:?} {node} {certificate:?} {token:?}");
        }
    }

    const SHOP: Option<&str> = Some("spiffe://weir.local/svc/shop");

    #[test]
    fn a_workload_is_known_by_its_service_whatever_it_calls_itself() {
        check_mesh(
            "{ bind: 127.0.0.1:0 }",
            &[
                (SHOP, "", None, None, "shop shop 0"),
                (SHOP, "shop", None, None, "shop shop 0"),
                (SHOP, "pod-1", None, None, "shop@pod-1 shop 0"),
                (SHOP, "shop@pod-1", None, None, "shop@pod-1 shop 0"),
                (SHOP, "bank", None, None, "shop@bank shop 0"),
                (SHOP, "a\nb", None, None, "shop shop 0"),
                (
                    Some("spiffe://weir.local/control"),
                    "x",
                    None,
                    None,
                    "no_service",
                ),
                (None, "shop", None, None, "no_identity"),
                (None, "shop", None, Some("test"), "unknown_node"),
            ],
        );
    }

    #[test]
    fn nodes_of_a_mesh_show_an_identity_a_token_or_a_certificate_of_another_authority() {
        // SHA-256 of "test".
        let test = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        let nodes = format!(
            "nodes: [{{ name: 'shop@*', listeners: [web] }}, {{ name: edge, tokenSha256: {test} }}, {{ name: old }}]"
        );
        let cases: &[Joined<'_>] = &[
            (SHOP, "pod-1", None, None, "shop@pod-1 shop 1"),
            (None, "shop@pod-1", None, None, "no_identity"),
            (None, "edge", None, Some("test"), "edge - all"),
            (None, "edge", None, Some("no"), "wrong_token"),
            (None, "old", None, None, "no_identity"),
            (None, "old", None, Some("test"), "no_identity"),
        ];
        check_mesh(&format!("{{ bind: 127.0.0.1:0, {nodes} }}"), cases);
        let tls = "tls: { cert: c, key: k, clientCa: a }";
        check_mesh(
            &format!("{{ {tls}, {nodes} }}"),
            &[
                (None, "old", Some(&["old"]), None, "old - all"),
                (None, "old", Some(&["edge"]), None, "other_name"),
                (None, "old", None, None, "no_identity"),
            ],
        );
    }
}
