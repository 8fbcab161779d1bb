//! The bytes of the file.
//!
//! `weir-xds`, the version of the format and the length of the rest (four and eight bytes, the lowest first), the SHA-256 of all
//! but itself, and then the rest: [`Content`] in protobuf. Every byte is under the checksum or compared.

use std::sync::Arc;

use envoy_types::pb::google::protobuf::Any;
use prost::Message;
use sha2::{Digest, Sha256};
use weir_wire::{Kind, Resource, Resources};

use super::Saved;

const MAGIC: &[u8; 8] = b"weir-xds";
const VERSION: u32 = 1;
/// Magic, version, length.
const HEAD: usize = 8 + 4 + 8;
const SUM: usize = 32;

/// Why bytes are not a last good state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error("it is no last good state of Weir's: it does not begin as one")]
    Magic,
    #[error(
        "it is of version {0} of the format, and this Weir reads version {VERSION}; it will be written anew once a control plane answers"
    )]
    Version(u32),
    #[error("it is cut short, or something was added: {found} bytes where {told} are told")]
    Length { told: u64, found: u64 },
    #[error("its checksum does not fit: the disk, or somebody, changed it")]
    Sum,
    #[error("its content cannot be read: {0}")]
    Content(String),
}

#[derive(Clone, PartialEq, Message)]
struct Content {
    #[prost(string, tag = "1")]
    node: String,
    #[prost(uint64, tag = "2")]
    generation: u64,
    #[prost(uint64, tag = "3")]
    at_ms: u64,
    #[prost(message, repeated, tag = "4")]
    resources: Vec<One>,
    /// Not there in files of Weir before it named runs.
    #[prost(string, tag = "5")]
    run: String,
}

#[derive(Clone, PartialEq, Message)]
struct One {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    version: String,
    #[prost(bytes = "vec", tag = "4")]
    bytes: Vec<u8>,
}

pub(super) fn write(saved: &Saved) -> Vec<u8> {
    let resources = saved.resources.iter().map(|resource| One {
        type_url: resource.kind.type_url().to_owned(),
        name: resource.name.clone(),
        version: resource.version.clone(),
        bytes: resource.body.value.clone(),
    });
    let content = Content {
        node: saved.node.clone(),
        generation: saved.generation,
        at_ms: saved.at_ms,
        resources: resources.collect(),
        run: saved.run.clone(),
    };
    let length = content.encoded_len();
    let mut bytes = Vec::with_capacity(HEAD + SUM + length);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(length as u64).to_le_bytes());
    let body = content.encode_to_vec();
    let sum = sum(&bytes, &body);
    bytes.extend_from_slice(&sum);
    bytes.extend_from_slice(&body);
    bytes
}

pub(super) fn read(bytes: &[u8]) -> Result<Saved, FormatError> {
    let short = || FormatError::Length {
        told: (HEAD + SUM) as u64,
        found: bytes.len() as u64,
    };
    if !bytes.starts_with(MAGIC) {
        return Err(match MAGIC.starts_with(bytes) {
            true => short(),
            false => FormatError::Magic,
        });
    }
    let (head, rest) = bytes.split_at_checked(HEAD).ok_or_else(short)?;
    let (expected, body) = rest.split_at_checked(SUM).ok_or_else(short)?;
    let (_, head_numbers) = head.split_at(MAGIC.len());
    let (version, length) = head_numbers.split_first_chunk::<4>().ok_or_else(short)?;
    let version = u32::from_le_bytes(*version);
    if version != VERSION {
        return Err(FormatError::Version(version));
    }
    let (length, _) = length.split_first_chunk::<8>().ok_or_else(short)?;
    let told = u64::from_le_bytes(*length);
    let found = body.len() as u64;
    if told != found {
        return Err(FormatError::Length { told, found });
    }
    if sum(head, body) != expected {
        return Err(FormatError::Sum);
    }
    let content = Content::decode(body).map_err(|e| FormatError::Content(e.to_string()))?;
    let mut resources = Resources::default();
    for one in content.resources {
        resources.insert(Arc::new(resource(one)?));
    }
    Ok(Saved {
        node: content.node,
        generation: content.generation,
        run: content.run,
        at_ms: content.at_ms,
        resources,
    })
}

fn resource(one: One) -> Result<Resource, FormatError> {
    let unknown = || FormatError::Content(format!("a resource of type {}", one.type_url));
    let kind = Kind::of(&one.type_url).ok_or_else(unknown)?;
    Ok(Resource {
        kind,
        name: one.name,
        version: one.version,
        body: Any {
            type_url: one.type_url,
            value: one.bytes,
        },
    })
}

fn sum(head: &[u8], body: &[u8]) -> [u8; SUM] {
    Sha256::new()
        .chain_update(head)
        .chain_update(body)
        .finalize()
        .into()
}
