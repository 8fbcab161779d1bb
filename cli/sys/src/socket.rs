//! What is asked of a socket that no safe crate offers.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Bytes written to a TCP socket that its peer has not acknowledged yet, sent or not (`tcp(7)`, `SIOCOUTQ`, which Linux
/// has as `TIOCOUTQ` for other files).
///
/// # Errors
/// It is no TCP socket, or one that listens.
pub fn unacknowledged(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut bytes: c_int = 0;
    // SAFETY: the descriptor is open while it is borrowed, and the call writes one int, to where it is told.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    match done {
        0 => Ok(usize::try_from(bytes).unwrap_or(0)),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn what_nobody_reads_stays_unacknowledged_until_somebody_does() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut reader = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut writer, _) = listener.accept().unwrap();
        assert_eq!(unacknowledged(writer.as_fd()).unwrap(), 0);
        writer.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while let Ok(count) = writer.write(&[0; 65_536]) {
            sent += count;
        }
        let stuck = unacknowledged(writer.as_fd()).unwrap();
        assert!(stuck > 0 && stuck <= sent, "{stuck} of {sent}");
        reader.read_exact(&mut vec![0; sent]).unwrap();
        // Acknowledgements may be late, by some milliseconds.
        let until = Instant::now() + Duration::from_secs(10);
        while unacknowledged(writer.as_fd()).unwrap() > 0 {
            assert!(Instant::now() < until, "all was read");
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_is_no_socket_is_an_error() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(unacknowledged(file.as_fd()).is_err());
    }
}
