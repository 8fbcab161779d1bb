//! What one part of a model was written as, kept for as long as that part stays as it is.

use std::sync::Arc;

use prost::Message;

use crate::keys::{Claim, Keys};
use crate::{Kind, LeftOut, Resource};

/// Takes what is written of one part.
#[derive(Default)]
pub(super) struct Out {
    pub(super) notes: bool,
    pub(super) resources: Vec<Arc<Resource>>,
    pub(super) left_out: Vec<LeftOut>,
}

impl Out {
    pub(super) fn put(&mut self, kind: Kind, name: &str, message: &impl Message) {
        let resource = Resource::new(kind, name, message.encode_to_vec());
        self.resources.push(Arc::new(resource));
    }
}

/// The resources of one part, and the secrets that they name.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) resources: Vec<Arc<Resource>>,
    pub(super) left_out: Vec<LeftOut>,
    claims: Vec<Claim>,
}

impl Piece {
    pub(super) fn write(
        notes: bool,
        keys: &mut Keys,
        write: impl FnOnce(&mut Keys, &mut Out),
    ) -> Self {
        let mut out = Out {
            notes,
            ..Out::default()
        };
        keys.forget_claims();
        write(keys, &mut out);
        Self {
            resources: out.resources,
            left_out: out.left_out,
            claims: keys.forget_claims(),
        }
    }

    /// Whether the secrets have the same names again, beside those of whom came before. They are named then.
    pub(super) fn claim(&self, keys: &mut Keys) -> bool {
        self.claims.iter().all(|claim| keys.claim(claim))
    }
}
