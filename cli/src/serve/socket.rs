//! Unix sockets to listen on: who may connect is settled before anybody can.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::fs::{Gid, Mode};
use socket2::{Domain, SockAddr, Socket, Type};

/// How many may wait to be accepted.
const WAITING: i32 = 128;

/// Listens on a socket of mode 0600, or with a group of 0660. A socket that nobody listens on any more is replaced; what is no
/// socket is left alone.
///
/// # Errors
/// What is in the way, for a person.
pub(crate) fn listen(path: &Path, group: Option<u32>) -> Result<UnixListener, String> {
    match UnixStream::connect(path) {
        Ok(_) => return Err("another process listens on it".into()),
        // The file of a process that is gone; bind refuses what is no socket.
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused && is_socket(path) => {
            std::fs::remove_file(path).map_err(|e| e.to_string())?;
        }
        Err(_) => {}
    }
    let listener = bind(path, group).map_err(|e| e.to_string())?;
    listener.set_nonblocking(true).map_err(|e| e.to_string())?;
    Ok(listener)
}

/// The mode is the unbound socket's, from which Linux makes the file's: a chmod after bind would let anybody connect in
/// between, and a umask belongs to every thread of the process. A group gets its share before anything listens.
fn bind(path: &Path, group: Option<u32>) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let own = Mode::RUSR | Mode::WUSR;
    rustix::fs::fchmod(&socket, own)?;
    socket.bind(&SockAddr::unix(path)?)?;
    if let Some(group) = group {
        rustix::fs::chown(path, None, Some(Gid::from_raw(group)))?;
        rustix::fs::chmod(path, own | Mode::RGRP | Mode::WGRP)?;
    }
    socket.listen(WAITING)?;
    Ok(OwnedFd::from(socket).into())
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    #[test]
    fn a_socket_is_for_its_user_alone_and_a_stale_one_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let first = listen(&path, None).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let refused = listen(&path, None).unwrap_err();
        assert!(refused.contains("another process listens"), "{refused}");
        drop(first);
        assert!(path.exists(), "a listener leaves its file behind");
        listen(&path, None).unwrap();
    }

    #[test]
    fn a_group_may_be_let_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gate.sock");
        let own = std::fs::metadata(dir.path()).unwrap().gid();
        let _listener = listen(&path, Some(own)).unwrap();
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!((meta.mode() & 0o777, meta.gid()), (0o660, own));
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        std::fs::write(&path, "data").unwrap();
        assert!(listen(&path, None).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"data");
    }
}
