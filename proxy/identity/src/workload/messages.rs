//! The messages of the Workload API that are used (`workload.proto` of the SPIFFE standards).

use std::collections::HashMap;

use prost::Message;

/// `X509SVIDRequest`
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct SvidRequest {}

/// `X509SVIDResponse`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SvidResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) svids: Vec<Svid>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(crate) crl: Vec<Vec<u8>>,
    #[prost(map = "string, bytes", tag = "3")]
    pub(crate) federated_bundles: HashMap<String, Vec<u8>>,
}

/// `X509SVID`. The key does not show in `Debug` output.
#[derive(Clone, PartialEq, Eq, Message)]
#[prost(skip_debug)]
pub(crate) struct Svid {
    #[prost(string, tag = "1")]
    pub(crate) spiffe_id: String,
    /// Certificates in DER one after the other, its own first.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) x509_svid: Vec<u8>,
    /// PKCS #8 in DER.
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) x509_svid_key: Vec<u8>,
    /// Roots in DER one after the other.
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) bundle: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(crate) hint: String,
}

impl std::fmt::Debug for Svid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Svid({})", self.spiffe_id)
    }
}
