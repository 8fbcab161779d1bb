//! What an endpoint's frames tell of it, whatever stands in them: that it has said its settings, and that it is there.

use std::cell::Cell;

/// Bytes in front of a frame's payload.
const FRAME_HEADER: usize = 9;
/// Kinds of frames that belong to an answer (RFC 9113, sections 6.1 and 6.2).
const DATA: u8 = 0;
const HEADERS: u8 = 1;

/// The frames of one connection, as far as they have come.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// Of the frame under way: its length and kind, the first four bytes of its header.
    header: Cell<[u8; 4]>,
    /// Bytes of that header that have come.
    have: Cell<usize>,
    /// Bytes of its payload that are to come.
    skip: Cell<usize>,
    greeted: Cell<bool>,
    came: Cell<bool>,
    answered: Cell<bool>,
    lost: Cell<bool>,
}

impl Pulse {
    /// Looks at bytes that came.
    pub(super) fn see(&self, mut bytes: &[u8]) {
        self.came.set(self.came.get() || !bytes.is_empty());
        while !bytes.is_empty() {
            let skip = self.skip.get();
            let taken = match skip {
                0 => self.take_header(bytes),
                _ => skip.min(bytes.len()),
            };
            if skip > 0 {
                self.skip.set(skip - taken);
                self.greeted.set(self.greeted.get() || skip == taken);
            }
            bytes = &bytes[taken..];
        }
    }

    /// How much of the bytes belongs to the header.
    fn take_header(&self, bytes: &[u8]) -> usize {
        let have = self.have.get();
        let taken = (FRAME_HEADER - have).min(bytes.len());
        let mut header = self.header.get();
        for (to, from) in header.iter_mut().skip(have).zip(bytes) {
            *to = *from;
        }
        self.header.set(header);
        self.have.set((have + taken) % FRAME_HEADER);
        if have + taken == FRAME_HEADER {
            let [a, b, c, kind] = header;
            let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            self.skip.set(length);
            self.greeted.set(self.greeted.get() || length == 0);
            let is_answer = matches!(kind, DATA | HEADERS);
            self.answered.set(self.answered.get() || is_answer);
        }
        taken
    }

    /// Whether all of its first frame was read, which holds its settings (RFC 9113, section 3.4): how many streams it takes, and
    /// whether one may become a tunnel. Before it came, either would be a guess.
    pub(crate) fn is_greeted(&self) -> bool {
        self.greeted.get()
    }

    /// Whether anything came since this was asked last.
    pub(crate) fn take_sign(&self) -> bool {
        self.came.take()
    }

    /// Whether any of an answer came since this was asked last.
    pub(crate) fn take_answer(&self) -> bool {
        self.answered.take()
    }

    /// Nobody is there any more: what is read and written from now on fails.
    pub(crate) fn lose(&self) {
        self.lost.set(true);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_heard_once_the_whole_frame_was_read_however_it_is_cut() {
        let mut frame = vec![0, 0, 6, 4, 0, 0, 0, 0, 0];
        frame.extend([0, 3, 0, 0, 0, 5]);
        for cut in [1, 2, 4, 9, 14] {
            let pulse = Pulse::default();
            let (last, rest) = frame.split_last().expect("a frame");
            for piece in rest.chunks(cut) {
                pulse.see(piece);
                assert!(!pulse.is_greeted(), "cut by {cut}");
            }
            pulse.see(&[*last]);
            assert!(pulse.is_greeted(), "cut by {cut}");
        }
        let pulse = Pulse::default();
        pulse.see(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
        assert!(pulse.is_greeted(), "settings may be empty");
    }

    #[test]
    fn heads_and_data_are_told_from_other_frames_however_they_are_cut() {
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        // Whose payload looks like a head.
        let ping = [0, 0, 8, 6, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        for (kind, is_answer) in [(0, true), (1, true), (3, false), (8, false)] {
            for cut in 1..20 {
                let pulse = Pulse::default();
                let frame = [0, 0, 4, kind, 0, 0, 0, 0, 1, 1, 1, 1, 1];
                let all = [&settings[..], &ping, &frame, &ping].concat();
                for piece in all.chunks(cut) {
                    pulse.see(piece);
                }
                assert!(pulse.take_sign() && !pulse.take_sign());
                assert_eq!(pulse.take_answer(), is_answer, "kind {kind}, cut by {cut}");
                assert!(!pulse.take_answer());
            }
        }
    }
}
