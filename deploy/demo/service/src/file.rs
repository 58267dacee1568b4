//! Reads one small file, never more than a bound. Used for releases, flags and pid files.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Longest file that is read whole. A release or a pid file has under 100 bytes, a flag file of a
/// thousand flags about 200 KB; the rest is room.
pub(crate) const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Reads all of it.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let taken = File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if taken as u64 > MAX_FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}
