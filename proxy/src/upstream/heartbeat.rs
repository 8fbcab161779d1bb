//! Whether somebody is still there at the other end of a connection that requests share.
//!
//! An endpoint whose machine is gone, or that stands still, says nothing: neither that it goes nor that it is slow. Requests on its
//! connection would wait until their own time is up, one after the other. So an endpoint that owes answers and says
//! nothing is asked by a PING (RFC 9113, section 6.7), and a connection on which that stays without an answer is closed,
//! so that its requests can go elsewhere.
//!
//! Servers of gRPC take it amiss to be asked often: a few PINGs within five minutes that no answer of theirs stands between, and they
//! end the connection (gRPC proposal A8, "Server Enforcement"). So there are two in a row, and then one in more than
//! that time.

/// Milliseconds of silence after which an endpoint with open streams is asked.
const ASK_AFTER_MS: u64 = 5_000;
/// Milliseconds that it may take to say anything then.
const PATIENCE_MS: u64 = 5_000;
/// Times that it is asked without an answer to any request in between.
const IN_A_ROW: u8 = 2;
/// Milliseconds after which it is asked again nevertheless.
const AGAIN_AFTER_MS: u64 = 310_000;
/// Milliseconds between two looks at a connection.
pub(super) const LOOK_MS: u64 = 1_000;

/// What was seen of a connection since the last look.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// Streams are open.
    pub(super) is_used: bool,
    /// Anything came.
    pub(super) sign: bool,
    /// A part of an answer came.
    pub(super) answer: bool,
}

/// What is to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Todo {
    Nothing,
    Ask,
    /// Nobody is there.
    GiveUp,
}

/// One connection; all times are on the worker's clock, in milliseconds.
#[derive(Debug)]
pub(super) struct Heartbeat {
    silent_since: u64,
    /// When it was asked what it has not answered.
    asked: Option<u64>,
    last_asked: u64,
    in_a_row: u8,
}

impl Heartbeat {
    pub(super) fn new(now: u64) -> Self {
        Self {
            silent_since: now,
            asked: None,
            last_asked: now,
            in_a_row: 0,
        }
    }

    /// A PONG came.
    pub(super) fn answered(&mut self) {
        self.asked = None;
    }

    pub(super) fn look(&mut self, now: u64, seen: Seen) -> Todo {
        if seen.sign || !seen.is_used {
            self.silent_since = now;
        }
        if seen.answer {
            self.in_a_row = 0;
        }
        match self.asked {
            Some(asked) if now >= asked.max(self.silent_since) + PATIENCE_MS => Todo::GiveUp,
            Some(_) => Todo::Nothing,
            None if now < self.silent_since + ASK_AFTER_MS => Todo::Nothing,
            None if self.in_a_row < IN_A_ROW || now >= self.last_asked + AGAIN_AFTER_MS => {
                self.in_a_row = self.in_a_row.saturating_add(1);
                self.last_asked = now;
                self.asked = Some(now);
                Todo::Ask
            }
            None => Todo::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USED: Seen = Seen {
        is_used: true,
        sign: false,
        answer: false,
    };

    /// Looks every second for so long, with an endpoint that answers what it is asked, if it does; when it was asked.
    fn asked(beat: &mut Heartbeat, seconds: std::ops::Range<u64>, answers: bool) -> Vec<u64> {
        let mut all = Vec::new();
        let mut sign = false;
        for second in seconds {
            let todo = beat.look(second * 1000, Seen { sign, ..USED });
            assert_ne!(todo, Todo::GiveUp, "at {second} s");
            sign = todo == Todo::Ask && answers;
            if todo == Todo::Ask {
                all.push(second);
            }
            if sign {
                beat.answered();
            }
        }
        all
    }

    #[test]
    fn an_endpoint_that_says_nothing_is_given_up_five_seconds_after_it_was_asked() {
        let mut beat = Heartbeat::new(0);
        assert_eq!(asked(&mut beat, 1..10, false), [5]);
        assert_eq!(beat.look(10_000, USED), Todo::GiveUp);
    }

    #[test]
    fn one_that_answers_and_works_for_long_is_asked_twice_and_then_every_five_minutes() {
        let mut beat = Heartbeat::new(0);
        assert_eq!(asked(&mut beat, 1..1000, true), [5, 11, 321, 631, 941]);
    }

    #[test]
    fn an_answer_to_a_request_has_it_asked_anew() {
        let mut beat = Heartbeat::new(0);
        assert_eq!(asked(&mut beat, 1..60, true), [5, 11]);
        let seen = Seen {
            sign: true,
            answer: true,
            ..USED
        };
        assert_eq!(beat.look(60_000, seen), Todo::Nothing);
        assert_eq!(asked(&mut beat, 61..120, true), [65, 71]);
    }

    #[test]
    fn nobody_is_asked_who_owes_nothing_or_says_something() {
        let mut beat = Heartbeat::new(0);
        for second in 1..100 {
            let idle = Seen {
                is_used: second % 4 == 0,
                ..Seen::default()
            };
            assert_eq!(beat.look(second * 1000, idle), Todo::Nothing);
        }
        for second in 100..200 {
            let busy = Seen {
                sign: second % 4 == 0,
                ..USED
            };
            assert_eq!(beat.look(second * 1000, busy), Todo::Nothing);
        }
    }

    #[test]
    fn whatever_comes_is_a_sign_of_life_and_only_a_pong_is_an_answer() {
        let mut beat = Heartbeat::new(0);
        assert_eq!(asked(&mut beat, 1..8, false), [5]);
        assert_eq!(beat.look(8_000, Seen { sign: true, ..USED }), Todo::Nothing);
        for second in 9..13 {
            assert_eq!(beat.look(second * 1000, USED), Todo::Nothing);
        }
        assert_eq!(beat.look(13_000, USED), Todo::GiveUp);
    }
}
