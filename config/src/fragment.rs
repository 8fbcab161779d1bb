//! One source's part of the configuration, before it meets the others.

use std::net::SocketAddr;

use crate::diagnostic::Place;
use crate::model::{Source, TrustDomain};
use crate::raw::{self, At, Meta};
use crate::references::References;

/// Raw listeners, services, routes and rules of one source: a set of files, the labels of an engine, the
/// command line. [`crate::compile()`] resolves several of them together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fragment {
    pub listeners: Vec<raw::Listener>,
    pub services: Vec<raw::Service>,
    pub routes: Vec<raw::Route>,
    pub destination_rules: Vec<raw::DestinationRule>,
    /// Who may call services of the mesh, in Weir's words.
    pub authorizations: Vec<raw::Authorization>,
    /// The same in Istio's.
    pub authorization_policies: Vec<raw::AuthorizationPolicy>,
    pub peer_authentications: Vec<raw::PeerAuthentication>,
    /// At most one is in force: the first.
    pub tracing: Vec<raw::Tracing>,
    /// Whose identities are meant by names of services. The first that is there is in force.
    pub trust_domain: Option<TrustDomain>,
    /// What the files hold that the rest refers to.
    pub references: References,
}

impl Fragment {
    /// A fragment of one HTTP listener, for the command line: `--listen 0.0.0.0:8080`.
    #[must_use]
    pub fn with_listener(name: &str, bind: SocketAddr, source: Source) -> Self {
        let place = Place::of(source);
        let listener = raw::Listener {
            meta: Meta {
                place: place.clone(),
                broken: false,
            },
            name: Some(At::new(name.to_owned(), place.clone())),
            bind: Some(At::new(bind, place)),
            ..raw::Listener::default()
        };
        Self {
            listeners: vec![listener],
            ..Self::default()
        }
    }

    /// The same over TLS, with a certificate for development: `--https 0.0.0.0:8443`.
    #[must_use]
    pub fn with_self_signed_listener(name: &str, bind: SocketAddr, source: Source) -> Self {
        let place = Place::of(source.clone());
        let mut fragment = Self::with_listener(name, bind, source);
        for listener in &mut fragment.listeners {
            listener.protocol = Some(At::new("https".to_owned(), place.clone()));
            listener.tls = Some(Box::new(raw::ListenerTls {
                meta: listener.meta.clone(),
                self_signed: Some(At::new(true, place.clone())),
                ..raw::ListenerTls::default()
            }));
        }
        fragment
    }

    /// Takes in what another fragment holds, after its own.
    pub fn merge(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        self.listeners.extend(other.listeners);
        self.services.extend(other.services);
        self.routes.extend(other.routes);
        self.destination_rules.extend(other.destination_rules);
        self.authorizations.extend(other.authorizations);
        self.authorization_policies
            .extend(other.authorization_policies);
        self.peer_authentications.extend(other.peer_authentications);
        self.tracing.extend(other.tracing);
        self.trust_domain = self.trust_domain.take().or(other.trust_domain);
        self.references.merge(other.references);
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listeners.is_empty()
            && self.services.is_empty()
            && self.routes.is_empty()
            && self.destination_rules.is_empty()
            && self.authorizations.is_empty()
            && self.authorization_policies.is_empty()
            && self.peer_authentications.is_empty()
            && self.tracing.is_empty()
            && self.trust_domain.is_none()
    }
}
