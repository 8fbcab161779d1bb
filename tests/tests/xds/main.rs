//! The halves apart, over xDS, with the real parts of others: an unmodified Envoy, over both protocols; a client of gRPC; and a
//! management server in Python, written from Envoy's published protos, that `weir proxy` obeys.

mod accepted;
mod anew;
mod authorization;
mod chaos;
mod cluster;
mod disk;
mod envoy;
mod grpc;
mod life;
mod management;
mod obeys;
mod plane;
mod refuses;
mod scale;
mod serves;
mod survives;
mod trust;
