//! Buffers, pooled per worker in two sizes, so that an idle connection holds none.

use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;

/// Holds an ordinary head, and the first bytes of a body.
pub(crate) const SMALL: usize = 16 * 1024;
/// Holds the largest head that the limits allow (request line and fields), and carries large bodies.
pub(crate) const LARGE: usize = 72 * 1024;

/// Memory of a head that is not kept any longer than it is wanted: few have as much, and where they do it is many streams that
/// would hold it.
pub(crate) const SHED: usize = 8 * 1024;

/// Bytes between `start` and `end` are filled; those behind `end` are free.
pub(crate) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    home: Rc<BufferPool>,
}

impl Buffer {
    /// What has been read and not yet consumed.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(crate) fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// Room to read into; empty when the buffer is full to its end.
    pub(crate) fn spare_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.end..]
    }

    /// That many bytes were read into [`Self::spare_mut`].
    pub(crate) fn advance(&mut self, read: usize) {
        self.end = (self.end + read).min(self.bytes.len());
    }

    /// Drops bytes at the front.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Moves what is filled to the front, to make room behind it.
    pub(crate) fn compact(&mut self) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Drops all but the first `count` bytes and gives the rest in a buffer of its own.
    pub(crate) fn split_off(&mut self, count: usize) -> Self {
        let rest = self.filled().get(count..).unwrap_or_default();
        let mut other = if rest.len() > SMALL {
            self.home.large()
        } else {
            self.home.small()
        };
        other.bytes[..rest.len()].copy_from_slice(rest);
        other.end = rest.len();
        self.end = self.end.min(self.start + count);
        other
    }

    /// Holds its content in no more room than that takes, where a large buffer would be held for long; how much that is.
    pub(crate) fn fit(&mut self) -> usize {
        let exact: Box<[u8]> = self.filled().into();
        let large = std::mem::replace(&mut self.bytes, exact);
        (self.start, self.end) = (0, self.bytes.len());
        self.home.give_back(large);
        self.end
    }

    /// The same content in a large buffer.
    pub(crate) fn grow(&mut self) {
        if self.capacity() >= LARGE {
            return self.compact();
        }
        let mut large = self.home.large();
        let filled = self.filled();
        large.bytes[..filled.len()].copy_from_slice(filled);
        large.end = filled.len();
        *self = large;
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.filled()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.home.give_back(std::mem::take(&mut self.bytes));
        }
    }
}

/// Free buffers of one worker.
#[derive(Default)]
pub(crate) struct BufferPool {
    small: RefCell<Vec<Box<[u8]>>>,
    large: RefCell<Vec<Box<[u8]>>>,
}

/// Free buffers kept of each size: enough for what one worker has in flight, streams of HTTP/2 included, 8 MiB at the most.
/// A new one costs what it takes to clear it.
const KEEP_SMALL: usize = 256;
const KEEP_LARGE: usize = 56;

impl BufferPool {
    pub(crate) fn small(self: &Rc<Self>) -> Buffer {
        self.take(&self.small, SMALL)
    }

    /// No buffer at all, for a connection that waits.
    pub(crate) fn none(self: &Rc<Self>) -> Buffer {
        Buffer {
            bytes: Box::default(),
            start: 0,
            end: 0,
            home: Rc::clone(self),
        }
    }

    pub(crate) fn large(self: &Rc<Self>) -> Buffer {
        self.take(&self.large, LARGE)
    }

    fn take(self: &Rc<Self>, shelf: &RefCell<Vec<Box<[u8]>>>, size: usize) -> Buffer {
        let bytes = shelf
            .borrow_mut()
            .pop()
            .unwrap_or_else(|| vec![0; size].into_boxed_slice());
        Buffer {
            bytes,
            start: 0,
            end: 0,
            home: Rc::clone(self),
        }
    }

    fn give_back(&self, bytes: Box<[u8]>) {
        let (shelf, keep) = match bytes.len() {
            SMALL => (&self.small, KEEP_SMALL),
            LARGE => (&self.large, KEEP_LARGE),
            _ => return,
        };
        let mut shelf = shelf.borrow_mut();
        if shelf.len() < keep {
            shelf.push(bytes);
        }
    }

    /// Lets half of the free buffers go; called now and then, so that a burst is not paid for forever.
    pub(crate) fn shrink(&self) {
        for shelf in [&self.small, &self.large] {
            let mut shelf = shelf.borrow_mut();
            let keep = shelf.len() / 2;
            shelf.truncate(keep);
            shelf.shrink_to(16);
        }
    }
}
