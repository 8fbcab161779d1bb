//! Origins and clients that speak nothing in particular.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use weir_tests::ports;
use weir_tests::wait::{PATIENCE, eventually};
use weir_tests::weir::Weir;
use weir_tests::wire::Wire;

/// A TCP origin under a script, until it is dropped.
pub(super) struct TcpOrigin {
    addr: SocketAddr,
    accepted: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

impl TcpOrigin {
    pub(super) fn start(script: impl Fn(Wire) + Send + Sync + 'static) -> Self {
        let addr = ports::free();
        let listener = eventually("a free port for an origin", || TcpListener::bind(addr).ok());
        let accepted = Arc::new(AtomicUsize::new(0));
        let stopped = Arc::new(AtomicBool::new(false));
        let (count, stop) = (Arc::clone(&accepted), Arc::clone(&stopped));
        let script = Arc::new(script);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                count.fetch_add(1, Ordering::SeqCst);
                let script = Arc::clone(&script);
                std::thread::spawn(move || {
                    let mut wire = Wire::new(stream, None);
                    wire.patience = Duration::from_secs(120);
                    script(wire);
                });
            }
        });
        Self {
            addr,
            accepted,
            stopped,
        }
    }

    /// Says its name first, then echoes until the client ends, then ends.
    pub(super) fn named(name: &'static str) -> Self {
        Self::start(move |mut wire| {
            if wire.send(name).is_ok() {
                echo(&mut wire);
            }
        })
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Connections taken so far.
    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for TcpOrigin {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread; a refusal means that it is gone.
        let _ = TcpStream::connect(self.addr);
    }
}

/// Echoes until the peer ends.
pub(super) fn echo(wire: &mut Wire) {
    while let Ok(some) = wire.some() {
        if some.is_empty() || wire.send(some).is_err() {
            return;
        }
    }
}

/// A connection to the listener.
pub(super) fn connect(weir: &Weir) -> Wire {
    let stream = TcpStream::connect_timeout(&weir.addr(), PATIENCE).expect("connect");
    Wire::new(stream, None)
}

/// The same from an address of 127.0.0.0/8.
pub(super) fn connect_from(source: &str, weir: &Weir) -> Wire {
    let source: IpAddr = source.parse().expect("an address");
    weir_tests::client::Client::connect_from(source, weir.addr()).wire
}

/// Reads exactly these bytes.
pub(super) fn expect(wire: &mut Wire, want: impl AsRef<[u8]>) {
    let want = want.as_ref();
    let got = wire
        .exactly(want.len())
        .unwrap_or_else(|e| panic!("waited for {:?}: {e}", String::from_utf8_lossy(want)));
    assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(want));
}

/// The access log's lines, once there are that many.
pub(super) fn log_lines(weir: &Weir, count: usize) -> Vec<Value> {
    eventually(&format!("{count} lines of the access log"), || {
        let lines: Vec<Value> = weir
            .stdout()
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        (lines.len() >= count).then_some(lines)
    })
}

/// A UDP origin that answers each datagram with its name and the datagram.
pub(super) struct UdpOrigin {
    addr: SocketAddr,
    /// Who sent each datagram.
    sources: Arc<Mutex<Vec<SocketAddr>>>,
    stopped: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl UdpOrigin {
    pub(super) fn named(name: &'static str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind an ephemeral port");
        let addr = socket.local_addr().expect("a bound socket has an address");
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .expect("a time limit");
        let sources = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let (seen, stop) = (Arc::clone(&sources), Arc::clone(&stopped));
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while !stop.load(Ordering::SeqCst) {
                let Ok((len, from)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                seen.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(from);
                let answer = [name.as_bytes(), b":", &buffer[..len]].concat();
                // One that is too long to answer, or a client that is gone.
                let _ = socket.send_to(&answer, from);
            }
        });
        Self {
            addr,
            sources,
            stopped,
            thread: Some(thread),
        }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Who sent each datagram so far.
    pub(super) fn sources(&self) -> Vec<SocketAddr> {
        self.sources
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for UdpOrigin {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A UDP client of a listener.
pub(super) struct UdpClient(UdpSocket);

impl UdpClient {
    pub(super) fn of(weir: &Weir) -> Self {
        Self::at(weir.addr())
    }

    pub(super) fn at(addr: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind an ephemeral port");
        socket.connect(addr).expect("connect");
        Self(socket)
    }

    /// Sends, and gives what is answered within that time. Neither side promises delivery, but loopback does.
    pub(super) fn ask_within(&self, datagram: &[u8], time: Duration) -> Option<Vec<u8>> {
        self.0.set_read_timeout(Some(time)).expect("a time limit");
        // A refusal of an earlier datagram is reported here.
        let _ = self.0.send(datagram);
        let mut buffer = vec![0; 65_536];
        let len = self.0.recv(&mut buffer).ok()?;
        buffer.truncate(len);
        Some(buffer)
    }

    /// Asks until there is an answer, and gives it as text.
    pub(super) fn ask(&self, datagram: &str) -> String {
        let answer = eventually("an answer to a datagram", || {
            self.ask_within(datagram.as_bytes(), Duration::from_secs(2))
        });
        String::from_utf8(answer).expect("text")
    }
}
