//! `weir origin`: a small test origin.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::exit::{Exit, Failure, Outcome};
use crate::origin::{Defaults, Identity, Origin, Own, Plain, Tls, Worker};
use crate::signals::Ending;
use crate::units;

const HELP: &str = "\
What it answers (by path, or by query on any path):
  /                     name and version as text; JSON with `accept: application/json` or ?json
  /delay/250ms          after a while                  (also ?delay=250ms)
  /status/503           with that status               (also ?status=503)
  ?fail=10%             every tenth request with 500
  /bytes/1048576        that many bytes, with a Content-Length
  /stream/20            chunks, ?interval=100ms apart, without a Content-Length
  /echo                 the request's body, as it comes
  /ws                   a WebSocket that echoes, over HTTP/1.1 and HTTP/2
  /headers              the request's headers
  /trailers             two chunks and trailers, if the request says `TE: trailers`
  /healthz, /ready, /live
                        200, or what `POST /healthz?status=503` has set
  /hang, /close, /early no answer; a closed connection; an answer before the body is read

It speaks HTTP/1.1 and HTTP/2 on the same port; the JSON tells which, and what TLS agreed on.

Over gRPC it is weir.origin.v1.Echo, whose messages are bytes of any kind:
  Unary, Bidi           each message back
  ServerStream          a message x-origin-count times (3), x-origin-interval apart
  ClientStream          how many messages and bytes came
  Describe              the JSON of above, as the message
and grpc.health.v1.Health (Check, Watch), which says what /healthz says. Metadata asks for more:
  x-origin-delay: 250ms         before the answer
  x-origin-status: 14           how the call ends, with x-origin-message
  x-origin-fail: 10%            every tenth call as unavailable
  x-origin-http-status: 503     no gRPC at all, as something in between might answer

Examples:
  weir origin --listen 127.0.0.1:9001 --name shop-1 --version stable
  weir origin --listen 127.0.0.1:9001 --count 3        # three ports: 9001, 9002, 9003
  weir origin --version canary --fail 10% --delay 50ms
  weir origin --tls                                     # a certificate made now, for localhost
  weir origin --tls-cert a.crt --tls-key a.key --client-ca clients.pem --alpn http/1.1
  weir origin --tcp 127.0.0.1:9001 --udp 127.0.0.1:9001   # says `NAME VERSION`, then echoes; no HTTP";

/// A small test origin for demos, examples and tests
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct OriginArgs {
    /// Where to listen; port 0 takes a free one. Default 127.0.0.1:0, in a container 0.0.0.0:8080
    #[arg(
        long,
        value_name = "ADDR",
        env = "WEIR_ORIGIN_LISTEN",
        value_delimiter = ','
    )]
    listen: Vec<SocketAddr>,
    /// Also a TCP server here, which says its name and version in a line and echoes
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    tcp: Vec<SocketAddr>,
    /// Also a UDP server here, which puts its name and version in front of a datagram and sends it back
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    udp: Vec<SocketAddr>,
    /// Speak TLS, with a certificate made now for localhost, 127.0.0.1 and ::1
    #[arg(long)]
    tls: bool,
    /// Speak TLS with this certificate, its chain behind it (PEM)
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        conflicts_with = "tls"
    )]
    tls_cert: Option<PathBuf>,
    /// The key of that certificate (PEM: PKCS#8, SEC1 or PKCS#1)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Ask clients for a certificate that one of these signed (PEM); those without one are refused
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// Protocols offered by ALPN, the preferred one first
    #[arg(
        long,
        value_name = "PROTOCOL",
        value_delimiter = ',',
        default_value = "h2,http/1.1"
    )]
    alpn: Vec<String>,
    /// The name it answers with, also in `x-origin-name`
    #[arg(long, default_value = "origin", env = "WEIR_ORIGIN_NAME")]
    name: String,
    /// The version it answers with, also in `x-origin-version`
    #[arg(long, default_value = "stable", env = "WEIR_ORIGIN_VERSION")]
    version: String,
    /// Ports per address, counted up from its port; each has its own name: NAME-1, NAME-2, …
    #[arg(long, default_value = "1", value_name = "K")]
    count: NonZeroUsize,
    /// Threads that serve each port
    #[arg(long, default_value = "1", value_name = "N")]
    threads: NonZeroUsize,
    /// Wait this long before each answer
    #[arg(long, default_value = "0", value_parser = units::duration)]
    delay: Duration,
    /// Answer this share of requests with 500
    #[arg(long, default_value = "0%", value_name = "SHARE", value_parser = units::tenths_of_percent)]
    fail: u32,
    /// After SIGTERM, how long requests in flight may take
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = units::duration)]
    drain: Duration,
}

/// Serves until a signal, then finishes what is in flight.
pub(crate) fn run(args: OriginArgs) -> Outcome {
    let mut origins = bind(&args)?;
    for origin in &origins {
        eprintln!("listening on {}", origin.address());
    }
    let plain = bind_plain(&args)?;
    for plain in &plain {
        eprintln!("listening on {}", plain.address()?);
    }
    let stop = CancellationToken::new();
    let mut shards: Vec<Vec<Worker>> = Vec::new();
    for _ in 0..args.threads.get() {
        shards.push(origins.iter_mut().filter_map(Origin::worker).collect());
    }
    let mine = shards.pop().unwrap_or_default();
    let others: Vec<_> = shards
        .into_iter()
        .map(|workers| {
            let stop = stop.clone();
            std::thread::spawn(move || serve(workers, Vec::new(), &stop, args.drain, false))
        })
        .collect();
    serve(mine, plain, &stop, args.drain, true)?;
    for thread in others {
        thread
            .join()
            .map_err(|_| Failure::runtime("a serving thread panicked"))??;
    }
    Ok(Exit::Ok)
}

/// Runs workers on a runtime of this thread; one thread also waits for the signal that stops all.
fn serve(
    workers: Vec<Worker>,
    plain: Vec<Plain>,
    stop: &CancellationToken,
    drain: Duration,
    signals: bool,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        if signals {
            let mut ending = Ending::listen()?;
            let stop = stop.clone();
            tokio::spawn(async move {
                ending.next().await;
                stop.cancel();
                ending.next().await;
                std::process::exit(i32::from(Exit::Failure.code()));
            });
        }
        let workers = workers
            .into_iter()
            .map(|w| tokio::spawn(w.serve(stop.clone(), drain)));
        let plain = plain
            .into_iter()
            .map(|p| tokio::spawn(p.serve(stop.clone())));
        let serving: Vec<_> = workers.chain(plain).collect();
        for task in serving {
            task.await
                .map_err(|_| Failure::runtime("an accept loop panicked"))??;
        }
        Ok(())
    })
}

fn bind(args: &OriginArgs) -> Result<Vec<Origin>, Failure> {
    let only_plain = !(args.tcp.is_empty() && args.udp.is_empty());
    let addresses = match args.listen.is_empty() {
        true if only_plain => Vec::new(),
        true => vec![default_listen()],
        false => args.listen.clone(),
    };
    let defaults = Defaults {
        delay: args.delay,
        fail_tenths: args.fail,
    };
    let ports = addresses
        .iter()
        .flat_map(|first| (0..args.count.get()).map(move |k| (*first, k)));
    let tls = tls(args)?;
    let many = addresses.len() * args.count.get() > 1;
    let mut origins = Vec::new();
    for (first, k) in ports {
        let name = match many {
            true => format!("{}-{}", args.name, origins.len() + 1),
            false => args.name.clone(),
        };
        let identity =
            Identity::new(&name, &args.version).map_err(|why| Failure::new(Exit::Usage, why))?;
        let address = nth_port(first, k)?;
        let origin = Origin::bind(address, args.threads, identity, defaults).map_err(|e| {
            Failure::runtime(format!("cannot listen on {address}: {e}"))
                .help("choose another --listen; port 0 takes a free one")
        })?;
        origins.push(origin.with_tls(tls.clone()));
    }
    Ok(origins)
}

/// `None` for an origin in clear.
fn tls(args: &OriginArgs) -> Result<Option<Tls>, Failure> {
    let own = match (&args.tls_cert, &args.tls_key) {
        (Some(cert), Some(key)) => Own::Files { cert, key },
        _ if args.tls => Own::SelfSigned,
        _ if args.client_ca.is_some() => {
            let why = "--client-ca needs --tls, or --tls-cert and --tls-key";
            return Err(Failure::new(Exit::Usage, why));
        }
        _ => return Ok(None),
    };
    Tls::build(own, &args.alpn, args.client_ca.as_deref())
        .map(Some)
        .map_err(Failure::runtime)
}

/// The addresses below HTTP, all under the one name.
fn bind_plain(args: &OriginArgs) -> Result<Vec<Plain>, Failure> {
    let identity =
        Identity::new(&args.name, &args.version).map_err(|why| Failure::new(Exit::Usage, why))?;
    let failed = |address: &SocketAddr, e: std::io::Error| {
        Failure::runtime(format!("cannot listen on {address}: {e}"))
            .help("choose another address; port 0 takes a free one")
    };
    let tcp = args
        .tcp
        .iter()
        .map(|a| Plain::tcp(*a, identity.clone()).map_err(|e| failed(a, e)));
    let udp = args
        .udp
        .iter()
        .map(|a| Plain::udp(*a, identity.clone()).map_err(|e| failed(a, e)));
    tcp.chain(udp).collect()
}

/// The k-th port from the first; port 0 stays 0, and each bind takes another free port.
fn nth_port(first: SocketAddr, k: usize) -> Result<SocketAddr, Failure> {
    let mut address = first;
    if first.port() != 0 {
        let port = u16::try_from(usize::from(first.port()) + k);
        address
            .set_port(port.map_err(|_| Failure::new(Exit::Usage, "--count runs past port 65535"))?);
    }
    Ok(address)
}

/// In a container everything outside must reach it; on a person's machine nothing should.
fn default_listen() -> SocketAddr {
    let in_container = std::process::id() == 1
        || ["/.dockerenv", "/run/.containerenv"]
            .iter()
            .any(|mark| Path::new(mark).exists());
    match in_container {
        true => SocketAddr::from(([0, 0, 0, 0], 8080)),
        false => SocketAddr::from(([127, 0, 0, 1], 0)),
    }
}
