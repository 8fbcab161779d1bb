//! The configuration: services, a route to each, and a file of endpoints for each.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use tempfile::TempDir;

/// Files in a directory of their own, and the addresses that they name.
pub(crate) struct Scene {
    dir: TempDir,
    endpoints: usize,
    pub(crate) xds: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Scene {
    pub(crate) fn new(services: usize, endpoints: usize) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let (xds, admin) = (free()?, free()?);
        let scene = Self {
            dir,
            endpoints,
            xds,
            admin,
        };
        fs::create_dir(scene.files())?;
        let mut yaml = format!(
            "control: {{ bind: \"{xds}\", insecure: true }}\n\
             admin: {{ bind: \"{admin}\" }}\n\
             discovery: {{ files: {{ directory: {} }} }}\n\
             listeners: [{{ name: web, bind: 127.0.0.1:1 }}]\n",
            scene.files().display()
        );
        let (mut listed, mut routes) = (String::from("services:\n"), String::from("routes:\n"));
        for at in 0..services {
            let name = scene.service(at);
            writeln!(listed, "  - {{ name: {name} }}")?;
            writeln!(
                routes,
                "  - {{ name: {name}, hostnames: [{name}.example], rules: [{{ backendRefs: [{{ name: {name} }}] }}] }}"
            )?;
            scene.change(&name, 0)?;
        }
        yaml += &listed;
        yaml += &routes;
        fs::write(scene.config(), yaml)?;
        Ok(scene)
    }

    pub(crate) fn service(&self, at: usize) -> String {
        format!("svc-{at:04}")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("weir.yaml")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Writes a service's endpoints; the last one is another in each round.
    pub(crate) fn change(&self, service: &str, round: usize) -> anyhow::Result<()> {
        let at: usize = service.trim_start_matches("svc-").parse()?;
        let mut text = format!("service: {service}\nendpoints:\n");
        for i in 0..self.endpoints {
            let port = if i + 1 == self.endpoints {
                9_000 + round
            } else {
                8_080
            };
            writeln!(
                text,
                "  - {{ address: \"10.{}.{}.{i}:{port}\" }}",
                at / 256,
                at % 256
            )?;
        }
        let new = self.dir.path().join("new");
        fs::write(&new, text)?;
        fs::rename(new, self.files().join(format!("{service}.yaml")))?;
        Ok(())
    }

    fn files(&self) -> PathBuf {
        self.dir.path().join("endpoints")
    }
}

/// One file of services with ten endpoints each.
pub(crate) fn one_file(endpoints: usize) -> String {
    let mut text = String::from("listeners: [{ name: web, bind: 127.0.0.1:1 }]\nservices:\n");
    for at in 0..endpoints / 10 {
        let list: Vec<String> = (0..10)
            .map(|i| format!("{{ address: \"10.{}.{}.{i}:80\" }}", at / 256, at % 256))
            .collect();
        text += &format!(
            "  - {{ name: svc-{at}, endpoints: [{}] }}\n",
            list.join(", ")
        );
    }
    text
}

fn free() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
