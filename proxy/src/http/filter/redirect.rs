//! Where a redirect leads (Gateway API, `HTTPRequestRedirectFilter`).

use std::fmt::Write;

use weir_config::model::Redirect;

use super::rewritten;

/// The `Location` for a request over the scheme `asked` to `authority` (host and perhaps port, as the client sent them).
///
/// Without a scheme, hostname or port of its own the redirect keeps what the client asked for. The
/// Gateway API would put the listener's port there; behind a published container port that is a port which the
/// client cannot reach.
pub(crate) fn location(
    redirect: &Redirect,
    asked: &str,
    authority: &str,
    path: &str,
    query: Option<&str>,
    prefix_len: usize,
) -> String {
    let scheme = redirect.scheme.as_deref().unwrap_or(asked);
    let end = authority
        .rfind(':')
        .filter(|at| !authority[*at..].contains(']'));
    let (host, port) = match end {
        Some(at) => (&authority[..at], authority[at + 1..].parse().ok()),
        None => (authority, None),
    };
    let host = redirect.hostname.as_deref().unwrap_or(host);
    let port: Option<u16> = match (redirect.port, &redirect.scheme) {
        (Some(port), _) => Some(port),
        (None, Some(_)) => None,
        (None, None) => port,
    };
    let mut location = format!("{scheme}://{host}");
    let default = if scheme == "https" { 443 } else { 80 };
    if let Some(port) = port.filter(|port| *port != default) {
        // Writing to a string cannot fail.
        let _ = write!(location, ":{port}");
    }
    let mut to = String::new();
    let path = match &redirect.path {
        Some(modifier) => {
            rewritten(&mut to, path, modifier, prefix_len);
            &to
        }
        None => path,
    };
    location.push_str(path);
    if let Some(query) = query {
        location.push('?');
        location.push_str(query);
    }
    location
}

#[cfg(test)]
mod tests {
    use super::*;

    use weir_config::model::PathModifier;

    fn plain() -> Redirect {
        Redirect {
            scheme: None,
            hostname: None,
            path: None,
            port: None,
            status: 302,
        }
    }

    #[test]
    fn a_redirect_changes_only_what_it_names() {
        let https = Redirect {
            scheme: Some("https".into()),
            ..plain()
        };
        let moved = Redirect {
            path: Some(PathModifier::Prefix("/new".into())),
            ..plain()
        };
        let elsewhere = Redirect {
            hostname: Some("b.com".into()),
            port: Some(8443),
            ..plain()
        };
        for (redirect, authority, expected) in [
            (&https, "a.com:8080", "https://a.com/old/x?q=1"),
            (&https, "[::1]:80", "https://[::1]/old/x?q=1"),
            (&moved, "a.com:8080", "http://a.com:8080/new/x?q=1"),
            (&moved, "a.com:80", "http://a.com/new/x?q=1"),
            (&elsewhere, "a.com", "http://b.com:8443/old/x?q=1"),
        ] {
            assert_eq!(
                location(redirect, "http", authority, "/old/x", Some("q=1"), 4),
                expected
            );
        }
    }
}
