use proptest::prelude::*;

use super::*;

fn addresses(source: &str, destination: &str) -> Addresses {
    Addresses {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    }
}

/// Version 2 with this command, family and body.
fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut out = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    out.extend_from_slice(&[command, family]);
    out.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
    out.extend_from_slice(body);
    out
}

const FOUR: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x1f, 0x90, 0, 80];

fn header(bytes: &[u8]) -> Header {
    match read(bytes) {
        Ok(Start::Header(header)) => header,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_line_of_version_1_names_both_ends() {
    for (line, want) in [
        (
            "PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\r\n",
            Some(addresses("192.0.2.7:8080", "10.0.0.1:80")),
        ),
        (
            "PROXY TCP6 2001:db8::1 ::1 65535 0\r\n",
            Some(addresses("[2001:db8::1]:65535", "[::1]:0")),
        ),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN ffff:f...f:ffff whatever 1 2\r\n", None),
    ] {
        let got = header(format!("{line}GET /").as_bytes());
        assert_eq!((got.addresses, got.len), (want, line.len()), "{line}");
    }
}

#[test]
fn a_line_that_could_be_read_in_two_ways_is_refused() {
    for line in [
        "PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 8080\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 8080 80 \r\n",
        "PROXY TCP4 192.0.2.7  10.0.0.1 8080 80\r\n",
        "PROXY TCP4 192.0.2.07 10.0.0.1 8080 80\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 08080 80\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 +8080 80\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 65536 80\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 192.0.2.7 10.0.0.1 1 2\r\n",
        "PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n",
        "PROXY \r\n",
        &format!("PROXY UNKNOWN {}\r\n", "x".repeat(100)),
        &format!("PROXY TCP4 {}", "1".repeat(200)),
    ] {
        assert_eq!(read(line.as_bytes()), Err(HeaderError::Line), "{line:?}");
    }
}

#[test]
fn version_2_names_both_ends_and_carries_extensions() {
    let mut body = FOUR.to_vec();
    body.extend_from_slice(&[0x02, 0, 2, b'h', b'i', 0xe0, 0, 0]);
    let bytes = [v2(0x21, 0x11, &body), b"data".to_vec()].concat();
    let got = header(&bytes);
    assert_eq!(
        got.addresses,
        Some(addresses("192.0.2.7:8080", "10.0.0.1:80"))
    );
    assert_eq!(&bytes[got.len..], b"data");
    assert_eq!(&bytes[got.tlvs], &body[12..]);
}

#[test]
fn who_speaks_for_itself_names_nobody() {
    for bytes in [
        v2(0x20, 0x00, b""),
        v2(0x20, 0x11, &FOUR),
        // LOCAL: whatever it carries is skipped.
        v2(0x20, 0x77, b"\x01\xff\xff"),
        v2(0x21, 0x00, b""),
        v2(0x21, 0x31, &[0; 216]),
    ] {
        let got = header(&bytes);
        assert_eq!((got.addresses, got.len), (None, bytes.len()));
    }
}

#[test]
fn a_malformed_version_2_is_refused() {
    let cut = [&FOUR[..], &[0x02, 0, 9, 1]].concat();
    for (bytes, error) in [
        (v2(0x11, 0x11, &FOUR), HeaderError::Version),
        (v2(0x22, 0x11, &FOUR), HeaderError::Version),
        (v2(0x21, 0x12, &FOUR), HeaderError::Family),
        (v2(0x21, 0x41, &FOUR), HeaderError::Family),
        (v2(0x21, 0x11, &FOUR[..11]), HeaderError::Addresses),
        (v2(0x21, 0x21, &FOUR), HeaderError::Addresses),
        (v2(0x21, 0x11, &cut), HeaderError::Extensions),
        (v2(0x21, 0x11, &[0; 4081]), HeaderError::TooLong),
        (v2(0x20, 0x00, &[0; 65_535]), HeaderError::TooLong),
    ] {
        assert_eq!(read(&bytes), Err(error));
    }
}

#[test]
fn what_is_no_header_is_told_at_its_first_odd_byte() {
    for bytes in [&b"GET / HTTP/1.1"[..], b"PROXIES", b"\r\n\r\nGET", b"\x16"] {
        assert_eq!(read(bytes), Ok(Start::Other));
    }
    for bytes in [&b""[..], b"P", b"PROXY", b"\r\n\r\n", b"PROXY TCP4 1"] {
        assert_eq!(read(bytes), Ok(Start::Partial));
    }
}

#[test]
fn only_what_the_next_hop_can_use_is_passed_on() {
    let tlvs = [
        &[0x03, 0, 4, 1, 2, 3, 4][..],
        &[0x05, 0, 1, 9],
        &[0x04, 0, 2, 0, 0],
        &[0xe1, 0, 0],
    ]
    .concat();
    assert_eq!(passable(&tlvs), [0x05, 0, 1, 9, 0xe1, 0, 0]);
}

#[test]
fn ends_of_two_families_are_written_as_one() {
    let mixed = addresses("192.0.2.7:1", "[2001:db8::1]:2");
    let mut line = Vec::new();
    write(&mut line, ProxyVersion::V1, mixed, b"");
    assert_eq!(line, b"PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 1 2\r\n");
    // An IPv4 client of an IPv6 socket is an IPv4 client.
    let through = addresses("[::ffff:192.0.2.7]:1", "[::ffff:10.0.0.1]:2");
    let mut line = Vec::new();
    write(&mut line, ProxyVersion::V1, through, b"");
    assert_eq!(line, b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n");
}

/// Bytes that get past the signatures often enough.
fn likely() -> impl Strategy<Value = Vec<u8>> {
    let any = || proptest::collection::vec(any::<u8>(), 0..80);
    let line = "(PROXY (TCP4|TCP6|UNKNOWN)?[ 0-9a-f.:]{0,60}(\r\n|\n)?.{0,5})";
    prop_oneof![
        any(),
        line.prop_map(String::into_bytes),
        (any(), any()).prop_map(|(body, tail)| [v2(0x21, 0x11, &body), tail].concat()),
        (any(), any()).prop_map(|(body, tail)| [v2(0x21, 0x21, &body), tail].concat()),
        any().prop_map(|rest| [b"\r\n\r\n\0\r\nQUIT\n".to_vec(), rest].concat()),
    ]
}

proptest! {
    #[test]
    fn every_split_of_the_bytes_gives_the_same_answer(bytes in likely()) {
        let whole = read(&bytes);
        for end in 0..bytes.len() {
            let part = read(&bytes[..end]);
            prop_assert!(part == Ok(Start::Partial) || part == whole, "{part:?} then {whole:?}");
        }
        if let Ok(Start::Header(header)) = whole {
            prop_assert!(header.len <= bytes.len() && header.tlvs.end <= header.len);
        }
    }

    #[test]
    fn what_is_written_is_read_again(
        v6: bool, ips in any::<[u128; 2]>(), ports in any::<[u16; 2]>(), second: bool,
    ) {
        let address = |at: usize| -> SocketAddr {
            let ip: std::net::IpAddr = match v6 {
                true => std::net::Ipv6Addr::from(ips[at] | 1 << 127).into(),
                false => std::net::Ipv4Addr::from(ips[at] as u32).into(),
            };
            (ip, ports[at]).into()
        };
        let addresses = Addresses { source: address(0), destination: address(1) };
        let version = if second { ProxyVersion::V2 } else { ProxyVersion::V1 };
        let mut out = Vec::new();
        write(&mut out, version, addresses, b"");
        prop_assert_eq!(header(&out).addresses, Some(addresses));
        prop_assert_eq!(header(&out).len, out.len());
    }
}
