//! Fields between the two forms they have here: lines of text, which the request path works on, and the map of the
//! `h2` crate.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::http::h1::body::is_forwardable_trailer;

/// Fields for which room is made beforehand.
const MOST_AT_ONCE: usize = 64;

/// Adds whole lines to a map, but for those whose lower-case name is refused. What is no field is left out: the lines are
/// our own, or were parsed before.
pub(super) fn push_lines(map: &mut HeaderMap, lines: &[u8], keep: impl Fn(&HeaderName) -> bool) {
    // Room for as many as there are: a map for six is of a size that the allocator has at hand, one for more than that is not.
    let count = memchr::memchr_iter(b'\n', lines).count();
    map.reserve(count.min(MOST_AT_ONCE));
    for line in lines_of(lines) {
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let Ok(name) = HeaderName::from_bytes(name) else {
            continue;
        };
        if keep(&name)
            && let Ok(value) = HeaderValue::from_bytes(value)
        {
            map.append(name, value);
        }
    }
}

/// Lines without their CR LF.
pub(super) fn lines_of(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', rest)?;
        let line = &rest[..end];
        rest = &rest[end + 1..];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    })
}

/// Whether a field is for one connection of HTTP/1 alone, and must not stand in HTTP/2 (RFC 9113, section 8.2.2).
pub(super) fn is_of_connection(name: &HeaderName) -> bool {
    use http::header::{CONNECTION, TE, TRANSFER_ENCODING, UPGRADE};
    *name == CONNECTION
        || *name == TRANSFER_ENCODING
        || *name == UPGRADE
        || *name == TE
        || matches!(
            name.as_str(),
            "keep-alive" | "proxy-connection" | "http2-settings"
        )
}

/// Trailers as whole lines, without those that must not be trailers.
pub(super) fn trailer_lines(map: &HeaderMap) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in map {
        let start = out.len();
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        match is_forwardable_trailer(&out[start..]) {
            true => out.extend_from_slice(b"\r\n"),
            false => out.truncate(start),
        }
    }
    out
}

/// Trailers as a map.
pub(super) fn trailer_map(lines: &[u8]) -> HeaderMap {
    let mut map = HeaderMap::new();
    push_lines(&mut map, lines, |name| !is_of_connection(name));
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_come_back_as_they_were_and_without_what_must_not_be_one() {
        let mut map = HeaderMap::new();
        for (name, value) in [
            ("grpc-status", "0"),
            ("grpc-message", "all well"),
            ("content-length", "5"),
            ("host", "other"),
            ("x-forwarded-for", "1.2.3.4"),
        ] {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let lines = trailer_lines(&map);
        assert_eq!(
            String::from_utf8_lossy(&lines),
            "grpc-status: 0\r\ngrpc-message: all well\r\n"
        );
        let back = trailer_map(&lines);
        assert_eq!(back.len(), 2);
        assert_eq!(back["grpc-message"], "all well");
    }
}
