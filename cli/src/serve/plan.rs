//! What is going to run: settings of the files with those of the command line over them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use weir_config::model::Source;
use weir_config::settings::{AccessLogFormat, AdminBind, DockerSettings, Settings, SwarmSettings};
use weir_config::{Diagnostic, Fragment, diagnostic, file};

use crate::exit::{Exit, Failure};

/// Where a Weir without listeners of its own listens.
const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080);

/// What the command line says; `None` and empty mean that it says nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overlay {
    pub(crate) files: Vec<PathBuf>,
    /// `--docker`, with the endpoint where one was given.
    pub(crate) docker: Option<Option<String>>,
    /// `--swarm`, likewise.
    pub(crate) swarm: Option<Option<String>>,
    pub(crate) network: Option<String>,
    pub(crate) listen: Vec<SocketAddr>,
    /// As `listen`, over TLS with a certificate for development.
    pub(crate) https: Vec<SocketAddr>,
    pub(crate) admin: Option<AdminBind>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) access_log: Option<AccessLogFormat>,
    pub(crate) workers: Option<usize>,
    pub(crate) state_dir: Option<PathBuf>,
}

/// Everything that [`super::run`] needs.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    /// The settings of the files alone, to notice a change that needs a restart.
    pub(crate) file_settings: Option<Settings>,
    /// Listeners of the command line.
    pub(crate) base: Fragment,
    pub(crate) files: Vec<PathBuf>,
    pub(crate) workers: usize,
    /// Findings that do not keep it from starting.
    pub(crate) warnings: Vec<Diagnostic>,
    pub(crate) texts: diagnostic::Files,
}

impl Plan {
    /// Reads the files and lays the command line over them.
    ///
    /// # Errors
    /// Exit code 3 with all findings, rendered, when the configuration has errors.
    pub(crate) fn make(overlay: Overlay, color: bool) -> Result<Self, Failure> {
        let mut loaded = file::load(&overlay.files);
        let file_settings = (!overlay.files.is_empty()).then(|| loaded.settings.clone());
        let base = listeners(&overlay, loaded.fragment.listeners.is_empty());
        apply(&mut loaded.settings, overlay.clone());
        loaded.fragment.merge(base.clone());
        let checked = weir_config::check(&loaded);
        if checked.has_errors() {
            let findings = diagnostic::render(&checked.diagnostics, color, &loaded.files);
            let message = format!("the configuration has errors\n\n{}", findings.trim_end());
            return Err(Failure::new(Exit::Invalid, message));
        }
        Ok(Self {
            workers: loaded.settings.workers.unwrap_or_else(cpus),
            settings: loaded.settings,
            file_settings,
            base,
            files: overlay.files,
            warnings: checked.diagnostics,
            texts: loaded.files,
        })
    }
}

/// The listeners of `--listen` and `--https`; without any, and none in the files, the default one.
fn listeners(overlay: &Overlay, none_in_files: bool) -> Fragment {
    let mut plain = overlay.listen.clone();
    if plain.is_empty() && overlay.https.is_empty() && none_in_files {
        plain.push(DEFAULT_LISTEN);
    }
    // `web` and `websecure` are the names that labels and examples use; a file's own listeners may use them too.
    let name = |first: &str, option: &str, i: usize| match (i, none_in_files) {
        (0, true) => first.to_owned(),
        _ => format!("{option}-{}", i + 1),
    };
    let source = |option: &str, address| Source::Other(format!("--{option} {address}").into());
    let mut base = Fragment::default();
    for (i, address) in plain.into_iter().enumerate() {
        let (name, source) = (name("web", "listen", i), source("listen", address));
        base.merge(Fragment::with_listener(&name, address, source));
    }
    for (i, address) in overlay.https.iter().enumerate() {
        let (name, source) = (name("websecure", "https", i), source("https", *address));
        base.merge(Fragment::with_self_signed_listener(&name, *address, source));
    }
    base
}

fn apply(settings: &mut Settings, overlay: Overlay) {
    // Without a file and without an address to ask, labels are all there can be.
    let asks_swarm = overlay.swarm.is_some() || settings.swarm.is_some();
    let unsaid = !asks_swarm && (overlay.network.is_some() || overlay.files.is_empty());
    if let Some(endpoint) = overlay.swarm {
        let swarm = settings.swarm.get_or_insert_with(SwarmSettings::default);
        if let Some(endpoint) = endpoint {
            swarm.endpoint = endpoint;
        }
    }
    if let Some(swarm) = &mut settings.swarm
        && overlay.network.is_some()
    {
        swarm.network.clone_from(&overlay.network);
    }
    if overlay.docker.is_some() || unsaid || settings.docker.is_some() {
        let docker = settings.docker.get_or_insert_with(DockerSettings::default);
        if let Some(Some(endpoint)) = overlay.docker {
            docker.endpoint = endpoint;
        }
        if overlay.network.is_some() {
            docker.network = overlay.network;
        }
    }
    if let Some(bind) = overlay.admin {
        settings.admin.bind = bind;
    }
    if overlay.token_file.is_some() {
        settings.admin.token_file = overlay.token_file;
    }
    if let Some(format) = overlay.access_log {
        settings.access_log = format;
    }
    settings.workers = overlay.workers.or(settings.workers);
    settings.state_dir = overlay.state_dir.or(settings.state_dir.take());
}

/// The CPUs that this process may use: affinity and cgroup quota respected (as `std` finds them).
fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weir.yaml");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn without_a_file_it_is_labels_and_one_listener() {
        let plan = Plan::make(Overlay::default(), false).unwrap();
        assert!(plan.settings.docker.is_some());
        assert_eq!(plan.base.listeners.len(), 1);
        let compiled = weir_config::compile(&[plan.base]);
        assert_eq!(compiled.model.listeners[0].bind, DEFAULT_LISTEN);
        assert_eq!(compiled.model.listeners[0].name.as_str(), "web");
    }

    #[test]
    fn listeners_of_the_command_line_are_named_so_that_no_file_is_in_the_way() {
        let (_dir, path) = file("listeners: [{ name: web, bind: 127.0.0.1:8081 }]\n");
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let names = |files: &[PathBuf], listen: &[u16], https: &[u16]| {
            let overlay = Overlay {
                files: files.to_vec(),
                listen: listen.iter().map(|port| address(*port)).collect(),
                https: https.iter().map(|port| address(*port)).collect(),
                ..Overlay::default()
            };
            let plan = Plan::make(overlay, false).unwrap();
            let compiled = weir_config::compile(&[plan.base]);
            assert_eq!(compiled.diagnostics, []);
            let listeners = compiled.model.listeners.iter();
            listeners
                .map(|l| format!("{}:{}:{}", l.name, l.bind.port(), l.tls.is_some()))
                .collect::<Vec<_>>()
        };
        for (files, listen, https, expected) in [
            (
                &[][..],
                &[1, 2][..],
                &[][..],
                &["listen-2:2:false", "web:1:false"][..],
            ),
            (
                &[],
                &[1],
                &[2, 3],
                &["https-2:3:true", "web:1:false", "websecure:2:true"],
            ),
            // Who asks for TLS alone gets nothing else.
            (&[], &[], &[2], &["websecure:2:true"]),
            (&[path], &[1], &[2], &["https-1:2:true", "listen-1:1:false"]),
        ] {
            assert_eq!(names(files, listen, https), expected);
        }
    }

    #[test]
    fn a_file_with_listeners_gets_no_other_and_no_discovery() {
        let (_dir, path) = file("listeners: [{ name: web, bind: 127.0.0.1:8081 }]\n");
        let plan = Plan::make(
            Overlay {
                files: vec![path],
                ..Overlay::default()
            },
            false,
        )
        .unwrap();
        assert!(plan.base.is_empty());
        assert!(plan.settings.docker.is_none());
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let (_dir, path) = file("workers: 3\nadmin: { bind: 127.0.0.1:9000 }\n");
        let bind = AdminBind::Tcp(([127, 0, 0, 1], 9001).into());
        let overlay = Overlay {
            files: vec![path],
            docker: Some(Some("tcp://127.0.0.1:2375".into())),
            admin: Some(bind.clone()),
            workers: Some(1),
            ..Overlay::default()
        };
        let plan = Plan::make(overlay, false).unwrap();
        assert_eq!(plan.settings.admin.bind, bind);
        assert_eq!(plan.workers, 1);
        assert_eq!(
            plan.settings.docker.unwrap().endpoint,
            "tcp://127.0.0.1:2375"
        );
        assert_eq!(plan.file_settings.unwrap().workers, Some(3));
    }

    #[test]
    fn a_swarm_is_asked_in_place_of_the_engine_or_beside_it() {
        let with = |docker: Option<Option<String>>| {
            let overlay = Overlay {
                swarm: Some(None),
                docker,
                network: Some("edge".into()),
                ..Overlay::default()
            };
            Plan::make(overlay, false).unwrap().settings
        };
        let alone = with(None);
        assert!(alone.docker.is_none());
        assert_eq!(alone.swarm.unwrap().network.as_deref(), Some("edge"));
        let both = with(Some(None));
        assert_eq!(both.docker.unwrap().network.as_deref(), Some("edge"));
        assert!(both.swarm.is_some());
    }

    #[test]
    fn a_broken_file_is_refused_with_all_that_is_wrong() {
        let (_dir, path) = file("listners: []\nroutes: [{ nam: x }]\n");
        let failure = Plan::make(
            Overlay {
                files: vec![path],
                ..Overlay::default()
            },
            false,
        )
        .unwrap_err();
        assert_eq!(failure.exit, Exit::Invalid);
        let text = failure.to_string();
        assert!(text.contains("listners") && text.contains("nam"), "{text}");
    }
}
