//! A check by TCP: a connection, and what comes on it where something must.

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weir_config::model::TcpProbe;

use super::{Connection, Deadline, MAX_LOOKED_AT, broke_off, end_with_reset, quoted, with_seen};

pub(super) async fn check(
    mut stream: impl Connection,
    probe: &TcpProbe,
    deadline: &Deadline,
) -> Result<String, String> {
    if let Some(text) = &probe.send {
        let writing = deadline.bound("sending", stream.write_all(text));
        writing.await?.map_err(|error| broke_off(&error))?;
    }
    let Some(expected) = &probe.expect else {
        // What a handshake leaves to be sent with the first data has nothing to go with. That it ended is known.
        let _ = deadline.bound("saying goodbye", stream.shutdown()).await?;
        return Ok("connected".to_owned());
    };
    end_with_reset(&stream);
    let wanted = quoted(expected);
    let doing = format!("waiting for {wanted}");
    let mut seen = Vec::with_capacity(256);
    loop {
        let known = seen.len();
        let reading = deadline.bound(&doing, stream.read_buf(&mut seen)).await;
        let count = match reading {
            Ok(outcome) => outcome.map_err(|error| broke_off(&error))?,
            Err(late) => return Err(with_seen(late, &seen)),
        };
        if count == 0 {
            let closed = format!("closed before {wanted} came");
            return Err(with_seen(closed, &seen));
        }
        seen.truncate(MAX_LOOKED_AT);
        // It may have begun in what was there before.
        let from = (known + 1).saturating_sub(expected.len());
        if memmem::find(seen.get(from..).unwrap_or_default(), expected).is_some() {
            return Ok(format!("{wanted} came"));
        }
        if seen.len() == MAX_LOOKED_AT {
            let absent = format!("{wanted} did not come within 64 KiB");
            return Err(with_seen(absent, &seen));
        }
    }
}
