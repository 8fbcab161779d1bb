//! Where the compiler writes down what it finds.

use crate::diagnostic::{Diagnostic, Place, Severity};
use crate::raw::{At, Meta};

/// Everything found so far.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) found: Vec<Diagnostic>,
    errors: usize,
}

impl Report {
    /// Errors so far: an item with more of them after compiling than before is left out.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.errors += usize::from(diagnostic.severity == Severity::Error);
        self.found.push(diagnostic);
    }

    pub(crate) fn error(&mut self, place: &Place, message: impl Into<String>) {
        self.push(Diagnostic::error(place, message));
    }

    pub(crate) fn error_help(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Diagnostic::error(place, message).help(help));
    }

    pub(crate) fn warn(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Diagnostic::warning(place, message).help(help));
    }

    /// Names a field that has no effect in this version.
    pub(crate) fn not_enforced(&mut self, place: &Place, field: &str) {
        self.push(crate::settings::not_enforced(place, field));
    }

    /// A field that must be there. Of an object that could not be read whole nothing is said: the field may be what
    /// was wrong with it.
    pub(crate) fn required<'a, T>(
        &mut self,
        field: &'a Option<T>,
        meta: &Meta,
        what: &str,
    ) -> Option<&'a T> {
        if field.is_none() && !meta.broken {
            self.error(&meta.place, format!("{what} is missing"));
        }
        field.as_ref()
    }

    /// The value, or a report of why it is refused.
    pub(crate) fn valid<T, E: ToString>(
        &mut self,
        result: Result<T, E>,
        place: &Place,
    ) -> Option<T> {
        result
            .map_err(|error| self.error(place, error.to_string()))
            .ok()
    }

    /// Takes a value if it is within bounds.
    pub(crate) fn bounded<T: Copy>(
        &mut self,
        at: &At<T>,
        fits: impl Fn(T) -> bool,
        want: &str,
    ) -> Option<T> {
        if !fits(at.value) {
            self.error(&at.place, want);
            return None;
        }
        Some(at.value)
    }
}
