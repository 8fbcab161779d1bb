//! Where other processes follow the configuration, and which of them may.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::Diagnostic;
use crate::diagnostic::Place;
use crate::model::ListenerName;
use crate::raw;

/// Entries of one configuration.
const MAX_NODES: usize = 10_000;
/// Bytes of a node's name.
const MAX_NAME: usize = 253;

/// The server that proxies of their own follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlServer {
    /// Default 0.0.0.0:9902.
    pub bind: SocketAddr,
    /// `None`: with a mesh its authority certifies the server, else plain text on a loopback address only.
    pub tls: Option<ControlTls>,
    /// The first that fits decides. Empty only with a mesh: then nobody but its workloads may follow.
    pub nodes: Vec<ControlNode>,
}

/// TLS of that server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlTls {
    pub cert: PathBuf,
    pub key: PathBuf,
    /// With it a client needs a certificate. `None`: clients show tokens.
    pub client_ca: Option<PathBuf>,
}

/// Proxies that may follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlNode {
    pub name: NodePattern,
    /// The SHA-256 of the token that it must show. `None`: none is asked for.
    pub token_sha256: Option<[u8; 32]>,
    /// `None`: all.
    pub listeners: Option<BTreeSet<String>>,
}

/// A node's name, in which one star stands for any characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePattern(String);

impl NodePattern {
    /// The pattern of every name.
    #[must_use]
    pub fn any() -> Self {
        Self("*".to_owned())
    }

    /// Whether a name fits.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self.0.split_once('*') {
            None => self.0 == name,
            Some((start, end)) => {
                name.len() >= start.len() + end.len()
                    && name.starts_with(start)
                    && name.ends_with(end)
            }
        }
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let fits = |c: char| c.is_ascii_graphic();
        if text.is_empty() || text.len() > MAX_NAME || !text.chars().all(fits) {
            return Err("a node's name has 1 to 253 visible ASCII characters");
        }
        if text.matches('*').count() > 1 {
            return Err("a node's name holds at most one star");
        }
        Ok(Self(text.to_owned()))
    }
}

/// Resolves the section; `None` with an error: a server that checks nobody by mistake is worse than none.
pub(super) fn resolve(
    raw: &raw::Control,
    mesh: bool,
    found: &mut Vec<Diagnostic>,
) -> Option<ControlServer> {
    let before = found.len();
    let default = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9902));
    let bind = raw.bind.as_ref().map_or(default, |bind| bind.value);
    let insecure = raw.insecure.as_ref().filter(|insecure| insecure.value);
    let tls = raw.tls.as_ref().and_then(|tls| resolve_tls(tls, found));
    if let Some(insecure) = insecure {
        check_insecure(raw, bind, mesh, &insecure.place, found);
    } else if raw.tls.is_none() && !mesh {
        let message = "control has no tls: keys and configuration would be sent in plain text to whoever asks";
        let help = "give tls.cert and tls.key, and tls.clientCa or nodes with tokenSha256; to try it on this machine: bind: 127.0.0.1:9902 and insecure: true";
        found.push(Diagnostic::error(&raw.meta.place, message).help(help));
    }
    let asks = insecure.is_some() || tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    let nodes = resolve_nodes(raw, Proof { asks, mesh }, found);
    let complaints = found[before..]
        .iter()
        .any(|d| d.severity == crate::Severity::Error);
    (!complaints && !raw.meta.broken).then_some(ControlServer { bind, tls, nodes })
}

fn check_insecure(
    raw: &raw::Control,
    bind: SocketAddr,
    mesh: bool,
    place: &Place,
    found: &mut Vec<Diagnostic>,
) {
    if !bind.ip().to_canonical().is_loopback() {
        let message = format!("insecure is for loopback addresses, not {bind}");
        let help = "bind 127.0.0.1:9902, or give tls";
        found.push(Diagnostic::error(place, message).help(help));
    }
    if mesh {
        let message =
            "insecure and mesh exclude each other: certificates are given out over TLS only";
        let help = "remove insecure; the mesh's authority certifies the control plane by itself";
        found.push(Diagnostic::error(place, message).help(help));
    }
    if raw.tls.is_some() {
        let message = "insecure and tls exclude each other";
        found.push(Diagnostic::error(place, message).help("remove one of them"));
    }
}

fn resolve_tls(raw: &raw::ControlTls, found: &mut Vec<Diagnostic>) -> Option<ControlTls> {
    let (Some(cert), Some(key)) = (&raw.cert, &raw.key) else {
        if !raw.meta.broken {
            let message = "control.tls needs cert and key";
            found.push(Diagnostic::error(&raw.meta.place, message));
        }
        return None;
    };
    Some(ControlTls {
        cert: cert.value.clone(),
        key: key.value.clone(),
        client_ca: raw.client_ca.as_ref().map(|ca| ca.value.clone()),
    })
}

/// How clients may prove who they are.
#[derive(Clone, Copy)]
struct Proof {
    /// By something else than a token, or they need not.
    asks: bool,
    /// By an identity of the mesh.
    mesh: bool,
}

fn resolve_nodes(
    raw: &raw::Control,
    proof: Proof,
    found: &mut Vec<Diagnostic>,
) -> Vec<ControlNode> {
    let Some(nodes) = &raw.nodes else {
        if proof.mesh && !proof.asks {
            return Vec::new();
        }
        if !proof.asks && raw.tls.is_some() {
            let message = "nobody could follow: there is no tls.clientCa, and no node with a token";
            let help = "give tls.clientCa for certificates, or nodes with tokenSha256";
            found.push(Diagnostic::error(&raw.meta.place, message).help(help));
        }
        return vec![ControlNode {
            name: NodePattern::any(),
            token_sha256: None,
            listeners: None,
        }];
    };
    if nodes.len() > MAX_NODES {
        let message = format!("control.nodes has at most {MAX_NODES} entries; use patterns");
        found.push(Diagnostic::error(&raw.meta.place, message));
        return Vec::new();
    }
    let all: Vec<ControlNode> = nodes
        .iter()
        .filter_map(|node| resolve_node(node, proof, found))
        .collect();
    if nodes.is_empty() && !proof.mesh {
        let message = "control.nodes is empty: nobody could follow";
        let help = "list those who may, or leave nodes out";
        found.push(Diagnostic::error(&raw.meta.place, message).help(help));
    }
    all
}

fn resolve_node(
    raw: &raw::ControlNode,
    proof: Proof,
    found: &mut Vec<Diagnostic>,
) -> Option<ControlNode> {
    let place = &raw.meta.place;
    let Some(name) = &raw.name else {
        if !raw.meta.broken {
            found.push(Diagnostic::error(place, "a node needs a name"));
        }
        return None;
    };
    let pattern = NodePattern::parse(&name.value)
        .map_err(|why| found.push(Diagnostic::error(&name.place, why)))
        .ok();
    let token = match &raw.token_sha256 {
        Some(token) => match digest(&token.value) {
            Some(digest) => Some(digest),
            None => {
                let message = "tokenSha256 is 64 hexadecimal digits";
                let help =
                    "printf %s TOKEN | sha256sum prints them; the token itself is not written here";
                found.push(Diagnostic::error(&token.place, message).help(help));
                return None;
            }
        },
        None if proof.asks || proof.mesh => None,
        None => {
            let message = format!(
                "node {} has no tokenSha256, and there is no tls.clientCa",
                name.value
            );
            let help = "give it one, or ask for certificates with tls.clientCa";
            found.push(Diagnostic::error(place, message).help(help));
            return None;
        }
    };
    let listeners = raw.listeners.as_ref().map(|names| {
        if names.is_empty() {
            let message = "a node without any listener would be told nothing";
            let help = "leave listeners out for all of them";
            found.push(Diagnostic::error(place, message).help(help));
        }
        for name in names {
            if let Err(invalid) = ListenerName::new(&name.value) {
                found.push(Diagnostic::error(&name.place, invalid.to_string()));
            }
        }
        names.iter().map(|name| name.value.clone()).collect()
    });
    Some(ControlNode {
        name: pattern?,
        token_sha256: token,
        listeners,
    })
}

fn digest(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut out = [0; 32];
    for (byte, at) in out.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_in_a_nodes_name_stands_for_any_characters() {
        for (pattern, name, fits) in [
            ("edge-1", "edge-1", true),
            ("edge-1", "edge-10", false),
            ("edge-*", "edge-10", true),
            ("edge-*", "edge-", true),
            ("edge-*", "bank-1", false),
            ("*.eu", "a.eu", true),
            ("a*a", "a", false),
            ("*", "anything", true),
        ] {
            let read = NodePattern::parse(pattern).unwrap();
            assert_eq!(read.matches(name), fits, "{pattern} {name}");
        }
        for bad in ["", "a b", "a*b*", "ä"] {
            assert!(NodePattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_digest_is_64_hexadecimal_digits() {
        assert_eq!(digest(&"0f".repeat(32)), Some([15; 32]));
        for bad in [
            "",
            "0f",
            &"0g".repeat(32),
            &"+1".repeat(32),
            &"é".repeat(32),
        ] {
            assert_eq!(digest(bad), None, "{bad}");
        }
    }
}
