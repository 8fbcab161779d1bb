//! Weir itself: a route for each host, metrics on, one worker.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use crate::origin::free_port;

/// `run -c` with a file of that many hosts.
pub(super) fn arguments(
    dir: &Path,
    listen: SocketAddr,
    origin: SocketAddr,
    hosts: usize,
) -> anyhow::Result<Vec<String>> {
    let admin = free_port()?;
    let mut yaml = format!(
        "admin: {{ bind: \"{admin}\" }}\nworkers: 1\naccessLog: \"off\"\ngracePeriod: 0s\ndrainTimeout: 1s\n\
         listeners:\n  - {{ name: web, bind: \"{listen}\", protocol: http }}\n\
         services:\n  - {{ name: app, endpoints: [{{ address: \"{origin}\" }}], connectionPool: {{ http: {{ maxIdlePerEndpoint: 256 }} }} }}\nroutes:\n"
    );
    for n in 0..hosts {
        writeln!(
            yaml,
            "  - {{ name: r{n}, hostnames: [h{n}.example], rules: [{{ backendRefs: [{{ name: app }}] }}] }}"
        )?;
    }
    let path = dir.join("weir.yaml");
    std::fs::write(&path, yaml)?;
    Ok(["run", "-c", &path.to_string_lossy()]
        .map(str::to_owned)
        .to_vec())
}
