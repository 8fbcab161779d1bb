//! Raw fragments to the model: names resolved, values checked, conflicts settled.
//!
//! Everything wrong is collected with its source. A bad listener, service or route is left out and
//! the others go on; nothing that is left out widens what stays: a route whose only listener is gone
//! does not move to all listeners, a route whose only host was refused does not answer for every host.

pub(crate) mod balance;
mod claim;
mod destination;
mod filter;
mod header;
pub(crate) mod health;
mod listener;
pub(crate) mod locality;
pub(crate) mod path;
mod policy;
pub(crate) mod protect;
pub(crate) mod report;
mod route;
pub(crate) mod rule;
pub(crate) mod service;
pub(crate) mod share;
mod stream;
pub(crate) mod traffic;
mod values;

use std::borrow::Borrow;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Severity, has_errors};
use crate::file::Loaded;
use crate::model::Model;
use crate::{Fragment, raw};

use report::Report;

/// A model and what was found while making it.
#[derive(Debug, Clone, Default)]
pub struct Compiled {
    pub model: Model,
    pub diagnostics: Vec<Diagnostic>,
}

impl Compiled {
    /// Whether anything was left out.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        has_errors(&self.diagnostics)
    }
}

/// Compiles fragments together, as they run: files before labels, whatever the order given.
///
/// A reference to a service that is not there is a warning, because discovery may bring it in a
/// moment; until then its share of requests gets 500 (Gateway API, `HTTPRouteRule.backendRefs`).
#[must_use]
pub fn compile<F: Borrow<Fragment>>(fragments: &[F]) -> Compiled {
    let fragments: Vec<&Fragment> = fragments.iter().map(Borrow::borrow).collect();
    compile_with(&fragments, Severity::Warning)
}

/// Compiles files for a person who asks whether they are right, with the diagnostics of reading, in the
/// order of files and lines.
///
/// Unlike [`compile()`], a reference to an unknown service is an error, unless discovery is configured.
#[must_use]
pub fn check(loaded: &Loaded) -> Compiled {
    let unknown_service = match loaded.settings.docker {
        Some(_) => Severity::Warning,
        None => Severity::Error,
    };
    let mut compiled = compile_with(&[&loaded.fragment], unknown_service);
    compiled
        .diagnostics
        .splice(0..0, loaded.diagnostics.iter().cloned());
    compiled.diagnostics.sort_by(|a, b| a.source.cmp(&b.source));
    compiled
}

fn compile_with(fragments: &[&Fragment], unknown_service: Severity) -> Compiled {
    let mut report = Report::default();
    let listeners = listener::compile(fragments.iter().flat_map(|f| &f.listeners), &mut report);
    let services = service::compile(
        fragments.iter().flat_map(|f| &f.services),
        fragments.iter().flat_map(|f| &f.destination_rules),
        &mut report,
    );
    let names = route::Names {
        listeners: &listeners,
        services: &services,
        unknown_service,
    };
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
    };
    model.sort();
    Compiled {
        model,
        diagnostics: report.found,
    }
}
