//! Raw settings of one or several files to [`Settings`].

use std::net::SocketAddr;
use std::path::PathBuf;

use super::{AccessLogFormat, Admin, AdminBind, Settings, control, discovery, mesh, overload};
use crate::Diagnostic;
use crate::compile::{locality, report::Report};
use crate::diagnostic::Place;
use crate::model::{HostPattern, Locality, Source};
use crate::raw::{self, At, Scalar};
use crate::yaml::Lookup;

/// The variable that says where the process runs, for containers and pods of one file.
const LOCALITY: &str = "WEIR_LOCALITY";

/// Takes the settings of each document in turn; a setting given twice is an error and the first stays.
#[derive(Default)]
pub(crate) struct Resolver {
    settings: Settings,
    seen: Vec<(&'static str, Place)>,
    /// Resolved last: what it needs depends on the mesh, wherever that is written.
    control: Option<raw::Control>,
}

impl Resolver {
    /// Takes what a document sets, and warns of what this version does not act on.
    pub(crate) fn take(&mut self, document: &raw::Document, found: &mut Vec<Diagnostic>) {
        if let Some(admin) = &document.admin
            && self.first("admin", &admin.meta.place, found)
        {
            self.settings.admin = resolve_admin(admin, found);
        }
        if let Some(discovery) = &document.discovery {
            self.discovery(discovery, found);
        }
        let s =
            |this: &mut Self, key, place: &Place, found: &mut Vec<_>| this.first(key, place, found);
        if let Some(At { value, place }) = &document.access_log
            && s(self, "accessLog", place, found)
        {
            self.settings.access_log = match value {
                raw::LogFormat::Json => AccessLogFormat::Json,
                raw::LogFormat::Common => AccessLogFormat::Common,
                raw::LogFormat::Combined => AccessLogFormat::Combined,
                raw::LogFormat::Off => AccessLogFormat::Off,
            };
        }
        if let Some(At { value, place }) = &document.workers
            && s(self, "workers", place, found)
        {
            match value {
                1..=1024 => self.settings.workers = Some(usize::from(*value)),
                _ => found.push(Diagnostic::error(place, "workers is from 1 to 1024")),
            }
        }
        if let Some(At { value, place }) = &document.state_dir
            && s(self, "stateDir", place, found)
        {
            self.settings.state_dir = Some(value.clone());
        }
        if let Some(At { value, place }) = &document.history
            && s(self, "history", place, found)
        {
            match usize::try_from(*value) {
                Ok(keep @ 1..=10_000) => self.settings.history = keep,
                _ => found.push(Diagnostic::error(place, "history is from 1 to 10000")),
            }
        }
        if let Some(At { value, place }) = &document.drain_timeout
            && s(self, "drainTimeout", place, found)
        {
            self.settings.drain_timeout = *value;
        }
        if let Some(At { value, place }) = &document.grace_period
            && s(self, "gracePeriod", place, found)
        {
            self.settings.grace_period = *value;
        }
        if let Some(at) = &document.locality
            && s(self, "locality", &at.place, found)
        {
            self.settings.locality = own_locality(at, found);
        }
        if let Some(overload) = &document.overload
            && self.first("overload", &overload.meta.place, found)
        {
            self.settings.overload = overload::resolve(overload, found);
        }
        if let Some(section) = &document.control
            && self.first("control", &section.meta.place, found)
        {
            self.control = Some(section.clone());
        }
        if let Some(section) = &document.mesh
            && !section.is_authorization_alone()
            && self.first("mesh", &section.meta.place, found)
        {
            self.settings.mesh = mesh::resolve(section, found);
        }
        if let Some(later) = &document.rollouts {
            found.push(not_enforced(&later.place, "rollouts"));
        }
    }

    /// What holds in the end, with the environment for what no document set.
    pub(crate) fn finish(mut self, env: Lookup<'_>, found: &mut Vec<Diagnostic>) -> Settings {
        let stated = self.seen.iter().any(|(key, _)| *key == "locality");
        if let Some(text) = env(LOCALITY).filter(|text| !stated && !text.is_empty()) {
            let place = Place::of(Source::Other(LOCALITY.into()));
            match Locality::parse(&text) {
                Ok(locality) => {
                    self.settings.locality = own_locality(&At::new(locality, place), found);
                }
                Err(invalid) => found.push(Diagnostic::error(&place, invalid.to_string())),
            }
        }
        if let Some(section) = &self.control {
            let mesh = self.seen.iter().any(|(key, _)| *key == "mesh");
            self.settings.control = control::resolve(section, mesh, found);
        }
        self.warn_of_mesh(found);
        self.settings
    }

    /// Workloads get their identities where proxies get their configuration.
    fn warn_of_mesh(&self, found: &mut Vec<Diagnostic>) {
        let at = self.seen.iter().find(|(key, _)| *key == "mesh");
        if let Some((_, place)) = at.filter(|_| self.control.is_none()) {
            let message = "mesh without control: no workload can get an identity";
            let help = "add control: { bind: 0.0.0.0:9902 }";
            found.push(Diagnostic::warning(place, message).help(help));
        }
    }

    fn discovery(&mut self, discovery: &raw::Discovery, found: &mut Vec<Diagnostic>) {
        if let Some(docker) = &discovery.docker
            && self.first("discovery.docker", &docker.meta.place, found)
        {
            self.settings.docker = Some(discovery::docker(docker, found));
        }
        if let Some(swarm) = &discovery.swarm
            && self.first("discovery.swarm", &swarm.meta.place, found)
        {
            self.settings.swarm = Some(discovery::swarm(swarm, found));
        }
        if let Some(files) = &discovery.files
            && self.first("discovery.files", &files.meta.place, found)
        {
            self.settings.endpoint_files = discovery::files(files, found);
        }
        for lookup in discovery.dns.iter().flatten() {
            discovery::dns(lookup, &mut self.settings.dns, found);
        }
        for (later, name) in [
            (&discovery.kubernetes, "discovery.kubernetes"),
            (&discovery.consul, "discovery.consul"),
            (&discovery.etcd, "discovery.etcd"),
        ] {
            if let Some(later) = later {
                found.push(not_enforced(&later.place, name));
            }
        }
    }

    fn first(&mut self, key: &'static str, place: &Place, found: &mut Vec<Diagnostic>) -> bool {
        match self.seen.iter().find(|(seen, _)| *seen == key) {
            Some((_, before)) => {
                let message = format!("{key} is set twice, first at {}", before.source);
                found.push(
                    Diagnostic::error(place, message).help("the first is kept; remove one of them"),
                );
                false
            }
            None => {
                self.seen.push((key, place.clone()));
                true
            }
        }
    }
}

fn own_locality(at: &At<Locality>, found: &mut Vec<Diagnostic>) -> Option<Locality> {
    let mut report = Report::default();
    let place = locality::place(at, &mut report);
    found.append(&mut report.found);
    place
}

/// A known field without effect in this version: never ignored in silence.
pub(crate) fn not_enforced(place: &Place, name: &str) -> Diagnostic {
    Diagnostic::warning(
        place,
        format!("{name} is read but not enforced by this version"),
    )
}

fn resolve_admin(raw: &raw::Admin, found: &mut Vec<Diagnostic>) -> Admin {
    let mut admin = Admin::default();
    if let Some(bind) = &raw.bind {
        match parse_bind(&bind.value) {
            Ok(value) => admin.bind = value,
            Err(diagnostic) => found.push(diagnostic(&bind.place)),
        }
        if let AdminBind::Tcp(address) = &admin.bind
            && !address.ip().to_canonical().is_loopback()
        {
            let message =
                format!("the admin server on {address} can be reached from other machines");
            let help = "everybody there can read the configuration and metrics; bind 127.0.0.1 or unix:///path, or let a firewall guard it";
            found.push(Diagnostic::warning(&bind.place, message).help(help));
        }
    }
    admin.token_file = token_file(raw, found);
    for host in raw.hosts.iter().flatten() {
        match HostPattern::parse(&host.value) {
            Ok(Some(HostPattern::Exact(name))) => admin.hosts.push(name.to_string()),
            Ok(_) => found.push(Diagnostic::error(
                &host.place,
                "a host of the admin server has no star",
            )),
            Err(invalid) => found.push(Diagnostic::error(&host.place, invalid.to_string())),
        }
    }
    admin
}

fn parse_bind(text: &str) -> Result<AdminBind, impl FnOnce(&Place) -> Diagnostic> {
    if let Some(path) = text.strip_prefix("unix://") {
        let absolute = path.starts_with('/') && !path.contains('\0');
        return match absolute {
            true => Ok(AdminBind::Unix(PathBuf::from(path))),
            false => Err(refuse(
                format!("{text:?} has no absolute path"),
                Some("write unix:///run/weir.sock".into()),
            )),
        };
    }
    let text = text.strip_prefix("http://").unwrap_or(text);
    SocketAddr::parse(text)
        .map(AdminBind::Tcp)
        .map_err(|refused| refuse(refused.message, refused.help))
}

fn refuse(message: String, help: Option<String>) -> impl FnOnce(&Place) -> Diagnostic {
    move |place| {
        let mut diagnostic = Diagnostic::error(place, message);
        diagnostic.help = help;
        diagnostic
    }
}

/// `tokenFile: /path` and `token: file:/path` are the same; a token in the text itself is refused and
/// never repeated in the message.
fn token_file(raw: &raw::Admin, found: &mut Vec<Diagnostic>) -> Option<PathBuf> {
    let from_token = raw.token.as_ref().and_then(|token| {
        let path = token
            .value
            .strip_prefix("file:")
            .filter(|path| !path.is_empty());
        if path.is_none() {
            let help =
                "write the token to a file and name it, as in token: file:/run/secrets/weir-token";
            found.push(
                Diagnostic::error(&token.place, "a token is not written in the configuration")
                    .help(help),
            );
        }
        path.map(PathBuf::from)
    });
    match (&raw.token_file, from_token) {
        (Some(file), Some(_)) => {
            found.push(Diagnostic::error(
                &file.place,
                "tokenFile and token are both given; keep one",
            ));
            Some(file.value.clone())
        }
        (Some(file), None) => Some(file.value.clone()),
        (None, from_token) => from_token,
    }
}
