//! Any bytes as the start of a connection: no panic, one answer however they arrive, and what is passed on is read
//! again as it was.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_config::model::ProxyVersion;
use weir_proxy::listener::proxy_protocol::{Start, passable, read, write};

fuzz_target!(|bytes: &[u8]| {
    let whole = read(bytes);
    for end in 0..bytes.len() {
        let part = read(&bytes[..end]);
        assert!(
            part == Ok(Start::Partial) || part == whole,
            "{part:?}, then {whole:?}"
        );
    }
    let Ok(Start::Header(header)) = whole else {
        return;
    };
    assert!(header.len <= bytes.len() && header.tlvs.end <= header.len);
    let Some(addresses) = header.addresses else {
        return;
    };
    let tlvs = passable(&bytes[header.tlvs]);
    let mut out = Vec::new();
    write(&mut out, ProxyVersion::V2, addresses, &tlvs);
    let Ok(Start::Header(again)) = read(&out) else {
        panic!("what was written is no header");
    };
    assert_eq!((again.len, &out[again.tlvs]), (out.len(), &tlvs[..]));
    let ends = |a: weir_proxy::listener::proxy_protocol::Addresses| {
        (
            a.source.ip().to_canonical(),
            a.source.port(),
            a.destination.port(),
        )
    };
    assert_eq!(again.addresses.map(ends), Some(ends(addresses)));
});
