//! One pattern against one text, in the readings that an endpoint may have of it.

use weir_config::model::Pattern;

/// Which readings of a text must fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// One is enough: for what refuses.
    Any,
    /// Each: for what admits.
    All,
}

impl Reading {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Any => Self::All,
            Self::All => Self::Any,
        }
    }
}

/// The text as it is.
pub(super) fn text(want: &Pattern, text: &str) -> bool {
    match want {
        Pattern::Any => !text.is_empty(),
        Pattern::Exact(want) => **want == *text,
        Pattern::Prefix(want) => text.starts_with(&**want),
        Pattern::Suffix(want) => text.ends_with(&**want),
        Pattern::Under(want) => text
            .strip_prefix(&**want)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
    }
}

/// Methods are of one spelling (RFC 9110, section 9.1), and some endpoints take `get` all the same.
pub(super) fn method(want: &Pattern, method: &str, reading: Reading) -> bool {
    text(want, method)
        || (reading == Reading::Any && reads_as(want, method.bytes(), str::bytes, fold_only))
}

/// A path, also as one reads it that takes off parameters (`;x`), and for [`Reading::Any`] as one that makes nothing of
/// capitals and of a slash at the end.
pub(super) fn path(want: &Pattern, path: &str, reading: Reading) -> bool {
    let as_it_is = text(want, path);
    match reading {
        Reading::Any => as_it_is || loosely(want, path),
        Reading::All if !has_parameter(path) => as_it_is,
        Reading::All => as_it_is && reads_as(want, bare(path), bare, |byte| byte),
    }
}

#[inline(never)]
fn loosely(want: &Pattern, path: &str) -> bool {
    reads_as(want, bare(path), bare, fold_only)
}

fn fold_only(byte: u8) -> u8 {
    byte.to_ascii_lowercase()
}

fn has_parameter(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes.contains(&b';') || bytes.windows(3).any(|part| part == b"%3B")
}

/// Whether a text read in some way fits a pattern whose own text is read in the same way. A slash at the end is one more
/// byte that an endpoint may not see; what folds capitals makes nothing of it either.
fn reads_as<'a, I: Iterator<Item = u8> + Clone>(
    want: &'a Pattern,
    read: I,
    reads: impl Fn(&'a str) -> I,
    folds: impl Fn(u8) -> u8,
) -> bool {
    let loose = folds(b'A') == b'a';
    let rest_after = |want: &'a str| {
        let mut rest = read.clone();
        reads(want)
            .all(|byte| rest.next().is_some_and(|read| folds(read) == folds(byte)))
            .then_some(rest)
    };
    let ends = |mut rest: I| match rest.next() {
        None => true,
        Some(b'/') => loose && rest.next().is_none(),
        Some(_) => false,
    };
    match want {
        Pattern::Any => read.clone().next().is_some(),
        Pattern::Exact(want) => rest_after(want).is_some_and(ends),
        Pattern::Prefix(want) => rest_after(want).is_some(),
        Pattern::Under(want) => {
            rest_after(want).is_some_and(|mut rest| matches!(rest.next(), None | Some(b'/')))
        }
        Pattern::Suffix(want) => {
            let end = reads(want).count();
            let all = read.clone().count();
            let slash = usize::from(loose && read.clone().last() == Some(b'/'));
            let fits = |end_at: Option<usize>| {
                let tail = end_at.map(|at| read.clone().skip(at).zip(reads(want)));
                tail.is_some_and(|mut tail| tail.all(|(a, b)| folds(a) == folds(b)))
            };
            fits(all.checked_sub(end)) || (slash > 0 && fits(all.checked_sub(end + slash)))
        }
    }
}

/// A path without its parameters (RFC 3986, section 3.3), whether or not the semicolon is escaped.
fn bare(path: &str) -> Bare<'_> {
    Bare {
        rest: path.as_bytes(),
    }
}

#[derive(Clone)]
struct Bare<'a> {
    rest: &'a [u8],
}

impl Iterator for Bare<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if let [b';', ..] | [b'%', b'3', b'B' | b'b', ..] = self.rest {
            let end = self.rest.iter().position(|byte| *byte == b'/');
            self.rest = end.and_then(|end| self.rest.get(end..)).unwrap_or_default();
        }
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }
}

/// A field's values: which of several an endpoint takes is not known, nor whether it reads one as a list. A field that is
/// not there fits nothing.
pub(super) fn header<'a>(
    want: &Pattern,
    mut values: impl Iterator<Item = &'a [u8]>,
    reading: Reading,
) -> bool {
    match reading {
        Reading::Any => values.any(|value| {
            *want == Pattern::Any
                || bytes(want, value)
                || value
                    .split(|b| *b == b',')
                    .any(|part| bytes(want, part.trim_ascii()))
        }),
        Reading::All => {
            values.next().is_some_and(|value| bytes(want, value))
                && values.all(|value| bytes(want, value))
        }
    }
}

fn bytes(want: &Pattern, value: &[u8]) -> bool {
    match want {
        Pattern::Any => !value.is_empty(),
        Pattern::Exact(want) => want.as_bytes() == value,
        Pattern::Prefix(want) => value.starts_with(want.as_bytes()),
        Pattern::Suffix(want) => value.ends_with(want.as_bytes()),
        // Of paths alone.
        Pattern::Under(_) => false,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn want(text: &str) -> Pattern {
        match text.strip_suffix("/**") {
            Some(path) => Pattern::under(if path.is_empty() { "/" } else { path }).unwrap(),
            None => Pattern::new(text).unwrap(),
        }
    }

    #[test]
    fn a_text_fits_as_istio_has_it() {
        for (pattern, value, fits) in [
            ("*", "x", true),
            ("*", "", false),
            ("/api", "/api", true),
            ("/api", "/apix", false),
            ("/api*", "/apix", true),
            ("*.css", "/a.css", true),
            ("*.css", "/a.css/x", false),
            ("/api/**", "/api", true),
            ("/api/**", "/api/x", true),
            ("/api/**", "/apix", false),
            ("/**", "/x", true),
            ("/**", "/", true),
        ] {
            assert_eq!(text(&want(pattern), value), fits, "{pattern} {value}");
        }
    }

    #[test]
    fn what_refuses_a_path_refuses_each_of_its_spellings() {
        for (pattern, value) in [
            ("/admin", "/admin"),
            ("/admin", "/ADMIN"),
            ("/admin", "/admin/"),
            ("/admin", "/admin;x=y"),
            ("/admin", "/admin%3Bx"),
            ("/admin", "/Admin;x/"),
            ("/admin", "/admin/;x"),
            ("/a/b", "/a;x/b;y"),
            ("/Admin", "/admin"),
            ("/admin/**", "/admin;x/users"),
            ("/admin/**", "/ADMIN/users"),
            ("/admin*", "/ADMINISTRATION"),
            ("*.php", "/x.PHP"),
            ("*.php", "/x.php;a=.css"),
            ("*.php", "/x.php/"),
            ("/a;b", "/a;b"),
        ] {
            assert!(
                path(&want(pattern), value, Reading::Any),
                "{value} got past {pattern}"
            );
        }
        for (pattern, value) in [
            ("/admin", "/administration"),
            ("/admin", "/x/admin"),
            ("/admin/**", "/administration"),
            ("*.php", "/x.phpx"),
            ("/admin", "/"),
        ] {
            assert!(
                !path(&want(pattern), value, Reading::Any),
                "{pattern} refuses {value}"
            );
        }
    }

    #[test]
    fn what_admits_a_path_admits_none_that_can_be_read_as_another() {
        for (pattern, value, fits) in [
            ("/api", "/api", true),
            ("/api", "/API", false),
            ("/api", "/api/", false),
            ("/api", "/api;x", false),
            ("/api/**", "/api;x", false),
            ("/api/**", "/api/x;y", true),
            ("/api*", "/api;x", true),
            ("*.css", "/admin;x.css", false),
            ("*.css", "/admin%3Bx.css", false),
            ("*.css", "/x.css", true),
            ("*.css", "/x;v=1.css/y.css", true),
            ("/public/x*", "/public;/x", false),
            ("/a;b", "/a;b", true),
        ] {
            assert_eq!(
                path(&want(pattern), value, Reading::All),
                fits,
                "{pattern} {value}"
            );
        }
    }

    #[test]
    fn a_method_is_refused_in_any_capitals_and_admitted_in_its_own() {
        assert!(method(&want("GET"), "get", Reading::Any));
        assert!(!method(&want("GET"), "get", Reading::All));
        assert!(method(&want("GET"), "GET", Reading::All));
        assert!(!method(&want("GET"), "HEAD", Reading::Any));
    }

    #[test]
    fn of_several_fields_one_is_enough_to_refuse_and_all_must_fit_to_admit() {
        let values = |all: &'static [&'static str]| all.iter().map(|value| value.as_bytes());
        let pattern = want("a");
        assert!(header(&pattern, values(&["b", "a"]), Reading::Any));
        assert!(!header(&pattern, values(&["a", "b"]), Reading::All));
        assert!(header(&pattern, values(&["a", "a"]), Reading::All));
        assert!(!header(&pattern, values(&[]), Reading::All));
        assert!(!header(&pattern, values(&[]), Reading::Any));
        assert!(header(&pattern, values(&["b, a"]), Reading::Any));
        assert!(!header(&pattern, values(&["b, a"]), Reading::All));
        assert!(header(&Pattern::Any, values(&[""]), Reading::Any));
        assert!(!header(&Pattern::Any, values(&[""]), Reading::All));
        let raw = [b"\xff".as_slice()];
        assert!(header(&Pattern::Any, raw.into_iter(), Reading::Any));
    }
}
