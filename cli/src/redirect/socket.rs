//! Telling the kernel.

use std::io;
use std::time::Duration;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
    sockopt,
};

use super::message::Batch;

/// A message of this kind says how another went.
const ERROR: u16 = 2;
const HEAD: usize = 16;
/// The kernel answers before a call returns; this is for one that does not.
const PATIENCE: Duration = Duration::from_secs(5);

/// Has a transaction carried out.
pub(super) fn transact(batch: &Batch) -> io::Result<()> {
    let (bytes, mut waiting) = batch.clone().finish();
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::NETFILTER),
    )?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
    let kernel = SocketAddrNetlink::new(0, 0);
    let sent = sendto(&socket, &bytes, SendFlags::empty(), &kernel)?;
    if sent != bytes.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    let mut buffer = vec![0; 64 * 1024];
    while waiting > 0 {
        let (read, _) = recv(&socket, buffer.as_mut_slice(), RecvFlags::empty())?;
        waiting = waiting.saturating_sub(answers(buffer.get(..read).unwrap_or_default())?);
    }
    Ok(())
}

/// How many of the messages are answered here; the first that was refused is the error.
fn answers(mut bytes: &[u8]) -> io::Result<u32> {
    let mut seen = 0;
    while let Some(head) = bytes.get(..HEAD) {
        let number = |at: usize| {
            let part = head.get(at..at + 4).and_then(|part| part.try_into().ok());
            part.map(u32::from_ne_bytes).unwrap_or_default()
        };
        let (length, kind) = (number(0) as usize, number(4) as u16);
        let broken = || io::Error::from(io::ErrorKind::InvalidData);
        let body = bytes.get(HEAD..length).ok_or_else(broken)?;
        if kind == ERROR {
            let code = body.first_chunk::<4>().ok_or_else(broken)?;
            match i32::from_ne_bytes(*code) {
                0 => seen += 1,
                code => return Err(io::Error::from_raw_os_error(code.saturating_neg())),
            }
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: i32) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(20u32.to_ne_bytes());
        bytes.extend(ERROR.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(code.to_ne_bytes());
        bytes
    }

    #[test]
    fn answers_are_counted_and_a_refusal_is_the_kernels_own_error() {
        let both = [answer(0), answer(0)].concat();
        assert_eq!(answers(&both).unwrap(), 2);
        let refused = [answer(0), answer(-1)].concat();
        assert_eq!(answers(&refused).unwrap_err().raw_os_error(), Some(1));
        assert!(answers(&both[..10]).is_ok_and(|n| n == 0));
        assert!(answers(&both[..18]).is_err());
        assert_eq!(answers(b"").unwrap(), 0);
    }
}
