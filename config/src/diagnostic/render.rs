//! Diagnostics as a compiler shows them: the line, the place underlined, the help below.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::{Diagnostic, Files, Severity};
use crate::model::Source;

/// Renders all of them, in order, with a blank line between. Empty for none.
///
/// A diagnostic whose file is not in `files` is shown with its place in words. Control characters
/// of labels never reach a terminal: names are quoted where they are taken into messages.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], color: bool, files: &Files) -> String {
    let renderer = match color {
        true => Renderer::styled(),
        false => Renderer::plain(),
    };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let mut out = String::new();
    for diagnostic in diagnostics {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&renderer.render(&[group(diagnostic, files)]));
        out.push('\n');
    }
    out
}

fn group<'a>(diagnostic: &'a Diagnostic, files: &'a Files) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(diagnostic.message.as_str());
    let group = match snippet(diagnostic, files) {
        Some(snippet) => title.element(snippet),
        None => title.element(Level::NOTE.message(format!("in {}", diagnostic.source))),
    };
    match &diagnostic.help {
        Some(help) => group.element(Level::HELP.message(help.as_str())),
        None => group,
    }
}

fn snippet<'a>(
    diagnostic: &'a Diagnostic,
    files: &'a Files,
) -> Option<Snippet<'a, annotate_snippets::Annotation<'a>>> {
    let Source::File { path, .. } = &diagnostic.source else {
        return None;
    };
    let text = files.get(path)?;
    let (start, end) = diagnostic.span?;
    let end = end.min(text.len());
    if start > end || !text.is_char_boundary(start) || !text.is_char_boundary(end) {
        return None;
    }
    let annotation = AnnotationKind::Primary.span(start..first_line_end(text, start, end));
    Some(
        Snippet::source(&**text)
            .path(&**path)
            .annotation(annotation),
    )
}

/// A finding about a whole mapping points at its first line only: the rest is noise.
fn first_line_end(text: &str, start: usize, end: usize) -> usize {
    let line = text.get(start..end).and_then(|part| part.find('\n'));
    line.map_or(end, |at| start + at)
}
