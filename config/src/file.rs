//! Configuration files: reading them, one or many, with every mistake of every file.

mod applied;
mod foreign;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Files, Place};
use crate::model::{ServiceName, Source, TrustDomain};
use crate::raw::read::{Read, Reader};
use crate::raw::{
    AuthorizationPolicy, DestinationRule, Discovery, Document, PeerAuthentication, Service,
};
use crate::references::disk;
use crate::settings::{Resolver, Settings};
use crate::yaml::{self, Node};
use crate::{Fragment, diagnostic};

pub use applied::{document_name, document_path, is_document, parse_document};
use foreign::Recognised;

/// What files said, and what is wrong with them so far: [`crate::compile()`] finds the rest.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    pub settings: Settings,
    pub fragment: Fragment,
    pub diagnostics: Vec<Diagnostic>,
    /// The texts, for [`diagnostic::render`].
    pub files: Files,
}

impl Loaded {
    /// Whether anything could not be read.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        diagnostic::has_errors(&self.diagnostics)
    }
}

/// Reads files and directories (their `*.yaml` and `*.yml`, in the order of names, hidden ones left out).
///
/// A file that cannot be read is a diagnostic, not a failure: the others are still checked.
#[must_use]
pub fn load(paths: &[PathBuf]) -> Loaded {
    let mut loading = Loading::default();
    for path in paths {
        match expand(path) {
            Ok(files) => files.iter().for_each(|file| loading.file(file)),
            Err(error) => loading.unreadable(path, &error),
        }
    }
    let mut loaded = loading.finish(&|name| std::env::var(name).ok());
    loaded.fragment.look_up(&disk);
    loaded
}

/// Reads one text as if it stood in the file of that name.
#[must_use]
pub fn parse(path: &Path, text: &str) -> Loaded {
    let mut loaded = parse_with(path, text, &|name| std::env::var(name).ok());
    loaded.fragment.look_up(&disk);
    loaded
}

/// As [`parse()`], with the environment as a function: a test's own, or none at all. No other file is looked at: the
/// fragment says for itself what it needs ([`Fragment::look_up`]).
#[must_use]
pub fn parse_with(path: &Path, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Loaded {
    let mut loading = Loading::default();
    loading.text(path, text.into(), env);
    loading.finish(env)
}

fn expand(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        let hidden = file
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let yaml = file
            .extension()
            .is_some_and(|ext| ext == "yaml" || ext == "yml");
        if yaml && !hidden && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

#[derive(Default)]
struct Loading {
    loaded: Loaded,
    resolver: Resolver,
    /// What is read came through the API.
    applied: bool,
}

impl Loading {
    fn file(&mut self, path: &Path) {
        match read_bounded(path) {
            Ok(text) => self.text(path, text.into(), &|name| std::env::var(name).ok()),
            Err(error) => self.unreadable(path, &error),
        }
    }

    fn unreadable(&mut self, path: &Path, error: &std::io::Error) {
        let place = Place::of(Source::Other(path.display().to_string().into()));
        let message = format!("{} cannot be read: {error}", path.display());
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "check the path; it is taken from the directory Weir was started in"
            }
            std::io::ErrorKind::PermissionDenied => "let the user that Weir runs as read it",
            _ => "a configuration is a file of YAML text in UTF-8, at most 8 MiB",
        };
        self.loaded
            .diagnostics
            .push(Diagnostic::error(&place, message).help(help));
    }

    fn text(&mut self, path: &Path, text: Arc<str>, env: yaml::Lookup<'_>) {
        let name: Arc<str> = path.display().to_string().into();
        let parsed = yaml::parse(&name, &text, env);
        self.loaded.files.insert(Arc::clone(&name), text);
        self.loaded.diagnostics.extend(parsed.diagnostics);
        for node in &parsed.documents {
            let mut reader = Reader::new(Arc::clone(&name), &mut self.loaded.diagnostics);
            match foreign::recognise(node, &mut reader) {
                Recognised::Weir => self.document(node, &name),
                Recognised::DestinationRule => {
                    let rule = DestinationRule::read(node, &mut reader);
                    self.loaded.fragment.destination_rules.extend(rule);
                }
                Recognised::AuthorizationPolicy => {
                    let policy = AuthorizationPolicy::read(node, &mut reader);
                    self.loaded.fragment.authorization_policies.extend(policy);
                }
                Recognised::PeerAuthentication => {
                    let peers = PeerAuthentication::read(node, &mut reader);
                    self.loaded.fragment.peer_authentications.extend(peers);
                }
                Recognised::Refused => {}
            }
        }
    }

    fn document(&mut self, node: &Node, name: &Arc<str>) {
        let mut reader = Reader::new(Arc::clone(name), &mut self.loaded.diagnostics);
        if self.applied {
            applied::check_keys(node, &mut reader);
        }
        let Some(document) = Document::read(node, &mut reader) else {
            return;
        };
        self.resolver.take(&document, &mut self.loaded.diagnostics);
        let looked_up = expected(document.discovery.as_ref());
        self.loaded.fragment.services.extend(looked_up);
        let mesh = document.mesh.unwrap_or_default();
        let trust_domain = mesh.trust_domain.as_ref();
        self.loaded.fragment.merge(Fragment {
            trust_domain: trust_domain.and_then(|at| TrustDomain::new(&at.value).ok()),
            authorizations: mesh.authorization.unwrap_or_default(),
            listeners: document.listeners.unwrap_or_default(),
            services: document.services.unwrap_or_default(),
            routes: document.routes.unwrap_or_default(),
            tracing: document.tracing.into_iter().collect(),
            ..Fragment::default()
        });
    }

    fn finish(self, env: yaml::Lookup<'_>) -> Loaded {
        let mut loaded = self.loaded;
        loaded.settings = self.resolver.finish(env, &mut loaded.diagnostics);
        loaded
    }
}

/// The services of lookups, without endpoints as yet: routes may name them before the first answer.
fn expected(discovery: Option<&Discovery>) -> impl Iterator<Item = Service> {
    let lookups = discovery.and_then(|discovery| discovery.dns.as_ref());
    let whole = lookups
        .into_iter()
        .flatten()
        .filter(|lookup| !lookup.meta.broken);
    whole.filter_map(|lookup| {
        let name = lookup.service.as_ref()?;
        ServiceName::new(&name.value).ok()?;
        Some(Service {
            meta: lookup.meta.clone(),
            name: Some(name.clone()),
            discovered: true,
            ..Service::default()
        })
    })
}

/// Never takes more of a file into memory than is read at most.
pub(crate) fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::{Error, ErrorKind, Read as _};
    let mut bytes = Vec::new();
    let limit = yaml::MAX_BYTES as u64;
    std::fs::File::open(path)?
        .take(limit + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(Error::new(
            ErrorKind::FileTooLarge,
            "it is larger than 8 MiB",
        ));
    }
    String::from_utf8(bytes).map_err(|_| Error::new(ErrorKind::InvalidData, "it is not UTF-8 text"))
}
