//! A file of `discovery.files`: endpoints of one service.

use std::net::SocketAddr;

use super::At;
use super::object::object;
use crate::model::{Locality, Weight};

object! {
    /// Endpoints of one service.
    EndpointFile = "an endpoint file" {
        /// The service they belong to.
        #[schemars(required)]
        service: At<String> = "service",
        /// Of those that name none. Default stable.
        version: At<String> = "version",
        /// An empty list says that there is none, and is believed at once.
        #[schemars(required)]
        endpoints: Vec<ListedEndpoint> = "endpoints",
    }
}

object! {
    /// One address of a service.
    ListedEndpoint = "an endpoint" {
        /// IP:port.
        #[schemars(required)]
        address: At<SocketAddr> = "address",
        /// Default the file's.
        version: At<String> = "version",
        /// Relative to the other endpoints of its version. Default 1.
        weight: At<Weight> = "weight",
        /// 0 is asked first; a higher number takes what those before it cannot. Default 0.
        priority: At<u8> = "priority",
        /// Where it runs: region/zone/subzone.
        locality: At<Locality> = "locality",
        /// It is about to stop and takes no new requests. Default false.
        draining: At<bool> = "draining",
    }
}
