//! Watching a client's frames for what costs us and not the client.
//!
//! The `h2` crate bounds what it holds; it does not ask whether a peer that sends a thousand PINGs a second means well.
//! So the nine bytes in front of each frame are looked at as they come in, below that crate, and counted by kind.
//! Who goes beyond a bound is told ENHANCE_YOUR_CALM and sent away (RFC 9113, section 10.5).
//!
//! It also knows each frame's length and stream, and ends connections for what the crate answers with another code than
//! RFC 9113 names, or lets pass: a frame that breaks such a rule, and all behind it, is not handed down.
//!
//! Bounds hold within one second, but for those of a lifetime. They are far above what clients do: a browser opens a
//! hundred streams at once and resets some of them; a gRPC client pings every ten seconds.

mod streams;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use h2::Reason;

use self::streams::Streams;
use super::block::Block;
use crate::http::stall::Stall;
use crate::timer::Timers;

/// Resets by a client, within a second and in all (CVE-2023-44487).
const RESETS: u32 = 100;
const RESETS_IN_ALL: u32 = 10_000;
/// Streams that a client gave up before they were answered, within a second.
const GIVEN_UP: u32 = 50;
/// PING and SETTINGS frames within a second; each is answered.
const ASKED: u32 = 100;
/// PRIORITY frames, which mean nothing any more (RFC 9113, section 5.3.2).
const PRIORITIES: u32 = 200;
/// DATA frames without data that do not end a stream.
const EMPTY: u32 = 100;
/// WINDOW_UPDATE frames within a second beside those that what we wrote accounts for, one for each so many bytes.
const WINDOWS: u32 = 1000;
const ACCOUNTED: u64 = 1024;
/// Of what was written so many bytes account for what comes later.
const REMEMBERED: u64 = 64 * 1024 * 1024;
/// CONTINUATION frames of one head (CVE-2024-27316).
const CONTINUATIONS: u32 = 8;
/// Streams that we reset for what their client did, in all (CVE-2025-8671).
pub(super) const PROVOKED: u32 = 500;
/// Frames of kinds that nobody has defined.
const UNKNOWN: u32 = 100;

/// Why a client is sent away: the code that it is told, and what it did as the metric names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) reason: Reason,
    pub(crate) what: &'static str,
}

/// The frames of one connection.
pub(crate) struct Watch {
    timers: Rc<Timers>,
    broken: Cell<Option<Broken>>,
    scan: Cell<Scan>,
    counts: Cell<Counts>,
    resets: Cell<u32>,
    provoked: Cell<u32>,
    written: Cell<u64>,
    /// On the worker's clock: when that began which is to be whole in time and is not yet, the first SETTINGS or a head.
    head_since_ms: Cell<Option<u64>>,
    streams: RefCell<Streams>,
    /// While its socket takes nothing.
    stall: Cell<Option<Stall>>,
    /// It is given up: nothing more is worth sending.
    is_cut: Cell<bool>,
}

/// Where in a frame the next byte is.
#[derive(Debug, Clone, Copy)]
struct Scan {
    header: [u8; 9],
    have: u8,
    /// Bytes of payload that are to come; of the preface at the start.
    skip: usize,
    continuations: u32,
    /// The first SETTINGS have begun.
    greeted: bool,
    /// The head under way is that of trailers.
    trailers: bool,
    block: Block,
    /// The payload is that of a SETTINGS frame, of whose six bytes an entry so many have come.
    settings: bool,
    entry: [u8; 6],
    entry_len: u8,
}

/// Within the current second.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    since_ms: u64,
    resets: u32,
    given_up: u32,
    asked: u32,
    priorities: u32,
    empty: u32,
    windows: u32,
    unknown: u32,
    /// Of all that was written: what has accounted for a WINDOW_UPDATE, or is too long ago to.
    used: u64,
}

/// Bytes of the preface (RFC 9113, section 3.4).
const PREFACE_LEN: usize = 24;
/// The largest frame that we take: the smallest maximum there is (section 4.2).
const MAX_FRAME: usize = 16_384;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
/// Not assigned, and to be ignored (section 4.1).
const UNKNOWN_KIND: u8 = 0xf0;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
/// SETTINGS_INITIAL_WINDOW_SIZE.
const WINDOW: u16 = 4;

impl Watch {
    /// `at_once`: how many streams may be open.
    pub(super) fn new(timers: &Rc<Timers>, at_once: u32) -> Rc<Self> {
        Rc::new(Self {
            timers: Rc::clone(timers),
            broken: Cell::new(None),
            scan: Cell::new(Scan {
                header: [0; 9],
                have: 0,
                skip: PREFACE_LEN,
                continuations: 0,
                greeted: false,
                trailers: false,
                block: Block::default(),
                settings: false,
                entry: [0; 6],
                entry_len: 0,
            }),
            counts: Cell::default(),
            resets: Cell::new(0),
            provoked: Cell::new(0),
            written: Cell::new(0),
            head_since_ms: Cell::new(Some(timers.now())),
            streams: RefCell::new(Streams::new(at_once)),
            stall: Cell::new(None),
            is_cut: Cell::new(false),
        })
    }

    /// What the client is to be sent away for, if anything.
    #[inline]
    pub(super) fn broken(&self) -> Option<Broken> {
        self.broken.get()
    }

    /// On the worker's clock: when the first SETTINGS were waited for, or a head began, that are not whole yet.
    #[inline]
    pub(super) fn head_since(&self) -> Option<u64> {
        self.head_since_ms.get()
    }

    /// Whether the client has reset any stream so far.
    #[inline]
    pub(super) fn has_reset(&self) -> bool {
        self.resets.get() > 0
    }

    /// The first SETTINGS, or a head, took too long to arrive.
    pub(super) fn head_is_late(&self) {
        let scan = self.scan.get();
        let reason = match scan.greeted && !scan.settings {
            true => Reason::ENHANCE_YOUR_CALM,
            // Its preface is not whole (RFC 9113, section 3.4).
            false => Reason::PROTOCOL_ERROR,
        };
        self.breaks(reason, "slow-head");
    }

    /// That much was written to the client.
    pub(super) fn wrote(&self, bytes: usize) {
        self.written.set(self.written.get() + bytes as u64);
        self.stall.set(None);
    }

    /// All that was written is with the kernel.
    #[inline]
    pub(super) fn flushed(&self) {
        self.stall.set(None);
    }

    /// Its socket took nothing. `queue`: what the client has not acknowledged, in bytes.
    pub(super) fn clogged(&self, queue: impl FnOnce() -> Option<usize>) {
        let now = self.timers.now();
        let mut stall = self.stall.get().unwrap_or_else(|| Stall::new(now));
        if now >= stall.next_look() {
            stall.look(now, queue());
        }
        self.stall.set(Some(stall));
    }

    /// Since when its socket has taken nothing, if that is so.
    #[inline]
    pub(crate) fn stall(&self) -> Option<Stall> {
        self.stall.get()
    }

    /// Has the socket thrown away with all that is queued on it.
    pub(super) fn cut_off(&self) {
        self.is_cut.set(true);
    }

    pub(super) fn is_cut_off(&self) -> bool {
        self.is_cut.get()
    }

    /// The client gave a stream up that was not answered yet.
    pub(super) fn gave_up(&self) {
        let mut counts = self.current();
        counts.given_up += 1;
        self.counts.set(counts);
        if counts.given_up > GIVEN_UP {
            self.breaks(Reason::ENHANCE_YOUR_CALM, "given-up");
        }
    }

    /// A stream was reset for what its client did. The crate below counts only those that it resets itself.
    pub(crate) fn provoked(&self) {
        self.provoked.set(self.provoked.get() + 1);
        if self.provoked.get() > PROVOKED {
            self.breaks(Reason::ENHANCE_YOUR_CALM, "provoked");
        }
    }

    fn breaks(&self, reason: Reason, what: &'static str) {
        if self.broken.get().is_none() {
            self.broken.set(Some(Broken { reason, what }));
        }
    }

    /// Looks at bytes that came; how many of them may be passed on. What stands behind is a frame that breaks a rule, or
    /// one too many.
    ///
    /// A client's GOAWAY is made a frame of a kind that nobody knows: it is about streams of ours, and we open none. The crate
    /// would close the connection for it, and leave what is asked behind it unanswered.
    pub(super) fn see(&self, bytes: &mut [u8]) -> usize {
        let mut scan = self.scan.get();
        // `begin`: of the frame that is looked at, as far as it is part of these bytes.
        let (mut at, mut begin) = (0, 0);
        while at < bytes.len() {
            let rest = &bytes[at..];
            if scan.skip > 0 {
                let skipped = scan.skip.min(rest.len());
                self.payload(&mut scan, &rest[..skipped]);
                scan.skip -= skipped;
                at += skipped;
                if scan.skip == 0 {
                    self.ends(&scan);
                }
                if self.broken.get().is_some() {
                    self.scan.set(scan);
                    return begin;
                }
                continue;
            }
            if scan.have == 0 {
                begin = at;
            }
            let have = usize::from(scan.have);
            let taken = (9 - have).min(rest.len());
            scan.header[have..have + taken].copy_from_slice(&rest[..taken]);
            scan.have += taken as u8;
            if scan.have == 9 {
                scan.have = 0;
                self.frame(&mut scan);
                if scan.skip == 0 {
                    self.ends(&scan);
                }
                if self.broken.get().is_some() {
                    self.scan.set(scan);
                    return begin;
                }
                // Its kind is the fourth byte.
                if scan.header[3] == GOAWAY
                    && let Some(kind) = (at + taken).checked_sub(6)
                {
                    bytes[kind] = UNKNOWN_KIND;
                }
            }
            at += taken;
        }
        self.scan.set(scan);
        bytes.len()
    }

    /// A part of a frame's payload, or of the preface.
    fn payload(&self, scan: &mut Scan, part: &[u8]) {
        match scan.header[3] {
            SETTINGS => self.entries(scan, part),
            HEADERS | CONTINUATION => match scan.block.take(part, scan.skip) {
                Err(reason) => self.breaks(reason, "protocol"),
                // As soon as it is seen: the crate below looks at no head before it is whole.
                Ok(true) if scan.trailers => self.breaks(Reason::PROTOCOL_ERROR, "protocol"),
                Ok(_) => {}
            },
            _ => {}
        }
    }

    /// All of a frame has come, or of the preface.
    fn ends(&self, scan: &Scan) {
        let [_, _, _, kind, flags, ..] = scan.header;
        match kind {
            SETTINGS => self.head_since_ms.set(None),
            HEADERS | CONTINUATION if flags & END_HEADERS != 0 => {
                self.head_since_ms.set(None);
                if let Err(reason) = scan.block.ends() {
                    self.breaks(reason, "protocol");
                }
            }
            _ => {}
        }
    }

    fn frame(&self, scan: &mut Scan) {
        let [a, b, c, kind, flags, s1, s2, s3, s4] = scan.header;
        scan.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        scan.settings = kind == SETTINGS;
        scan.entry_len = 0;
        let stream = u32::from_be_bytes([s1 & 0x7f, s2, s3, s4]);
        let trailers = kind == HEADERS && !self.streams.borrow().is_new(stream);
        if let Err(reason) = self.obeys(scan, kind, flags, stream) {
            return self.breaks(reason, "protocol");
        }
        match kind {
            // DATA that moves something and HEADERS are what a connection is for.
            DATA if scan.skip > 0 || flags & END_STREAM != 0 => return,
            HEADERS => {
                (scan.continuations, scan.trailers) = (0, trailers);
                return scan.block.begins(flags, stream);
            }
            CONTINUATION => {
                scan.block.goes_on();
                scan.continuations += 1;
                if scan.continuations > CONTINUATIONS {
                    self.breaks(Reason::ENHANCE_YOUR_CALM, "continuation");
                }
                return;
            }
            _ => {}
        }
        self.count(kind);
    }

    /// The rules that are told from the header of a frame, where the crate below gives other codes or none.
    fn obeys(&self, scan: &mut Scan, kind: u8, flags: u8, stream: u32) -> Result<(), Reason> {
        let size = match kind {
            // RFC 9113, sections 6.3 to 6.9.
            PRIORITY => scan.skip == 5,
            RST_STREAM | WINDOW_UPDATE => scan.skip == 4,
            SETTINGS if flags & ACK != 0 => scan.skip == 0,
            SETTINGS => scan.skip.is_multiple_of(6),
            PING => scan.skip == 8,
            GOAWAY => scan.skip >= 8,
            _ => true,
        };
        if !scan.greeted {
            // A client begins with its settings (section 3.4).
            if kind != SETTINGS || flags & ACK != 0 {
                return Err(Reason::PROTOCOL_ERROR);
            }
            scan.greeted = true;
        // Nothing stands between the frames of one head (section 6.10).
        } else if self.head_since_ms.get().is_some() && kind != CONTINUATION {
            return Err(Reason::PROTOCOL_ERROR);
        }
        if !size || scan.skip > MAX_FRAME {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        match kind {
            CONTINUATION if self.head_since_ms.get().is_none() || stream != scan.block.stream() => {
                return Err(Reason::PROTOCOL_ERROR);
            }
            PUSH_PROMISE => return Err(Reason::PROTOCOL_ERROR),
            GOAWAY if stream > 0 => return Err(Reason::PROTOCOL_ERROR),
            // A client's streams have odd numbers (section 5.1.1).
            HEADERS if stream.is_multiple_of(2) => return Err(Reason::PROTOCOL_ERROR),
            DATA | HEADERS if stream > 0 => {
                let ends = flags & END_STREAM != 0;
                (self.streams.borrow_mut()).moves(kind == HEADERS, stream, ends)?;
            }
            RST_STREAM => self.streams.borrow_mut().ends(stream),
            _ => {}
        }
        if kind == HEADERS || kind == CONTINUATION {
            let since = self.head_since_ms.get().unwrap_or(self.timers.now());
            self.head_since_ms.set(Some(since));
        }
        Ok(())
    }

    /// The only setting whose value has a code of its own (section 6.5.2).
    fn entries(&self, scan: &mut Scan, payload: &[u8]) {
        for byte in payload {
            scan.entry[usize::from(scan.entry_len)] = *byte;
            scan.entry_len += 1;
            if scan.entry_len < 6 {
                continue;
            }
            scan.entry_len = 0;
            let [n1, n2, v1, ..] = scan.entry;
            if u16::from_be_bytes([n1, n2]) == WINDOW && v1 & 0x80 != 0 {
                self.breaks(Reason::FLOW_CONTROL_ERROR, "protocol");
            }
        }
    }

    fn count(&self, kind: u8) {
        let mut counts = self.current();
        let over = match kind {
            DATA => over(&mut counts.empty, EMPTY, "empty-data"),
            PRIORITY => over(&mut counts.priorities, PRIORITIES, "priority"),
            RST_STREAM => {
                self.resets.set(self.resets.get() + 1);
                match self.resets.get() > RESETS_IN_ALL {
                    true => Some("reset"),
                    false => over(&mut counts.resets, RESETS, "reset"),
                }
            }
            SETTINGS => over(&mut counts.asked, ASKED, "settings"),
            PING => over(&mut counts.asked, ASKED, "ping"),
            WINDOW_UPDATE if counts.windows < WINDOWS => {
                counts.windows += 1;
                None
            }
            WINDOW_UPDATE => {
                let written = self.written.get();
                counts.used = counts.used.max(written.saturating_sub(REMEMBERED)) + ACCOUNTED;
                (counts.used > written).then_some("window-update")
            }
            _ => over(&mut counts.unknown, UNKNOWN, "unknown"),
        };
        self.counts.set(counts);
        if let Some(what) = over {
            self.breaks(Reason::ENHANCE_YOUR_CALM, what);
        }
    }

    /// The counts of this second.
    fn current(&self) -> Counts {
        let counts = self.counts.get();
        let now = self.timers.now();
        if now < counts.since_ms + 1000 {
            return counts;
        }
        Counts {
            since_ms: now,
            used: counts.used,
            ..Counts::default()
        }
    }
}

fn over(count: &mut u32, most: u32, what: &'static str) -> Option<&'static str> {
    *count += 1;
    (*count > most).then_some(what)
}

#[cfg(test)]
mod tests;
