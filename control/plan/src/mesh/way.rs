//! From one listener to one backend, as the two kinds of traffic have it.

use weir_config::model::{
    BackendRef, ListenerName, Route, RouteName, Rule, ServiceName, Source, StreamRoute, Weight,
};

/// A route that nothing else is told of than where it begins.
pub(super) struct Way {
    pub(super) name: RouteName,
    pub(super) listener: ListenerName,
    pub(super) source: Source,
}

impl Way {
    /// Of requests, by these rules.
    pub(super) fn of_requests(self, rules: Vec<Rule>) -> Route {
        Route {
            name: self.name,
            listeners: vec![self.listener],
            hostnames: Vec::new(),
            rules,
            age: 0,
            source: self.source,
        }
    }

    /// Of connections, to that service.
    pub(super) fn of_connections(self, to: &ServiceName) -> StreamRoute {
        StreamRoute {
            name: self.name,
            listeners: vec![self.listener],
            hostnames: Vec::new(),
            backends: vec![whole(to)],
            age: 0,
            source: self.source,
        }
    }
}

/// All of a service, by its own split.
pub(super) fn whole(service: &ServiceName) -> BackendRef {
    BackendRef {
        service: service.clone(),
        version: None,
        weight: Weight::ONE,
    }
}
