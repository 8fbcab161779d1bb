//! Bounds on what one proxy, or all of them together, can make the control plane hold.

use std::time::Duration;

/// Bytes of one request. A proxy that comes back names every resource it has, some 60 bytes each.
pub const MAX_REQUEST_BYTES: usize = 16 << 20;
/// Bytes of one response. One resource cannot be split, and a service may have many endpoints.
pub const MAX_RESPONSE_BYTES: usize = 64 << 20;
/// Bytes of resources after which a response ends and another begins, where the protocol lets it be split. For as long as a stream lives it keeps a
/// buffer for the largest response that it sent, which doubles as it grows (tonic): this is a little below a power of two, so that a
/// thousand streams keep a quarter of a gigabyte, and not two.
pub const BATCH_BYTES: usize = 240 << 10;
/// Resources after which a response ends and another begins.
pub const BATCH_RESOURCES: usize = 2_000;
/// Names that one proxy may subscribe to, of one type.
pub const MAX_NAMES: usize = 200_000;
/// Bytes of a name.
pub const MAX_NAME_BYTES: usize = 1_024;
/// Characters kept of why something was refused.
pub const MAX_REASON: usize = 500;
/// Refused resources that are told of, of one type.
pub const MAX_REFUSALS: usize = 100;

/// Connections at once; one more is closed before its handshake.
pub const MAX_CONNECTIONS: usize = 10_000;
/// Connections in their handshake at once.
pub const MAX_HANDSHAKES: usize = 512;
/// From a connection to the end of its TLS handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams of one connection: one of configuration, one of load reports, and room for a client that reconnects.
pub const MAX_STREAMS: u32 = 16;
/// From a stream's start to its first request, which says who asks.
pub const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// A connection is asked whether it lives when it was quiet for so long.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// One that does not answer for so long is closed.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long connections may take to end, once the server is to end.
pub const FAREWELL: Duration = Duration::from_secs(2);
/// Large responses on their way at once: what 1,000 proxies that start together make the control plane hold.
pub const MAX_BULK: usize = 32;
/// From how many bytes a response is a large one.
pub const BULK_BYTES: usize = 64 << 10;
/// How long a large response may keep its place while its proxy does not answer.
pub const BULK_PATIENCE: Duration = Duration::from_secs(5);

/// How long routes wait for a client to ask for the endpoints of a cluster that it was just given.
pub const ENDPOINTS_GRACE: Duration = Duration::from_secs(2);

/// How long nothing is removed on a new stream whose client has not asked for every type yet: until it does, it is not known what it has
/// that refers to what is gone.
pub const SETTLING: Duration = Duration::from_secs(2);

/// Clusters of one node whose load is kept.
pub const MAX_LOAD_CLUSTERS: usize = 2_000;
/// Clusters whose load is kept, of all nodes.
pub const MAX_LOAD_TOTAL: usize = 200_000;
/// How often proxies are asked to report load.
pub const LOAD_INTERVAL: Duration = Duration::from_secs(10);
