//! Finding certificates and authorities among the files that were read.
//!
//! What is bad is an error where the configuration names it, unless the same files were good before: then what they held
//! stays in force, and that is a warning, so that every other change goes through.

mod staple;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::memory::{Files, Kept, Known, Memory};
use super::pair::{self, Part};
use super::pem;
use crate::compile::report::Report;
use crate::diagnostic::{Diagnostic, Place};
use crate::model::{Certificate, Life, Roots, Source};
use crate::raw::{self, At};
use crate::references::{Held, Pair, References, Unreadable};

/// The files at hand, and what is remembered of those before.
pub(crate) struct Keyring<'a> {
    files: Vec<&'a References>,
    before: &'a Memory,
    /// What is good now: of that which is still named.
    pub(super) after: Memory,
    pub(super) kept: Vec<Kept>,
    /// Seconds since 1970.
    pub(super) now: i64,
}

/// What is wrong, and where the configuration names it.
struct Problem {
    place: Place,
    message: String,
    help: &'static str,
}

impl<'a> Keyring<'a> {
    pub(crate) fn new(files: Vec<&'a References>, before: &'a Memory, now: i64) -> Self {
        let after = Memory {
            development: before.development.clone(),
            ..Memory::default()
        };
        Self {
            files,
            before,
            after,
            kept: Vec::new(),
            now,
        }
    }

    /// What to remember, and what was kept.
    pub(crate) fn finish(self) -> (Memory, Vec<Kept>) {
        (self.after, self.kept)
    }

    /// The certificates of one entry: one, or those of a directory. What is bad is reported and left out.
    ///
    /// The report does not count it as an error of what uses it: that has others, or will say that it has none.
    pub(super) fn certificates(
        &mut self,
        raw: &raw::CertificateRef,
        report: &mut Report,
    ) -> Vec<Arc<Certificate>> {
        if raw.meta.broken {
            return Vec::new();
        }
        let found = match (&raw.directory, &raw.cert, &raw.key) {
            (Some(directory), None, None) => self.directory(directory, report),
            (None, Some(cert), Some(key)) => {
                let ocsp = raw.ocsp.as_ref();
                return self.pair(cert, key, ocsp, report).into_iter().collect();
            }
            (None, Some(at), None) => Err((at.place.clone(), "its key is missing")),
            (None, None, Some(at)) => Err((at.place.clone(), "the cert of this key is missing")),
            (None, None, None) => Err((raw.meta.place.clone(), "there is no certificate in it")),
            (Some(at), ..) => Err((at.place.clone(), "a directory stands alone")),
        };
        found.unwrap_or_else(|(place, message)| {
            let help = "write cert and key, or directory";
            report.error_help(&place, message, help);
            Vec::new()
        })
    }

    fn directory(
        &mut self,
        at: &At<PathBuf>,
        report: &mut Report,
    ) -> Result<Vec<Arc<Certificate>>, (Place, &'static str)> {
        let problem = match self.held(&at.value) {
            Some(Held::Directory(names)) => {
                let pairs = Pair::all(&at.value, names);
                if pairs.iter().any(|pair| pair.whole) {
                    return Ok(self.pairs(at, pairs, report));
                }
                let help = "put NAME.crt and NAME.key into it";
                complaint(at, "there is no certificate with a key in it", help)
            }
            Some(Held::Unreadable(why)) => complaint(at, &why.to_string(), why.help()),
            Some(Held::File { .. }) => {
                let help = "write cert and key for files";
                complaint(at, "it is not a directory", help)
            }
            None => complaint(at, NOT_LOOKED_AT, Unreadable::Missing.help()),
        };
        let Some(files) = self.before.directories.get(&at.value) else {
            refuse(&problem, report);
            return Ok(Vec::new());
        };
        let known = files.iter().filter_map(|files| {
            let known = self.before.pairs.get(files)?;
            Some((files.clone(), known.clone()))
        });
        let known: Vec<_> = known.collect();
        self.after
            .directories
            .insert(at.value.clone(), files.clone());
        self.keep(&at.value.display().to_string(), &problem, report);
        let made = known.iter().map(|(_, known)| Arc::clone(&known.made));
        let made = made.collect();
        self.after.pairs.extend(known);
        Ok(made)
    }

    fn pairs(
        &mut self,
        at: &At<PathBuf>,
        pairs: Vec<Pair>,
        report: &mut Report,
    ) -> Vec<Arc<Certificate>> {
        let mut out = Vec::new();
        let mut good = Vec::new();
        for pair in pairs {
            let here = |path: PathBuf| At::new(path, at.place.clone());
            let files: Files = vec![pair.cert.clone(), pair.key.clone()];
            // A half that never was whole is nothing that was relied on.
            if !pair.whole && !self.before.pairs.contains_key(&files) {
                let message = format!("{} and its key are not both there", pair.cert.display());
                report.warn(&at.place, message, "what has no other half is not used");
                continue;
            }
            let ocsp = pair.ocsp.map(here);
            let made = self.pair(&here(pair.cert), &here(pair.key), ocsp.as_ref(), report);
            good.extend(made.is_some().then_some(files));
            out.extend(made);
        }
        self.after.directories.insert(at.value.clone(), good);
        out
    }

    /// A certificate and its key, as they are or as they were.
    fn pair(
        &mut self,
        cert: &At<PathBuf>,
        key: &At<PathBuf>,
        ocsp: Option<&At<PathBuf>>,
        report: &mut Report,
    ) -> Option<Arc<Certificate>> {
        let files: Files = vec![cert.value.clone(), key.value.clone()];
        let before = self.before.pairs.get(&files);
        let mut known = match self.read_pair(cert, key, before) {
            Ok(known) => known,
            Err(problem) => {
                let Some(before) = before.cloned() else {
                    refuse(&problem, report);
                    return None;
                };
                self.keep(&cert.value.display().to_string(), &problem, report);
                before
            }
        };
        if let Some(Held::File { exposed: true, .. }) = self.held(&key.value) {
            let message = format!("{} can be read by others", key.value.display());
            let help = "a private key is for the user that Weir runs as: chmod 600, or defaultMode: 0400 of a Kubernetes secret";
            report.warn(&key.place, message, help);
        }
        let last = before.map(|before| &*before.made);
        known.made = self.staple(known.made, ocsp, last, report);
        let made = Arc::clone(&known.made);
        self.judge_times(&made, &cert.place, report);
        self.after.pairs.insert(files, known);
        Some(made)
    }

    fn read_pair(
        &self,
        cert: &At<PathBuf>,
        key: &At<PathBuf>,
        before: Option<&Known<Certificate>>,
    ) -> Result<Known<Certificate>, Problem> {
        let (in_cert, in_key) = (self.bytes(cert)?, self.bytes(key)?);
        let held: Vec<Held> = vec![in_cert.0.clone(), in_key.0.clone()];
        if let Some(before) = before.filter(|before| before.held == held) {
            return Ok(Known {
                held,
                made: moved(&before.made, &cert.place.source),
            });
        }
        let name = cert.value.display().to_string();
        let source = cert.place.source.clone();
        let made =
            pair::read(name, in_cert.1, in_key.1, source).map_err(|(part, (message, help))| {
                match part {
                    Part::Cert => complaint(cert, &message, help),
                    Part::Key => complaint(key, &message, help),
                }
            })?;
        Ok(Known {
            held,
            made: Arc::new(made),
        })
    }

    /// The authorities of some files together.
    pub(super) fn roots(
        &mut self,
        all: &[&At<PathBuf>],
        report: &mut Report,
    ) -> Option<Arc<Roots>> {
        let files: Files = all.iter().map(|at| at.value.clone()).collect();
        let before = self.before.roots.get(&files);
        let known = match self.read_roots(all, before) {
            Ok(known) => known,
            Err(problem) => {
                let Some(before) = before.cloned() else {
                    report.error_help(&problem.place, problem.message, problem.help);
                    return None;
                };
                self.keep(&before.made.source.clone(), &problem, report);
                before
            }
        };
        let made = Arc::clone(&known.made);
        self.after.roots.insert(files, known);
        Some(made)
    }

    fn read_roots(
        &self,
        all: &[&At<PathBuf>],
        before: Option<&Known<Roots>>,
    ) -> Result<Known<Roots>, Problem> {
        let mut held = Vec::new();
        let mut ders = Vec::new();
        for at in all {
            let (file, bytes) = self.bytes(at)?;
            held.push(file.clone());
            let found = pem::certificates(bytes);
            ders.extend(found.map_err(|(message, help)| complaint(at, &message, help))?);
        }
        if let Some(before) = before.filter(|before| before.held == held) {
            return Ok(before.clone());
        }
        let names: Vec<String> = all
            .iter()
            .map(|at| at.value.display().to_string())
            .collect();
        let made = Arc::new(Roots {
            ders,
            source: names.join(", "),
        });
        Ok(Known { held, made })
    }

    /// The text of a file, without the line end that editors add.
    pub(crate) fn text(&self, at: &At<PathBuf>, report: &mut Report) -> Option<String> {
        let text = self.bytes(at).and_then(|(_, bytes)| {
            let text = std::str::from_utf8(bytes);
            text.map_err(|_| complaint(at, "it is not text", "write UTF-8 text into it"))
        });
        match text {
            Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(problem) => {
                report.error_help(&problem.place, problem.message, problem.help);
                None
            }
        }
    }

    fn held(&self, path: &Path) -> Option<&'a Held> {
        self.files.iter().find_map(|files| files.get(path))
    }

    fn bytes(&self, at: &At<PathBuf>) -> Result<(&'a Held, &'a [u8]), Problem> {
        match self.held(&at.value) {
            Some(held @ Held::File { bytes, .. }) => Ok((held, bytes)),
            Some(Held::Directory(_)) => {
                let help = "write directory: for a directory of certificates";
                Err(complaint(at, "it is a directory", help))
            }
            Some(Held::Unreadable(why)) => Err(complaint(at, &why.to_string(), why.help())),
            None => Err(complaint(at, NOT_LOOKED_AT, Unreadable::Missing.help())),
        }
    }

    fn keep(&mut self, name: &str, problem: &Problem, report: &mut Report) {
        self.keep_at(name.to_owned(), &problem.place.source, problem, report);
    }

    /// The same for what is told where another thing is named.
    fn keep_at(&mut self, name: String, source: &Source, problem: &Problem, report: &mut Report) {
        let message = format!("{}; what was read before stays in force", problem.message);
        report.warn(&problem.place, message, problem.help);
        self.kept.push(Kept {
            name,
            reason: problem.message.clone(),
            source: source.clone(),
        });
    }

    fn judge_times(&self, certificate: &Certificate, place: &Place, report: &mut Report) {
        let name = &certificate.name;
        let on = date(certificate.not_after);
        let (message, help) = match certificate.life(self.now) {
            Life::Valid => return,
            Life::Expired => (format!("expired on {on}"), "clients refuse it; renew it"),
            Life::NotYetValid => (
                format!("is not valid before {}", date(certificate.not_before)),
                "clients refuse it until then; check the clock of this machine",
            ),
            Life::Expiring => {
                let days = certificate.days_left(self.now);
                (format!("expires in {days} days, on {on}"), "renew it")
            }
        };
        let message = format!("{name}: the certificate {message}");
        report.warn(place, message, help);
    }
}

const NOT_LOOKED_AT: &str = "it was not read";

fn complaint(at: &At<PathBuf>, message: &str, help: &'static str) -> Problem {
    Problem {
        place: at.place.clone(),
        message: format!("{}: {message}", at.value.display()),
        help,
    }
}

/// An error that leaves out the certificate alone.
fn refuse(problem: &Problem, report: &mut Report) {
    let diagnostic = Diagnostic::error(&problem.place, problem.message.clone());
    report.found.push(diagnostic.help(problem.help));
}

/// The same certificate where it is named now.
fn moved(certificate: &Arc<Certificate>, source: &Source) -> Arc<Certificate> {
    if certificate.source == *source {
        return Arc::clone(certificate);
    }
    Arc::new(Certificate {
        source: source.clone(),
        ..Certificate::clone(certificate)
    })
}

/// `2026-11-25`
fn date(seconds: i64) -> String {
    let at = x509_parser::time::ASN1Time::from_timestamp(seconds);
    at.map_or_else(
        |_| "a day out of range".to_owned(),
        |at| at.to_datetime().date().to_string(),
    )
}
