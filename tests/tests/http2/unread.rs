//! Clients that read nothing of what they asked for, and clients that read it slowly, over either version, in clear and
//! over TLS.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, sockopt};
use tempfile::TempDir;
use weir_tests::config::Setup;
use weir_tests::h2::raw::{Frame, PREFACE, block, flag, kind};
use weir_tests::origin::{After, Origin};
use weir_tests::pki::Authority;
use weir_tests::tls::{Channel, Connector};
use weir_tests::wait::within;
use weir_tests::weir::Weir;

/// Answers without end.
struct Endless {
    origin: Origin,
    ended: Arc<Mutex<Vec<Ended>>>,
}

/// One that was broken off, and how long it had stood still by then.
#[derive(Debug, Clone)]
struct Ended {
    path: String,
    after: Duration,
}

impl Endless {
    fn start() -> Self {
        let all = Arc::<Mutex<Vec<Ended>>>::default();
        let ended = Arc::clone(&all);
        let piece = [&b"4000\r\n"[..], &[b'x'; 0x4000], b"\r\n"].concat();
        let origin = Origin::start(move |exchange| {
            exchange.body()?;
            exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            let mut moved = Instant::now();
            while exchange.send(&piece).is_ok() {
                moved = Instant::now();
            }
            let one = Ended {
                path: exchange.head.word(1).to_owned(),
                after: moved.elapsed(),
            };
            ended
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(one);
            Ok(After::Close)
        });
        Self { origin, ended: all }
    }

    fn ended(&self) -> Vec<Ended> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.clone()
    }
}

/// Weir in front of it twice: in clear, and over TLS.
struct Site {
    endless: Endless,
    clear: Weir,
    tls: Weir,
    authority: Authority,
    _dir: TempDir,
}

/// Streams of a client over HTTP/2.
const STREAMS: u32 = 10;

impl Site {
    fn start() -> Self {
        let endless = Endless::start();
        let authority = Authority::new("all");
        let dir = tempfile::tempdir().expect("a directory");
        let files = authority.server(&["a.example"]).write(dir.path(), "a");
        let setup = Setup::to(&endless.origin);
        Self {
            clear: Weir::start(&setup),
            tls: Weir::start(&setup.https(&[&files])),
            endless,
            authority,
            _dir: dir,
        }
    }

    /// Asks over HTTP/1 and HTTP/2, in clear and over TLS, and reads nothing; the path is the name that comes with it.
    fn clients(&self, connect: impl Fn(SocketAddr) -> TcpStream) -> Vec<(&'static str, Channel)> {
        let h1 =
            |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n").into_bytes();
        let shake = |alpn: &str| {
            let tls = Connector::trusting(&self.authority, "a.example", &[alpn]);
            tls.connect(connect(self.tls.addr())).expect("TLS")
        };
        let clear = || Channel::Plain(connect(self.clear.addr()));
        let mut all = vec![
            ("/h1", clear(), h1("/h1")),
            ("/h2", clear(), streams("/h2", "http")),
            ("/h1-tls", shake("http/1.1"), h1("/h1-tls")),
            ("/h2-tls", shake("h2"), streams("/h2-tls", "https")),
        ];
        for (name, channel, request) in &mut all {
            channel
                .write_all(request)
                .and_then(|()| channel.flush())
                .unwrap_or_else(|e| panic!("{name}: {e}"));
        }
        let asked = all.into_iter().map(|(name, channel, _)| (name, channel));
        asked.collect()
    }
}

/// Many requests on one connection, with all the window in the world.
fn streams(path: &str, scheme: &str) -> Vec<u8> {
    let most = 0x7fff_ffff_u32.to_be_bytes();
    let more = (0x7fff_ffff_u32 - 65_535).to_be_bytes();
    // SETTINGS_INITIAL_WINDOW_SIZE.
    let settings = [&[0, 4][..], &most].concat();
    let mut out = PREFACE.to_vec();
    out.extend(Frame::bytes(kind::SETTINGS, 0, 0, &settings));
    out.extend(Frame::bytes(kind::WINDOW_UPDATE, 0, 0, &more));
    let fields: [(&[u8], &[u8]); 4] = [
        (b":method", b"GET"),
        (b":scheme", scheme.as_bytes()),
        (b":authority", b"a.example"),
        (b":path", path.as_bytes()),
    ];
    for n in 0..STREAMS {
        let flags = flag::END_HEADERS | flag::END_STREAM;
        out.extend(Frame::bytes(
            kind::HEADERS,
            flags,
            2 * n + 1,
            &block(&fields),
        ));
    }
    out
}

fn ordinary(addr: SocketAddr) -> TcpStream {
    TcpStream::connect(addr).expect("a connection")
}

/// A connection whose own end holds little, so that what its client reads shows in its window.
fn narrow(addr: SocketAddr) -> TcpStream {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None);
    let socket = socket.expect("a socket");
    sockopt::set_socket_recv_buffer_size(&socket, 8 * 1024).expect("SO_RCVBUF");
    rustix::net::connect(&socket, &addr).expect("a connection");
    TcpStream::from(socket)
}

#[test]
fn who_reads_nothing_is_given_up_in_time_and_so_are_the_requests() {
    let site = Site::start();
    let _clients = site.clients(ordinary);
    let count = 2 * (STREAMS as usize + 1);
    let ended = within(Duration::from_secs(40), "the end of all requests", || {
        let ended = site.endless.ended();
        (ended.len() == count).then_some(ended)
    });
    for Ended { path, after } in ended {
        let time = Duration::from_secs(25)..Duration::from_secs(32);
        assert!(time.contains(&after), "{path} after {after:?}");
    }
    for weir in [&site.clear, &site.tls] {
        weir.counts("weir_h2_abuse_total", &["kind=\"unread\""], 1.0);
        let flagged = |flag, count| weir.counts("weir_requests_total", &[flag], count);
        // Over HTTP/1, and over HTTP/2.
        flagged("flag=\"SI\"", 1.0);
        flagged("flag=\"DC\"", f64::from(STREAMS));
        weir.counts("weir_downstream_connections", &[], 0.0);
        let ejected = weir.metric("weir_ejections_total", &[]);
        assert_eq!(ejected, 0.0, "it is no fault of the endpoint");
    }
}

#[test]
fn who_reads_a_kilobyte_a_second_is_not() {
    let site = Site::start();
    let mut clients = site.clients(narrow);
    let start = Instant::now();
    // By far more than a client that reads nothing has.
    while start.elapsed() < Duration::from_secs(40) {
        for (name, channel) in &mut clients {
            let read = channel.read_exact(&mut [0; 1000]);
            read.unwrap_or_else(|e: io::Error| panic!("{name} after {:?}: {e}", start.elapsed()));
        }
        // The pace is the test.
        std::thread::sleep(Duration::from_secs(1));
    }
    let ended = site.endless.ended();
    assert!(ended.is_empty(), "{ended:?}");
    for weir in [&site.clear, &site.tls] {
        assert_eq!(weir.metric("weir_h2_abuse_total", &[]), 0.0);
        assert_eq!(weir.metric("weir_requests_total", &[]), 0.0);
    }
}
