//! The conditions beside host and path: method, headers, query parameters.

use std::sync::Arc;

use weir_config::model::{Match, ValueMatch};

use super::{Request, query};

/// The header fields of a request, whatever holds them.
pub trait Headers {
    /// The values of a field in the order they arrived. `name` is lower case; fields compare without case.
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]>;
}

/// No headers.
impl Headers for () {
    fn values<'a>(&'a self, _: &'a str) -> impl Iterator<Item = &'a [u8]> {
        std::iter::empty()
    }
}

/// A list of fields, for explanations and tests.
impl<N: AsRef<str>, V: AsRef<[u8]>> Headers for [(N, V)] {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let named = move |field: &&(N, V)| field.0.as_ref().eq_ignore_ascii_case(name);
        self.iter().filter(named).map(|field| field.1.as_ref())
    }
}

/// What must hold of a request whose host and path fit.
#[derive(Debug)]
pub(super) struct Conditions {
    pub(super) method: Option<Arc<str>>,
    pub(super) headers: Box<[(Arc<str>, ValueMatch)]>,
    pub(super) query: Box<[(Arc<str>, ValueMatch)]>,
}

/// The first condition that does not hold, by its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Method,
    HeaderAbsent(usize),
    HeaderDiffers(usize),
    QueryAbsent(usize),
    QueryDiffers(usize),
}

impl Conditions {
    /// `None` when the match asks for nothing beside the path.
    pub(super) fn new(conditions: &Match) -> Option<Self> {
        if conditions.method.is_none()
            && conditions.headers.is_empty()
            && conditions.query.is_empty()
        {
            return None;
        }
        Some(Self {
            method: conditions.method.clone(),
            headers: conditions.headers.as_slice().into(),
            query: conditions.query.as_slice().into(),
        })
    }

    /// Nothing is allocated, except for a regular expression over a repeated header or an encoded query.
    pub(super) fn first_failure<H: Headers + ?Sized>(
        &self,
        request: &Request<'_, H>,
    ) -> Option<Failure> {
        if self
            .method
            .as_ref()
            .is_some_and(|method| **method != *request.method)
        {
            return Some(Failure::Method);
        }
        for (at, (name, want)) in self.headers.iter().enumerate() {
            match header_matches(want, request.headers.values(name)) {
                None => return Some(Failure::HeaderAbsent(at)),
                Some(false) => return Some(Failure::HeaderDiffers(at)),
                Some(true) => {}
            }
        }
        for (at, (name, want)) in self.query.iter().enumerate() {
            match request
                .query_text()
                .and_then(|query| query::value(query, name))
            {
                None => return Some(Failure::QueryAbsent(at)),
                Some(value) if !query::matches(want, value) => {
                    return Some(Failure::QueryDiffers(at));
                }
                Some(_) => {}
            }
        }
        None
    }
}

/// Compares a field's values as one, joined by `, ` (RFC 9110, section 5.3). `None`: there is no such field.
fn header_matches<'a>(
    want: &ValueMatch,
    mut values: impl Iterator<Item = &'a [u8]>,
) -> Option<bool> {
    let first = values.next()?;
    let Some(second) = values.next() else {
        return Some(match want {
            ValueMatch::Exact(want) => want.as_bytes() == first,
            ValueMatch::Regex(regex) => {
                std::str::from_utf8(first).is_ok_and(|value| regex.is_match(value))
            }
        });
    };
    let rest = std::iter::once(second).chain(values);
    Some(match want {
        ValueMatch::Exact(want) => equals_joined(want.as_bytes(), first, rest),
        ValueMatch::Regex(regex) => {
            let mut joined = first.to_vec();
            rest.for_each(|value| joined.extend([b", ".as_slice(), value].concat()));
            std::str::from_utf8(&joined).is_ok_and(|value| regex.is_match(value))
        }
    })
}

fn equals_joined<'a>(want: &[u8], first: &[u8], mut rest: impl Iterator<Item = &'a [u8]>) -> bool {
    let left = want.strip_prefix(first);
    let left = left.and_then(|left| {
        rest.try_fold(left, |left, value| {
            left.strip_prefix(b", ")?.strip_prefix(value)
        })
    });
    left.is_some_and(<[u8]>::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_header_is_matched_as_one_joined_value() {
        let exact = ValueMatch::Exact("a, b".into());
        let fields: [(&str, &str); 2] = [("X-Tag", "a"), ("x-tag", "b")];
        assert_eq!(header_matches(&exact, fields.values("x-tag")), Some(true));
        assert_eq!(
            header_matches(&exact, fields[..1].values("x-tag")),
            Some(false)
        );
        assert_eq!(header_matches(&exact, fields.values("x-other")), None);

        let regex = ValueMatch::Regex(regex::Regex::new("^a, [bc]$").unwrap());
        assert_eq!(header_matches(&regex, fields.values("x-tag")), Some(true));
    }
}
