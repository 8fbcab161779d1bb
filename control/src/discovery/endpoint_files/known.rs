//! What is known from endpoint files; it outlives them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use weir_config::endpoint_file::{EndpointFile, ListedEndpoint};
use weir_config::model::{Admission, ServiceName};
use weir_config::raw::{self, At, Meta};
use weir_config::{Diagnostic, Fragment, Place};
use weir_plan::{Hold, Seen};

use super::Listing;
use crate::api::types::Container;
use crate::watcher::Found;

/// The provider's name.
pub(super) const FILES: &str = "files";

/// An endpoint is its service and address; that is all that a file tells it by.
type Key = (ServiceName, SocketAddr);

/// An endpoint and the name of the file that lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed {
    file: String,
    endpoint: ListedEndpoint,
}

pub(super) struct Known {
    hold_for: Duration,
    hold: Hold,
    /// What each file said when it was good last.
    files: BTreeMap<String, Vec<EndpointFile>>,
    /// Services of files, and those of held endpoints, with the place that named each first.
    services: BTreeMap<ServiceName, Place>,
    /// Listed last or held.
    endpoints: BTreeMap<Key, Listed>,
    held: BTreeSet<Key>,
    /// What is wrong with the files that went bad, and what is listed twice.
    problems: Vec<Diagnostic>,
    /// Files that count as they were.
    stale: BTreeSet<String>,
}

/// What the files meant.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Endpoints that are missing and kept nevertheless.
    pub(super) held: usize,
    /// Endpoints that were held and are let go.
    pub(super) released: usize,
    /// There was no file at all, which is not believed.
    pub(super) empty: bool,
    /// When the next one is let go.
    pub(super) until: Option<Duration>,
}

impl Known {
    pub(super) fn new(hold_for: Duration) -> Self {
        Self {
            hold_for,
            hold: Hold::default(),
            files: BTreeMap::new(),
            services: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            held: BTreeSet::new(),
            problems: Vec::new(),
            stale: BTreeSet::new(),
        }
    }

    /// Takes what the files say now, or once more what they said last; `now` counts from any fixed moment.
    pub(super) fn take(&mut self, now: Duration, listing: Option<Listing>) -> Taken {
        if let Some(listing) = listing {
            self.read(listing);
        }
        let mut fresh = self.listed();
        let present: Vec<Seen> = fresh.keys().map(seen).collect();
        let stopped = self.stopped(&fresh);
        let blank = self.files.is_empty() && self.problems.is_empty();
        let decision = self
            .hold
            .observe(now, self.hold_for, &present, blank, &stopped);
        let kept = self
            .endpoints
            .iter()
            .filter(|(key, _)| !fresh.contains_key(key) && decision.keep.contains(&seen(key).id));
        let kept: Vec<(Key, Listed)> = kept.map(|(k, l)| (k.clone(), l.clone())).collect();
        self.held = kept.iter().map(|(key, _)| key.clone()).collect();
        fresh.extend(kept);
        self.endpoints = fresh;
        self.name_services();
        Taken {
            held: self.held.len(),
            released: decision.released.len(),
            empty: decision.empty_answer,
            until: decision.until,
        }
    }

    /// A file that is bad now counts as it was when it was good.
    fn read(&mut self, listing: Listing) {
        let mut before = std::mem::take(&mut self.files);
        self.problems.clear();
        self.stale.clear();
        for (name, said) in listing {
            match said {
                Ok(files) => {
                    self.files.insert(name, files);
                }
                Err(mistakes) => {
                    self.problems.extend(mistakes);
                    if let Some(good) = before.remove(&name) {
                        self.stale.insert(name.clone());
                        self.files.insert(name, good);
                    }
                }
            }
        }
    }

    /// All endpoints of all files. One that is listed twice is the first file's, which is reported.
    fn listed(&mut self) -> BTreeMap<Key, Listed> {
        let mut all: BTreeMap<Key, Listed> = BTreeMap::new();
        let mut twice = Vec::new();
        for (name, file) in self
            .files
            .iter()
            .flat_map(|(name, files)| files.iter().map(move |file| (name, file)))
        {
            for endpoint in &file.endpoints {
                let key = (file.service.clone(), endpoint.address);
                if let Some(first) = all.get(&key) {
                    twice.push(again(&key, endpoint, first));
                    continue;
                }
                let listed = Listed {
                    file: name.clone(),
                    endpoint: endpoint.clone(),
                };
                all.insert(key, listed);
            }
        }
        self.problems.retain(Diagnostic::is_error);
        self.problems.extend(twice);
        all
    }

    /// A service whose endpoints are held keeps its place, so that it is the same as before.
    fn name_services(&mut self) {
        let held: BTreeSet<&ServiceName> = self.held.iter().map(|(service, _)| service).collect();
        self.services.retain(|name, _| held.contains(name));
        let mut listed: BTreeMap<&ServiceName, &Place> = BTreeMap::new();
        for file in self.files.values().flatten() {
            listed.entry(&file.service).or_insert(&file.place);
        }
        let listed = listed.into_iter();
        self.services
            .extend(listed.map(|(name, place)| (name.clone(), place.clone())));
    }

    /// The endpoints whose end was announced: their service's files say that there is none, or they were draining.
    fn stopped(&self, fresh: &BTreeMap<Key, Listed>) -> BTreeSet<String> {
        let all = || self.files.values().flatten();
        let empty: BTreeSet<&ServiceName> = all()
            .filter(|file| file.endpoints.is_empty())
            .map(|file| &file.service)
            .collect();
        let gone = self
            .endpoints
            .iter()
            .filter(|(key, _)| !fresh.contains_key(key));
        gone.filter(|(key, listed)| listed.endpoint.draining || empty.contains(&key.0))
            .map(|(key, _)| seen(key).id)
            .collect()
    }

    /// Endpoints known.
    pub(super) fn count(&self) -> usize {
        self.endpoints.len()
    }

    /// Files that count, as they are or as they were.
    pub(super) fn files(&self) -> usize {
        self.files.len()
    }

    /// All that is known, for the watcher.
    pub(super) fn found(&self) -> Found {
        let named = self.services.iter();
        let mut services: BTreeMap<&ServiceName, raw::Service> = named
            .map(|(name, place)| (name, service(name, place)))
            .collect();
        for ((name, _), listed) in &self.endpoints {
            if let Some(service) = services.get_mut(name) {
                let endpoints = service.endpoints.get_or_insert_default();
                endpoints.push(endpoint(&listed.endpoint));
            }
        }
        Found {
            provider: FILES.into(),
            fragment: Fragment {
                services: services.into_values().collect(),
                ..Fragment::default()
            },
            diagnostics: self.problems.clone(),
            containers: self.report(),
        }
    }

    fn report(&self) -> Vec<Container> {
        let one = |(key, listed): (&Key, &Listed)| {
            let mut reason = match listed.endpoint.draining {
                true => "draining".to_owned(),
                false => "listed".to_owned(),
            };
            if self.held.contains(key) {
                reason.push_str("; missing from the files, kept for now");
            } else if self.stale.contains(&listed.file) {
                reason.push_str("; the file is bad now and counts as it was before");
            }
            Container {
                container: listed.file.clone(),
                id: key.1.to_string(),
                service: Some(key.0.to_string()),
                version: Some(listed.endpoint.version.to_string()),
                address: Some(key.1.to_string()),
                included: true,
                reason,
            }
        };
        self.endpoints.iter().map(one).collect()
    }
}

fn seen(key: &Key) -> Seen {
    Seen {
        id: format!("{}@{}", key.0, key.1),
        group: key.0.to_string(),
    }
}

fn again(key: &Key, endpoint: &ListedEndpoint, first: &Listed) -> Diagnostic {
    let message = format!(
        "the endpoint {} of {} is listed twice, first at {}",
        key.1, key.0, first.endpoint.place.source
    );
    Diagnostic::warning(&endpoint.place, message).help("the first holds; remove one of them")
}

fn service(name: &ServiceName, place: &Place) -> raw::Service {
    raw::Service {
        meta: Meta {
            place: place.clone(),
            broken: false,
        },
        name: Some(At::new(name.to_string(), place.clone())),
        discovered: true,
        ..raw::Service::default()
    }
}

fn endpoint(listed: &ListedEndpoint) -> raw::Endpoint {
    let place = &listed.place;
    raw::Endpoint {
        meta: Meta {
            place: place.clone(),
            broken: false,
        },
        address: Some(At::new(listed.address, place.clone())),
        version: Some(At::new(listed.version.to_string(), place.clone())),
        weight: Some(At::new(listed.weight, place.clone())),
        priority: Some(At::new(listed.priority, place.clone())),
        locality: listed.locality.clone(),
        admission: listed.draining.then_some(Admission::Draining),
        ..raw::Endpoint::default()
    }
}
