use h2::Reason;
use http::request;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use super::*;
use crate::runtime::Shared as Plane;
use crate::socket::Socket;
use crate::telemetry::metrics::Gauges;

/// A defect that a request of a test can find.
pub(super) fn find_defect(request: &request::Parts) {
    assert_ne!(request.uri.path(), "/defect", "on purpose");
    if request.uri.path() == "/counted" {
        let (now, most) = IN_A_ROW.get();
        IN_A_ROW.set((now + 1, most.max(now + 1)));
    }
}

/// Serves one connection of a data plane that has no listeners yet, and so refuses what it is asked.
async fn serve_one(plane: &std::sync::Arc<Plane>) -> h2::client::SendRequest<Bytes> {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(socket.local_addr().unwrap());
    let (client, accepted) = tokio::join!(client, socket.accept());
    let (stream, peer) = accepted.unwrap();
    let worker = Worker::new(
        std::sync::Arc::clone(plane),
        crate::runtime::Descriptors {
            connections: 10,
            pipes: 0,
        },
    );
    let watch = Watch::new(&worker.timers, 100);
    let alarm = worker.timers.alarm();
    let shared = Rc::new(Shared {
        alarm: alarm.share(),
        listener: ListenerId(0),
        client: Client::new(peer, None, &worker),
        watch: Rc::clone(&watch),
        streams: Cell::new(0),
        heads: Cell::new(0),
        quiet_since: Cell::new(0),
        idle_ms: Cell::new(60_000),
        head_ms: 10_000,
        is_proxy: false,
        worker,
    });
    let settings = Http2::default();
    let io = Io::of_client(Socket::Plain(stream), None, watch);
    let handshake = builder(&settings, &Limits::default(), 100).handshake(io);
    let (wire, shaken) = tokio::join!(handshake, h2::client::handshake(client.unwrap()));
    let life = Life::new(&shared, &settings);
    let driver = Driver {
        wire: wire.unwrap(),
        shared,
        life,
    };
    tokio::task::spawn_local(async move {
        let _alarm = alarm;
        driver.run().await;
    });
    let (requests, connection) = shaken.unwrap();
    tokio::task::spawn_local(connection);
    requests.ready().await.unwrap()
}

/// What becomes of a request.
async fn reason(requests: &mut h2::client::SendRequest<Bytes>, path: &str) -> Option<Reason> {
    let request = Request::get(format!("http://a.example{path}"));
    let (answer, _) = requests
        .send_request(request.body(()).unwrap(), true)
        .unwrap();
    answer.await.unwrap_err().reason()
}

#[tokio::test]
async fn a_panic_ends_one_stream_with_an_internal_error_and_is_counted() {
    let plane = std::sync::Arc::new(Plane::for_tests());
    let counted = |count: usize| {
        let text = plane.metrics().encode("", &Gauges::default());
        let line = format!("weir_panics_total {count}\n");
        assert!(text.contains(&line), "{count} panics");
    };
    let work = async {
        let mut requests = serve_one(&plane).await;
        counted(0);
        for count in 1..3 {
            let told = reason(&mut requests, "/defect").await;
            assert_eq!(told, Some(Reason::INTERNAL_ERROR));
            counted(count);
            // Its neighbours are served, and the connection goes on.
            let told = reason(&mut requests, "/").await;
            assert_eq!(told, Some(Reason::REFUSED_STREAM));
        }
    };
    LocalSet::new().run_until(work).await;
    counted(2);
}

std::thread_local! {
    /// Requests that came to their turn since somebody else had one, and the most of them so far.
    static IN_A_ROW: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

#[tokio::test]
async fn streams_that_come_at_once_take_turns_with_others_on_the_worker() {
    let plane = std::sync::Arc::new(Plane::for_tests());
    let work = async {
        let mut requests = serve_one(&plane).await;
        let other = tokio::task::spawn_local(std::future::poll_fn(|cx| {
            let (_, most) = IN_A_ROW.get();
            IN_A_ROW.set((0, most));
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        let answers: Vec<_> = (0..90)
            .map(|_| {
                let request = Request::get("http://a.example/counted").body(()).unwrap();
                requests.send_request(request, true).unwrap().0
            })
            .collect();
        for answer in answers {
            let told = answer.await.unwrap_err().reason();
            assert_eq!(told, Some(Reason::REFUSED_STREAM));
        }
        other.abort();
    };
    LocalSet::new().run_until(work).await;
    let (_, most) = IN_A_ROW.get();
    // Sixteen, and those that were begun when their answers woke the connection before the other came.
    assert!((1..=32).contains(&most), "{most} in a row");
}

#[test]
fn what_a_stream_holds_is_less_than_four_kib() {
    fn size_of_future<A, F>(_: fn(A) -> F) -> usize {
        size_of::<F>()
    }
    let future = size_of_future(reside);
    assert!(future <= 4096, "{future} bytes");
}
