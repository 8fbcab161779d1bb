//! Caddy: one Go processor (GOMAXPROCS is set by the caller), no admin server, no certificates of its own.

use std::path::Path;

use super::Places;

pub(super) fn arguments(dir: &Path, places: &Places) -> anyhow::Result<Vec<String>> {
    let Places {
        listen,
        tls,
        origin,
        identity,
        ..
    } = places;
    let (cert, key) = (identity.cert.display(), identity.key.display());
    let proxy = format!(
        "reverse_proxy {origin} {{\n    transport http {{\n      keepalive_idle_conns_per_host 256\n    }}\n  }}"
    );
    let config = format!(
        "{{\n  admin off\n  auto_https off\n  persist_config off\n  default_sni localhost\n}}\n\
         http://:{} {{\n  bind {}\n  {proxy}\n}}\n\
         https://:{} {{\n  bind {}\n  tls {cert} {key}\n  {proxy}\n}}\n",
        listen.port(),
        listen.ip(),
        tls.port(),
        tls.ip(),
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
