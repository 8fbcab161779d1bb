#![expect(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;

use super::*;

fn canonical(raw: &str) -> Result<String, PathError> {
    canonicalize(raw.as_bytes(), PathPolicy::Canonicalize, &mut Vec::new()).map(str::to_owned)
}

fn check(raw: &str, expected: &str) {
    assert_eq!(canonical(raw).as_deref(), Ok(expected), "{raw}");
    let strict =
        canonicalize(raw.as_bytes(), PathPolicy::Strict, &mut Vec::new()).map(str::to_owned);
    let expected = if raw == expected {
        Ok(raw.to_owned())
    } else {
        Err(PathError::NotCanonical)
    };
    assert_eq!(strict, expected, "{raw} under the strict policy");
}

#[test]
fn a_path_has_one_spelling() {
    // semantics 30
    for same in [
        "/",
        "/a",
        "/a/",
        "/a/b.c",
        "/a/...",
        "/a;v=1/b",
        "/;s=1",
        "/.well-known/x",
        "/a%20b",
        "/%C3%A9",
        "/100%25",
    ] {
        check(same, same);
    }
    check("/%61%2D%7e", "/a-~");
    check("/%c3%a9", "/%C3%A9");
    // Encoded, other control characters are data, and stay so.
    check("/a%09%0D%0A%7F", "/a%09%0D%0A%7F");
    check("/a/./b/../c", "/a/c");
    check("/a/%2e/b/%2E./c", "/a/c");
    check("/a/.", "/a/");
    check("/a/..", "/");
    check("/a//b///", "/a/b/");
    check("//", "/");
    check("/a//../b", "/b");
    check("/{id}|[x]", "/%7Bid%7D%7C%5Bx%5D");
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    // semantics 30
    for (raw, error) in [
        ("", PathError::NotAbsolute),
        ("*", PathError::NotAbsolute),
        ("a/b", PathError::NotAbsolute),
        ("/a b", PathError::BadCharacter),
        ("/a#b", PathError::BadCharacter),
        ("/a?b", PathError::BadCharacter),
        ("/a\u{e9}", PathError::BadCharacter),
        ("/a\u{0}", PathError::BadCharacter),
        ("/a\u{7f}", PathError::BadCharacter),
        ("/a\\b", PathError::Backslash),
        ("/a%", PathError::BadEscape),
        ("/a%2", PathError::BadEscape),
        ("/a%2/", PathError::BadEscape),
        ("/a%zz", PathError::BadEscape),
        ("/%u002f", PathError::BadEscape),
        ("/%%32%66", PathError::BadEscape),
        ("/a%2fb", PathError::EncodedSlash),
        ("/a%5Cb", PathError::EncodedSlash),
        ("/a%00", PathError::EncodedNul),
        ("/%c0%af", PathError::Overlong),
        ("/%C1%9c", PathError::Overlong),
        ("/%e0%80%af", PathError::Overlong),
        ("/%f0%80%80%af", PathError::Overlong),
        ("/%252e%252e/x", PathError::DoubleEncoded),
        ("/%252f", PathError::DoubleEncoded),
        ("/%25%32%66", PathError::DoubleEncoded),
        ("/%2561dmin", PathError::DoubleEncoded),
        ("/%25%36%31dmin", PathError::DoubleEncoded),
        ("/a%2520b", PathError::DoubleEncoded),
        ("/%2500", PathError::DoubleEncoded),
        ("/%25252f", PathError::DoubleEncoded),
        ("/%255c", PathError::DoubleEncoded),
        ("/..", PathError::AboveRoot),
        ("/a/../../b", PathError::AboveRoot),
        ("//..", PathError::AboveRoot),
        ("/a/..;/b", PathError::DotParameter),
        ("/a/.;x/b", PathError::DotParameter),
        ("/a/%2e%2e;x", PathError::DotParameter),
        ("/a/..%3bx", PathError::DotParameter),
        ("/;x/admin", PathError::DotParameter),
    ] {
        assert_eq!(canonical(raw), Err(error), "{raw}");
    }
}

#[test]
fn a_canonical_path_without_escapes_is_not_copied() {
    let mut buffer = Vec::new();
    let raw = b"/api/v1/items/42";
    let path = canonicalize(raw, PathPolicy::Canonicalize, &mut buffer).unwrap();
    assert_eq!(path.as_ptr(), raw.as_ptr());
    assert_eq!(buffer.capacity(), 0);
}

/// Paths made of what has gone wrong in other people's code.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/", "/", "//", ".", "..", "a", "b", "%", "2", "5", "e", "E", "f", "%2e", "%2E", "%2f",
        "%25", "%61", "%00", "%c3%a9", "%c0", "%af", ";", "%3b", "=", "{", "\\", "%5c", "~", "%7e",
        "é", " ",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_result_is_its_own_canonical_form(raw in hostile()) {
        if let Ok(once) = canonical(&raw) {
            prop_assert_eq!(canonical(&once), Ok(once.clone()), "from {}", raw);
            let strict = canonicalize(once.as_bytes(), PathPolicy::Strict, &mut Vec::new()).map(str::to_owned);
            prop_assert_eq!(strict, Ok(once));
        }
    }

    #[test]
    fn a_result_holds_nothing_that_two_could_read_in_two_ways(raw in hostile()) {
        if let Ok(path) = canonical(&raw) {
            prop_assert!(path.starts_with('/') && path.is_ascii(), "{}", path);
            prop_assert!(!path.contains("//") && !path.contains('\\'), "{}", path);
            for segment in path.split('/') {
                let name = segment.split(';').next().unwrap();
                prop_assert!(name != "." && name != "..", "{}", path);
            }
            let lower = path.to_ascii_lowercase();
            for bad in ["%2f", "%5c", "%00", "%2e", "%252f", "%252e", "%255c", "%2500"] {
                prop_assert!(!lower.contains(bad), "{} in {}", bad, path);
            }
        }
    }

    #[test]
    fn the_quick_pass_agrees_with_the_thorough_one(raw in "/[a-c./;]{0,10}") {
        if scan::is_plainly_canonical(raw.as_bytes()) {
            let mut out = Vec::new();
            prop_assert_eq!(rewrite(raw.as_bytes(), &mut out), Ok(()));
            prop_assert_eq!(out, raw.as_bytes());
        }
    }

    #[test]
    fn no_bytes_at_all_make_it_panic(raw in prop::collection::vec(any::<u8>(), 0..40)) {
        let _ = canonicalize(&raw, PathPolicy::Canonicalize, &mut Vec::new());
    }
}
