//! Any bytes as a chunked body: the same data and the same verdict however the bytes arrive.

#![no_main]

use libfuzzer_sys::{arbitrary, fuzz_target};
use weir_proxy::http::h1::body::{BodyError, Decoder};
use weir_proxy::http::h1::head::Framing;

#[derive(Debug, arbitrary::Arbitrary)]
struct Input<'a> {
    bytes: &'a [u8],
    /// Sizes of the pieces in which the bytes arrive; the last one repeats.
    pieces: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    data: Vec<u8>,
    error: Option<BodyError>,
    done: bool,
    /// Bytes that the body used, where it ended: the next message starts there.
    used: Option<usize>,
    trailers: Vec<u8>,
}

fn feed(bytes: &[u8], pieces: &[u8]) -> Outcome {
    let mut decoder = Decoder::new(Framing::Chunked);
    let mut outcome = Outcome {
        data: Vec::new(),
        error: None,
        done: false,
        used: None,
        trailers: Vec::new(),
    };
    let (mut buffer, mut read, mut used, mut turn) = (Vec::new(), 0, 0, 0);
    while outcome.error.is_none() && !decoder.is_done() {
        let before = (buffer.len(), used);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(decoded) => {
                    assert!(
                        decoded.consumed <= buffer.len() && decoded.data.end <= decoded.consumed,
                        "{decoded:?}"
                    );
                    outcome.data.extend_from_slice(&buffer[decoded.data]);
                    buffer.drain(..decoded.consumed);
                    used += decoded.consumed;
                    if decoded.consumed == 0 || decoder.is_done() {
                        break;
                    }
                }
                Err(error) => {
                    outcome.error = Some(error);
                    break;
                }
            }
        }
        if read == bytes.len() {
            if before == (buffer.len(), used) {
                break;
            }
            continue;
        }
        let piece = pieces
            .get(turn)
            .or(pieces.last())
            .map_or(usize::MAX, |&size| usize::from(size).max(1));
        turn += 1;
        let end = bytes.len().min(read.saturating_add(piece));
        buffer.extend_from_slice(&bytes[read..end]);
        read = end;
    }
    outcome.done = decoder.is_done();
    outcome.used = outcome.done.then_some(used);
    outcome.trailers = decoder.trailers().to_vec();
    outcome
}

fuzz_target!(|input: Input<'_>| {
    let whole = feed(input.bytes, &[]);
    assert!(
        whole.data.len() <= input.bytes.len(),
        "more data than bytes"
    );
    let pieces = feed(input.bytes, &input.pieces);
    if whole.error.is_none() {
        assert_eq!(whole, pieces);
    } else {
        // What was passed on before the error was seen may differ, never the verdict.
        assert_eq!((&whole.error, whole.done), (&pieces.error, pieces.done));
    }
    assert_eq!(whole.error, feed(input.bytes, &[1]).error);
});
