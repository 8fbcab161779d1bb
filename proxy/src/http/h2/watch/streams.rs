//! Which streams a client may still send on.

use std::collections::VecDeque;

use h2::Reason;

/// Streams remembered as ended: enough for what is still on its way.
const ENDED: usize = 16;
/// Remembered beside as many as may be open at once: those that we have ended, and their client, which minds that, never will.
const LEFT: usize = 1000;

/// The streams of one connection as their client knows them. One that we have ended is open as far as it can know.
pub(super) struct Streams {
    /// Those that it has opened and not ended, in the order of their numbers.
    open: VecDeque<u32>,
    /// How many of them are remembered.
    most: usize,
    /// Up to here nothing is known of those that are not among the open ones: the crate below knows.
    forgotten: u32,
    /// The last ones that it has ended.
    ended: [u32; ENDED],
    /// The highest that it has opened.
    last: u32,
}

impl Streams {
    /// `at_once`: how many it may have open.
    pub(super) fn new(at_once: u32) -> Self {
        Self {
            open: VecDeque::new(),
            most: at_once as usize + LEFT,
            forgotten: 0,
            ended: [0; ENDED],
            last: 0,
        }
    }

    /// Whether a head there would be that of a new stream.
    pub(super) fn is_new(&self, stream: u32) -> bool {
        stream > self.last
    }

    /// DATA, or a head that ends its stream or not. A stream that its client has ended, or reset, is closed to it (RFC 9113,
    /// section 5.1).
    ///
    /// # Errors
    /// What its connection ends with.
    pub(super) fn moves(&mut self, is_head: bool, stream: u32, ends: bool) -> Result<(), Reason> {
        if self.is_new(stream) {
            // DATA on a stream that was never opened is the crate's to refuse.
            if is_head {
                self.begins(stream, ends);
            }
            return Ok(());
        }
        if !self.may_be_open(stream) {
            // One that was passed over was never opened and never can be (section 5.1.1).
            let was_open = !is_head || self.ended.contains(&stream);
            return Err(match was_open {
                true => Reason::STREAM_CLOSED,
                false => Reason::PROTOCOL_ERROR,
            });
        }
        if ends {
            self.ends(stream);
        } else if is_head {
            // Trailers end a stream (section 8.1).
            return Err(Reason::PROTOCOL_ERROR);
        }
        Ok(())
    }

    fn begins(&mut self, stream: u32, ends: bool) {
        self.last = stream;
        if ends {
            return self.note_end(stream);
        }
        if self.open.len() >= self.most
            && let Some(oldest) = self.open.pop_front()
        {
            self.forgotten = oldest;
        }
        self.open.push_back(stream);
    }

    fn may_be_open(&self, stream: u32) -> bool {
        let is_forgotten = stream <= self.forgotten && !self.ended.contains(&stream);
        is_forgotten || self.open.binary_search(&stream).is_ok()
    }

    /// Its client has ended it, or reset it.
    pub(super) fn ends(&mut self, stream: u32) {
        if let Ok(at) = self.open.binary_search(&stream) {
            self.open.remove(at);
        }
        self.note_end(stream);
    }

    fn note_end(&mut self, stream: u32) {
        self.ended[stream as usize / 2 % ENDED] = stream;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Streams of a client that has opened as many and ended none.
    fn opened(at_once: u32, count: u32) -> Streams {
        let mut streams = Streams::new(at_once);
        for n in 0..count {
            assert_eq!(streams.moves(true, 2 * n + 1, false), Ok(()));
        }
        streams
    }

    #[test]
    fn as_many_as_may_be_open_are_told_from_those_that_ended() {
        let mut streams = opened(5000, 5000);
        for n in 0..5000 {
            assert_eq!(streams.moves(false, 2 * n + 1, n % 2 == 0), Ok(()));
        }
        assert_eq!(
            streams.moves(false, 1, false),
            Err(Reason::STREAM_CLOSED),
            "the first was ended"
        );
        assert_eq!(streams.moves(true, 3, true), Ok(()), "trailers");
    }

    #[test]
    fn a_stream_that_lasts_outlives_any_number_that_their_client_never_ends() {
        let mut streams = opened(100, 5000);
        assert_eq!(streams.open.len(), 100 + LEFT);
        // Its DATA goes on, and its trailers.
        assert_eq!(streams.moves(false, 1, false), Ok(()));
        assert_eq!(streams.moves(true, 1, false), Err(Reason::PROTOCOL_ERROR));
        assert_eq!(streams.moves(true, 1, true), Ok(()));
        // Those that are remembered are judged as ever.
        streams.ends(9999);
        assert_eq!(
            streams.moves(false, 9999, false),
            Err(Reason::STREAM_CLOSED)
        );
    }

    #[test]
    fn a_number_that_was_passed_over_is_none_to_be_used() {
        let mut streams = opened(100, 1);
        assert_eq!(streams.moves(true, 7, true), Ok(()));
        assert_eq!(streams.moves(true, 5, true), Err(Reason::PROTOCOL_ERROR));
        assert_eq!(streams.moves(true, 7, true), Err(Reason::STREAM_CLOSED));
    }
}
