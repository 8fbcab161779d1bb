//! One probe: a connection, and a question where one is asked.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_config::model::HealthProbe;

/// The head of an answer may be this long; its body is not read.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Fields in the head of an answer.
const MAX_FIELDS: usize = 100;

/// Asks once. Either says what was seen: `connected`, `GET /healthz answered 503`.
pub(super) async fn run(
    address: SocketAddr,
    probe: &HealthProbe,
    timeout: Duration,
) -> Result<String, String> {
    let asking = async {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| connect_failed(&error))?;
        match probe {
            HealthProbe::Tcp => Ok("connected".to_owned()),
            HealthProbe::Http { path, host } => get(stream, address, path, host.as_deref()).await,
        }
    };
    match tokio::time::timeout(timeout, asking).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("no answer within {timeout:?}")),
    }
}

fn connect_failed(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => format!("cannot connect: {error}"),
    }
}

/// A plain `GET` on a connection of its own; a status of 200 to 299 passes (semantics 15).
async fn get(
    mut stream: TcpStream,
    address: SocketAddr,
    path: &str,
    host: Option<&str>,
) -> Result<String, String> {
    let host = host.map_or_else(|| address.to_string(), str::to_owned);
    if [path, &host]
        .iter()
        .any(|text| text.bytes().any(|b| b <= b' ' || b == 0x7f))
    {
        return Err("the check's path or host holds a character that a request cannot".to_owned());
    }
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: weir-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    let broken = |error: io::Error| format!("GET {path} broke off: {error}");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut head = Vec::with_capacity(1024);
    loop {
        match status(&mut head) {
            Ok(Some(status @ 200..300)) => return Ok(format!("GET {path} answered {status}")),
            Ok(Some(status)) => return Err(format!("GET {path} answered {status}")),
            Ok(None) if head.len() >= MAX_HEAD_BYTES => {
                return Err(format!("GET {path} answered too long a head"));
            }
            Ok(None) => {}
            Err(error) => return Err(format!("GET {path} answered what is not HTTP: {error}")),
        }
        if stream.read_buf(&mut head).await.map_err(broken)? == 0 {
            return Err(format!(
                "GET {path} was not answered: the connection closed"
            ));
        }
    }
}

/// The final status once its head is whole. Interim heads (1xx) are taken out.
fn status(bytes: &mut Vec<u8>) -> Result<Option<u16>, httparse::Error> {
    loop {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        match (response.parse(bytes)?, response.code) {
            (httparse::Status::Complete(end), Some(100..200)) => drop(bytes.drain(..end)),
            (httparse::Status::Complete(_), code) => return Ok(code),
            (httparse::Status::Partial, _) => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_behind_interim_answers() {
        for (head, expected) in [
            ("", Some(None)),
            ("HTTP/1.1 200 OK\r\n", Some(None)),
            ("HTTP/1.1 204 No Content\r\n\r\n", Some(Some(204))),
            ("HTTP/1.0 503 x\r\nA: b\r\n\r\nbody", Some(Some(503))),
            (
                "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
                Some(Some(200)),
            ),
            ("SSH-2.0-OpenSSH\r\n", None),
        ] {
            assert_eq!(
                status(&mut head.as_bytes().to_vec()).ok(),
                expected,
                "{head:?}"
            );
        }
    }
}
