//! The last lines of a service's log: from the journal, or from a file.
//!
//! Only looks. The journal is read by `journalctl`, which is there wherever systemd is and knows
//! every format of its files; the unit's name goes in as one argument, no shell in between.

use crate::capability::program::read_output;
use crate::capability::text::last_lines;
use crate::config::{AbsolutePath, Argv, UnitName};
use fettle_sandbox::call::ReadError;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

/// Most lines of one answer, as the interface says.
const MAX_LINES: u16 = 500;
/// How much of a log is read for them: 500 lines of 1 KiB.
const MAX_READ_BYTES: u64 = 512 * 1024;

/// Last lines of a unit's journal, oldest first.
pub(super) async fn of_unit(unit: &UnitName, lines: u16) -> Result<Vec<String>, ReadError> {
    let lines = lines.min(MAX_LINES);
    // Newest first, so that a journal of huge lines is cut at its old end.
    let argv = ["/usr/bin/journalctl", "--quiet", "--no-pager", "--reverse", "--output=cat"]
        .map(str::to_owned)
        .into_iter()
        .chain([format!("--lines={lines}"), format!("--unit={unit}")])
        .collect();
    let argv = Argv::new(argv).map_err(|wrong| ReadError::Unavailable(wrong.to_string()))?;
    let output = read_output(&argv, MAX_READ_BYTES, super::LOOK_WITHIN)
        .await
        .map_err(|ran| ReadError::Unavailable(format!("journalctl {ran}")))?;
    let text = String::from_utf8_lossy(&output);
    Ok(last_lines(text.lines().map(str::to_owned), usize::from(lines)))
}

/// Last lines of a file, oldest first. No symbolic link is followed: whoever may write in a log's
/// folder must not choose what root reads.
pub(super) fn of_file(path: &AbsolutePath, lines: u16) -> Result<Vec<String>, ReadError> {
    let unavailable = |error: std::io::Error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            ReadError::NotFound
        } else {
            ReadError::Unavailable(error.to_string())
        }
    };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let file = openat2(CWD, path.as_str(), flags, Mode::empty(), resolve).map_err(|error| unavailable(error.into()))?;
    let stat = fstat(&file).map_err(|error| unavailable(error.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(ReadError::Malformed("the log is no regular file".to_owned()));
    }
    let mut file = File::from(file);
    let size = file.seek(SeekFrom::End(0)).map_err(unavailable)?;
    let start = size.saturating_sub(MAX_READ_BYTES);
    file.seek(SeekFrom::Start(start)).map_err(unavailable)?;
    let mut output = Vec::new();
    file.take(MAX_READ_BYTES).read_to_end(&mut output).map_err(unavailable)?;
    let text = String::from_utf8_lossy(&output);
    // Cut in the middle of a line, the first one is half.
    let whole = if start == 0 { &text[..] } else { text.split_once('\n').map_or("", |(_, rest)| rest) };
    Ok(last_lines(whole.lines().rev().map(str::to_owned), usize::from(lines.min(MAX_LINES))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &std::path::Path) -> AbsolutePath {
        path.to_str().expect("text").parse().expect("an absolute path")
    }

    #[test]
    fn the_last_whole_lines_come_oldest_first() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = dir.path().join("log");
        let lines: String = (0..200_000).map(|number| format!("{number}\n")).collect();
        std::fs::write(&log, lines).expect("log");
        assert_eq!(of_file(&path(&log), 2), Ok(vec!["199998".to_owned(), "199999".to_owned()]));
        assert_eq!(of_file(&path(&log), u16::MAX).map(|lines| lines.len()), Ok(500));
    }

    #[test]
    fn a_log_that_is_a_link_or_no_file_is_not_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = dir.path().join("log");
        std::os::unix::fs::symlink("/etc/passwd", &log).expect("link");
        assert!(matches!(of_file(&path(&log), 5), Err(ReadError::Unavailable(_))));
        assert_eq!(of_file(&path(&dir.path().join("none")), 5), Err(ReadError::NotFound));
        assert!(matches!(of_file(&path(dir.path()), 5), Err(ReadError::Malformed(_))));
    }
}
