//! What the demo puts on disk, and what it says.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use crate::client::AdminAddress;
use crate::exit::Failure;
use crate::output::{Printer, Tone};
use crate::serve::Started;

/// The ports that a person sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) web: u16,
    pub(super) admin: u16,
    /// Of the proxy over TLS, where that is wanted.
    pub(super) secure: Option<u16>,
}

/// A directory with the configuration and the state; it goes away with the value.
pub(super) struct Scene {
    directory: PathBuf,
    ports: Ports,
}

/// An address that only this machine reaches.
pub(super) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// The port, if nobody has it, else a free one.
///
/// # Errors
/// When there is no free port at all.
pub(super) fn free(port: u16) -> Result<u16, Failure> {
    let listener = TcpListener::bind(loopback(port)).or_else(|_| TcpListener::bind(loopback(0)))?;
    Ok(listener.local_addr()?.port())
}

impl Scene {
    /// Writes the configuration into a new directory that only this user may enter.
    ///
    /// # Errors
    /// When the directory for temporary files cannot be written to.
    pub(super) fn write(ports: Ports, [stable, canary]: [SocketAddr; 2]) -> Result<Self, Failure> {
        let directory = std::env::temp_dir().join(format!("weir-demo-{}", std::process::id()));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(|e| {
                Failure::runtime(format!("cannot make {}: {e}", directory.display()))
                    .help("set TMPDIR to a directory that you may write to")
            })?;
        let scene = Self { directory, ports };
        std::fs::write(scene.config(), yaml(ports, stable, canary))?;
        Ok(scene)
    }

    pub(super) fn config(&self) -> PathBuf {
        self.directory.join("weir.yaml")
    }

    pub(super) fn state_dir(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// What to look at and what to try.
    pub(super) fn welcome(&self, wanted: Ports, started: &Started, printer: Printer) -> String {
        let (web, admin) = (
            format!("http://{}", loopback(self.ports.web)),
            &started.admin,
        );
        let weir = program(admin);
        let bold = |text: &str| printer.paint(Tone::Bold, text);
        let mut out = format!("\n{}\n\n", bold("Two versions of a shop behind one proxy"));
        let secure = wanted.secure.zip(self.ports.secure);
        let taken = [
            ("proxy", wanted.web, self.ports.web),
            ("admin", wanted.admin, self.ports.admin),
        ];
        let taken_too = secure.map(|(port, got)| ("proxy over TLS", port, got));
        for (what, port, got) in taken.into_iter().chain(taken_too) {
            if port != got && port != 0 {
                let text = format!("port {port} is taken: the {what} is on {got}");
                let _ = writeln!(out, "  {}\n", printer.paint(Tone::Warn, &text));
            }
        }
        let (over_tls, try_tls) = match self.ports.secure {
            Some(port) => (
                format!(
                    "  over TLS    https://localhost:{port}/    with a certificate that nobody trusts\n"
                ),
                format!("  curl -k https://localhost:{port}/\n"),
            ),
            None => Default::default(),
        };
        let _ = write!(
            out,
            "  proxy       {web}/    90% stable, 10% canary
{over_tls}  dashboard   {admin}/
  config      {}    edit and save it: in force at once

{}

  curl {web}/
  for i in $(seq 20); do curl -s {web}/; done | sort | uniq -c
  curl -H 'x-canary: always' {web}/
{try_tls}  {weir} canary set shop canary=25
  {weir} canary get shop
  {weir} explain GET {web}/ -H 'x-canary: always'
  {weir} status

{}
",
            self.config().display(),
            bold("Try, in another terminal:"),
            printer.paint(Tone::Dim, "Ctrl-C ends it."),
        );
        out
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// How this program was called, so that a line can be copied as it stands.
fn program(admin: &str) -> String {
    let called = std::env::args().next().unwrap_or_default();
    let weir = if called.contains('/') {
        called
    } else {
        "weir".into()
    };
    match admin == AdminAddress::default().to_string() {
        true => weir,
        false => format!("{weir} --admin {admin}"),
    }
}

fn yaml(ports: Ports, stable: SocketAddr, canary: SocketAddr) -> String {
    let web = ports.web;
    let secure = ports.secure.map_or_else(String::new, |port| {
        format!(
            "  - {{ name: websecure, bind: 127.0.0.1:{port}, protocol: https, tls: {{ selfSigned: true }} }}\n"
        )
    });
    format!(
        "# The configuration of `weir demo`. Edit and save it: changes are in force at once.
listeners:
  - {{ name: web, bind: 127.0.0.1:{web} }}
{secure}
services:
  - name: shop
    endpoints:
      - {{ address: {stable}, version: stable }}
      - {{ address: {canary}, version: canary }}

routes:
  - name: shop
    rules:
      # `curl -H 'x-canary: always'` sees the canary at any weight.
      - matches: [{{ headers: [{{ name: x-canary, value: always }}] }}]
        backendRefs: [{{ name: shop, version: canary }}]
      - backendRefs:
          - {{ name: shop, version: stable, weight: 90 }}
          - {{ name: shop, version: canary, weight: 10 }}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_of_the_demo_has_no_finding() {
        for (secure, listeners) in [(None, 1), (Some(8443), 2)] {
            let ports = Ports {
                web: 8080,
                admin: 9900,
                secure,
            };
            let text = yaml(ports, loopback(9001), loopback(9002));
            let loaded = weir_config::file::parse(std::path::Path::new("weir.yaml"), &text);
            let checked = weir_config::check(&loaded);
            assert_eq!(checked.diagnostics, [], "{text}");
            assert_eq!(checked.model.listeners.len(), listeners);
            assert_eq!(checked.model.services[0].endpoints.len(), 2);
            assert_eq!(checked.model.routes[0].rules.len(), 2);
        }
    }

    #[test]
    fn a_taken_port_is_replaced_by_a_free_one() {
        let holder = TcpListener::bind(loopback(0)).unwrap();
        let taken = holder.local_addr().unwrap().port();
        assert_ne!(free(taken).unwrap(), taken);
    }

    #[test]
    fn the_scene_is_removed_when_the_demo_ends() {
        let ports = Ports {
            web: 1,
            admin: 2,
            secure: None,
        };
        let scene = Scene::write(ports, [loopback(3), loopback(4)]).unwrap();
        let config = scene.config();
        assert!(config.exists());
        drop(scene);
        assert!(!config.exists());
    }
}
