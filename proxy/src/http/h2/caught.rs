//! A defect of ours that ends one stream, and not the wait of whoever asked.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

/// Runs a future to its end; `None` where it panicked. What it worked on is then whole in memory, and no more than that: it
/// may be told of, and dropped. It stays where it is: a stream's future would hold room for it twice if it were handed over.
pub(super) fn caught<T>(
    mut future: Pin<&mut impl Future<Output = T>>,
) -> impl Future<Output = Option<T>> {
    poll_fn(
        move |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(polled) => polled.map(Some),
            Err(_) => Poll::Ready(None),
        },
    )
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn a_future_that_panics_after_a_while_is_none_and_one_that_ends_is_its_value() {
        let fine = async {
            tokio::task::yield_now().await;
            7
        };
        assert_eq!(caught(pin!(fine)).await, Some(7));
        let broken = async {
            tokio::task::yield_now().await;
            assert_eq!(1, 2, "on purpose");
        };
        assert_eq!(caught(pin!(broken)).await, None);
    }
}
