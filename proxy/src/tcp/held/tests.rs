use std::io::{Read as _, Write as _};

use super::*;

/// A socket, and a far end that sends this much into it and reads as much from it.
struct Ends {
    near: TcpStream,
    far: std::net::TcpStream,
}

async fn ends() -> Ends {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (near, _) = listener.accept().await.unwrap();
    Ends { near, far }
}

impl Ends {
    /// Sends from afar and gives back what comes, in pieces that fit one socket.
    fn pass(&mut self, held: &mut Held, data: &[u8]) -> Vec<u8> {
        self.far.write_all(data).unwrap();
        let mut came = Vec::new();
        while came.len() < data.len() {
            match held.fill(&self.near) {
                Ok(_) => {}
                Err(Errno::AGAIN) => continue,
                Err(error) => panic!("{error}"),
            }
            while !held.is_empty() {
                let sent = held.drain(&self.near).unwrap().bytes;
                let mut piece = vec![0; sent];
                self.far.read_exact(&mut piece).unwrap();
                came.extend(piece);
            }
        }
        came
    }
}

fn held(pipes: usize) -> Held {
    Held::new(&Pools {
        buffers: Rc::default(),
        pipes: PipePool::new(pipes),
    })
}

fn data(count: usize, seed: usize) -> Vec<u8> {
    (0..count).map(|n| ((n + seed) * 31 % 251) as u8).collect()
}

#[tokio::test]
async fn a_stream_that_fills_its_reads_goes_on_through_a_pipe_and_back_when_it_is_slow_again() {
    let mut ends = ends().await;
    let mut held = held(1);
    let mut piped = 0;
    for seed in 0..20 {
        let sent = data(64 * 1024, seed);
        assert!(ends.pass(&mut held, &sent) == sent, "{seed}");
        piped += usize::from(held.pipe.is_some());
    }
    assert!(piped > 0, "a MiB and a quarter, and never through a pipe");
    for seed in 0..40 {
        let sent = data(100, seed);
        assert!(ends.pass(&mut held, &sent) == sent, "{seed}");
    }
    assert_eq!(held.run, 0);
    held.rest();
    assert!(held.pipe.is_none() && held.buffer.capacity() == 0);
}

#[tokio::test]
async fn without_a_pipe_everything_is_copied() {
    let mut ends = ends().await;
    let mut held = held(0);
    for seed in 0..20 {
        let sent = data(64 * 1024, seed);
        assert!(ends.pass(&mut held, &sent) == sent, "{seed}");
    }
    assert!(held.run >= LONG && held.pipe.is_none());
}
