//! Reading a file that may be too large.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// All of a file, `None` where there is none.
///
/// # Errors
/// When it cannot be read, or holds more than `most` bytes.
pub(super) fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let size = file.metadata()?.len();
    if size > most {
        return Err(io::Error::other(format!(
            "it holds {size} bytes, more than the {most} that are read"
        )));
    }
    let mut bytes = Vec::new();
    // It may grow while it is read.
    file.take(most).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}
