//! Who may call: rules that admit and rules that refuse, after Istio's `AuthorizationPolicy`.
//!
//! What a rule leaves out, it does not ask for. The order of anything here never matters: a DENY that fits refuses
//! whatever else fits, and once there is an ALLOW, one must fit.

use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;

use super::{Invalid, PolicyName, ServiceName, Source, TrustDomain};

/// Who may call what is behind a listener. Without any policy: everybody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Authorization {
    /// In the order of names.
    pub policies: Vec<AccessPolicy>,
    /// What rules mean by the port that is called. `None`: the one that the listener is bound to.
    pub port: Option<u16>,
}

/// Some rules, and what it means that one of them fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessPolicy {
    pub name: PolicyName,
    pub action: AccessAction,
    /// The decision is made and counted, and never enforced.
    pub log_only: bool,
    /// One must fit. None at all: none does.
    pub rules: Vec<AccessRule>,
    pub source: Source,
}

/// What follows when a rule of a policy fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccessAction {
    /// Refused, whatever else fits.
    Deny,
    /// Admitted, if no DENY fits. What no ALLOW fits is refused, once there is one.
    Allow,
    /// It is counted.
    Audit,
}

impl AccessAction {
    /// As Istio writes it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Deny => "DENY",
            Self::Allow => "ALLOW",
            Self::Audit => "AUDIT",
        }
    }
}

/// Who, what and when: all three must fit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccessRule {
    /// One must fit; none at all: everybody.
    pub from: Vec<AccessSource>,
    /// One must fit; none at all: everything.
    pub to: Vec<AccessOperation>,
    /// Each must fit.
    pub when: Vec<AccessCondition>,
}

/// What is wanted of one attribute: one of `only`, if there are any, and none of `never`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Among<T> {
    pub only: Vec<T>,
    pub never: Vec<T>,
}

impl<T> Default for Among<T> {
    fn default() -> Self {
        Self {
            only: Vec::new(),
            never: Vec::new(),
        }
    }
}

impl<T> Among<T> {
    /// Whether nothing is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.only.is_empty() && self.never.is_empty()
    }
}

/// Who calls. Each attribute must fit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccessSource {
    /// SPIFFE ids, whole. `*` is everybody who has one.
    pub principals: Among<Pattern>,
    /// Who is connected.
    pub peers: Among<IpNet>,
    /// For whom: what trusted hops say, else who is connected.
    pub clients: Among<IpNet>,
}

/// What is called. Each attribute must fit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccessOperation {
    /// Names of listeners.
    pub listeners: Among<Pattern>,
    /// In lower case, without a port.
    pub hosts: Among<Pattern>,
    pub methods: Among<Pattern>,
    /// Of the path in its canonical form, before any rewrite.
    pub paths: Among<Pattern>,
    pub ports: Among<u16>,
}

/// What else must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessCondition {
    /// A header field, its name in lower case.
    Header {
        name: Arc<str>,
        values: Among<Pattern>,
    },
    Principal(Among<Pattern>),
    Peer(Among<IpNet>),
    Client(Among<IpNet>),
    Port(Among<u16>),
    /// The name that a client of TLS asked for.
    ServerName(Among<Pattern>),
}

/// A text with at most one star, at its start or its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// `*`: any text but none.
    Any,
    Exact(Arc<str>),
    /// `text*`
    Prefix(Arc<str>),
    /// `*text`
    Suffix(Arc<str>),
    /// A path and all below it, segment by segment: `/api` is `/api` and `/api/x`, and not `/apix`.
    Under(Arc<str>),
}

impl Pattern {
    /// Reads a text as Istio does: `*`, `text*`, `*text` or the text itself.
    ///
    /// # Errors
    /// [`Invalid`] for an empty text, and for a star in another place: it would be taken for itself.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let plain = |text: &str| match text {
            "" => Err(Invalid("an empty text fits nothing".into())),
            text if text.contains('*') => Err(Invalid(format!(
                "a star stands at the start or at the end, and once; {text:?} has another"
            ))),
            text => Ok(Arc::from(text)),
        };
        if text == "*" {
            return Ok(Self::Any);
        }
        if let Some(text) = text.strip_prefix('*') {
            return plain(text).map(Self::Suffix);
        }
        match text.strip_suffix('*') {
            Some(text) => plain(text).map(Self::Prefix),
            None => plain(text).map(Self::Exact),
        }
    }

    /// A path and all below it.
    ///
    /// # Errors
    /// [`Invalid`] for what is no path.
    pub fn under(path: &str) -> Result<Self, Invalid> {
        if !path.starts_with('/') || path.contains('*') {
            return Err(Invalid(format!(
                "{path:?} is no path: it starts with / and has no star"
            )));
        }
        Ok(Self::Under(Arc::from(path.trim_end_matches('/'))))
    }

    /// The same with its text changed.
    #[must_use]
    pub fn map(&self, change: impl FnOnce(&str) -> String) -> Self {
        match self {
            Self::Any => Self::Any,
            Self::Exact(text) => Self::Exact(change(text).into()),
            Self::Prefix(text) => Self::Prefix(change(text).into()),
            Self::Suffix(text) => Self::Suffix(change(text).into()),
            Self::Under(text) => Self::Under(change(text).into()),
        }
    }
}

/// As it is written; what is [`Pattern::Under`] a path as `PATH/**`.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(text) => f.write_str(text),
            Self::Prefix(text) => write!(f, "{text}*"),
            Self::Suffix(text) => write!(f, "*{text}"),
            Self::Under(text) => write!(f, "{text}/**"),
        }
    }
}

impl Authorization {
    /// The policies, in the order of their names.
    #[must_use]
    pub fn new(mut policies: Vec<AccessPolicy>) -> Self {
        policies.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            policies,
            port: None,
        }
    }
}

impl AccessPolicy {
    /// What is in force in the place of a policy that cannot be read whole: an ALLOW that admits nobody, or a DENY that
    /// refuses everybody.
    #[must_use]
    pub fn closed(name: PolicyName, action: AccessAction, source: Source) -> Self {
        let rules = match action {
            AccessAction::Deny => vec![AccessRule::default()],
            AccessAction::Allow | AccessAction::Audit => Vec::new(),
        };
        Self {
            name,
            action,
            log_only: false,
            rules,
            source,
        }
    }
}

/// What a service of the mesh asks of those who connect to it (Istio, `PeerAuthentication`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PeerMode {
    /// Mesh TLS, and nothing else.
    Strict,
    /// Mesh TLS or plain text.
    #[default]
    Permissive,
    /// Plain text.
    Off,
}

impl PeerMode {
    /// As a configuration of Weir writes it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Permissive => "permissive",
            Self::Off => "off",
        }
    }
}

/// What policies say of one service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceAccess {
    /// `None`: no policy is about the service, and everybody may call it.
    pub authorization: Option<Arc<Authorization>>,
    /// `None`: nothing is said, and the mesh's default holds.
    pub peers: Option<PeerMode>,
    /// Of single ports, in their order; one that is not here is as `peers` says.
    pub port_peers: Vec<(u16, PeerMode)>,
}

impl ServiceAccess {
    /// What is asked of those who connect to that port; `None`: nothing is said.
    #[must_use]
    pub fn peer_mode(&self, port: u16) -> Option<PeerMode> {
        let own = self.port_peers.iter().find(|(of, _)| *of == port);
        own.map(|(_, mode)| *mode).or(self.peers)
    }
}

/// Who may call which service of the mesh. Services need not be there for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MeshAccess {
    /// Whose identities names of services mean.
    pub trust_domain: TrustDomain,
    /// In the order of names. What is about every service is in each of them, too.
    pub services: Vec<(ServiceName, ServiceAccess)>,
    /// Of services that are not named: what is about every service.
    pub others: ServiceAccess,
}

impl MeshAccess {
    /// What policies say of that service.
    #[must_use]
    pub fn of(&self, service: &str) -> &ServiceAccess {
        let at = self
            .services
            .binary_search_by(|(name, _)| name.as_str().cmp(service));
        at.map_or(&self.others, |at| &self.services[at].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_has_one_star_at_an_end_and_is_written_as_it_was_read() {
        for text in ["*", "shop", "shop*", "*shop", "/api/*"] {
            assert_eq!(Pattern::new(text).unwrap().to_string(), text);
        }
        for text in ["", "**", "a*b", "*a*", "/a/{*}", "/{**}/b"] {
            assert!(Pattern::new(text).is_err(), "{text} was read");
        }
        assert_eq!(
            Pattern::under("/api/").unwrap(),
            Pattern::under("/api").unwrap()
        );
        assert!(Pattern::under("api").is_err() && Pattern::under("/a*").is_err());
    }

    #[test]
    fn a_service_that_no_policy_names_has_what_is_for_all() {
        let access = MeshAccess {
            services: vec![(
                ServiceName::new("shop").unwrap(),
                ServiceAccess {
                    peers: Some(PeerMode::Strict),
                    port_peers: vec![(8080, PeerMode::Off)],
                    ..ServiceAccess::default()
                },
            )],
            others: ServiceAccess {
                peers: Some(PeerMode::Permissive),
                ..ServiceAccess::default()
            },
            ..MeshAccess::default()
        };
        assert_eq!(access.of("shop").peer_mode(80), Some(PeerMode::Strict));
        assert_eq!(access.of("shop").peer_mode(8080), Some(PeerMode::Off));
        assert_eq!(access.of("web").peer_mode(80), Some(PeerMode::Permissive));
    }
}
