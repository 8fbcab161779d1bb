//! Configuration files for the tests, written as a person would write them.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::origin::Origin;
use crate::pki::Files;

/// The addresses a started `weir` was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    pub listen: SocketAddr,
    pub admin: SocketAddr,
}

/// One configuration, rendered once its ports are known.
#[derive(Debug, Clone)]
pub struct Setup {
    workers: usize,
    access_log: &'static str,
    top: String,
    protocol: &'static str,
    listener: String,
    services: String,
    routes: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

impl Setup {
    /// One worker, one listener named `web`, no access log; no service and no route yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            workers: 1,
            access_log: "off",
            top: String::new(),
            protocol: "http",
            listener: String::new(),
            services: String::new(),
            routes: String::new(),
        }
    }

    /// Everything to one origin: service `app`, route `app`.
    #[must_use]
    pub fn to(origin: &Origin) -> Self {
        Self::new()
            .service("app", &[("stable", origin.addr())])
            .route("app", "backendRefs: [{ name: app }]")
    }

    /// The number of workers.
    #[must_use]
    pub fn workers(mut self, count: usize) -> Self {
        self.workers = count;
        self
    }

    /// The access log's format.
    #[must_use]
    pub fn access_log(mut self, format: &'static str) -> Self {
        self.access_log = format;
        self
    }

    /// One more line at the top level.
    #[must_use]
    pub fn top(mut self, line: &str) -> Self {
        self.top.push_str(line);
        self.top.push('\n');
        self
    }

    /// What the listener speaks.
    #[must_use]
    pub fn protocol(mut self, protocol: &'static str) -> Self {
        self.protocol = protocol;
        self
    }

    /// A listener over TLS with these certificates, the first of them the default.
    #[must_use]
    pub fn https(self, certificates: &[&Files]) -> Self {
        self.https_with(certificates, "")
    }

    /// As [`Setup::https`], with more keys of `tls` in YAML's flow style: `minVersion: "1.3"`.
    #[must_use]
    pub fn https_with(self, certificates: &[&Files], keys: &str) -> Self {
        let list: Vec<String> = certificates
            .iter()
            .map(|files| {
                let (cert, key) = (files.cert.display(), files.key.display());
                format!("{{ cert: \"{cert}\", key: \"{key}\" }}")
            })
            .collect();
        let keys = match keys {
            "" => String::new(),
            keys => format!(", {keys}"),
        };
        let tls = format!("tls: {{ certificates: [{}]{keys} }}", list.join(", "));
        self.protocol("https").listener(&tls)
    }

    /// A route of the listener alone, as streams need it.
    #[must_use]
    pub fn stream(self, name: &str, rule: &str) -> Self {
        self.rules(name, "listeners: [web]", &[rule])
    }

    /// More keys of the listener, in YAML's flow style: `limits: { headTimeout: 1s }`.
    #[must_use]
    pub fn listener(mut self, keys: &str) -> Self {
        write!(self.listener, ", {keys}").expect("write to a string");
        self
    }

    /// A service with these versions and addresses.
    #[must_use]
    pub fn service(self, name: &str, endpoints: &[(&str, SocketAddr)]) -> Self {
        self.service_with(name, endpoints, "")
    }

    /// As [`Setup::service`], with more keys in YAML's flow style.
    #[must_use]
    pub fn service_with(self, name: &str, endpoints: &[(&str, SocketAddr)], keys: &str) -> Self {
        let list: Vec<String> = endpoints
            .iter()
            .map(|(version, addr)| format!("address: \"{addr}\", version: {version}"))
            .collect();
        self.service_of(name, &list, keys)
    }

    /// As [`Setup::service_with`], with each endpoint as its keys in YAML's flow style.
    #[must_use]
    pub fn service_of(mut self, name: &str, endpoints: &[String], keys: &str) -> Self {
        let list: Vec<String> = endpoints
            .iter()
            .map(|keys| format!("{{ {keys} }}"))
            .collect();
        let keys = if keys.is_empty() {
            String::new()
        } else {
            format!(", {keys}")
        };
        writeln!(
            self.services,
            "  - {{ name: {name}, endpoints: [{}]{keys} }}",
            list.join(", ")
        )
        .expect("write to a string");
        self
    }

    /// A route for every host with one rule, given as its keys in YAML's flow style.
    #[must_use]
    pub fn route(self, name: &str, rule: &str) -> Self {
        self.rules(name, "", &[rule])
    }

    /// A route with more keys (`hostnames: [a.example]`) and these rules.
    #[must_use]
    pub fn rules(mut self, name: &str, keys: &str, rules: &[&str]) -> Self {
        let keys = if keys.is_empty() {
            String::new()
        } else {
            format!(", {keys}")
        };
        let rules: Vec<String> = rules.iter().map(|rule| format!("{{ {rule} }}")).collect();
        writeln!(
            self.routes,
            "  - {{ name: {name}{keys}, rules: [{}] }}",
            rules.join(", ")
        )
        .expect("write to a string");
        self
    }

    /// The YAML.
    #[must_use]
    pub fn render(&self, ports: Ports) -> String {
        let Self {
            workers,
            access_log,
            top,
            protocol,
            listener,
            services,
            routes,
        } = self;
        let Ports { listen, admin } = ports;
        let mut yaml = format!(
            "admin: {{ bind: \"{admin}\" }}\nworkers: {workers}\naccessLog: {access_log}\n{top}"
        );
        writeln!(
            yaml,
            "listeners:\n  - {{ name: web, bind: \"{listen}\", protocol: {protocol}{listener} }}"
        )
        .expect("write to a string");
        for (key, list) in [("services", services), ("routes", routes)] {
            if !list.is_empty() {
                write!(yaml, "{key}:\n{list}").expect("write to a string");
            }
        }
        yaml
    }
}
