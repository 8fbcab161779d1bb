//! Whether a failed try is followed by another, and after how long.
//!
//! The rule under all others (RFC 9110, section 9.2.2): a request that is not idempotent is never sent
//! again once a byte of it has left, unless the endpoint is known not to have processed it. The second:
//! a body that cannot be replayed is not sent twice.

mod after;

use std::time::Duration;

pub use after::{MAX_PAUSE, pause};
use rand::{Rng, RngExt};
use weir_config::model::{Retry, RetryOn};

/// How a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// No connection could be made, so nothing was sent.
    ConnectFailure,
    /// The endpoint said that it did not process the stream (HTTP/2 `REFUSED_STREAM`, RFC 9113, section 8.7).
    RefusedStream,
    /// The connection ended before the first byte of a response. `reused`: it had served another
    /// request before, so that an endpoint closing it for idleness is the likely cause.
    ResetBeforeResponse { reused: bool },
    /// The endpoint answered.
    Status(u16),
    /// The endpoint ended a call of gRPC with this status (semantics 28).
    Grpc(u8),
    /// The try's own time ran out before the first byte of a response.
    Timeout,
}

/// What is known of a try and its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// 1 for the first try.
    pub number: u8,
    /// See [`is_idempotent`].
    pub idempotent: bool,
    /// Whether any byte of the request, head or body, was handed to the endpoint's connection.
    pub bytes_sent: bool,
    /// Whether any byte of the request's body was taken from the client and sent.
    pub body_sent: bool,
    /// Whether all of the body taken so far is still held, so that it can be sent again.
    pub body_replayable: bool,
}

/// Whether to try again, or what stands against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Retry,
    /// The policy does not name this outcome.
    NotCovered,
    /// The policy's tries are used up.
    Exhausted,
    /// The request may have been processed, and a second time would not be the same as once.
    NotIdempotent,
    /// Part of the body is gone (it was larger than what is held for replay).
    BodyGone,
}

impl Verdict {
    /// Whether this is [`Verdict::Retry`].
    #[must_use]
    pub fn is_retry(self) -> bool {
        self == Self::Retry
    }
}

/// Whether doing it twice is the same as doing it once (RFC 9110, section 9.2.2).
#[must_use]
pub fn is_idempotent(method: &str) -> bool {
    matches!(
        method,
        "GET" | "HEAD" | "PUT" | "DELETE" | "OPTIONS" | "TRACE"
    )
}

/// Whether the policy may ask for a second time with a body of which some was sent, so that it is worth holding: a
/// connection that was never made took nothing.
#[must_use]
pub fn may_replay(policy: &Retry, request: Replay) -> bool {
    let after_sending = |on: &RetryOn| match on {
        RetryOn::ConnectFailure => false,
        RetryOn::Grpc(_) => request.call,
        RetryOn::RefusedStream => request.refusable,
        _ => request.idempotent,
    };
    policy.attempts > 0 && policy.on.iter().any(after_sending)
}

/// What decides whether a request may be sent twice.
#[derive(Debug, Clone, Copy, Default)]
pub struct Replay {
    /// See [`is_idempotent`].
    pub idempotent: bool,
    /// It is a call of gRPC.
    pub call: bool,
    /// Its endpoint may speak HTTP/2, in which a request can be refused unprocessed after its body began.
    pub refusable: bool,
}

/// Judges one failed try. How many retries a service bears
/// ([`crate::breaker::retry_limit`]) is asked apart, because it needs live counts.
#[must_use]
pub fn may_retry(policy: &Retry, attempt: Attempt, outcome: Outcome) -> Verdict {
    let hedges = policy.hedge && outcome == Outcome::Timeout;
    if !hedges
        && !policy
            .on
            .iter()
            .any(|&condition| covers(condition, outcome))
    {
        return Verdict::NotCovered;
    }
    if attempt.number > policy.attempts {
        return Verdict::Exhausted;
    }
    let unprocessed = match outcome {
        Outcome::ConnectFailure | Outcome::RefusedStream => true,
        Outcome::ResetBeforeResponse { .. } | Outcome::Timeout => !attempt.bytes_sent,
        Outcome::Status(_) => false,
        // Every call is a POST: who names a status of gRPC says that the calls of this route may be made twice.
        Outcome::Grpc(_) => true,
    };
    if !unprocessed && !attempt.idempotent {
        return Verdict::NotIdempotent;
    }
    if attempt.body_sent && !attempt.body_replayable {
        return Verdict::BodyGone;
    }
    Verdict::Retry
}

/// `5xx` and `gateway-error` cover the absence of an answer too, as Envoy's do: the client would be told
/// 502, 503 or 504.
fn covers(condition: RetryOn, outcome: Outcome) -> bool {
    match (condition, outcome) {
        (RetryOn::FiveXx, Outcome::Status(status)) => (500..600).contains(&status),
        (RetryOn::GatewayError, Outcome::Status(status)) => (502..=504).contains(&status),
        (RetryOn::Status(wanted), Outcome::Status(status)) => wanted == status,
        (RetryOn::Grpc(wanted), Outcome::Grpc(status)) => wanted.code() == status,
        (_, Outcome::Grpc(_)) => false,
        (RetryOn::FiveXx | RetryOn::GatewayError, _) => true,
        (RetryOn::ConnectFailure, outcome) => outcome == Outcome::ConnectFailure,
        (RetryOn::RefusedStream, outcome) => outcome == Outcome::RefusedStream,
        (RetryOn::ResetBeforeRequest, outcome) => {
            matches!(outcome, Outcome::ResetBeforeResponse { .. })
        }
        (RetryOn::Status(_) | RetryOn::Grpc(_), _) => false,
    }
}

/// How long to wait before retry number `retry` (1 the first): anything up to the base doubled each
/// time and capped, with equal chance, so that clients that failed together do not return together.
#[must_use]
pub fn backoff(policy: &Retry, retry: u8, rng: &mut impl Rng) -> Duration {
    let doublings = u32::from(retry.saturating_sub(1)).min(31);
    let window = policy
        .backoff_base
        .saturating_mul(1 << doublings)
        .min(policy.backoff_max);
    let nanos = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(rng.random_range(0..=nanos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;
    use weir_config::model::GrpcCondition;

    const GET: Attempt = Attempt {
        number: 1,
        idempotent: true,
        bytes_sent: true,
        body_sent: false,
        body_replayable: true,
    };
    const POST: Attempt = Attempt {
        idempotent: false,
        body_sent: true,
        ..GET
    };
    const RESET: Outcome = Outcome::ResetBeforeResponse { reused: true };

    fn on(on: &[RetryOn]) -> Retry {
        Retry {
            on: on.to_vec(),
            ..Retry::default()
        }
    }

    #[test]
    fn a_post_is_never_sent_again_once_a_byte_has_left() {
        let all = on(&[
            RetryOn::ConnectFailure,
            RetryOn::ResetBeforeRequest,
            RetryOn::FiveXx,
            RetryOn::GatewayError,
            RetryOn::Status(409),
        ]);
        let outcomes = [
            RESET,
            Outcome::ResetBeforeResponse { reused: false },
            Outcome::Timeout,
            Outcome::Status(503),
            Outcome::Status(409),
        ];
        for outcome in outcomes {
            assert_eq!(
                may_retry(&all, POST, outcome),
                Verdict::NotIdempotent,
                "{outcome:?}"
            );
            assert_eq!(may_retry(&all, GET, outcome), Verdict::Retry, "{outcome:?}");
        }
    }

    #[test]
    fn the_idle_close_race_is_retried_when_idempotent_or_unsent() {
        // semantics 27
        let policy = Retry::default();
        assert_eq!(may_retry(&policy, GET, RESET), Verdict::Retry);
        assert_eq!(may_retry(&policy, POST, RESET), Verdict::NotIdempotent);
        let unsent = Attempt {
            bytes_sent: false,
            body_sent: false,
            ..POST
        };
        assert_eq!(may_retry(&policy, unsent, RESET), Verdict::Retry);
        let fresh = Outcome::ResetBeforeResponse { reused: false };
        // One that is just stopping accepts a connection from its backlog and closes it unread.
        assert_eq!(may_retry(&policy, GET, fresh), Verdict::Retry);
        assert_eq!(may_retry(&policy, POST, fresh), Verdict::NotIdempotent);
    }

    #[test]
    fn nothing_processed_means_any_method_may_go_again() {
        let policy = Retry::default();
        let unsent = Attempt {
            bytes_sent: false,
            body_sent: false,
            ..POST
        };
        assert_eq!(
            may_retry(&policy, unsent, Outcome::ConnectFailure),
            Verdict::Retry
        );
        assert_eq!(
            may_retry(&policy, POST, Outcome::RefusedStream),
            Verdict::Retry
        );
    }

    #[test]
    fn a_body_that_is_gone_is_not_replayed() {
        // semantics 28
        let gone = Attempt {
            body_sent: true,
            body_replayable: false,
            ..GET
        };
        assert_eq!(may_retry(&Retry::default(), gone, RESET), Verdict::BodyGone);
        assert_eq!(
            may_retry(&Retry::default(), gone, Outcome::RefusedStream),
            Verdict::BodyGone
        );
    }

    #[test]
    fn a_body_is_held_only_where_the_policy_could_send_it_twice() {
        // semantics 28
        let get = Replay {
            idempotent: true,
            ..Replay::default()
        };
        let call = Replay {
            call: true,
            ..Replay::default()
        };
        let refusable = Replay {
            refusable: true,
            ..Replay::default()
        };
        assert!(may_replay(&Retry::default(), get));
        assert!(!may_replay(&Retry::default(), Replay::default()));
        assert!(may_replay(&Retry::default(), refusable));
        assert!(!may_replay(&on(&[RetryOn::ConnectFailure]), get));
        assert!(!may_replay(&Retry::default(), call));
        let unavailable = on(&[RetryOn::Grpc(GrpcCondition::Unavailable)]);
        assert!(may_replay(&unavailable, call) && !may_replay(&unavailable, get));
        let off = Retry {
            attempts: 0,
            ..Retry::default()
        };
        assert!(!may_replay(&off, get));
    }

    #[test]
    fn a_status_of_grpc_is_retried_where_it_is_named_although_a_call_is_a_post() {
        // semantics 28
        let policy = on(&[RetryOn::Grpc(GrpcCondition::Unavailable), RetryOn::FiveXx]);
        let call = Attempt {
            body_sent: false,
            ..POST
        };
        for (outcome, expected) in [
            (Outcome::Grpc(14), Verdict::Retry),
            (Outcome::Grpc(13), Verdict::NotCovered),
            (Outcome::Grpc(0), Verdict::NotCovered),
            (Outcome::Status(503), Verdict::NotIdempotent),
        ] {
            assert_eq!(may_retry(&policy, call, outcome), expected, "{outcome:?}");
        }
    }

    #[test]
    fn tries_run_out_and_what_is_not_named_is_not_retried() {
        let policy = on(&[RetryOn::GatewayError]);
        let verdict = |number, outcome| may_retry(&policy, Attempt { number, ..GET }, outcome);
        assert_eq!(verdict(2, Outcome::Status(502)), Verdict::Retry);
        assert_eq!(verdict(3, Outcome::Status(502)), Verdict::Exhausted);
        assert_eq!(verdict(1, Outcome::Status(500)), Verdict::NotCovered);
        assert_eq!(verdict(1, Outcome::Status(200)), Verdict::NotCovered);
        let off = Retry {
            attempts: 0,
            ..Retry::default()
        };
        assert_eq!(
            may_retry(&off, GET, Outcome::ConnectFailure),
            Verdict::Exhausted
        );
    }

    #[test]
    fn backoff_stays_under_the_doubled_base_and_the_cap() {
        let policy = Retry::default();
        let mut rng = SmallRng::seed_from_u64(7);
        for (retry, ms) in [(1, 25), (2, 50), (3, 100), (4, 200), (5, 250), (255, 250)] {
            let longest = (0..2000)
                .map(|_| backoff(&policy, retry, &mut rng))
                .max()
                .unwrap();
            let window = Duration::from_millis(ms);
            assert!(
                longest <= window && longest > window * 9 / 10,
                "retry {retry}: {longest:?}"
            );
        }
    }
}
