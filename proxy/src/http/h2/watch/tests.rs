use std::time::Duration;

use super::*;
use crate::moment::Moment;

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let len = payload.len();
    let mut frame = vec![0, (len >> 8) as u8, len as u8, kind, flags, 0, 0, 0, stream];
    frame.extend_from_slice(payload);
    frame
}

/// Shows the watch bytes of which none is to be changed.
fn see(watch: &Watch, bytes: &[u8]) -> usize {
    watch.see(&mut bytes.to_vec())
}

/// Before anything has come.
fn unmet() -> Rc<Watch> {
    Watch::new(&Rc::new(Timers::new(Moment::now())), 100)
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Greeted, with nothing counted yet.
fn watch() -> Rc<Watch> {
    let watch = unmet();
    see(&watch, PREFACE);
    see(&watch, &frame(SETTINGS, 0, 0, &[]));
    watch.counts.set(Counts::default());
    watch
}

fn calm(what: &'static str) -> Option<Broken> {
    let reason = Reason::ENHANCE_YOUR_CALM;
    Some(Broken { reason, what })
}

#[test]
fn each_kind_of_flood_is_seen_at_its_bound_however_the_bytes_are_cut() {
    for (kind, payload, most, what) in [
        (DATA, &[][..], EMPTY, "empty-data"),
        (PRIORITY, &[0; 5], PRIORITIES, "priority"),
        (RST_STREAM, &[0; 4], RESETS, "reset"),
        (SETTINGS, &[0; 6], ASKED, "settings"),
        (PING, &[0; 8], ASKED, "ping"),
        (CONTINUATION, &[0; 100], CONTINUATIONS, "continuation"),
        (0xfa, &[0; 300], UNKNOWN, "unknown"),
    ] {
        let flags = if kind == CONTINUATION { 0 } else { END_HEADERS };
        let open = frame(HEADERS, flags, 1, &[0x8f; 20]);
        for cut in [1, 7, 9, 10_000] {
            let watch = watch();
            see(&watch, &open);
            let all = frame(kind, 0, 1, payload).repeat(most as usize);
            all.chunks(cut).for_each(|piece| {
                assert_eq!(see(&watch, piece), piece.len());
            });
            assert_eq!(watch.broken(), None, "{what} at its bound, cut by {cut}");
            // What is one too many is not handed down.
            assert_eq!(see(&watch, &frame(kind, 0, 1, payload)), 0);
            assert_eq!(watch.broken(), calm(what), "cut by {cut}");
        }
    }
}

#[test]
fn window_updates_are_measured_by_what_was_written() {
    let updates = frame(WINDOW_UPDATE, 0, 0, &[0; 4]).repeat(WINDOWS as usize + 10);
    let idle = watch();
    see(&idle, &updates);
    assert_eq!(idle.broken(), calm("window-update"));
    let busy = watch();
    busy.wrote(10 * 1024);
    see(&busy, &updates);
    assert_eq!(busy.broken(), None);
    // And once for all.
    see(&busy, &updates[..13]);
    assert_eq!(busy.broken(), calm("window-update"));
}

#[test]
fn what_was_written_accounts_for_window_updates_once_and_not_in_each_second() {
    let (watch, start) = (watch(), Moment::now());
    let second = |n: u64| watch.timers.refresh(start + Duration::from_secs(n));
    let updates = |count: u64| {
        let update = frame(WINDOW_UPDATE, 0, 0, &[0; 4]);
        see(&watch, &update.repeat(count as usize));
    };
    watch.wrote(1024 * 1024 * 1024);
    let most = REMEMBERED / ACCOUNTED;
    for n in 1..=4 {
        second(2 * n);
        updates(u64::from(WINDOWS) + most / 4);
        assert_eq!(watch.broken(), None, "a quarter in each second: {n}");
    }
    second(10);
    updates(u64::from(WINDOWS));
    assert_eq!(watch.broken(), None, "those of any second");
    updates(1);
    assert_eq!(watch.broken(), calm("window-update"));
}

#[test]
fn data_and_heads_are_what_a_connection_is_for() {
    let watch = watch();
    for stream in (1..200).step_by(2) {
        see(&watch, &frame(HEADERS, END_HEADERS, stream, &[0x8f; 50]));
        for _ in 0..50 {
            see(&watch, &frame(DATA, 0, stream, &[0; 1000]));
        }
        see(&watch, &frame(DATA, END_STREAM, stream, &[]));
    }
    assert_eq!(watch.broken(), None);
}

#[test]
fn streams_given_up_are_counted_apart() {
    let watch = watch();
    (0..GIVEN_UP).for_each(|_| watch.gave_up());
    assert_eq!(watch.broken(), None);
    watch.gave_up();
    assert_eq!(watch.broken(), calm("given-up"));
}

#[test]
fn streams_that_we_reset_for_what_a_client_did_are_counted_in_all() {
    let watch = watch();
    (0..PROVOKED).for_each(|_| watch.provoked());
    assert_eq!(watch.broken(), None);
    watch.provoked();
    assert_eq!(watch.broken(), calm("provoked"));
}

#[test]
fn a_frame_that_breaks_a_rule_is_told_the_code_of_the_rule() {
    let open = frame(HEADERS, END_HEADERS, 1, &[0x8f; 20]);
    let begun = frame(HEADERS, 0, 1, &[0x8f; 20]);
    let ended = frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x8f; 20]);
    let reset = [&open[..], &frame(RST_STREAM, 0, 1, &[0; 4])].concat();
    for (before, bad, expected) in [
        (
            &[][..],
            frame(SETTINGS, 0, 0, &[0; 5]),
            Reason::FRAME_SIZE_ERROR,
        ),
        (
            &[],
            frame(SETTINGS, ACK, 0, &[0; 6]),
            Reason::FRAME_SIZE_ERROR,
        ),
        (&[], frame(PING, 0, 0, &[0; 7]), Reason::FRAME_SIZE_ERROR),
        (
            &open,
            frame(RST_STREAM, 0, 1, &[0; 3]),
            Reason::FRAME_SIZE_ERROR,
        ),
        (
            &open,
            frame(PRIORITY, 0, 1, &[0; 4]),
            Reason::FRAME_SIZE_ERROR,
        ),
        (
            &open,
            frame(WINDOW_UPDATE, 0, 1, &[0; 3]),
            Reason::FRAME_SIZE_ERROR,
        ),
        (
            &open,
            frame(DATA, 0, 1, &[0; 16_385]),
            Reason::FRAME_SIZE_ERROR,
        ),
        (
            &[],
            frame(CONTINUATION, END_HEADERS, 1, &[0xff; 20]),
            Reason::PROTOCOL_ERROR,
        ),
        (
            &begun,
            frame(CONTINUATION, END_HEADERS, 3, &[0xff; 20]),
            Reason::PROTOCOL_ERROR,
        ),
        (
            &begun,
            frame(CONTINUATION, END_HEADERS, 1, &[0xff; 20]),
            Reason::COMPRESSION_ERROR,
        ),
        (
            &[],
            frame(PUSH_PROMISE, 4, 1, &[0; 20]),
            Reason::PROTOCOL_ERROR,
        ),
        (&open, open.clone(), Reason::PROTOCOL_ERROR),
        (&[], frame(GOAWAY, 0, 1, &[0; 8]), Reason::PROTOCOL_ERROR),
        (&[], frame(GOAWAY, 0, 0, &[0; 7]), Reason::FRAME_SIZE_ERROR),
        (&ended, frame(DATA, 0, 1, &[0; 2]), Reason::STREAM_CLOSED),
        (&ended, ended.clone(), Reason::STREAM_CLOSED),
        (&reset, frame(DATA, 0, 1, &[0; 2]), Reason::STREAM_CLOSED),
        (
            &[],
            frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]),
            Reason::FLOW_CONTROL_ERROR,
        ),
    ] {
        let watch = watch();
        see(&watch, before);
        assert_eq!(watch.broken(), None, "{bad:?}");
        see(&watch, &bad);
        let told = watch.broken().map(|broken| broken.reason);
        assert_eq!(told, Some(expected), "{bad:?}");
    }
}

#[test]
fn pseudo_fields_in_trailers_are_seen_however_they_come() {
    // `:path: /` is put into the dynamic table by the head.
    let head = [&frame(HEADERS, END_HEADERS, 1, &[0x44, 1, b'/'])[..]].concat();
    let ends = END_HEADERS | END_STREAM;
    let whole = frame(HEADERS, ends, 1, &[0x8f, 0x84, 0x8f]);
    let indexed = frame(HEADERS, ends, 1, &[0x8f, 0xbe]);
    let continued = [
        frame(HEADERS, END_STREAM, 1, &[0x8f, 0x04, 1]),
        frame(CONTINUATION, END_HEADERS, 1, &[b'/', 0x8f]),
    ]
    .concat();
    for trailers in [whole, indexed, continued] {
        for cut in 1..20 {
            let watch = watch();
            see(&watch, &head);
            assert_eq!(watch.broken(), None);
            let mut passed = Vec::new();
            for piece in trailers.chunks(cut) {
                let good = see(&watch, piece);
                passed.extend_from_slice(&piece[..good]);
                if watch.broken().is_some() {
                    break;
                }
            }
            let told = watch.broken().map(|broken| broken.reason);
            assert_eq!(told, Some(Reason::PROTOCOL_ERROR), "{trailers:?} by {cut}");
            assert!(passed.len() < trailers.len(), "the end is not handed down");
        }
    }
}

#[test]
fn the_first_frame_is_that_of_its_settings() {
    for first in [
        frame(PING, 0, 0, &[0; 8]),
        frame(SETTINGS, ACK, 0, &[]),
        frame(HEADERS, END_HEADERS, 1, &[0x8f; 20]),
        frame(0xfa, 0, 0, &[]),
    ] {
        let watch = unmet();
        see(&watch, PREFACE);
        assert_eq!(see(&watch, &first), 0, "{first:?}");
        let told = watch.broken().map(|broken| broken.reason);
        assert_eq!(told, Some(Reason::PROTOCOL_ERROR), "{first:?}");
    }
}

#[test]
fn the_first_settings_are_waited_for_until_they_are_whole() {
    let settings = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 5]);
    for settings in [&settings[..], &frame(SETTINGS, 0, 0, &[])] {
        for cut in [1, 7, 100] {
            let watch = unmet();
            assert!(watch.head_since().is_some());
            let all = [PREFACE, settings].concat();
            let (last, rest) = all.split_last().expect("bytes");
            for piece in rest.chunks(cut) {
                see(&watch, piece);
                assert!(watch.head_since().is_some(), "cut by {cut}");
            }
            see(&watch, &[*last]);
            assert_eq!(watch.head_since(), None, "cut by {cut}");
            assert_eq!(watch.broken(), None);
        }
    }
    let late = unmet();
    late.head_is_late();
    let told = late.broken().map(|broken| broken.reason);
    assert_eq!(told, Some(Reason::PROTOCOL_ERROR));
}

#[test]
fn a_head_whose_last_frame_has_not_ended_is_waited_for_as_well() {
    let watch = watch();
    let head = frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x8f; 20]);
    let (begin, end) = head.split_at(15);
    see(&watch, begin);
    assert!(watch.head_since().is_some());
    see(&watch, end);
    assert_eq!(watch.head_since(), None);
}

#[test]
fn a_head_that_has_not_ended_is_known_since_its_beginning() {
    let watch = watch();
    see(&watch, &frame(HEADERS, END_STREAM, 1, &[0; 20]));
    assert!(watch.head_since().is_some());
    see(&watch, &frame(CONTINUATION, END_HEADERS, 1, &[0; 20]));
    assert_eq!(watch.head_since(), None);
}

#[test]
fn a_goaway_of_a_client_is_nothing_to_the_crate() {
    let goaway = frame(GOAWAY, 0, 0, &[0; 8]);
    let watch = watch();
    let mut bytes = [&goaway[..], &frame(PING, 0, 0, &[7; 8])].concat();
    assert_eq!(watch.see(&mut bytes), bytes.len());
    assert_eq!((bytes[3], bytes[17 + 3]), (UNKNOWN_KIND, PING));
    // Where its kind has been handed down before the rest of its head came, it is what it is.
    let (start, end) = goaway.split_at(5);
    let mut end = end.to_vec();
    watch.see(&mut start.to_vec());
    watch.see(&mut end);
    assert_eq!(end, goaway[5..]);
}
