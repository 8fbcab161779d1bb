//! What resources were read as, kept for as long as they stay as they are.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use weir_config::model::{
    Endpoint, HashKey, Listener, Route, Service, ServiceName, StreamRoute, Tracing,
};

use crate::keys::{Held, Keys, Look};
use crate::{Kind, Resource, Resources};

/// The endpoints of a service, as a load assignment has them.
pub(super) type Assigned = (ServiceName, Vec<Endpoint>);

/// What was read, by the names of resources. What could not be taken is not among it.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) secrets: BTreeMap<String, (Arc<Resource>, Held)>,
    pub(super) clusters: BTreeMap<String, Kept<Taken>>,
    pub(super) listeners: BTreeMap<String, Kept<Arc<Brings>>>,
    pub(super) routes: BTreeMap<String, Kept<Arc<Vec<OneRoute>>>>,
    /// Assignments that were looked at alone since the last set, each with its endpoints as those of a service of that name.
    pub(super) checked: BTreeMap<String, (Arc<Resource>, Assigned)>,
}

/// A cluster as a service, with its endpoints.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    pub(super) service: Arc<Service>,
    /// Whether Weir wrote it.
    pub(super) noted: bool,
}

/// What a listener resource brings.
#[derive(Debug)]
pub(super) struct Brings {
    pub(super) listener: Option<Arc<Listener>>,
    pub(super) routes: WithRoutes,
    pub(super) streams: Vec<Arc<StreamRoute>>,
    pub(super) tracing: Option<Arc<Tracing>>,
}

/// Where the routes of a listener are.
#[derive(Debug)]
pub(super) enum WithRoutes {
    None,
    Here(Vec<OneRoute>),
    Named(String),
}

/// A route that is valid by itself.
#[derive(Debug)]
pub(super) struct OneRoute {
    pub(super) route: Arc<Route>,
    /// The keys by which the services that it names balance.
    pub(super) keys: Vec<(ServiceName, Option<HashKey>)>,
    /// Whether Weir wrote it.
    pub(super) noted: bool,
}

/// What one resource was read as.
#[derive(Debug)]
pub(super) struct Kept<T> {
    pub(super) read: T,
    resource: Arc<Resource>,
    /// Another resource that belongs to it, and what that was.
    beside: Option<(Kind, String, Option<Arc<Resource>>)>,
    looks: Vec<Look>,
    asked: Vec<(String, bool)>,
}

impl<T> Kept<T> {
    /// What was just read, with all that was looked at for it.
    pub(super) fn new(
        read: T,
        resource: &Arc<Resource>,
        keys: &mut Keys,
        known: Known<'_>,
    ) -> Self {
        Self {
            read,
            resource: Arc::clone(resource),
            beside: None,
            looks: keys.forget_looks(),
            asked: known.asked.into_inner(),
        }
    }

    /// The same, for one that was read together with another resource.
    pub(super) fn with(mut self, kind: Kind, name: String, other: Option<&Arc<Resource>>) -> Self {
        self.beside = Some((kind, name, other.cloned()));
        self
    }

    /// Whether it would be read as the same again.
    pub(super) fn holds(
        &self,
        resource: &Arc<Resource>,
        resources: &Resources,
        keys: &Keys,
    ) -> bool {
        is(&self.resource, resource)
            && self.beside.as_ref().is_none_or(|(kind, name, before)| {
                match (before, resources.get(*kind, name)) {
                    (Some(before), Some(now)) => is(before, now),
                    (None, None) => true,
                    _ => false,
                }
            })
            && self.looks.iter().all(|look| keys.would_find(look))
            && self
                .asked
                .iter()
                .all(|(name, answer)| resources.get(Kind::Cluster, name).is_some() == *answer)
    }
}

/// Whether two resources hold the same bytes. Versions say nothing: a control plane may use one twice.
pub(super) fn is(a: &Arc<Resource>, b: &Arc<Resource>) -> bool {
    Arc::ptr_eq(a, b) || a.body == b.body
}

/// Tells which clusters are there, and keeps in mind what was asked.
pub(super) struct Known<'a> {
    resources: &'a Resources,
    asked: RefCell<Vec<(String, bool)>>,
}

impl<'a> Known<'a> {
    pub(super) fn of(resources: &'a Resources) -> Self {
        Self {
            resources,
            asked: RefCell::default(),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        let there = self.resources.get(Kind::Cluster, name).is_some();
        self.asked.borrow_mut().push((name.to_owned(), there));
        there
    }
}
