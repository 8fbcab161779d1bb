//! gRPC calls for the tests, over [`h2`](crate::h2), with messages of plain bytes.

use http::{Method, Request};

use crate::h2::{Client, Response, Stream};

/// A call that is under way.
pub struct Call {
    stream: Stream,
    /// What came and is no whole message yet.
    held: Vec<u8>,
}

/// The request of a call, for more metadata.
///
/// # Panics
/// When authority or path are none.
#[must_use]
pub fn request(
    client: &Client,
    authority: &str,
    path: &str,
    metadata: &[(&str, &str)],
) -> Request<()> {
    let mut request = client.request(Method::POST, authority, path);
    let fields = [("content-type", "application/grpc"), ("te", "trailers")];
    for (name, value) in fields.iter().chain(metadata) {
        let name: http::HeaderName = name.parse().expect("a name of metadata");
        let value = value.parse().expect("a value of metadata");
        request.headers_mut().append(name, value);
    }
    request
}

/// A call with these messages, and its whole answer.
#[must_use]
pub fn call(
    client: &Client,
    path: &str,
    messages: &[&[u8]],
    metadata: &[(&str, &str)],
) -> Response {
    let body: Vec<u8> = messages.iter().flat_map(|m| frame(m)).collect();
    client.exchange(request(client, "grpc.example", path, metadata), &body)
}

/// The messages of a whole answer.
///
/// # Panics
/// When its body is no sequence of messages.
#[must_use]
pub fn messages(response: &Response) -> Vec<Vec<u8>> {
    let mut held = response.body.clone();
    let mut all = Vec::new();
    while let Some(message) = take(&mut held) {
        all.push(message);
    }
    assert!(held.is_empty(), "half a message is left: {held:?}");
    all
}

/// A payload with its prefix: not compressed, and its length.
///
/// # Panics
/// Above 4 GiB.
#[must_use]
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a payload below 4 GiB");
    let mut out = vec![0];
    out.extend(length.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

fn take(held: &mut Vec<u8>) -> Option<Vec<u8>> {
    let prefix = held.get(..5)?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    if held.len() < 5 + length {
        return None;
    }
    Some(held.drain(..5 + length).skip(5).collect())
}

impl Call {
    /// Starts a call whose messages are sent one by one.
    #[must_use]
    pub fn start(client: &Client, path: &str, metadata: &[(&str, &str)]) -> Self {
        let stream = client.open(request(client, "grpc.example", path, metadata), false);
        Self {
            stream,
            held: Vec::new(),
        }
    }

    /// Sends a message.
    pub fn send(&mut self, payload: &[u8]) {
        self.stream.send(&frame(payload), false);
    }

    /// Says that no more messages come.
    pub fn finish(&mut self) {
        self.stream.send(b"", true);
    }

    /// The stream below; its head must be read before the first message.
    pub fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// The next message; `None` at the end.
    ///
    /// # Panics
    /// When the stream ends otherwise.
    pub fn message(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(message) = take(&mut self.held) {
                return Some(message);
            }
            let data = self.stream.data();
            let data = data.unwrap_or_else(|e| panic!("no message: {e}"))?;
            self.held.extend_from_slice(&data);
        }
    }

    /// The status behind the last message.
    ///
    /// # Panics
    /// When there is none.
    pub fn status(&mut self) -> u32 {
        let trailers = self.stream.end().expect("an end of the call");
        let trailers = trailers.expect("trailers of the call");
        let status = trailers.get("grpc-status").expect("grpc-status");
        let status = status.to_str().ok().and_then(|s| s.parse().ok());
        status.expect("a number")
    }
}
