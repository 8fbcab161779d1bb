//! WebSockets over HTTP/2 (RFC 8441), which are opened without the nonce that they have over HTTP/1 (RFC 6455, section
//! 4.1): where the two meet, one is made up, and answered.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::Rng;
use sha1::{Digest as _, Sha1};

use crate::http::grpc::value_of;
use crate::http::h1::head::{RequestHead, ResponseHead};

pub(in crate::http) const KEY: &str = "sec-websocket-key";
pub(in crate::http) const ACCEPT: &str = "sec-websocket-accept";

/// A nonce as it is sent: 16 bytes in base64.
pub(crate) type Key = [u8; 24];

/// A nonce of chance.
pub(super) fn key(random: &mut impl Rng) -> Key {
    let mut nonce = [0; 16];
    random.fill_bytes(&mut nonce);
    let mut key = [0; 24];
    // The length is that of 16 bytes in base64.
    let encoded = STANDARD.encode(nonce);
    key.copy_from_slice(encoded.as_bytes());
    key
}

/// What shows that a key was read.
pub(super) fn accept(key: &[u8]) -> Vec<u8> {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finalize()).into_bytes()
}

/// The key of a request that asks for a WebSocket, empty where it has none; `bytes`: what the head was parsed from.
pub(in crate::http) fn asked<'a>(head: &RequestHead, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let protocol = head.upgrade?.get(bytes);
    let is_asked = protocol.eq_ignore_ascii_case(b"websocket");
    is_asked.then(|| value_of(&head.fields, bytes, KEY.as_bytes()).unwrap_or_default())
}

/// Whether an answer shows that its sender has read the key (RFC 6455, section 4.1).
pub(in crate::http) fn is_accepted(key: &[u8], answer: &ResponseHead, bytes: &[u8]) -> bool {
    value_of(&answer.fields, bytes, ACCEPT.as_bytes()) == Some(&accept(key))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn the_answer_to_a_key_is_that_of_rfc_6455() {
        let answer = accept(b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(answer, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn keys_are_sixteen_bytes_of_chance() {
        let mut random = SmallRng::seed_from_u64(1);
        let (one, other) = (key(&mut random), key(&mut random));
        assert_ne!(one, other);
        assert_eq!(STANDARD.decode(one).map(|nonce| nonce.len()), Ok(16));
    }
}
