//! Query parameters, read where they stand.
//!
//! Names and values are compared decoded: `+` is a space and `%XX` a byte, as browsers send forms
//! (WHATWG URL, application/x-www-form-urlencoded). A malformed escape stands for itself.

use std::borrow::Cow;

use weir_config::model::ValueMatch;

/// The raw value of the first parameter of this name, as the Gateway API recommends for repeated ones
/// (`HTTPQueryParamMatch.name`).
pub fn value<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    let pairs = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut named = pairs.filter(|(key, _)| equals(key, name));
    named.next().map(|(_, value)| value)
}

/// Whether a raw value, decoded, is what is wanted.
pub(super) fn matches(want: &ValueMatch, raw: &str) -> bool {
    match want {
        ValueMatch::Exact(want) => equals(raw, want),
        ValueMatch::Regex(regex) => regex.is_match(&decode(raw)),
    }
}

/// A raw name or value as text.
pub(super) fn decode(raw: &str) -> Cow<'_, str> {
    if !is_encoded(raw) {
        return Cow::Borrowed(raw);
    }
    let bytes: Vec<u8> = decoded(raw.as_bytes()).collect();
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn equals(raw: &str, want: &str) -> bool {
    match is_encoded(raw) {
        false => raw == want,
        true => decoded(raw.as_bytes()).eq(want.bytes()),
    }
}

fn is_encoded(raw: &str) -> bool {
    memchr::memchr2(b'%', b'+', raw.as_bytes()).is_some()
}

fn decoded(mut raw: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let (&byte, rest) = raw.split_first()?;
        raw = rest;
        let hex = |digit: u8| {
            char::from(digit)
                .to_digit(16)
                .and_then(|value| u8::try_from(value).ok())
        };
        match (byte, rest) {
            (b'+', _) => Some(b' '),
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    raw = after;
                    Some(high << 4 | low)
                }
                _ => Some(b'%'),
            },
            _ => Some(byte),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_of_a_parameter_counts_and_is_compared_decoded() {
        let check = |query, name, want: &str| {
            value(query, name).is_some_and(|raw| matches(&ValueMatch::Exact(want.into()), raw))
        };
        assert!(check("a=1&b=2&b=3", "b", "2"));
        assert!(!check("a=1&b=2&b=3", "b", "3"));
        assert!(check("flag", "flag", ""));
        assert!(check("q=a%20b+c", "q", "a b c"));
        assert!(check("%71=x", "q", "x"));
        assert!(check("q=100%", "q", "100%"));
        assert!(check("q=%zz", "q", "%zz"));
        assert!(check("q=a=b", "q", "a=b"));
        assert!(value("", "q").is_none());
        assert!(value("qq=1", "q").is_none());
    }
}
