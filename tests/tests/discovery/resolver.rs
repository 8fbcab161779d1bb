//! The least of a DNS server: one A record for whatever is asked, over UDP (RFC 1035, section 4).

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Answers with 127.0.0.1 and a TTL of 0 until it is dropped.
pub(crate) struct Resolver {
    pub(crate) address: SocketAddr,
    silent: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

impl Resolver {
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a UDP port");
        let pause = Some(Duration::from_millis(50));
        socket.set_read_timeout(pause).expect("a time limit");
        let resolver = Self {
            address: socket.local_addr().expect("its address"),
            silent: Arc::default(),
            over: Arc::default(),
        };
        let (silent, over) = (Arc::clone(&resolver.silent), Arc::clone(&resolver.over));
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while !over.load(Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                if !silent.load(Relaxed) {
                    let _ = socket.send_to(&answer(&buffer[..length]), from);
                }
            }
        });
        resolver
    }

    pub(crate) fn silent(&self, silent: bool) {
        self.silent.store(silent, Relaxed);
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
    }
}

fn answer(question: &[u8]) -> Vec<u8> {
    const HEADER: usize = 12;
    let labels = question[HEADER..].iter().position(|byte| *byte == 0);
    // The name's last byte, its type and its class.
    let end = HEADER + labels.expect("a whole name") + 5;
    let mut answer = question[..end].to_vec();
    // A response, recursion available, no error; one question, one answer, nothing else.
    answer[2..HEADER].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    // The name of the question, A, IN, a TTL of 0, four bytes.
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
    answer
}
