//! A client as strict as Envoy: it asks for clusters and listeners as a whole and for the rest by name, or for all as a
//! whole, and watches that nothing it has refers to what it has not.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::google::rpc::Status;
use weir_wire::Kind;

use super::world::{POISON, refers};
use crate::session::{Heard, Protocol, Push, Session};

/// A request of either protocol.
#[derive(Debug, Clone)]
pub(super) enum Request {
    Delta(DeltaDiscoveryRequest),
    Sotw(DiscoveryRequest),
}

/// A response of either protocol.
#[derive(Debug, Clone)]
pub(super) enum Response {
    Delta(DeltaDiscoveryResponse),
    Sotw(DiscoveryResponse),
}

impl Request {
    pub(super) fn tell(&self, session: &mut Session, now: Instant) -> Heard {
        match self {
            Self::Delta(request) => session.on_delta(request, now).unwrap(),
            Self::Sotw(request) => session.on_sotw(request, now).unwrap(),
        }
    }
}

impl Response {
    pub(super) fn of(push: Push, protocol: Protocol) -> Self {
        match protocol {
            Protocol::Delta => Self::Delta(push.into_delta("run-1")),
            Protocol::Sotw => Self::Sotw(push.into_sotw("run-1")),
        }
    }
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) protocol: Protocol,
    /// Asks for endpoints, secrets and routes by name.
    pub(super) by_name: bool,
    /// Takes what is good of a response that it refuses.
    pub(super) takes_parts: bool,
    /// Name to version and body.
    pub(super) have: BTreeMap<(Kind, String), (String, String)>,
    asked: BTreeMap<Kind, BTreeSet<String>>,
    nonces: BTreeMap<Kind, (String, String)>,
    pub(super) out: VecDeque<Request>,
    /// Resources that came, to see that nothing comes twice.
    pub(super) received: usize,
}

impl Client {
    pub(super) fn new(protocol: Protocol, by_name: bool, takes_parts: bool) -> Self {
        Self {
            protocol,
            by_name,
            takes_parts,
            have: BTreeMap::new(),
            asked: BTreeMap::new(),
            nonces: BTreeMap::new(),
            out: VecDeque::new(),
            received: 0,
        }
    }

    /// Begins a stream, with what it has from the one before.
    pub(super) fn connect(&mut self) {
        self.out.clear();
        self.asked.clear();
        self.nonces.clear();
        for kind in Kind::ALL {
            let whole = matches!(kind, Kind::Cluster | Kind::Listener);
            if whole || !self.by_name {
                let names = if whole {
                    Vec::new()
                } else {
                    vec!["*".to_owned()]
                };
                self.ask(kind, names, Vec::new(), true);
            }
        }
        self.follow(true);
    }

    /// Takes a response, and answers it.
    pub(super) fn take(&mut self, response: Response) {
        let (type_url, nonce, version) = match &response {
            Response::Delta(r) => (&r.type_url, &r.nonce, &r.system_version_info),
            Response::Sotw(r) => (&r.type_url, &r.nonce, &r.version_info),
        };
        let kind = Kind::of(type_url).unwrap();
        let (nonce, version) = (nonce.clone(), version.clone());
        let (given, gone) = self.read(kind, response);
        let bad: Vec<String> = given
            .iter()
            .filter(|(_, _, body)| body.starts_with(POISON))
            .map(|(name, ..)| format!("{name} is poison"))
            .collect();
        self.received += given.len();
        let error = (!bad.is_empty()).then(|| Status {
            message: bad.join("; "),
            ..Status::default()
        });
        if bad.is_empty() || self.takes_parts {
            for (name, version, body) in given {
                if !body.starts_with(POISON) {
                    self.have.insert((kind, name), (version, body));
                }
            }
            for name in gone {
                self.have.remove(&(kind, name));
            }
        }
        let known = self
            .nonces
            .get(&kind)
            .map(|(_, v)| v.clone())
            .unwrap_or_default();
        let accepted = if bad.is_empty() { version } else { known };
        self.nonces.insert(kind, (nonce, accepted));
        self.answer(kind, error);
        self.follow(false);
    }

    /// What a response brings and takes away.
    fn read(&self, kind: Kind, response: Response) -> (Vec<(String, String, String)>, Vec<String>) {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        match response {
            Response::Delta(r) => {
                let given = r.resources.into_iter().map(|resource| {
                    let body = text(resource.resource.unwrap().value);
                    (resource.name, resource.version, body)
                });
                (given.collect(), r.removed_resources)
            }
            Response::Sotw(r) => {
                // The name is not in these bodies; the simulation puts it in front for this protocol.
                let given: Vec<(String, String, String)> = r
                    .resources
                    .into_iter()
                    .filter_map(|any| {
                        let body = String::from_utf8(any.value).ok()?;
                        let (name, rest) = body.split_once('\n')?;
                        // An empty answer about endpoints starts with its tag, which is a line feed.
                        let is_named = !name.is_empty();
                        is_named.then(|| (name.to_owned(), rest.to_owned(), rest.to_owned()))
                    })
                    .collect();
                let lists = matches!(kind, Kind::Cluster | Kind::Listener);
                let kept = |name: &String| given.iter().any(|(given, ..)| given == name);
                let held = self
                    .have
                    .keys()
                    .filter(|(k, name)| *k == kind && !kept(name));
                let gone = held.map(|(_, name)| name.clone()).collect();
                (given, if lists { gone } else { Vec::new() })
            }
        }
    }

    fn answer(&mut self, kind: Kind, error: Option<Status>) {
        let (nonce, version) = self.nonces[&kind].clone();
        self.out.push_back(match self.protocol {
            Protocol::Delta => Request::Delta(DeltaDiscoveryRequest {
                type_url: kind.type_url().into(),
                response_nonce: nonce,
                error_detail: error,
                ..DeltaDiscoveryRequest::default()
            }),
            Protocol::Sotw => Request::Sotw(DiscoveryRequest {
                type_url: kind.type_url().into(),
                response_nonce: nonce,
                version_info: version,
                resource_names: self.names(kind),
                error_detail: error,
                ..DiscoveryRequest::default()
            }),
        });
    }

    /// Asks by name for what clusters and listeners refer to, and for no more.
    fn follow(&mut self, first: bool) {
        if !self.by_name {
            return;
        }
        for (kind, parent) in [
            (Kind::Endpoint, Kind::Cluster),
            (Kind::Secret, Kind::Listener),
            (Kind::Route, Kind::Listener),
        ] {
            let parents = self.have.keys().filter(|(k, _)| *k == parent);
            let wanted: BTreeSet<String> = parents.map(|(_, name)| name.clone()).collect();
            let asked = self.asked.get(&kind).cloned().unwrap_or_default();
            let new: Vec<String> = wanted.difference(&asked).cloned().collect();
            let old: Vec<String> = asked.difference(&wanted).cloned().collect();
            for name in &old {
                self.have.remove(&(kind, name.clone()));
            }
            self.have
                .retain(|(k, name), _| *k != kind || wanted.contains(name));
            if new.is_empty() && old.is_empty() {
                continue;
            }
            self.asked.insert(kind, wanted);
            self.ask(kind, new, old, first || asked.is_empty());
        }
    }

    fn ask(&mut self, kind: Kind, wanted: Vec<String>, unwanted: Vec<String>, first: bool) {
        let (nonce, version) = self.nonces.get(&kind).cloned().unwrap_or_default();
        let has = self.have.iter().filter(|((k, _), _)| *k == kind && first);
        let has: HashMap<String, String> = has
            .map(|((_, name), (version, _))| (name.clone(), version.clone()))
            .collect();
        let all = wanted.first().is_some_and(|name| name == "*");
        self.out.push_back(match self.protocol {
            Protocol::Delta => Request::Delta(DeltaDiscoveryRequest {
                type_url: kind.type_url().into(),
                resource_names_subscribe: wanted,
                resource_names_unsubscribe: unwanted,
                initial_resource_versions: has,
                ..DeltaDiscoveryRequest::default()
            }),
            Protocol::Sotw => Request::Sotw(DiscoveryRequest {
                type_url: kind.type_url().into(),
                resource_names: if all { wanted } else { self.names(kind) },
                response_nonce: nonce,
                version_info: version,
                ..DiscoveryRequest::default()
            }),
        });
    }

    fn names(&self, kind: Kind) -> Vec<String> {
        let whole = matches!(kind, Kind::Cluster | Kind::Listener);
        if !self.by_name && !whole {
            return vec!["*".to_owned()];
        }
        self.asked
            .get(&kind)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// What a route names without its being there.
    pub(super) fn dangling(&self) -> Vec<String> {
        let routes = self
            .have
            .iter()
            .filter(|((kind, _), _)| *kind == Kind::Route);
        let mut out = Vec::new();
        for ((_, route), (_, body)) in routes {
            for cluster in refers(body) {
                for kind in [Kind::Cluster, Kind::Endpoint] {
                    if !self.have.contains_key(&(kind, cluster.clone())) {
                        out.push(format!("route {route} names {cluster}: no {kind:?}"));
                    }
                }
            }
        }
        out
    }
}
