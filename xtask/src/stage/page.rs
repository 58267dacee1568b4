//! Asks a page as a customer would: one GET on a new connection.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long one attempt may take: the service answers within a millisecond or is broken.
const PATIENCE: Duration = Duration::from_millis(500);
/// `HTTP/1.1 200`.
const STATUS_LINE_BYTES: usize = 12;

/// The status code that a page answers with; `None` when nobody answers.
#[must_use]
pub fn status(address: SocketAddr, path: &str) -> Option<u16> {
    let ask = || -> std::io::Result<[u8; STATUS_LINE_BYTES]> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
        let mut start = [0; STATUS_LINE_BYTES];
        stream.read_exact(&mut start)?;
        Ok(start)
    };
    // Whatever goes wrong, for a customer it is the same: no answer.
    let start = ask().ok()?;
    std::str::from_utf8(&start).ok()?.split(' ').nth(1)?.parse().ok()
}
