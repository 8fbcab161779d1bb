//! A client and an endpoint of either version, with one face.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use tokio::net::{TcpListener, TcpStream};
use weir_tests::config::Setup;
use weir_tests::weir::Weir;
use weir_tests::wire::chunks;
use weir_tests::{h2, origin};

/// How a peer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    H1,
    H2,
}

/// All four ways from a client to an endpoint.
pub(crate) const WAYS: [(Speaks, Speaks); 4] = [
    (Speaks::H1, Speaks::H1),
    (Speaks::H1, Speaks::H2),
    (Speaks::H2, Speaks::H1),
    (Speaks::H2, Speaks::H2),
];

/// The trailer of every message that has one.
pub(crate) const SUM: &str = "x-sum";

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) fields: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
    /// Whether the length is said; a trailer follows where it is not.
    pub(crate) known: bool,
}

impl<'a> Ask<'a> {
    pub(crate) fn of(method: &'a str, path: &'a str) -> Self {
        Self {
            method,
            path,
            fields: &[],
            body: b"",
            known: true,
        }
    }
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Got {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self
            .fields
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

fn pairs(map: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    map.iter()
        .map(|(name, value)| (name.to_string(), text(value)))
        .collect()
}

/// Asks on a connection of its own.
pub(crate) fn ask(speaks: Speaks, weir: &Weir, what: &Ask<'_>) -> Got {
    match speaks {
        Speaks::H1 => ask_h1(weir, what),
        Speaks::H2 => ask_h2(&weir.h2c(), what),
    }
}

fn ask_h1(weir: &Weir, what: &Ask<'_>) -> Got {
    let mut head = format!(
        "{} {} HTTP/1.1\r\nHost: a.example\r\n",
        what.method, what.path
    );
    for (name, value) in what.fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut client = weir.client();
    let is_bodiless = matches!(what.method, "GET" | "HEAD");
    match (is_bodiless, what.known) {
        (true, _) => client.send(head + "\r\n"),
        (false, true) => client
            .send(head + &format!("Content-Length: {}\r\n\r\n", what.body.len()))
            .send(what.body),
        (false, false) => {
            let mut body = chunks(what.body, 30_000);
            body.truncate(body.len() - 2);
            body.extend(format!("{SUM}: up\r\n\r\n").bytes());
            client
                .send(head + "Transfer-Encoding: chunked\r\n\r\n")
                .send(body)
        }
    };
    let answer = client.response_to(what.method);
    Got {
        status: answer.status(),
        fields: answer.head.fields,
        body: answer.body.data,
        trailers: answer.body.trailers,
    }
}

/// The request of `what`, without its body.
pub(crate) fn request(client: &h2::Client, what: &Ask<'_>) -> Request<()> {
    let method = what.method.parse().expect("a method");
    let mut request = client.request(method, "a.example", what.path);
    for (name, value) in what.fields {
        let name: HeaderName = name.parse().expect("a name");
        request
            .headers_mut()
            .append(name, value.parse().expect("a value"));
    }
    if what.known && request.method() != Method::GET && request.method() != Method::HEAD {
        let length = HeaderValue::from(what.body.len());
        request.headers_mut().insert("content-length", length);
    }
    request
}

pub(crate) fn ask_h2(client: &h2::Client, what: &Ask<'_>) -> Got {
    let request = request(client, what);
    let is_bodiless = matches!(what.method, "GET" | "HEAD");
    let answer = match what.known || is_bodiless {
        true => client.exchange(request, what.body),
        false => {
            let mut stream = client.open(request, false);
            stream.send(what.body, false);
            stream.trailers(sum("up"));
            stream.response()
        }
    };
    Got {
        status: answer.status,
        fields: pairs(&answer.headers),
        body: answer.body,
        trailers: answer.trailers.as_ref().map(pairs).unwrap_or_default(),
    }
}

pub(crate) fn sum(value: &'static str) -> HeaderMap {
    let pair = (
        HeaderName::from_static(SUM),
        HeaderValue::from_static(value),
    );
    [pair].into_iter().collect()
}

/// An endpoint that sends back what it got: with a length, or on `/unknown` without one and with a trailer.
pub(crate) enum Echo {
    H1(origin::Origin),
    H2(h2::Origin),
}

impl Echo {
    pub(crate) fn start(speaks: Speaks) -> Self {
        match speaks {
            Speaks::H1 => Self::H1(origin::Origin::start(|exchange| {
                let body = exchange.body()?.data;
                let head = exchange.head.word(0) == "HEAD";
                let mut answer = b"HTTP/1.1 200 OK\r\n".to_vec();
                match exchange.head.word(1) {
                    "/unknown" => {
                        answer.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                        answer.extend(chunks(&body, 10_000));
                        answer.truncate(answer.len() - 2);
                        answer.extend(format!("{SUM}: down\r\n\r\n").bytes());
                    }
                    _ => {
                        answer.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
                        answer.extend(body.iter().filter(|_| !head));
                    }
                }
                exchange.send(answer)?;
                Ok(origin::After::Keep)
            })),
            Speaks::H2 => Self::H2(h2::Origin::start(|seen| {
                let mut reply = h2::Reply {
                    body: seen.body.clone().unwrap_or_default(),
                    ..h2::Reply::default()
                };
                match seen.uri.path() {
                    "/unknown" => reply.trailers = Some(sum("down")),
                    _ => {
                        let length = HeaderValue::from(reply.body.len());
                        reply
                            .response
                            .headers_mut()
                            .insert("content-length", length);
                    }
                }
                reply
            })),
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        match self {
            Self::H1(origin) => origin.addr(),
            Self::H2(origin) => origin.addr(),
        }
    }

    /// The body and the trailer of the last request.
    pub(crate) fn last(&self) -> (Vec<u8>, Option<String>) {
        match self {
            Self::H1(origin) => {
                let seen = origin.requests().pop().expect("a request");
                let body = seen.body.expect("all of it");
                let trailer = body.trailers.into_iter().find(|(name, _)| name == SUM);
                (body.data, trailer.map(|(_, value)| value))
            }
            Self::H2(origin) => {
                let seen = origin.requests().pop().expect("a request");
                let trailer = seen.trailers.as_ref().and_then(|map| map.get(SUM));
                let text = trailer
                    .and_then(|value| value.to_str().ok())
                    .map(str::to_owned);
                (seen.body.expect("all of it"), text)
            }
        }
    }
}

/// Everything to one endpoint that speaks so.
pub(crate) fn to(speaks: Speaks, addr: SocketAddr) -> Setup {
    to_with(speaks, addr, "", "")
}

/// The same, with more keys of the service, and of the route's rule.
pub(crate) fn to_with(speaks: Speaks, addr: SocketAddr, service: &str, rule: &str) -> Setup {
    let protocol = match speaks {
        Speaks::H1 => "http",
        Speaks::H2 => "h2c",
    };
    let join = |keys: &str| match keys {
        "" => String::new(),
        keys => format!(", {keys}"),
    };
    let keys = format!("appProtocol: {protocol}{}", join(service));
    let rule = format!("backendRefs: [{{ name: app }}]{}", join(rule));
    Setup::new()
        .service_with("app", &[("stable", addr)], &keys)
        .route("app", &rule)
}

/// Weir in front of an endpoint of HTTP/2, and a client with one connection.
pub(crate) fn fronted(addr: SocketAddr) -> (Weir, h2::Client) {
    let weir = Weir::start(&to(Speaks::H2, addr));
    let client = weir.h2c();
    (weir, client)
}

/// The same in front of two that take turns, with more keys of their service.
pub(crate) fn fronted_pair(pair: [SocketAddr; 2], keys: &str) -> (Weir, h2::Client) {
    let endpoints = pair.map(|addr| ("stable", addr));
    let keys = format!("appProtocol: h2c, loadBalancer: {{ simple: ROUND_ROBIN }}, {keys}");
    let setup = Setup::new()
        .service_with("app", &endpoints, &keys)
        .route("app", "backendRefs: [{ name: app }]");
    let weir = Weir::start(&setup);
    let client = weir.h2c();
    (weir, client)
}

/// An address whose connections are served so, in a thread for as long as the test runs.
pub(crate) fn listen<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener
        .set_nonblocking(true)
        .expect("a listener for tokio");
    let addr = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        });
    });
    addr
}

/// Bytes in which a shift or a loss shows.
pub(crate) fn pattern(size: usize) -> Vec<u8> {
    (0..size)
        .map(|n| ((n * 31 + n / 251) % 256) as u8)
        .collect()
}
