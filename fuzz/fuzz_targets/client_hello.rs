//! Any bytes as a TLS client's first message: no panic, and one answer however they arrive.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_proxy::tcp::client_hello::read;

fuzz_target!(|bytes: &[u8]| {
    let whole = read(bytes);
    for end in 0..bytes.len() {
        let part = read(&bytes[..end]);
        assert!(
            part == Ok(None) || part == whole,
            "{part:?}, then {whole:?}"
        );
    }
    if let Ok(Some(hello)) = whole
        && let Some(name) = hello.server_name
    {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
        assert!(!name.is_empty() && name.bytes().all(plain), "{name:?}");
    }
});
