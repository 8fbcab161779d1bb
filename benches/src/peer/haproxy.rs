//! HAProxy: one thread, connections to the origin always shared.

use std::net::SocketAddr;
use std::path::Path;

pub(super) fn arguments(
    dir: &Path,
    listen: SocketAddr,
    origin: SocketAddr,
) -> anyhow::Result<Vec<String>> {
    let config = format!(
        "global\n  nbthread 1\n  maxconn 4000\n\
         defaults\n  mode http\n  timeout connect 3s\n  timeout client 60s\n  timeout server 60s\n  option http-keep-alive\n  http-reuse always\n\
         frontend web\n  bind {listen}\n  option forwardfor\n  default_backend app\n\
         backend app\n  server one {origin} pool-max-conn 256\n"
    );
    let path = dir.join("haproxy.cfg");
    std::fs::write(&path, config)?;
    Ok(["-db", "-f", &path.to_string_lossy()]
        .map(str::to_owned)
        .to_vec())
}
