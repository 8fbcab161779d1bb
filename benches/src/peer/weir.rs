//! Weir itself: a route for each host or one for all of TCP, metrics on, one worker.

use std::fmt::Write as _;
use std::path::Path;

use super::Places;
use crate::origin::free_port;
use crate::workload::Setup;

/// `run -c` with a file of that setup.
pub(super) fn arguments(dir: &Path, places: &Places, setup: Setup) -> anyhow::Result<Vec<String>> {
    let Places {
        listen,
        tls,
        origin,
        identity,
        grpc,
    } = places;
    let (cert, key) = (identity.cert.display(), identity.key.display());
    let admin = free_port()?;
    let (protocol, secure) = match setup {
        Setup::Http { .. } => (
            "http",
            format!(
                "  - {{ name: websecure, bind: \"{tls}\", protocol: https, tls: {{ certificates: [{{ cert: \"{cert}\", key: \"{key}\" }}] }} }}\n"
            ),
        ),
        Setup::Tcp => ("tcp", String::new()),
    };
    let mut yaml = format!(
        "admin: {{ bind: \"{admin}\" }}\nworkers: 1\naccessLog: \"off\"\ngracePeriod: 0s\ndrainTimeout: 1s\n\
         listeners:\n  - {{ name: web, bind: \"{listen}\", protocol: {protocol} }}\n{secure}\
         services:\n  - {{ name: app, endpoints: [{{ address: \"{origin}\" }}] }}\n\
         \x20 - {{ name: grpc, endpoints: [{{ address: \"{grpc}\" }}], appProtocol: grpc }}\nroutes:\n"
    );
    match setup {
        Setup::Http { hosts } => {
            // The host that is asked for has a route of its own, which would go before one for all hosts.
            yaml += "  - { name: grpc, hostnames: [h7.example], rules: [{ matches: [{ path: { type: PathPrefix, value: /weir.origin.v1.Echo } }], backendRefs: [{ name: grpc }] }] }\n";
            for n in 0..hosts {
                writeln!(
                    yaml,
                    "  - {{ name: r{n}, hostnames: [h{n}.example], rules: [{{ backendRefs: [{{ name: app }}] }}] }}"
                )?;
            }
        }
        Setup::Tcp => {
            yaml +=
                "  - { name: all, listeners: [web], rules: [{ backendRefs: [{ name: app }] }] }\n";
        }
    }
    let path = dir.join("weir.yaml");
    std::fs::write(&path, yaml)?;
    Ok(["run", "-c", &path.to_string_lossy()]
        .map(str::to_owned)
        .to_vec())
}
