//! Caddy: one Go processor (GOMAXPROCS is set by the caller), neither admin server nor certificates.

use std::net::SocketAddr;
use std::path::Path;

pub(super) fn arguments(
    dir: &Path,
    listen: SocketAddr,
    origin: SocketAddr,
) -> anyhow::Result<Vec<String>> {
    let config = format!(
        "{{\n  admin off\n  auto_https off\n  persist_config off\n}}\n:{} {{\n  bind {}\n  reverse_proxy {origin} {{\n    transport http {{\n      keepalive_idle_conns_per_host 256\n    }}\n  }}\n}}\n",
        listen.port(),
        listen.ip()
    );
    let path = dir.join("Caddyfile");
    std::fs::write(&path, config)?;
    Ok([
        "run",
        "--adapter",
        "caddyfile",
        "--config",
        &path.to_string_lossy(),
    ]
    .map(str::to_owned)
    .to_vec())
}
