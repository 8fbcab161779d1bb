//! Waiting for the name that a TLS client asks for.

use weir_config::model::Limits;

use super::client_hello;
use super::error::StreamError;
use super::serve::Client;
use crate::http::h1::flow::poll_fill;

/// Reads until the client's first message is whole. All of it stays in the buffer, to be passed on.
pub(super) async fn server_name(
    client: &mut Client,
    limits: &Limits,
) -> Result<Option<String>, StreamError> {
    let worker = &client.worker;
    let deadline = worker.timers.now() + limits.head_timeout.as_millis() as u64;
    let (mut from, _) = client.stream.split();
    loop {
        if let Some(hello) = client_hello::read(&client.buffer)? {
            return Ok(hello.server_name);
        }
        if client.buffer.capacity() == 0 {
            client.buffer = worker.buffers.small();
        }
        // The small buffer holds the longest hello, but a PROXY header may have been in front of it.
        if client.buffer.len() == client.buffer.capacity() {
            client.buffer.grow();
        }
        client.alarm.set(deadline);
        let buffer = &mut client.buffer;
        match client
            .alarm
            .watch(|cx| poll_fill(cx, &mut from, buffer))
            .await
        {
            Ok(Ok(read)) if read > 0 => {}
            Ok(_) => return Err(StreamError::Client),
            Err(_) => return Err(StreamError::HelloTimeout),
        }
    }
}
