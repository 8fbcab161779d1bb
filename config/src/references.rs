//! The files that a configuration refers to: certificates, keys, authorities, secrets.
//!
//! They are read in one place, before compiling, and travel with the [`Fragment`] that names them: compiling opens no
//! file, and two states of a configuration are equal only if what it refers to is. A file that cannot be read is kept as
//! why it cannot; the compiler reports it where the configuration names it.
//!
//! Labels name no files, because whoever starts a container is not trusted with this machine's files.

mod read;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Fragment;
use crate::diagnostic::Place;
use crate::raw;

pub use read::disk;

/// Prefix of a value that is what a file holds.
pub(crate) const FILE: &str = "file:";

/// What stands at a path.
#[derive(Clone, PartialEq, Eq)]
pub enum Held {
    /// A file.
    File {
        bytes: Arc<[u8]>,
        /// Its group or others may read it.
        exposed: bool,
    },
    /// A directory, by the names of what is in it, in order.
    Directory(Vec<String>),
    /// It cannot be read, for this reason.
    Unreadable(Unreadable),
}

impl fmt::Debug for Held {
    /// Never what a file holds: it may be a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { bytes, .. } => write!(f, "File({} bytes)", bytes.len()),
            Self::Directory(names) => write!(f, "Directory({names:?})"),
            Self::Unreadable(why) => write!(f, "Unreadable({why})"),
        }
    }
}

/// Why something cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("there is no such file")]
    Missing,
    #[error("this user may not read it")]
    Denied,
    #[error("it is larger than 1 MiB")]
    TooLarge,
    #[error("{0}")]
    Other(String),
}

impl Unreadable {
    /// What to look at next.
    pub(crate) fn help(&self) -> &'static str {
        match self {
            Self::Missing => {
                "check the path; a relative one is taken from the directory Weir was started in"
            }
            Self::Denied => "let the user that Weir runs as read it, and enter its directories",
            Self::TooLarge => "it is no certificate, key or list of authorities",
            Self::Other(_) => "check that it is a plain file",
        }
    }
}

/// What was found at each path that a fragment names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct References(BTreeMap<PathBuf, Held>);

impl References {
    /// Looks at each path, and at the pairs in each directory.
    pub fn of<P: AsRef<Path>>(
        paths: impl IntoIterator<Item = P>,
        look: &dyn Fn(&Path) -> Held,
    ) -> Self {
        let mut found = BTreeMap::new();
        for path in paths {
            let path = path.as_ref();
            let held = look(path);
            if let Held::Directory(names) = &held {
                for pair in Pair::all(path, names) {
                    for file in pair.files() {
                        found.insert(file.to_owned(), look(file));
                    }
                }
            }
            found.insert(path.to_owned(), held);
        }
        Self(found)
    }

    /// Takes what another found at the paths that are known here: a configuration that is refused does not hold back
    /// the certificates of the one in force. Other paths of the same directories are taken too.
    pub fn renew(&mut self, other: &Self) {
        let directories: Vec<PathBuf> = self
            .0
            .iter()
            .filter(|(_, held)| matches!(held, Held::Directory(_)))
            .map(|(path, _)| path.clone())
            .collect();
        for (path, held) in &other.0 {
            let inside = path
                .parent()
                .is_some_and(|at| directories.iter().any(|dir| dir == at));
            if inside || self.0.contains_key(path) {
                self.0.insert(path.clone(), held.clone());
            }
        }
    }

    /// What stands at a path; `None` if nobody looked.
    #[must_use]
    pub fn get(&self, path: &Path) -> Option<&Held> {
        self.0.get(path)
    }

    /// Every path that was looked at, in order.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// Takes in what another found.
    pub fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

impl Fragment {
    /// Looks anew at every file and directory that the fragment names, with `look` in place of the file system; see
    /// [`disk`].
    pub fn look_up(&mut self, look: &dyn Fn(&Path) -> Held) {
        let mut paths: Vec<PathBuf> = self
            .files_named()
            .into_iter()
            .map(|(path, _)| path.to_owned())
            .collect();
        paths.sort();
        paths.dedup();
        self.references = References::of(paths, look);
    }

    /// Every file and directory that the fragment names, and where it does.
    #[must_use]
    pub fn files_named(&self) -> Vec<(&Path, &Place)> {
        let mut files = Files::default();
        for tls in self.listeners.iter().filter_map(|l| l.tls.as_deref()) {
            tls.certificates
                .iter()
                .flatten()
                .for_each(|certificate| files.certificate(certificate));
            let hosts = tls.hosts.iter().flatten();
            let auths = hosts.filter_map(|host| host.client_auth.as_ref());
            for auth in auths.chain(&tls.client_auth) {
                files.add(&auth.ca);
            }
        }
        for tls in self.services.iter().filter_map(|s| s.tls.as_deref()) {
            let validation = tls.validation.as_ref();
            let authorities = validation.and_then(|v| v.ca_certificates.as_ref());
            files.0.extend(authorities.into_iter().flatten().map(named));
            if let Some(certificate) = &tls.client_certificate {
                files.certificate(certificate);
            }
        }
        for tls in self.destination_rules.iter().flat_map(client_tls) {
            files.add(&tls.ca_certificates);
            files.add(&tls.client_certificate);
            files.add(&tls.private_key);
        }
        let otlp = self.tracing.iter().filter_map(|t| t.otlp.as_ref());
        let headers = otlp.filter_map(|otlp| otlp.headers.as_ref());
        let secrets = headers.flat_map(|pairs| &pairs.0).filter_map(|(_, value)| {
            let path = value.value.strip_prefix(FILE)?;
            Some((Path::new(path), &value.place))
        });
        files.0.extend(secrets);
        files.0
    }
}

/// Paths as they are named.
#[derive(Default)]
struct Files<'a>(Vec<(&'a Path, &'a Place)>);

impl<'a> Files<'a> {
    fn add(&mut self, at: &'a Option<raw::At<PathBuf>>) {
        self.0.extend(at.as_ref().map(named));
    }

    fn certificate(&mut self, raw: &'a raw::CertificateRef) {
        for at in [&raw.cert, &raw.key, &raw.ocsp, &raw.directory] {
            self.add(at);
        }
    }
}

fn named(at: &raw::At<PathBuf>) -> (&Path, &Place) {
    (at.value.as_path(), &at.place)
}

fn client_tls(rule: &raw::DestinationRule) -> impl Iterator<Item = &raw::ClientTls> {
    let policy = rule.spec.as_ref().and_then(|s| s.traffic_policy.as_ref());
    let ports = policy.and_then(|policy| policy.port_level_settings.as_ref());
    let of_ports = ports.into_iter().flatten().filter_map(|p| p.tls.as_ref());
    of_ports.chain(policy.and_then(|policy| policy.tls.as_ref()))
}

/// A certificate in a directory and what belongs to it, by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    /// `NAME.ocsp`, if it is there.
    pub(crate) ocsp: Option<PathBuf>,
    /// Whether both are there; a half may be a pair that is being replaced.
    pub(crate) whole: bool,
}

impl Pair {
    /// The pairs among the names of a directory, in their order. Hidden ones (as Kubernetes' `..data`) are left out,
    /// and `ca.crt`, which a Kubernetes secret holds beside its pair and which has no key.
    pub(crate) fn all(directory: &Path, names: &[String]) -> Vec<Self> {
        let has = |name: &str| names.iter().any(|other| other == name);
        let mut stems: BTreeMap<&str, Option<&str>> = BTreeMap::new();
        for name in names.iter().filter(|name| !name.starts_with('.')) {
            match name.rsplit_once('.') {
                Some((stem, "crt" | "pem")) if stem != "ca" || has("ca.key") => {
                    // `.crt` comes before `.pem` where there are both.
                    stems.entry(stem).or_default().get_or_insert(name);
                }
                Some((stem, "key")) => {
                    stems.entry(stem).or_default();
                }
                _ => {}
            }
        }
        let pair = |(stem, cert): (&str, Option<&str>)| {
            let (key, ocsp) = (format!("{stem}.key"), format!("{stem}.ocsp"));
            Self {
                whole: cert.is_some() && has(&key),
                cert: directory.join(cert.map_or_else(|| format!("{stem}.crt"), str::to_owned)),
                key: directory.join(key),
                ocsp: has(&ocsp).then(|| directory.join(ocsp)),
            }
        };
        stems.into_iter().map(pair).collect()
    }

    fn files(&self) -> impl Iterator<Item = &Path> {
        let files = [Some(&self.cert), Some(&self.key), self.ocsp.as_ref()];
        files.into_iter().flatten().map(PathBuf::as_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(names: &[&str]) -> Vec<(String, bool)> {
        let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
        names.sort();
        let all = Pair::all(Path::new("/certs"), &names);
        all.into_iter()
            .map(|pair| (pair.cert.display().to_string(), pair.whole))
            .collect()
    }

    fn whole(cert: &str) -> (String, bool) {
        (cert.to_owned(), true)
    }

    #[test]
    fn a_directory_holds_a_pair_for_each_name_with_a_certificate_and_a_key() {
        for (names, want) in [
            (
                &["b.key", "b.crt", "a.pem", "a.key"][..],
                vec![whole("/certs/a.pem"), whole("/certs/b.crt")],
            ),
            // As Kubernetes mounts a secret that cert-manager made.
            (
                &["..data", "..2026_11_25", "ca.crt", "tls.crt", "tls.key"],
                vec![whole("/certs/tls.crt")],
            ),
            (
                &["x.crt", "x.pem", "x.key", "x.ocsp", "README"],
                vec![whole("/certs/x.crt")],
            ),
            (&["half.crt"], vec![("/certs/half.crt".to_owned(), false)]),
            (&["half.key"], vec![("/certs/half.crt".to_owned(), false)]),
            (&["README.md", ".hidden.crt"], vec![]),
        ] {
            assert_eq!(pairs(names), want, "{names:?}");
        }
    }

    #[test]
    fn what_a_file_holds_never_shows() {
        let held = Held::File {
            bytes: Arc::from(&b"-----BEGIN PRIVATE KEY-----"[..]),
            exposed: false,
        };
        assert_eq!(format!("{held:?}"), "File(27 bytes)");
    }
}
