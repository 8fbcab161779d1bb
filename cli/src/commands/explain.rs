//! `weir explain`: which rule a request would meet, and every reason why not another.

mod view;

use clap::Args;
use http::{HeaderName, HeaderValue, Method, Uri};
use serde_json::Value;
use weir_proxy::admin::types::{Explanation, Reply};

use crate::client::{Client, block_on, read};
use crate::exit::{Exit, Outcome};
use crate::output::{Printer, print};

const HELP: &str = "\
Nothing is sent anywhere: the running Weir says what it would do.

Examples:
  weir explain GET http://shop.example.com/cart
  weir explain GET http://shop.example.com/ -H 'x-canary: always'
  weir explain POST http://127.0.0.1:8080/api -H 'cookie: weir-bucket=7' --client 10.1.2.3";

/// Show what would happen to a request: every rule tried, the version, the candidates
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct ExplainArgs {
    /// GET, POST, …
    method: Method,
    /// As a client would ask for it: http://HOST[:PORT]/PATH[?QUERY]
    #[arg(value_parser = url)]
    url: String,
    /// A header of the request; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// As if it came from this address
    #[arg(long, value_name = "IP")]
    client: Option<std::net::IpAddr>,
    /// As if it arrived on this listener
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// As if the client proved this SPIFFE id
    #[arg(long, value_name = "ID")]
    identity: Option<String>,
}

/// Takes a URL with scheme and host; `shop.example.com/cart` is given a scheme.
fn url(text: &str) -> Result<String, String> {
    let full = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let bad = |why: &str| format!("{text:?} is not a URL: {why}; write http://HOST/PATH");
    let uri: Uri = full.parse().map_err(|_| bad("it cannot be read"))?;
    match uri.host() {
        Some(_) => Ok(full),
        None => Err(bad("it names no host")),
    }
}

/// Reads `x-canary: always`, and `x-canary=always` too.
fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let split = text.split_once([':', '=']);
    let (name, value) = split.ok_or("write NAME: VALUE, as in 'x-canary: always'")?;
    let name = name
        .trim()
        .parse()
        .map_err(|_| format!("{name:?} is not a header name"))?;
    let value = value
        .trim()
        .parse()
        .map_err(|_| format!("{value:?} is not a header value"))?;
    Ok((name, value))
}

/// Asks the running Weir.
pub(crate) fn run(args: &ExplainArgs, client: &Client, printer: Printer) -> Outcome {
    let path = path_of(args);
    let value: Value = block_on(client.get(&path))?;
    if printer.is_data() {
        printer.data(&value)?;
        return Ok(Exit::Ok);
    }
    let explanation: Reply<Explanation> = read(value)?;
    print(&view::render(&explanation.body, printer))?;
    Ok(Exit::Ok)
}

/// `/api/v1/explain?method=GET&url=…&header=name:value`
fn path_of(args: &ExplainArgs) -> String {
    let mut path = format!(
        "/api/v1/explain?method={}&url={}",
        args.method,
        encode(args.url.as_bytes())
    );
    for (name, value) in &args.headers {
        path.push_str(&format!("&header={name}:{}", encode(value.as_bytes())));
    }
    if let Some(client) = args.client {
        path.push_str(&format!(
            "&client={}",
            encode(client.to_string().as_bytes())
        ));
    }
    if let Some(listener) = &args.listener {
        path.push_str(&format!("&listener={}", encode(listener.as_bytes())));
    }
    if let Some(identity) = &args.identity {
        path.push_str(&format!("&identity={}", encode(identity.as_bytes())));
    }
    path
}

/// Percent-encodes all but the unreserved characters (RFC 3986, section 2.3).
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(*byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_becomes_a_query_that_keeps_every_character() {
        let args = ExplainArgs {
            method: Method::GET,
            url: url("shop.example.com/a?b=c&d=%20").unwrap(),
            headers: vec![header("x-canary: always on").unwrap()],
            client: Some("::1".parse().unwrap()),
            listener: Some("web".into()),
            identity: Some("spiffe://a/b".into()),
        };
        let expected = "/api/v1/explain?method=GET&url=http%3A%2F%2Fshop.example.com%2Fa%3Fb%3Dc%26d%3D%2520\
                        &header=x-canary:always%20on&client=%3A%3A1&listener=web&identity=spiffe%3A%2F%2Fa%2Fb";
        assert_eq!(path_of(&args), expected);
    }

    #[test]
    fn headers_are_read_in_both_ways_people_write_them() {
        for text in ["x-canary: always", "x-canary=always", "x-canary:always"] {
            let (name, value) = header(text).unwrap();
            assert_eq!(
                (name.as_str(), value.to_str().unwrap()),
                ("x-canary", "always"),
                "{text}"
            );
        }
        let (name, value) = header("cookie: a=b").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("cookie", "a=b"));
        assert!(header("nothing").is_err() && header("b ad: x").is_err());
    }

    #[test]
    fn a_url_needs_a_host() {
        assert!(url("http://shop.example.com").is_ok());
        for text in ["/cart", "http://", ""] {
            assert!(url(text).is_err(), "{text}");
        }
    }
}
