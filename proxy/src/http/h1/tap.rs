//! A copy of a body on its way: for those who wait for all of it, and to send it again.

use std::rc::Rc;

use tokio::sync::oneshot;

/// Largest body that is copied: 64 KiB.
pub(crate) const MAX_COPY: usize = 64 * 1024;

/// What became of the copy. A channel that closes without a word: the body never came whole.
#[derive(Debug, Clone)]
pub(crate) enum Copied {
    Whole(Rc<Vec<u8>>),
    TooLarge,
}

/// Collects the data of one body.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    /// Shared only once it is whole.
    data: Rc<Vec<u8>>,
    waiting: Vec<oneshot::Sender<Copied>>,
    /// The data may be sent again: it is held beyond its end.
    keeps: bool,
}

impl Tap {
    /// One more who waits for it.
    pub(crate) fn subscribe(&mut self) -> oneshot::Receiver<Copied> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.push(sender);
        receiver
    }

    /// Holds the data, to be sent again.
    pub(super) fn keep(&mut self) {
        self.keeps = true;
    }

    /// It will not be sent again; `false` if nobody else waits for it.
    pub(super) fn keep_no_longer(&mut self) -> bool {
        self.keeps = false;
        !self.waiting.is_empty()
    }

    /// All that came so far, if it is held to be sent again.
    pub(super) fn kept(&self) -> Option<&[u8]> {
        self.keeps.then(|| self.data.as_slice())
    }

    /// Takes the next data; `false` once there is no more to do.
    pub(super) fn take(&mut self, data: &[u8], ended: bool) -> bool {
        if self.data.len() + data.len() > MAX_COPY {
            self.tell(&Copied::TooLarge);
            return false;
        }
        Rc::make_mut(&mut self.data).extend_from_slice(data);
        if ended {
            self.tell(&Copied::Whole(Rc::clone(&self.data)));
        }
        !ended || self.keeps
    }

    fn tell(&mut self, what: &Copied) {
        for sender in self.waiting.drain(..) {
            // Who gave up waiting needs no copy.
            drop(sender.send(what.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_wait_get_the_whole_body_or_hear_that_it_is_too_large() {
        let mut tap = Tap::default();
        let mut waiting = [tap.subscribe(), tap.subscribe()];
        assert!(tap.take(b"he", false) && !tap.take(b"llo", true));
        for receiver in &mut waiting {
            let Ok(Copied::Whole(data)) = receiver.try_recv() else {
                panic!("no copy")
            };
            assert_eq!(**data, *b"hello");
        }
        let mut tap = Tap::default();
        let mut receiver = tap.subscribe();
        assert!(tap.take(&vec![0; MAX_COPY], false) && !tap.take(b"x", true));
        assert!(matches!(receiver.try_recv(), Ok(Copied::TooLarge)));
        let mut tap = Tap::default();
        let mut receiver = tap.subscribe();
        tap.take(b"cut", false);
        drop(tap);
        assert!(receiver.try_recv().is_err());
    }

    #[test]
    fn what_is_kept_outlives_the_end_but_not_the_limit() {
        // semantics 28
        let mut tap = Tap::default();
        tap.keep();
        let mut mirror = tap.subscribe();
        assert!(tap.take(b"he", false) && tap.take(b"llo", true));
        assert_eq!(tap.kept(), Some(&b"hello"[..]));
        assert!(matches!(mirror.try_recv(), Ok(Copied::Whole(data)) if *data == b"hello"));
        assert!(!tap.keep_no_longer() && tap.kept().is_none());
        let mut tap = Tap::default();
        tap.keep();
        assert!(tap.take(&vec![0; MAX_COPY], false) && !tap.take(b"x", false));
    }
}
