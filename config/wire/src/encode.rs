//! A model as resources.
//!
//! What was written of a part is kept until that part changes: a service with its endpoints is one part, the listeners with all
//! routes are another. So a change of an endpoint costs what its service costs, whatever else there is.

mod frame;
mod piece;
mod service;

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_config::model::{Certificate, Model, Roots, Service, ServiceName, same};

use crate::keys::Keys;
use crate::{Audience, Encoded, Kind, Resource, Resources, secret};
use piece::Piece;

/// The listener that carries what belongs to no other: nobody's name holds the bar.
pub(crate) const SETTINGS: &str = "weir|settings";

/// Everything in a model as resources for such an audience.
#[must_use]
pub fn encode(model: &Model, audience: Audience) -> Encoded {
    Encoder::new(audience).encode(model)
}

/// Writes one model after another, and only what is new in each: what it gives is what [`encode()`] gives.
///
/// A part is known by its address, and where that differs by its content ([`Model::share`] saves the look).
#[derive(Debug)]
pub struct Encoder {
    audience: Audience,
    services: BTreeMap<ServiceName, (Arc<Service>, Piece)>,
    /// The model by which listeners and routes were written.
    frame: Option<(Model, Piece)>,
    secrets: Secrets,
}

#[derive(Debug, Default)]
struct Secrets {
    certificates: BTreeMap<String, (Arc<Certificate>, Arc<Resource>)>,
    authorities: BTreeMap<String, (Arc<Roots>, Arc<Resource>)>,
}

impl Encoder {
    /// One that has written nothing yet.
    #[must_use]
    pub fn new(audience: Audience) -> Self {
        Self {
            audience,
            services: BTreeMap::new(),
            frame: None,
            secrets: Secrets::default(),
        }
    }

    /// Everything in a model as resources.
    #[must_use]
    pub fn encode(&mut self, model: &Model) -> Encoded {
        let mut keys = Keys::default();
        let mut encoded = Encoded::default();
        let mut before = std::mem::take(&mut self.services);
        for own in &model.services {
            let known = before.remove_entry(&own.name);
            let (name, piece) = match known {
                Some((name, (of, piece))) if same(&of, own) && piece.claim(&mut keys) => {
                    (name, piece)
                }
                _ => (own.name.clone(), self.service(own, &mut keys)),
            };
            add(&piece, &mut encoded);
            self.services.insert(name, (Arc::clone(own), piece));
        }
        let frame = self.frame.take();
        let known =
            frame.filter(|(of, piece)| frame::is_alike(of, model) && piece.claim(&mut keys));
        let piece = known.map_or_else(|| self.write_frame(model, &mut keys), |(_, piece)| piece);
        add(&piece, &mut encoded);
        self.frame = Some((model.clone(), piece));
        self.secrets.write(&keys, &mut encoded.resources);
        encoded
    }

    fn service(&self, own: &Service, keys: &mut Keys) -> Piece {
        Piece::write(self.notes(), keys, |keys, out| {
            service::write(own, self.audience, keys, out);
        })
    }

    fn write_frame(&self, model: &Model, keys: &mut Keys) -> Piece {
        Piece::write(self.notes(), keys, |keys, out| {
            frame::write(model, keys, out)
        })
    }

    fn notes(&self) -> bool {
        self.audience == Audience::Weir
    }
}

fn add(piece: &Piece, encoded: &mut Encoded) {
    for resource in &piece.resources {
        encoded.resources.insert(Arc::clone(resource));
    }
    encoded.left_out.extend(piece.left_out.iter().cloned());
}

impl Secrets {
    /// The secrets of all names that were given.
    fn write(&mut self, keys: &Keys, out: &mut Resources) {
        let before = std::mem::take(self);
        for (name, held) in keys.certificates() {
            let known = before.certificates.get(name);
            let known = known.filter(|(of, _)| Arc::ptr_eq(of, held));
            let resource = known.map_or_else(
                || put(name, &secret::encode_certificate(name, held)),
                |(_, resource)| Arc::clone(resource),
            );
            out.insert(Arc::clone(&resource));
            let held = (Arc::clone(held), resource);
            self.certificates.insert(name.clone(), held);
        }
        for (name, held) in keys.authorities() {
            let known = before.authorities.get(name);
            let known = known.filter(|(of, _)| Arc::ptr_eq(of, held));
            let resource = known.map_or_else(
                || put(name, &secret::encode_authorities(name, held)),
                |(_, resource)| Arc::clone(resource),
            );
            out.insert(Arc::clone(&resource));
            let held = (Arc::clone(held), resource);
            self.authorities.insert(name.clone(), held);
        }
    }
}

fn put(name: &str, message: &impl prost::Message) -> Arc<Resource> {
    Arc::new(Resource::new(Kind::Secret, name, message.encode_to_vec()))
}
