//! `weir explain`: which rule a request would meet, and every reason why not another.

use clap::Args;
use http::{HeaderName, HeaderValue, Method};

use crate::client::Client;
use crate::exit::Outcome;
use crate::output::Printer;

const HELP: &str = "\
Examples:
  weir explain GET http://shop.example.com/cart
  weir explain GET http://shop.example.com/ -H 'x-canary: always'
  weir explain POST http://127.0.0.1:8080/api -H 'cookie: weir-bucket=7'";

/// Show what would happen to a request: every rule tried, the version, the candidates
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct ExplainArgs {
    /// GET, POST, …
    method: Method,
    /// As a client would ask for it: http://HOST[:PORT]/PATH[?QUERY]
    url: http::Uri,
    /// A header of the request; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("write NAME: VALUE, as in 'x-canary: always'")?;
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
pub(crate) fn run(_args: &ExplainArgs, _client: &Client, _printer: Printer) -> Outcome {
    Ok(crate::exit::Exit::Ok)
}
