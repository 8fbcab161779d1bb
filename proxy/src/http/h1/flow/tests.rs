use std::future::poll_fn;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::tap::MAX_COPY;
use super::*;
use crate::socket::Socket;

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    let (near, far) = tokio::join!(connecting, listener.accept());
    (near.unwrap(), far.unwrap().0)
}

/// A kept body from a client to one endpoint after another.
struct Bench {
    client: TcpStream,
    from: Socket,
    flow: Flow,
    encoding: Encoding,
}

impl Bench {
    async fn new(framing: Framing, encoding: Encoding) -> Self {
        let (client, from) = pair().await;
        let pool = Rc::new(BufferPool::default());
        let mut flow = Flow::new(Vec::new(), pool.none(), framing, encoding, &pool);
        flow.keep();
        Self {
            client,
            from: Socket::Plain(from),
            flow,
            encoding,
        }
    }

    /// Sends what there is to a new endpoint, until that many bytes of data have moved; what the endpoint got.
    async fn pass_on(&mut self, moved: u64) -> String {
        let (to, mut endpoint) = pair().await;
        let mut to = Socket::Plain(to);
        self.flow.restart(b"HEAD\r\n".to_vec(), self.encoding);
        let (mut from, _) = self.from.split();
        let (_, mut up) = to.split();
        let flow = &mut self.flow;
        poll_fn(|cx| match flow.poll(cx, &mut from, &mut up) {
            Poll::Pending if flow.moved >= moved && !flow.has_output() => Poll::Ready(Ok(())),
            polled => polled,
        })
        .await
        .unwrap();
        drop(to);
        let mut got = String::new();
        endpoint.read_to_string(&mut got).await.unwrap();
        got
    }
}

// semantics 28
#[tokio::test]
async fn a_kept_body_goes_first_to_the_next_endpoint_and_then_its_rest() {
    let mut bench = Bench::new(Framing::Length(10), Encoding::Identity).await;
    bench.client.write_all(b"hello").await.unwrap();
    assert_eq!(bench.pass_on(5).await, "HEAD\r\nhello");
    assert!(bench.flow.can_restart());
    bench.client.write_all(b"world").await.unwrap();
    assert_eq!(bench.pass_on(10).await, "HEAD\r\nhelloworld");
    assert!(bench.flow.is_done());
    assert_eq!(bench.pass_on(10).await, "HEAD\r\nhelloworld");
    assert_eq!(bench.flow.moved, 10, "sent again is not received again");
    bench.flow.keep_no_longer();
    assert!(!bench.flow.can_restart());
}

// semantics 28
#[tokio::test]
async fn a_kept_chunked_body_stays_chunked_and_has_its_trailers_each_time() {
    let mut bench = Bench::new(Framing::Chunked, Encoding::Chunked).await;
    bench.client.write_all(b"3\r\nabc\r\n").await.unwrap();
    assert_eq!(bench.pass_on(3).await, "HEAD\r\n3\r\nabc\r\n");
    let rest = b"2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n";
    bench.client.write_all(rest).await.unwrap();
    assert_eq!(
        bench.pass_on(5).await,
        "HEAD\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n"
    );
    assert_eq!(
        bench.pass_on(5).await,
        "HEAD\r\n5\r\nabcde\r\n0\r\nX-Sum: 5\r\n\r\n"
    );
}

#[tokio::test]
async fn an_empty_chunked_body_ends_each_time() {
    let mut bench = Bench::new(Framing::Chunked, Encoding::Chunked).await;
    bench.client.write_all(b"0\r\n\r\n").await.unwrap();
    for _ in 0..2 {
        assert_eq!(bench.pass_on(0).await, "HEAD\r\n0\r\n\r\n");
    }
}

// semantics 28
#[tokio::test]
async fn a_body_beyond_the_bound_is_let_go() {
    let mut bench = Bench::new(Framing::Chunked, Encoding::Chunked).await;
    let chunk = [b"400\r\n", &[b'x'; 1024][..], b"\r\n"].concat();
    for round in 1..=64 {
        bench.client.write_all(&chunk).await.unwrap();
        bench.pass_on(round * 1024).await;
        assert!(bench.flow.can_restart(), "after {round} KiB");
    }
    assert_eq!(bench.flow.moved, MAX_COPY as u64);
    bench.client.write_all(b"1\r\nx\r\n").await.unwrap();
    bench.pass_on(MAX_COPY as u64 + 1).await;
    assert!(!bench.flow.can_restart());
}
