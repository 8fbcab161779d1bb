//! HAProxy: one thread, connections to the origin always shared; of TCP, spliced where it thinks fit.

use std::path::Path;

use super::Places;
use crate::workload::Setup;

pub(super) fn arguments(dir: &Path, places: &Places, setup: Setup) -> anyhow::Result<Vec<String>> {
    let Places {
        listen,
        tls,
        origin,
        identity,
        ..
    } = places;
    let pem = identity.both.display();
    let secure = format!(
        "bind {tls} ssl crt {pem} alpn h2,http/1.1 ssl-min-ver TLSv1.2\n  option forwardfor"
    );
    let (defaults, front, server) = match setup {
        Setup::Http { .. } => (
            "mode http\n  option http-keep-alive\n  http-reuse always",
            secure.as_str(),
            "pool-max-conn 256",
        ),
        Setup::Tcp => ("mode tcp\n  option splice-auto", "", ""),
    };
    let config = format!(
        "global\n  nbthread 1\n  maxconn 4000\n\
         defaults\n  {defaults}\n  timeout connect 3s\n  timeout client 60s\n  timeout server 60s\n\
         frontend web\n  bind {listen}\n  {front}\n  default_backend app\n\
         backend app\n  server one {origin} {server}\n"
    );
    let path = dir.join("haproxy.cfg");
    std::fs::write(&path, config)?;
    Ok(["-db", "-f", &path.to_string_lossy()]
        .map(str::to_owned)
        .to_vec())
}
