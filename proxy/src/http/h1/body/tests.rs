use proptest::prelude::*;

use super::*;

/// Feeds `wire` in pieces of these sizes, as a connection would, and gives data, trailers and what was left.
fn feed(
    framing: Framing,
    wire: &[u8],
    sizes: &[usize],
) -> Result<(Vec<u8>, Vec<u8>, usize), BodyError> {
    let mut decoder = Decoder::new(framing);
    let (mut data, mut buf, mut at, mut turn) = (Vec::new(), Vec::new(), 0, 0);
    while !decoder.is_done() && at < wire.len() {
        let size = sizes[turn % sizes.len()].clamp(1, wire.len() - at);
        turn += 1;
        buf.extend_from_slice(&wire[at..at + size]);
        at += size;
        let decoded = decoder.decode(&mut buf)?;
        data.extend_from_slice(&buf[decoded.data]);
        buf.drain(..decoded.consumed);
    }
    assert!(decoder.is_done(), "the body did not end");
    Ok((
        data,
        decoder.trailers().to_vec(),
        buf.len() + wire.len() - at,
    ))
}

#[test]
fn a_chunked_body_is_joined_and_its_trailers_kept() {
    let wire = b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\nGET";
    for size in 1..wire.len() {
        let (data, trailers, left) = feed(Framing::Chunked, wire, &[size]).unwrap();
        assert_eq!(
            (data.as_slice(), trailers.as_slice()),
            (&b"hello world"[..], &b"X-Sum: 1\r\n"[..])
        );
        assert_eq!(left, 3, "at size {size}");
    }
}

#[test]
fn every_malformed_chunk_is_refused() {
    for (wire, error) in [
        (&b" 5\r\nhello\r\n0\r\n\r\n"[..], BodyError::ChunkSize),
        (b"5 \r\nhello\r\n0\r\n\r\n", BodyError::ChunkSize),
        (b"+5\r\nhello\r\n", BodyError::ChunkSize),
        (b"0x5\r\nhello\r\n", BodyError::ChunkSize),
        (b"1_0\r\nhello\r\n", BodyError::ChunkSize),
        (b"\r\nhello\r\n", BodyError::ChunkSize),
        (b"5\nhello\r\n", BodyError::ChunkSize),
        (b"5\rhello\r\n", BodyError::ChunkSize),
        (b"FFFFFFFFFFFFFFFF0\r\nhello", BodyError::ChunkSize),
        (b"0000000000000005\r\nhello", BodyError::ChunkSize),
        (b"5;\r\nhello\r\n", BodyError::Extension),
        (b"5; a\r\nhello\r\n", BodyError::Extension),
        (b"5;a=\n\r\nhello\r\n", BodyError::Extension),
        (b"5\r\nhello!!\r\n0\r\n\r\n", BodyError::ChunkEnd),
        (b"5\r\nhello0\r\n\r\n", BodyError::ChunkEnd),
        (b"5\r\nhello\n0\r\n\r\n", BodyError::ChunkEnd),
        (b"0\r\n\n", BodyError::Trailer),
        (b"0\r\nX y: a\r\n\r\n", BodyError::Trailer),
        (b"0\r\nnocolon\r\n\r\n", BodyError::Trailer),
        (b"0\r\nX: a\0\r\n\r\n", BodyError::Trailer),
    ] {
        for size in [1, 7, wire.len()] {
            assert_eq!(
                feed(Framing::Chunked, wire, &[size]).unwrap_err(),
                error,
                "{}",
                wire.escape_ascii()
            );
        }
    }
}

#[test]
fn extensions_and_trailers_are_bounded() {
    let long = format!("1;{}\r\na\r\n", "x".repeat(300));
    assert_eq!(
        feed(Framing::Chunked, long.as_bytes(), &[64]).unwrap_err(),
        BodyError::Extension
    );
    let many = format!("1;{}\r\na\r\n", "x".repeat(200)).repeat(100);
    assert_eq!(
        feed(Framing::Chunked, many.as_bytes(), &[64]).unwrap_err(),
        BodyError::Extension
    );
    let lines = format!("0\r\n{}", "X: y\r\n".repeat(40));
    assert_eq!(
        feed(Framing::Chunked, lines.as_bytes(), &[64]).unwrap_err(),
        BodyError::TrailersTooLarge
    );
    let big = format!("0\r\nX: {}", "y".repeat(9000));
    assert_eq!(
        feed(Framing::Chunked, big.as_bytes(), &[64]).unwrap_err(),
        BodyError::TrailersTooLarge
    );
}

#[test]
fn a_length_takes_its_bytes_and_no_more() {
    assert_eq!(
        feed(Framing::Length(5), b"helloGET", &[3]).unwrap(),
        (b"hello".to_vec(), vec![], 3)
    );
    let mut close = Decoder::new(Framing::Close);
    assert_eq!(close.decode(&mut b"abc".to_vec()).unwrap().data, 0..3);
    assert!(close.end_of_input(false));
    assert!(!Decoder::new(Framing::Length(1)).end_of_input(false));
}

proptest! {
    #[test]
    fn any_chunking_of_any_data_in_any_pieces_gives_the_data(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..20),
        sizes in prop::collection::vec(1usize..40, 1..10),
    ) {
        let mut wire = Vec::new();
        for chunk in &chunks {
            wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\n\r\n");
        let (data, _, left) = feed(Framing::Chunked, &wire, &sizes).unwrap();
        prop_assert_eq!(data, chunks.concat());
        prop_assert_eq!(left, 0);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(wire in prop::collection::vec(any::<u8>(), 0..300), size in 1usize..50) {
        let mut decoder = Decoder::new(Framing::Chunked);
        for piece in wire.chunks(size) {
            if decoder.decode(&mut piece.to_vec()).is_err() {
                break;
            }
        }
    }
}
