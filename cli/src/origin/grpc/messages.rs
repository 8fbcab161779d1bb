//! Messages of gRPC: a flag, four bytes of length, the payload.

use std::fmt::Display;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body;

use super::status::{Code, Status};

/// The flag and the length.
const PREFIX: usize = 5;

/// The largest payload that is read, the usual default of gRPC servers.
const LARGEST: usize = 4 * 1024 * 1024;

/// The messages of a request, each with its prefix.
pub(super) struct Messages<B> {
    body: B,
    buffer: BytesMut,
}

impl<B> Messages<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    pub(super) fn new(body: B) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
        }
    }

    /// The next message as it came; `None` at the end.
    ///
    /// # Errors
    /// When it is cut short or too large.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(whole) = self.whole()? {
                return Ok(Some(self.buffer.split_to(whole).freeze()));
            }
            let frame = self.body.frame().await.transpose();
            let frame = frame.map_err(|e| Status::new(Code::Internal, e.to_string()))?;
            let Some(frame) = frame else {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(Status::new(Code::Internal, "a message is cut short")),
                };
            };
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }

    /// The one message of a request that has no more.
    ///
    /// # Errors
    /// When there is none, or another.
    pub(super) async fn only(&mut self) -> Result<Bytes, Status> {
        let message = self.next().await?;
        let more = self.next().await?;
        match (message, more) {
            (Some(message), None) => Ok(message),
            _ => Err(Status::new(Code::Internal, "not exactly one message")),
        }
    }

    /// The length of the first message with its prefix, once all of it is there.
    fn whole(&self) -> Result<Option<usize>, Status> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        if length > LARGEST {
            let text = "a message above 4 MiB";
            return Err(Status::new(Code::ResourceExhausted, text));
        }
        Ok(Some(PREFIX + length).filter(|whole| self.buffer.len() >= *whole))
    }
}

/// A payload as a message, uncompressed.
///
/// # Panics
/// Above 4 GiB, which nothing here makes.
pub(super) fn frame(payload: &[u8]) -> Bytes {
    let length = u32::try_from(payload.len()).expect("a payload of the origin's own making");
    let mut out = BytesMut::with_capacity(PREFIX + payload.len());
    out.put_u8(0);
    out.put_u32(length);
    out.extend_from_slice(payload);
    out.freeze()
}

/// What a whole message holds.
pub(super) fn payload(message: &[u8]) -> &[u8] {
    message.get(PREFIX..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    fn messages(bytes: &[u8]) -> Messages<Full<Bytes>> {
        Messages::new(Full::new(Bytes::copy_from_slice(bytes)))
    }

    #[tokio::test]
    async fn messages_come_one_by_one_as_they_are() {
        let all = [frame(b"a"), frame(b""), frame(b"ccc")];
        let mut input = messages(&all.concat());
        for one in all {
            assert_eq!(input.next().await, Ok(Some(one)));
        }
        assert_eq!(input.next().await, Ok(None));
    }

    #[tokio::test]
    async fn what_is_no_message_is_refused() {
        let cut = messages(b"\0\0\0\0\x05abc").next().await.unwrap_err();
        assert_eq!(cut.code, Code::Internal as u32);
        let large = messages(b"\0\xff\0\0\0").next().await.unwrap_err();
        assert_eq!(large.code, Code::ResourceExhausted as u32);
        for count in [0, 2] {
            let many = vec![frame(b"a"); count].concat();
            assert!(messages(&many).only().await.is_err(), "{count}");
        }
        assert_eq!(messages(&frame(b"a")).only().await, Ok(frame(b"a")));
    }
}
