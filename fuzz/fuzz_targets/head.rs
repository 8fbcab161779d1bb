//! Any bytes as a request head and as a response head: no panic, and no two readings of one message.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_config::model::Limits;
use weir_proxy::http::h1::head::{HeadError, Parsed, RequestHead, parse_request};

fn parse(bytes: &[u8], limits: &Limits) -> (Result<Parsed, HeadError>, RequestHead) {
    let mut head = RequestHead::default();
    (parse_request(bytes, limits, &mut head), head)
}

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    let (outcome, head) = parse(bytes, &limits);
    let Ok(Parsed::Complete(length)) = outcome else {
        return;
    };
    assert!(length <= bytes.len(), "a head longer than what was read");
    let raw = &bytes[..length];
    // What comes after the head never changes it.
    assert_eq!(parse(raw, &limits).0, Ok(Parsed::Complete(length)));
    // A part of a good head is neither whole nor wrong: however it is cut, the rest is waited for.
    for cut in [1, length / 3, length / 2, length - 1] {
        if cut < length {
            assert_eq!(
                parse(&raw[..cut], &limits).0,
                Ok(Parsed::Partial),
                "cut at {cut}"
            );
        }
    }
    check(raw, &head);
});

/// What no accepted head may hold, whatever the parser thinks of it.
fn check(raw: &[u8], head: &RequestHead) {
    assert!(!raw.contains(&0), "NUL passed");
    for (at, &byte) in raw.iter().enumerate() {
        assert!(
            byte != b'\n' || at > 0 && raw[at - 1] == b'\r',
            "a bare LF passed"
        );
        assert!(
            byte != b'\r' || raw.get(at + 1) == Some(&b'\n'),
            "a bare CR passed"
        );
    }
    let mut counts = [0usize; 3];
    for field in &head.fields {
        let name = field.name.get(raw).to_ascii_lowercase();
        assert!(
            !name.is_empty()
                && name
                    .iter()
                    .all(|b| b.is_ascii_graphic() && !b"():;<=>?@[\\]{}\"/,".contains(b))
        );
        for (count, known) in counts
            .iter_mut()
            .zip(["host", "content-length", "transfer-encoding"])
        {
            *count += usize::from(name == known.as_bytes());
        }
    }
    let [hosts, lengths, codings] = counts;
    assert!(hosts <= 1, "two Hosts passed");
    assert!(
        lengths <= 1 && (lengths == 0 || codings == 0),
        "two framings passed"
    );
    assert!(head.method.get(raw).iter().all(u8::is_ascii_graphic));
    assert!(
        head.target.path.get(raw).iter().all(u8::is_ascii_graphic),
        "a target of other than visible ASCII passed"
    );
}
