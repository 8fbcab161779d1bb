//! The request that is asked about, from the query of the API.

use std::net::{IpAddr, Ipv4Addr};

use weir_decide::route;

use crate::admin::error::ApiError;

/// A request that nobody sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::admin) struct Question {
    pub(super) method: String,
    /// Lower case, without port.
    pub(super) host: String,
    /// Of the URL; 80 or 443 by its scheme where it names none.
    pub(super) port: u16,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) client: IpAddr,
    pub(super) listener: Option<String>,
    /// The SPIFFE id that the client proves.
    pub(super) identity: Option<String>,
}

impl Question {
    /// Reads `method`, `url`, `header` (any number), `client`, `listener` and `identity`.
    pub(in crate::admin) fn parse(pairs: Vec<(String, String)>) -> Result<Self, ApiError> {
        let mut question = Self {
            method: "GET".to_owned(),
            host: String::new(),
            port: 80,
            path: String::new(),
            query: None,
            headers: Vec::new(),
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            listener: None,
            identity: None,
        };
        let mut asked = false;
        for (key, value) in pairs {
            match key.as_str() {
                "method" => question.method = method(value)?,
                "url" => {
                    question.take_url(&value)?;
                    asked = true;
                }
                "header" => question.headers.push(header(&value)?),
                "client" => question.client = client(&value)?,
                "listener" => question.listener = Some(value),
                "identity" => question.identity = Some(value),
                _ => {
                    let message = format!(
                        "unknown parameter {key:?}; known: method, url, header, client, listener, identity"
                    );
                    return Err(ApiError::Invalid(message));
                }
            }
        }
        if !asked {
            return Err(ApiError::Invalid(
                "url is missing; write url=http://HOST/PATH".to_owned(),
            ));
        }
        // As with curl: a Host that is given stands above the URL's.
        if let Some(at) = question.headers.iter().position(|(name, _)| name == "host") {
            let (_, authority) = question.headers.remove(at);
            (question.host, _) = split_port(&authority);
        }
        Ok(question)
    }

    /// As the route table is asked.
    pub(super) fn request<'a>(&'a self, path: &'a str) -> route::Request<'a, [(String, String)]> {
        route::Request {
            host: &self.host,
            path,
            query: self.query.as_deref().map(str::as_bytes),
            method: &self.method,
            headers: &self.headers,
        }
    }

    /// Splits by hand, since a URL that no library would take may be just what is asked about.
    fn take_url(&mut self, url: &str) -> Result<(), ApiError> {
        let (default_port, rest) = match url.split_once("://") {
            Some(("http", rest)) => (80, rest),
            Some(("https", rest)) => (443, rest),
            Some((scheme, _)) => {
                return Err(ApiError::Invalid(format!(
                    "the scheme {scheme:?} is neither http nor https"
                )));
            }
            None => (80, url),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (host, port) = split_port(authority);
        (self.host, self.port) = (host, port.unwrap_or(default_port));
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        self.path = if path.is_empty() { "/" } else { path }.to_owned();
        self.query = query;
        Ok(())
    }
}

/// The host in lower case, and the port where there is one. IPv6 stays in brackets.
fn split_port(authority: &str) -> (String, Option<u16>) {
    let colon = authority
        .rfind(':')
        .filter(|at| !authority[*at..].contains(']'));
    let (host, port) = authority.split_at(colon.unwrap_or(authority.len()));
    (
        host.to_ascii_lowercase(),
        port.strip_prefix(':').and_then(|port| port.parse().ok()),
    )
}

fn method(text: String) -> Result<String, ApiError> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    match !text.is_empty() && text.bytes().all(fits) {
        true => Ok(text),
        false => Err(ApiError::Invalid(format!("{text:?} is not a method"))),
    }
}

fn header(text: &str) -> Result<(String, String), ApiError> {
    let parts = text
        .split_once(':')
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    parts.filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
        ApiError::Invalid(format!("{text:?} is not a header; write header=NAME:VALUE"))
    })
}

fn client(text: &str) -> Result<IpAddr, ApiError> {
    text.parse().map_err(|_| {
        ApiError::Invalid(format!(
            "{text:?} is not an IP address; write client=192.0.2.1"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Question, ApiError> {
        Question::parse(
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn a_url_is_split_as_a_client_would() {
        for (url, host, port, path, query) in [
            (
                "http://Shop.example.com/a?b=1#c",
                "shop.example.com",
                80,
                "/a",
                Some("b=1"),
            ),
            (
                "https://shop.example.com",
                "shop.example.com",
                443,
                "/",
                None,
            ),
            ("http://[::1]:8080?x", "[::1]", 8080, "/", Some("x")),
            ("http://h:81/%2e%2e/\\x", "h", 81, "/%2e%2e/\\x", None),
            ("/only/path", "", 80, "/only/path", None),
        ] {
            let question = parse(&[("url", url)]).unwrap();
            let seen = (
                &*question.host,
                question.port,
                &*question.path,
                question.query.as_deref(),
            );
            assert_eq!(seen, (host, port, path, query), "{url}");
        }
    }

    #[test]
    fn a_host_header_stands_above_the_urls() {
        let question = parse(&[
            ("url", "http://127.0.0.1:8080/"),
            ("header", "Host: Shop.example.com:1"),
        ])
        .unwrap();
        assert_eq!((&*question.host, question.port), ("shop.example.com", 8080));
        assert_eq!(question.headers, []);
    }

    #[test]
    fn what_cannot_be_read_says_what_to_write() {
        for (pairs, part) in [
            (&[("method", "GET")][..], "url is missing"),
            (&[("url", "ftp://h/")], "neither http nor https"),
            (
                &[("url", "http://h/"), ("header", "x-canary")],
                "header=NAME:VALUE",
            ),
            (&[("url", "http://h/"), ("client", "h")], "client=192.0.2.1"),
            (&[("url", "http://h/"), ("method", "G T")], "not a method"),
            (&[("url", "http://h/"), ("path", "/")], "unknown parameter"),
        ] {
            let error = parse(pairs).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
