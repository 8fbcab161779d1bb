//! Taking a response: each resource by itself, within the limits; nothing of it is in force yet.

use std::collections::BTreeSet;
use std::sync::Arc;

use weir_wire::{Kind, Resource};

use super::stream::Pending;
use super::{Client, Problem, run};
use crate::message::{Given, Response, Variant, name_inside};
use crate::set::is_named;
use crate::tally::Reason;

impl Client {
    /// Takes one response, and returns the reasons of what is refused of it, to be counted.
    pub fn receive(&mut self, response: Response) -> Vec<Reason> {
        let Some(kind) = Kind::of(&response.type_url) else {
            tracing::warn!(type_url = %response.type_url, "a response of a type that was not asked for is ignored");
            return vec![Reason::Malformed];
        };
        if let Some(why) = self.replayed(kind, &response) {
            tracing::warn!(
                ?kind,
                nonce = response.nonce,
                version = response.version,
                "ignored: {why}"
            );
            return vec![Reason::Replayed];
        }
        let mut reasons = Vec::new();
        let whole = response.variant == Variant::StateOfTheWorld && !is_named(kind);
        let mut names = Vec::with_capacity(response.given.len());
        for given in response.given {
            names.push(given.name.clone());
            if let Err(problem) = self.take(kind, given) {
                reasons.push(problem.reason);
                self.refused.insert(problem.key, problem.why);
            }
        }
        let gone: Vec<String> = match whole {
            true => self.not_among(kind, &names),
            false => response.removed,
        };
        let removes = !gone.is_empty();
        for name in gone {
            self.refused.remove(&(kind, name.clone()));
            self.changed |= self.told.remove(kind, &name);
        }
        if let Some(stream) = &mut self.stream {
            stream.nonces.insert(kind, response.nonce.clone());
            stream.pending.push(Pending {
                kind,
                nonce: response.nonce,
                version: response.version,
                names,
                removes,
            });
        }
        reasons
    }

    /// What is there of a type and not in a list of all of it.
    fn not_among(&self, kind: Kind, names: &[String]) -> Vec<String> {
        let present: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let known = self.told.resources().of(kind).map(|it| &it.name);
        known
            .filter(|name| !present.contains(name.as_str()))
            .cloned()
            .collect()
    }

    /// Why a response is one that was there before.
    fn replayed(&mut self, kind: Kind, response: &Response) -> Option<String> {
        let stream = self.stream.as_mut()?;
        if stream.is_replayed(kind, &response.nonce) {
            return Some("this stream had that nonce before".into());
        }
        // Versions of others mean nothing but that they differ.
        let generation = response.version.parse::<u64>().ok();
        let Some((name, generation)) = run::name(&response.control_plane).zip(generation) else {
            self.told_generation = None;
            return None;
        };
        let of_stream = stream.run.get_or_insert_with(|| name.to_owned());
        if of_stream != name {
            return Some(format!(
                "it is of the run {name:?} of a control plane, and the stream of {of_stream:?}"
            ));
        }
        match self.run.hear(name, kind, generation) {
            Ok(()) => {
                self.told_generation = Some(generation);
                None
            }
            Err(last) => Some(format!("generation {last} came before it")),
        }
    }

    fn take(&mut self, kind: Kind, given: Given) -> Result<(), Problem> {
        let key = (kind, given.name.clone());
        let problem = |reason, why: String| Problem {
            key: key.clone(),
            why,
            reason,
        };
        let Some(body) = given.body else {
            // A sign of life for what is there.
            return match self.told.get(kind, &given.name) {
                Some(_) => Ok(()),
                None => Err(problem(Reason::Malformed, "it has no content".into())),
            };
        };
        let wanted = !is_named(kind)
            || self
                .stream
                .as_ref()
                .is_some_and(|stream| stream.subscribed.contains(&key));
        if !wanted {
            return Ok(());
        }
        if body.type_url != kind.type_url() {
            let why = format!("its content is of type {}", body.type_url);
            return Err(problem(Reason::Malformed, why));
        }
        let old = self.told.get(kind, &given.name);
        if old.is_some_and(|old| old.body == body && old.version == given.version) {
            self.refused.remove(&key);
            return Ok(());
        }
        let inside = name_inside(&body).unwrap_or_default();
        if inside != given.name || inside.is_empty() {
            let why = format!("its content names itself {inside:?}");
            return Err(problem(Reason::Malformed, why));
        }
        let before = old.map_or(0, |old| old.body.value.len());
        self.room(kind, &given.name, old.is_none(), before, body.value.len())
            .map_err(|(reason, why)| problem(reason, why))?;
        // A digest of what may be megabytes is worked out only where the server gives no version.
        let resource = match given.version.is_empty() {
            true => Resource::new(kind, given.name, body.value),
            false => Resource {
                kind,
                name: given.name,
                version: given.version,
                body,
            },
        };
        let same = self
            .told
            .get(kind, &resource.name)
            .is_some_and(|old| old.body == resource.body);
        let resource = Arc::new(resource);
        if !same {
            self.decoder
                .check(&resource)
                .map_err(|rejected| problem(Reason::Unsupported, rejected.reason))?;
            self.changed = true;
        }
        self.refused.remove(&key);
        self.told.insert(resource);
        Ok(())
    }

    /// Whether there is room for one more, or for another in the place of `before` bytes.
    fn room(
        &self,
        kind: Kind,
        name: &str,
        new: bool,
        before: usize,
        size: usize,
    ) -> Result<(), (Reason, String)> {
        let limits = &self.limits;
        if name.len() > limits.name_bytes {
            let why = format!("its name is longer than {} bytes", limits.name_bytes);
            return Err((Reason::TooLarge, why));
        }
        if new && self.told.count(kind) >= limits.resources {
            let why = format!("there are {} of its type already", limits.resources);
            return Err((Reason::TooMany, why));
        }
        if self.told.bytes() - before + size > limits.total_bytes {
            let why = format!(
                "with it all resources would be more than {} bytes",
                limits.total_bytes
            );
            return Err((Reason::TooLarge, why));
        }
        Ok(())
    }
}
