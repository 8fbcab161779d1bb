//! Rewriting a path (Gateway API, `HTTPPathModifier`).

use weir_config::model::PathModifier;

/// Writes the new path into `out`. `prefix_len` is what the rule's match covered of `path`; the rest of it
/// is empty or starts with a slash.
pub(crate) fn rewritten(out: &mut String, path: &str, modifier: &PathModifier, prefix_len: usize) {
    out.clear();
    match modifier {
        PathModifier::Full(full) => out.push_str(full),
        PathModifier::Prefix(prefix) => {
            out.push_str(prefix.trim_end_matches('/'));
            out.push_str(path.get(prefix_len..).unwrap_or_default());
        }
    }
    if !out.starts_with('/') {
        out.insert(0, '/');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The table in the Gateway API's documentation of ReplacePrefixMatch.
    #[test]
    fn a_prefix_is_replaced_as_the_gateway_api_lists_it() {
        for (path, prefix_len, with, expected) in [
            ("/foo/bar", 4, "/xyz", "/xyz/bar"),
            ("/foo/bar", 4, "/xyz/", "/xyz/bar"),
            ("/foo", 4, "/xyz", "/xyz"),
            ("/foo/", 4, "/xyz", "/xyz/"),
            ("/foo/bar", 4, "", "/bar"),
            ("/foo/", 4, "", "/"),
            ("/foo", 4, "", "/"),
            ("/foo", 4, "/", "/"),
            ("/foo", 0, "/xyz", "/xyz/foo"),
        ] {
            let mut out = String::new();
            rewritten(
                &mut out,
                path,
                &PathModifier::Prefix(with.into()),
                prefix_len,
            );
            assert_eq!(out, expected, "{path} with {with:?}");
        }
    }
}
