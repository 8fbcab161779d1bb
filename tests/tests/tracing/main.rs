//! Traces through the binary: what endpoints and clients are told, and what a real receiver of OTLP gets.

mod collector;
mod context;
mod exports;
mod receiver;
mod sampling;
mod trouble;

use weir_tests::client::Response;
use weir_tests::config::Setup;
use weir_tests::origin::Origin;
use weir_tests::weir::Weir;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// Everything to the origin, with this `tracing` section in YAML's flow style.
fn traced(origin: &Origin, tracing: &str) -> Setup {
    Setup::to(origin).top(&format!("tracing: {{ {tracing} }}"))
}

/// A request with these fields, whole lines.
fn ask(weir: &Weir, fields: &str) -> Response {
    let mut client = weir.client();
    client.send(format!(
        "GET /cart?secret=1 HTTP/1.1\r\nHost: shop.example:81\r\nUser-Agent: test/1\r\n{fields}\r\n"
    ));
    client.response()
}

/// `traceparent` with that trace and parent.
fn traceparent(flags: &str) -> String {
    format!("traceparent: 00-{TRACE}-{SPAN}-{flags}\r\n")
}

/// The parts of a `traceparent`: trace, parent, flags.
fn parts(value: &str) -> (String, String, String) {
    let parts: Vec<_> = value.split('-').collect();
    let [version, trace, parent, flags] = parts[..] else {
        panic!("not a traceparent: {value:?}")
    };
    assert_eq!(
        (version, trace.len(), parent.len(), flags.len()),
        ("00", 32, 16, 2),
        "{value:?}"
    );
    (trace.to_owned(), parent.to_owned(), flags.to_owned())
}
