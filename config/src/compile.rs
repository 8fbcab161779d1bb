//! Raw fragments to the model: names resolved, values checked, conflicts settled.
//!
//! Everything wrong is collected with its source. A bad listener, service or route is left out and
//! the others go on; nothing that is left out widens what stays: a route whose only listener is gone
//! does not move to all listeners, a route whose only host was refused does not answer for every host.

mod authorization;
pub(crate) mod balance;
mod claim;
mod destination;
mod filter;
mod grpc;
mod header;
pub(crate) mod health;
mod http2;
mod listener;
pub(crate) mod locality;
pub(crate) mod mesh;
pub(crate) mod path;
mod policy;
pub(crate) mod protect;
pub(crate) mod report;
mod route;
pub(crate) mod rule;
pub(crate) mod service;
pub(crate) mod share;
mod stream;
mod tls;
mod tracing;
pub(crate) mod traffic;
mod values;

use std::borrow::Borrow;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Severity, has_errors};
use crate::file::Loaded;
use crate::model::Model;
use crate::{Fragment, raw};

use report::Report;
use tls::Keyring;
pub use tls::{Kept, Memory, text as pem};

/// A model and what was found while making it.
#[derive(Debug, Clone, Default)]
pub struct Compiled {
    pub model: Model,
    pub diagnostics: Vec<Diagnostic>,
    /// Certificates and authorities that turned bad and are in force as they were; each has its warning too.
    pub kept: Vec<Kept>,
}

impl Compiled {
    /// Whether anything was left out.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        has_errors(&self.diagnostics)
    }
}

/// Compiles fragments together, as they run: files before labels, whatever the order given, at the time of the
/// system's clock.
///
/// A reference to a service that is not there is a warning, because discovery may bring it in a
/// moment; until then its share of requests gets 500 (Gateway API, `HTTPRouteRule.backendRefs`).
#[must_use]
pub fn compile<F: Borrow<Fragment>>(fragments: &[F]) -> Compiled {
    compile_after(fragments, &Memory::default(), now()).0
}

/// As [`compile()`], at that time in seconds since 1970, after a compilation that left this memory: certificates that
/// turned bad since then stay in force as they were. Gives what to remember for the next.
#[must_use]
pub fn compile_after<F: Borrow<Fragment>>(
    fragments: &[F],
    memory: &Memory,
    now: i64,
) -> (Compiled, Memory) {
    let fragments: Vec<&Fragment> = fragments.iter().map(Borrow::borrow).collect();
    compile_with(&fragments, Severity::Warning, memory, now)
}

/// One fragment that refers to nothing outside of it, and leaves nothing to remember.
pub(crate) fn compile_at_rest(fragment: &Fragment, unknown_service: Severity) -> Compiled {
    compile_with(&[fragment], unknown_service, &Memory::default(), now()).0
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// Compiles files for a person who asks whether they are right, with the diagnostics of reading, in the
/// order of files and lines.
///
/// Unlike [`compile()`], a reference to an unknown service is an error, unless discovery is configured.
#[must_use]
pub fn check(loaded: &Loaded) -> Compiled {
    let unknown_service = match loaded.settings.discovers() {
        true => Severity::Warning,
        false => Severity::Error,
    };
    let fragments = [&loaded.fragment];
    let (mut compiled, _) = compile_with(&fragments, unknown_service, &Memory::default(), now());
    compiled
        .diagnostics
        .splice(0..0, loaded.diagnostics.iter().cloned());
    compiled.diagnostics.sort_by(|a, b| a.source.cmp(&b.source));
    compiled
}

/// What is said about the mesh.
fn said<'a>(fragments: &[&'a Fragment]) -> authorization::mesh::Said<'a> {
    let all = || fragments.iter();
    authorization::mesh::Said {
        own: all().flat_map(|f| &f.authorizations).collect(),
        policies: all().flat_map(|f| &f.authorization_policies).collect(),
        peers: all().flat_map(|f| &f.peer_authentications).collect(),
    }
}

fn compile_with(
    fragments: &[&Fragment],
    unknown_service: Severity,
    memory: &Memory,
    now: i64,
) -> (Compiled, Memory) {
    let mut report = Report::default();
    let files = fragments.iter().map(|f| &f.references).collect();
    let mut keyring = Keyring::new(files, memory, now);
    let trust_domain = fragments.iter().find_map(|f| f.trust_domain.clone());
    let trust_domain = trust_domain.unwrap_or_default();
    let listeners = listener::compile(
        fragments.iter().flat_map(|f| &f.listeners),
        &trust_domain,
        &mut keyring,
        &mut report,
    );
    let services = service::compile(
        fragments.iter().flat_map(|f| &f.services),
        fragments.iter().flat_map(|f| &f.destination_rules),
        &mut keyring,
        &mut report,
    );
    let tracing = fragments.iter().flat_map(|f| &f.tracing);
    let tracing = tracing::compile(tracing, &keyring, &mut report);
    let names = route::Names {
        listeners: &listeners,
        services: &services,
        unknown_service,
    };
    let access =
        authorization::mesh::compile(&said(fragments), &trust_domain, &services, &mut report);
    let (labels, files): (Vec<&raw::Route>, Vec<&raw::Route>) = fragments
        .iter()
        .flat_map(|f| &f.routes)
        .partition(|route| route.meta.place.is_label());
    let drafts = route::compile(files.into_iter().chain(labels), &names, &mut report);
    let (streams, routes): (Vec<_>, Vec<_>) = claim::settle(drafts, &listeners, &mut report)
        .into_iter()
        .partition(|(protocol, _)| protocol.is_stream());
    let mut model = Model {
        listeners: listeners.valid,
        services: services.valid,
        routes: routes
            .into_iter()
            .map(|(_, route)| Arc::new(route))
            .collect(),
        streams: streams
            .into_iter()
            .map(|(_, route)| Arc::new(stream::of(route)))
            .collect(),
        tracing: Arc::new(tracing),
        access: Arc::new(access),
    };
    model.sort();
    tls::add_self_signed(
        &mut model,
        &listeners.self_signed,
        &mut keyring,
        &mut report,
    );
    let (memory, kept) = keyring.finish();
    let compiled = Compiled {
        model,
        diagnostics: report.found,
        kept,
    };
    (compiled, memory)
}
