//! What a client says: what it wants, and what became of a response.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use envoy_types::pb::google::rpc::Status;
use weir_wire::Kind;

use super::{Session, index, refusal};
use crate::limits::{ENDPOINTS_GRACE, MAX_NAME_BYTES, MAX_NAMES, SETTLING};

/// The name that stands for all.
const WILDCARD: &str = "*";

/// What a request was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// A subscription, or a change of one.
    Wish,
    Ack,
    /// So many resources were refused.
    Nack(usize),
    /// It answers a response that was replaced since: what it says of that is ignored.
    Stale,
    /// It asks for a type that is not served.
    Unserved,
}

/// Why a stream is ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("a subscription names more than {MAX_NAMES} resources of one type")]
    TooManyNames,
    #[error("a subscription names a resource by more than {MAX_NAME_BYTES} bytes")]
    LongName,
}

impl Session {
    /// Takes a request of the incremental protocol.
    ///
    /// # Errors
    /// [`Broken`] when it asks for more than any proxy needs.
    pub fn on_delta(
        &mut self,
        request: &DeltaDiscoveryRequest,
        now: Instant,
    ) -> Result<Heard, Broken> {
        let Some(kind) = Kind::of(&request.type_url) else {
            return Ok(Heard::Unserved);
        };
        let (wanted, unwanted) = (
            &request.resource_names_subscribe,
            &request.resource_names_unsubscribe,
        );
        check(wanted.iter())?;
        check(request.initial_resource_versions.keys())?;
        let heard = match request.response_nonce.as_str() {
            "" => Heard::Wish,
            nonce => self.answered(kind, nonce, request.error_detail.as_ref(), now),
        };
        self.begin(now);
        let nothing = HashMap::new();
        let track = &mut self.tracks[index(kind)];
        let is_first = !std::mem::replace(&mut track.asked, true);
        let has = match is_first {
            true => &request.initial_resource_versions,
            false => &nothing,
        };
        let all = is_first && wanted.is_empty() && has_wildcard(kind);
        if all || wanted.iter().any(|name| name == WILDCARD) {
            track.subscribe_all(&self.view, has);
        }
        for name in wanted.iter().filter(|name| *name != WILDCARD) {
            track.subscribe(name, &self.view, has);
            if kind == Kind::Endpoint {
                self.awaited.remove(name);
            }
        }
        for name in unwanted {
            match name.as_str() {
                WILDCARD => track.unsubscribe_all(),
                name => track.unsubscribe(name, &self.view, true),
            }
        }
        let count = track.names.len();
        self.heard(count)?;
        Ok(heard)
    }

    /// Takes a request of the state-of-the-world protocol.
    ///
    /// # Errors
    /// [`Broken`] when it asks for more than any proxy needs.
    pub fn on_sotw(&mut self, request: &DiscoveryRequest, now: Instant) -> Result<Heard, Broken> {
        let Some(kind) = Kind::of(&request.type_url) else {
            return Ok(Heard::Unserved);
        };
        check(request.resource_names.iter())?;
        let track = &self.tracks[index(kind)];
        let heard = match track.last_nonce {
            // A nonce of a stream that ended means nothing here.
            None => Heard::Wish,
            Some(last) if request.response_nonce != last.to_string() => return Ok(Heard::Stale),
            Some(_) => {
                let detail = request.error_detail.as_ref();
                match self.answered(kind, &request.response_nonce, detail, now) {
                    // The last response was answered before: the subscription changes.
                    Heard::Stale => Heard::Wish,
                    heard => heard,
                }
            }
        };
        self.begin(now);
        self.wish(kind, &request.resource_names);
        self.drop_unspeakable();
        let count = self.tracks[index(kind)].names.len();
        self.heard(count)?;
        Ok(heard)
    }

    /// Takes the full list of names that a client wants from now on.
    fn wish(&mut self, kind: Kind, list: &[String]) {
        let nothing = HashMap::new();
        let track = &mut self.tracks[index(kind)];
        track.asked = true;
        let all = list.is_empty() && !track.named_before && has_wildcard(kind);
        let names: BTreeSet<&str> = list.iter().map(String::as_str).collect();
        track.named_before |= !names.is_empty();
        match all || names.contains(WILDCARD) {
            true => track.subscribe_all(&self.view, &nothing),
            false => track.unsubscribe_all(),
        }
        let old: Vec<String> = track.names.iter().cloned().collect();
        for name in old.iter().filter(|name| !names.contains(name.as_str())) {
            track.unsubscribe(name, &self.view, false);
        }
        for name in names.into_iter().filter(|name| *name != WILDCARD) {
            if !track.names.contains(name) {
                track.subscribe(name, &self.view, &nothing);
            }
            if kind == Kind::Endpoint {
                self.awaited.remove(name);
            }
        }
    }

    /// What became of a response.
    fn answered(&mut self, kind: Kind, nonce: &str, error: Option<&Status>, now: Instant) -> Heard {
        let track = &mut self.tracks[index(kind)];
        let flight = track.flight.as_ref();
        if flight.is_none_or(|flight| flight.nonce.to_string() != nonce) {
            return Heard::Stale;
        }
        if let Some(error) = error {
            return Heard::Nack(track.nack(&refusal::bounded(&error.message), &self.view));
        }
        let taken = track.ack(&self.view);
        if kind == Kind::Cluster {
            let names = taken.into_iter().filter(|step| step.to.is_some());
            self.await_endpoints(names.map(|step| step.name).collect(), now);
        }
        Heard::Ack
    }

    /// A client that asks for endpoints by name has learned of a cluster: it is about to ask for its endpoints, and routes
    /// wait for that.
    fn await_endpoints(&mut self, clusters: Vec<String>, now: Instant) {
        let endpoints = &self.tracks[index(Kind::Endpoint)];
        if endpoints.wildcard {
            return;
        }
        for name in clusters {
            let by_name = self.view.resources().get(Kind::Endpoint, &name).is_some();
            if by_name && !endpoints.names.contains(&name) {
                self.awaited.insert(name, now + ENDPOINTS_GRACE);
            }
        }
    }

    /// Notes the first request of a stream.
    fn begin(&mut self, now: Instant) {
        if self.tracks.iter().all(|track| !track.asked) {
            self.settling = Some(now + SETTLING);
        }
    }

    fn heard(&mut self, names: usize) -> Result<(), Broken> {
        if names > MAX_NAMES {
            return Err(Broken::TooManyNames);
        }
        self.note_progress();
        Ok(())
    }
}

/// Whether a client that names nothing wants all of this type.
fn has_wildcard(kind: Kind) -> bool {
    matches!(kind, Kind::Cluster | Kind::Listener)
}

fn check<'a>(names: impl ExactSizeIterator<Item = &'a String>) -> Result<(), Broken> {
    if names.len() > MAX_NAMES {
        return Err(Broken::TooManyNames);
    }
    for name in names {
        if name.len() > MAX_NAME_BYTES {
            return Err(Broken::LongName);
        }
    }
    Ok(())
}
