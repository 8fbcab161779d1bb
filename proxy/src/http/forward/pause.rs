//! What an endpoint asks for with a 503: to be left alone for a while (semantics 11).
//!
//! A 429 is no such request: it is about the client that gets it, and the endpoint serves others meanwhile.

use std::time::SystemTime;

use weir_decide::retry;

use crate::http::h1::head::ResponseHead;
use crate::upstream::endpoint::EndpointState;

/// Pauses the endpoint if its answer, whose head is at the front of `bytes`, asks for it.
#[cold]
pub(super) fn heed(endpoint: &EndpointState, head: &ResponseHead, bytes: &[u8], now_ms: u64) {
    let mut fields = head.fields.iter();
    let field = fields.find(|f| f.name.get(bytes).eq_ignore_ascii_case(b"retry-after"));
    let asked = field.and_then(|field| retry::pause(field.value.get(bytes), SystemTime::now()));
    if let Some(time) = asked {
        tracing::debug!(
            service = %endpoint.service, endpoint = %endpoint.id, seconds = time.as_secs(),
            "endpoint asked for a pause"
        );
        endpoint.pause(time, now_ms);
    }
}
