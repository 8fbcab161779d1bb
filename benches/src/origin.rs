//! The origin behind every proxy: prebuilt answers, as few instructions as possible.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::identity::Identity;
use crate::process::{LOAD_CPU, Owned, on_cpu};

/// Everything behind the proxies.
pub(crate) struct Origins {
    /// Prebuilt answers over HTTP/1.1.
    pub(crate) http: Started,
    /// `weir origin`, for gRPC.
    pub(crate) grpc: Started,
    pub(crate) identity: Identity,
    _dir: TempDir,
}

impl Origins {
    /// Starts them on the load's CPU, and makes the certificate that the proxies show.
    pub(crate) fn start(weir: &Path) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        Ok(Self {
            http: start()?,
            grpc: start_grpc(weir)?,
            identity: Identity::make(dir.path())?,
            _dir: dir,
        })
    }
}

/// The origin's process.
pub(crate) struct Started {
    pub(crate) addr: SocketAddr,
    _child: Owned,
}

/// Starts this runner again as the origin, on the load's CPU.
pub(crate) fn start() -> anyhow::Result<Started> {
    let addr = free_port()?;
    start_at(addr, addr)
}

/// As [`start`], on every address of this machine: all of 127.0.0.0/8 leads to it.
pub(crate) fn start_everywhere() -> anyhow::Result<Started> {
    let addr = free_port()?;
    start_at((Ipv4Addr::UNSPECIFIED, addr.port()).into(), addr)
}

fn start_at(listen: SocketAddr, addr: SocketAddr) -> anyhow::Result<Started> {
    let this = std::env::current_exe().context("the path of this runner")?;
    let child = on_cpu(LOAD_CPU, this)
        .arg("origin")
        .arg(listen.to_string())
        .stdin(Stdio::null())
        .spawn()
        .context("start the origin")?;
    let started = Started {
        addr,
        _child: Owned(child),
    };
    wait_for(addr)?;
    Ok(started)
}

fn start_grpc(weir: &Path) -> anyhow::Result<Started> {
    let addr = free_port()?;
    let child = on_cpu(LOAD_CPU, weir)
        .args(["origin", "--listen", &addr.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("start the origin of gRPC")?;
    let started = Started {
        addr,
        _child: Owned(child),
    };
    wait_for(addr)?;
    Ok(started)
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Waits until somebody listens there.
pub(crate) fn wait_for(addr: SocketAddr) -> anyhow::Result<()> {
    let start = Instant::now();
    while TcpStream::connect(addr).is_err() {
        if start.elapsed() > Duration::from_secs(30) {
            bail!("nobody listens on {addr} after 30 s");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Serves until it is killed: `/64k`, `/1m`, `/16m`, `/256m`, and 38 bytes for any other path.
pub(crate) fn serve(listen: SocketAddr) -> anyhow::Result<()> {
    let answers = Answers {
        small: answer(vec![b's'; 38], 1),
        medium: answer(vec![b'm'; 64 * 1024], 1),
        large: [1, 16, 256].map(|times| answer(vec![b'l'; 1024 * 1024], times)),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(connection(stream, answers));
        }
    })
}

/// A head, and a body so many times.
#[derive(Clone, Copy)]
struct Answer {
    whole: &'static [u8],
    body: &'static [u8],
    more: usize,
}

/// Once for the life of the process.
fn answer(body: Vec<u8>, times: usize) -> Answer {
    let mut whole = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
        body.len() * times
    )
    .into_bytes();
    let head = whole.len();
    whole.extend(body);
    let whole: &'static [u8] = Box::leak(whole.into_boxed_slice());
    Answer {
        whole,
        body: &whole[head..],
        more: times - 1,
    }
}

#[derive(Clone, Copy)]
struct Answers {
    small: Answer,
    medium: Answer,
    /// One MiB, 16 and 256.
    large: [Answer; 3],
}

/// One connection; it ends with the proxy's.
async fn connection(mut stream: tokio::net::TcpStream, answers: Answers) {
    let mut buffer = [0; 16 * 1024];
    let mut filled = 0;
    if stream.set_nodelay(true).is_err() {
        return;
    }
    loop {
        match stream.read(&mut buffer[filled..]).await {
            Ok(0) | Err(_) => return,
            Ok(count) => filled += count,
        }
        let mut from = 0;
        while let Some(end) = buffer[from..filled]
            .windows(4)
            .position(|w| w == b"\r\n\r\n")
        {
            let line = &buffer[from..from + end];
            let answer = match line {
                _ if line.starts_with(b"GET /64k") => answers.medium,
                _ if line.starts_with(b"GET /1m") => answers.large[0],
                _ if line.starts_with(b"GET /16m") => answers.large[1],
                _ if line.starts_with(b"GET /256m") => answers.large[2],
                _ => answers.small,
            };
            if stream.write_all(answer.whole).await.is_err() {
                return;
            }
            for _ in 0..answer.more {
                if stream.write_all(answer.body).await.is_err() {
                    return;
                }
            }
            from += end + 4;
        }
        buffer.copy_within(from..filled, 0);
        filled -= from;
    }
}
