#![allow(
    clippy::indexing_slicing,
    reason = "what a test gets wrong, it may panic of"
)]

use proptest::prelude::*;

use super::*;

fn vector(len: usize, data: &[u8]) -> Vec<u8> {
    let size = data.len().to_be_bytes();
    [&size[size.len() - len..], data].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector(2, data)].concat()
}

fn sni(name: &str) -> Vec<u8> {
    let entry = [&[0][..], &vector(2, name.as_bytes())].concat();
    extension(0, &vector(2, &entry))
}

/// The body of a ClientHello with these extensions.
fn body(extensions: &[u8]) -> Vec<u8> {
    let mut out = vec![3, 3];
    out.extend_from_slice(&[7; 32]);
    out.extend_from_slice(&vector(1, &[1; 32]));
    out.extend_from_slice(&vector(2, &[0x13, 1, 0x13, 2]));
    out.extend_from_slice(&vector(1, &[0]));
    out.extend_from_slice(&vector(2, extensions));
    out
}

fn message(body: &[u8]) -> Vec<u8> {
    [&[1][..], &vector(3, body)].concat()
}

/// Cut into records of at most that many bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |data: &[u8]| [&[22, 3, 1][..], &vector(2, data)].concat();
    message.chunks(size).flat_map(record).collect()
}

fn client_hello(extensions: &[u8]) -> Vec<u8> {
    records(&message(&body(extensions)), 16_384)
}

fn name(bytes: &[u8]) -> Result<Option<String>, HelloError> {
    read(bytes).map(|hello| hello.expect("the hello is whole").server_name)
}

#[test]
fn the_name_is_found_wherever_its_extension_stands() {
    let other = extension(43, &[2, 3, 4]);
    for extensions in [
        sni("Shop.Example.COM"),
        [sni("shop.example.com"), other.clone()].concat(),
        [other.clone(), sni("shop.example.com")].concat(),
    ] {
        let got = name(&client_hello(&extensions));
        assert_eq!(got, Ok(Some("shop.example.com".to_owned())));
    }
    assert_eq!(name(&client_hello(&other)), Ok(None));
    assert_eq!(name(&client_hello(b"")), Ok(None));
}

#[test]
fn a_client_without_extensions_asks_for_no_name() {
    let mut old = body(b"");
    old.truncate(old.len() - 2);
    assert_eq!(name(&records(&message(&old), 16_384)), Ok(None));
}

#[test]
fn a_message_may_be_cut_into_any_records() {
    let message = message(&body(&sni("shop.example.com")));
    for size in 1..=message.len() {
        let bytes = records(&message, size);
        assert_eq!(name(&bytes), Ok(Some("shop.example.com".to_owned())));
    }
}

#[test]
fn what_follows_the_message_is_not_looked_at() {
    let mut bytes = client_hello(&sni("a.example"));
    bytes.extend_from_slice(b"\xff\xff\xff whatever");
    assert_eq!(name(&bytes), Ok(Some("a.example".to_owned())));
}

#[test]
fn what_is_not_tls_is_told_at_its_first_odd_byte() {
    for bytes in [
        &b"G"[..],
        b"GET / HTTP/1.1\r\n",
        b"\x16\x02",
        b"\x15\x03\x03",
        // A ServerHello.
        b"\x16\x03\x01\x00\x01\x02",
        // SSL 2.
        b"\x80\x2e\x01",
    ] {
        assert_eq!(read(bytes), Err(HelloError::NotTls), "{bytes:?}");
    }
}

#[test]
fn malformed_fields_are_refused() {
    let name = |raw: &[u8]| {
        let entry = [&[0][..], &vector(2, raw)].concat();
        extension(0, &vector(2, &entry))
    };
    let two = [&[0][..], &vector(2, b"a"), &[0], &vector(2, b"b")].concat();
    for extensions in [
        [sni("a.example"), sni("b.example")].concat(),
        name(b""),
        name(b"a b"),
        name(b"a\0.example"),
        name(&[0xff; 4]),
        name(&[b'a'; 256]),
        extension(0, &vector(2, &two)),
        extension(0, &[0, 9, 0]),
        extension(0, b""),
        vec![0, 0, 0],
    ] {
        let got = read(&client_hello(&extensions));
        assert_eq!(got, Err(HelloError::Malformed), "{extensions:?}");
    }
    for bytes in [&b"\x16\x03\x01\x00\x00"[..], b"\x16\x03\x01\xff\xff"] {
        assert_eq!(read(bytes), Err(HelloError::Malformed));
    }
}

#[test]
fn a_hello_that_is_too_long_is_refused_once_it_says_so() {
    let bytes = [&[22, 3, 1, 0x40, 0, 1][..], &[0, 0x40, 0]].concat();
    assert_eq!(read(&bytes), Err(HelloError::TooLong));
    // In records of one byte the same message takes six times the room.
    let small = records(&message(&body(&extension(21, &[0; 4000]))), 1);
    assert_eq!(read(&small), Err(HelloError::TooLong));
    let large = client_hello(&[extension(21, &[0; 12_000]), sni("a.example")].concat());
    assert_eq!(name(&large), Ok(Some("a.example".to_owned())));
}

proptest! {
    #[test]
    fn every_split_of_the_bytes_gives_the_same_answer(
        host in "[a-z]{1,20}\\.example", size in 1usize..200, noise in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = records(&message(&body(&sni(&host))), size);
        for (at, byte) in noise {
            let at = usize::from(at) % bytes.len();
            bytes[at] = byte;
        }
        let whole = read(&bytes);
        for end in 0..bytes.len() {
            let part = read(&bytes[..end]);
            prop_assert!(part == Ok(None) || part == whole, "{part:?} then {whole:?}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), tls: bool) {
        let bytes = if tls { [&[22, 3, 1][..], &bytes].concat() } else { bytes };
        let _ = read(&bytes);
    }
}
