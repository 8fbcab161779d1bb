//! The model as xDS v3 resources, and back.
//!
//! A control plane encodes, a proxy decodes, and either end may be somebody else's: what Envoy has a field for stands in that
//! field, and what only Weir knows stands beside it, as a note in the metadata of the resource.
//!
//! - [`encode`] for a Weir gives resources from which [`decode`] makes the very same model again. For others it gives what they
//!   can do, and tells what it left out.
//! - [`decode`] takes resources of any control plane. What is set and not supported is refused by its path; nothing is passed
//!   over in silence, not even a field that is newer than this program.
//! - [`mesh`] is beside that: how a workload gets its certificate.
//! - [`Encoder`] and [`Decoder`] do the same for one state after another, and cost what differs between them.
//! - [`check`] looks at one resource, [`references`] tells which others it names, [`service_listener`] is what a client of gRPC
//!   asks for.
//!
//! | resource | its name | holds |
//! |---|---|---|
//! | cluster | `shop`; for others also `shop\|canary` | the policies of a service |
//! | load assignment | that of the cluster | its endpoints by priority and locality |
//! | secret | `cert:FILE`, `ca:FILES` | a certificate with its key; authorities |
//! | listener | that of the listener | address, protocol, limits, TLS, streams |
//! | route configuration | that of the listener | its routes |
//! | listener | `weir\|settings`, for a Weir | tracing; routes that no listener has |

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

mod basic;
mod cluster;
mod decode;
mod encode;
mod endpoint;
mod grpc;
mod headers;
mod keys;
mod left_out;
mod listener;
pub mod load;
pub mod mesh;
mod metadata;
mod names;
mod noted;
mod pattern;
mod references;
mod refusal;
mod resource;
mod route;
mod secret;
mod tls;
mod valid;

pub use decode::{Decoder, MAX_RESOURCE_BYTES, check, decode};
pub use encode::{Encoder, encode};
pub use grpc::service_listener;
pub use references::references;
pub use resource::{Kind, Resource, Resources};

/// For whom resources are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// A Weir of this version: everything comes back.
    Weir,
    /// An Envoy or a client of gRPC: nothing that it could misread.
    Other,
}

/// Resources, and what they do not say.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Encoded {
    pub resources: Resources,
    /// Empty for a Weir.
    pub left_out: Vec<LeftOut>,
}

/// Something in a model that others than Weir are not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub kind: Kind,
    /// The resource that it would be in; empty where it is about all of them.
    pub resource: String,
    /// As the model names it, such as `limits.max_field_bytes`; empty for the resource as a whole.
    pub field: String,
    /// For people.
    pub why: &'static str,
}

impl LeftOut {
    pub(crate) fn new(kind: Kind, resource: &str, field: &str, why: &'static str) -> Self {
        Self {
            kind,
            resource: resource.to_owned(),
            field: field.to_owned(),
            why,
        }
    }
}

/// A resource that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind:?} {name:?}: {reason}")]
pub struct Rejected {
    pub kind: Kind,
    pub name: String,
    /// Names the field by its path in the resource.
    pub reason: String,
}
