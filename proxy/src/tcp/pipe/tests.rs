use std::io::Write as _;

use super::*;

/// A socket that has so many bytes to give.
async fn giving(count: usize) -> (TcpStream, std::net::TcpStream) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut far = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (near, _) = listener.accept().await.unwrap();
    far.write_all(&vec![7; count]).unwrap();
    near.readable().await.unwrap();
    (near, far)
}

#[test]
fn no_more_pipes_are_lent_than_there_may_be() {
    let pool = PipePool::new(2);
    let (first, second) = (pool.take(), pool.take());
    assert!(first.is_some() && second.is_some());
    assert!(pool.take().is_none());
    drop(first);
    assert!(pool.take().is_some(), "one that was given back");
    drop(second);
    assert_eq!(pool.open.get(), 2, "both wait for the next");
    pool.shrink();
    assert_eq!(pool.open.get(), 1);
    let _all = (pool.take().unwrap(), pool.take().unwrap());
    assert!(pool.take().is_none());
    assert!(PipePool::new(0).take().is_none());
}

#[tokio::test]
async fn a_pipe_that_holds_bytes_is_closed_and_not_lent_again() {
    let (near, _far) = giving(100).await;
    let pool = PipePool::new(1);
    let mut pipe = pool.take().unwrap();
    assert_eq!(pipe.fill(&near).unwrap().bytes, 100);
    assert!(!pipe.is_empty());
    drop(pipe);
    assert_eq!((pool.open.get(), pool.free.borrow().len()), (0, 0));
    assert!(pool.take().unwrap().is_empty());
}

#[tokio::test]
async fn an_empty_socket_would_block_and_an_ended_one_gives_nothing() {
    let (near, far) = giving(1).await;
    let pool = PipePool::new(2);
    let mut pipe = pool.take().unwrap();
    assert_eq!(pipe.fill(&near).unwrap().bytes, 1);
    let mut other = pool.take().unwrap();
    assert_eq!(other.fill(&near), Err(Errno::AGAIN));
    far.shutdown(std::net::Shutdown::Write).unwrap();
    while other.fill(&near) == Err(Errno::AGAIN) {
        tokio::task::yield_now().await;
    }
    assert_eq!(other.fill(&near).unwrap().bytes, 0);
    assert!(!is_refusal(Errno::AGAIN) && !is_refusal(Errno::CONNRESET));
}
