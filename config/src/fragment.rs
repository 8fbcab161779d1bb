//! One source's part of the configuration, before it meets the others.

use std::net::SocketAddr;

use crate::diagnostic::Place;
use crate::model::Source;
use crate::raw::{self, At, Meta};

/// Raw listeners, services, routes and rules of one source: a set of files, the labels of an engine, the
/// command line. [`crate::compile()`] resolves several of them together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fragment {
    pub listeners: Vec<raw::Listener>,
    pub services: Vec<raw::Service>,
    pub routes: Vec<raw::Route>,
    pub destination_rules: Vec<raw::DestinationRule>,
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
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listeners.is_empty()
            && self.services.is_empty()
            && self.routes.is_empty()
            && self.destination_rules.is_empty()
    }
}
