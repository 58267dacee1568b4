//! Length-prefixed JSON frames: four bytes little-endian, then that many bytes.
//!
//! Used by the effector and the daemon on tokio, by the worker on blocking sockets. Never allocates
//! for a length that it has not checked.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{Read, Write};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Largest frame between effector and daemon: a published record of the largest kind (8 MiB as an
/// envelope, its base64 form a third more, quoted in JSON).
pub const MAX_DAEMON_FRAME: usize = 24 * 1024 * 1024;

/// Largest frame from a worker: a host call's strings have at most 64 KiB each and there are few.
pub const MAX_WORKER_FRAME: usize = 512 * 1024;

/// Largest run of bytes to or from a worker: a compiled playbook (0.4 MiB for Rust; the largest package
/// has 8 MiB and compiles to about three times its size).
pub const MAX_ARTIFACT_BYTES: usize = 32 * 1024 * 1024;

/// Longest time that a child may leave a message unread, since the effector does nothing else meanwhile. A
/// message fits the socket's buffer (200 KiB) or is copied at the speed of memory; two seconds are for a child
/// that gets no turn on a busy machine, and still end before a heartbeat is missed.
pub const TAKEN_WITHIN: Duration = Duration::from_secs(2);

/// The same for a package or a compiled playbook: 32 MiB at a tenth of the speed of the slowest memory.
pub const BYTES_TAKEN_WITHIN: Duration = Duration::from_secs(5);

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side closed its end between two frames.
    #[error("the other process closed the pipe")]
    Closed,
    /// The pipe broke.
    #[error("the pipe between the agent's processes broke")]
    Io(#[source] std::io::Error),
    /// The other side does not read. Half a frame may be in the pipe, so nothing more can be said over it.
    #[error("the other process has read nothing for {within:?}")]
    Stuck {
        /// As allowed.
        within: Duration,
    },
    /// The length is above the bound.
    #[error("a frame of {length} bytes is above the limit of {limit}")]
    TooLarge {
        /// As announced.
        length: usize,
        /// As allowed.
        limit: usize,
    },
    /// The bytes are no such message.
    #[error("a frame holds no known message")]
    Malformed(#[source] serde_json::Error),
}

fn encode<T: Serialize>(message: &T, limit: usize) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0_u8; 4];
    serde_json::to_writer(&mut frame, message).map_err(FrameError::Malformed)?;
    let prefix = length_prefix(frame.len() - 4, limit)?;
    for (byte, value) in frame.iter_mut().zip(prefix) {
        *byte = value;
    }
    Ok(frame)
}

fn length_prefix(length: usize, limit: usize) -> Result<[u8; 4], FrameError> {
    let prefix = u32::try_from(length).ok().filter(|_| length <= limit);
    prefix.map(u32::to_le_bytes).ok_or(FrameError::TooLarge { length, limit })
}

fn checked_length(prefix: [u8; 4], limit: usize) -> Result<usize, FrameError> {
    let length = usize::try_from(u32::from_le_bytes(prefix)).unwrap_or(usize::MAX);
    if length > limit { Err(FrameError::TooLarge { length, limit }) } else { Ok(length) }
}

/// Sends one frame.
///
/// # Errors
/// When the message is too large or the pipe broke.
pub async fn send<T: Serialize>(
    pipe: &mut (impl AsyncWriteExt + Unpin),
    message: &T,
    limit: usize,
) -> Result<(), FrameError> {
    pipe.write_all(&encode(message, limit)?).await.map_err(FrameError::Io)
}

/// Bounds a send to a process that cannot be trusted to read. After [`FrameError::Stuck`] that process has to
/// be ended.
///
/// # Errors
/// As the send, or [`FrameError::Stuck`].
pub async fn in_time(
    within: Duration,
    sending: impl Future<Output = Result<(), FrameError>>,
) -> Result<(), FrameError> {
    tokio::time::timeout(within, sending).await.unwrap_or(Err(FrameError::Stuck { within }))
}

/// Receives one frame. Not cancel safe: give it a task of its own.
///
/// # Errors
/// [`FrameError::Closed`] at the end between two frames; the others for what is wrong.
pub async fn receive<T: DeserializeOwned>(
    pipe: &mut (impl AsyncReadExt + Unpin),
    limit: usize,
) -> Result<T, FrameError> {
    let mut prefix = [0_u8; 4];
    match pipe.read_exact(&mut prefix).await {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Err(FrameError::Closed),
        Err(error) => return Err(FrameError::Io(error)),
    }
    let mut body = vec![0_u8; checked_length(prefix, limit)?];
    pipe.read_exact(&mut body).await.map_err(FrameError::Io)?;
    serde_json::from_slice(&body).map_err(FrameError::Malformed)
}

/// [`send`] on a blocking pipe.
///
/// # Errors
/// As [`send`].
pub fn send_blocking<T: Serialize>(pipe: &mut impl Write, message: &T, limit: usize) -> Result<(), FrameError> {
    pipe.write_all(&encode(message, limit)?).map_err(FrameError::Io)
}

/// [`receive`] on a blocking pipe.
///
/// # Errors
/// As [`receive`].
pub fn receive_blocking<T: DeserializeOwned>(pipe: &mut impl Read, limit: usize) -> Result<T, FrameError> {
    let mut prefix = [0_u8; 4];
    match pipe.read_exact(&mut prefix) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Err(FrameError::Closed),
        Err(error) => return Err(FrameError::Io(error)),
    }
    let mut body = vec![0_u8; checked_length(prefix, limit)?];
    pipe.read_exact(&mut body).map_err(FrameError::Io)?;
    serde_json::from_slice(&body).map_err(FrameError::Malformed)
}

/// Sends bytes as a frame without JSON; the message before has announced them.
///
/// # Errors
/// As [`send`].
pub async fn send_bytes(pipe: &mut (impl AsyncWriteExt + Unpin), bytes: &[u8], limit: usize) -> Result<(), FrameError> {
    pipe.write_all(&length_prefix(bytes.len(), limit)?).await.map_err(FrameError::Io)?;
    pipe.write_all(bytes).await.map_err(FrameError::Io)
}

/// Receives bytes that the message before has announced. Not cancel safe.
///
/// # Errors
/// As [`receive`].
pub async fn receive_bytes(pipe: &mut (impl AsyncReadExt + Unpin), limit: usize) -> Result<Vec<u8>, FrameError> {
    let mut prefix = [0_u8; 4];
    pipe.read_exact(&mut prefix).await.map_err(FrameError::Io)?;
    let mut body = vec![0_u8; checked_length(prefix, limit)?];
    pipe.read_exact(&mut body).await.map_err(FrameError::Io)?;
    Ok(body)
}

/// [`send_bytes`] on a blocking pipe.
///
/// # Errors
/// As [`send`].
pub fn send_bytes_blocking(pipe: &mut impl Write, bytes: &[u8], limit: usize) -> Result<(), FrameError> {
    pipe.write_all(&length_prefix(bytes.len(), limit)?).map_err(FrameError::Io)?;
    pipe.write_all(bytes).map_err(FrameError::Io)
}

/// [`receive_bytes`] on a blocking pipe.
///
/// # Errors
/// As [`receive`].
pub fn receive_bytes_blocking(pipe: &mut impl Read, limit: usize) -> Result<Vec<u8>, FrameError> {
    let mut prefix = [0_u8; 4];
    pipe.read_exact(&mut prefix).map_err(FrameError::Io)?;
    let mut body = vec![0_u8; checked_length(prefix, limit)?];
    pipe.read_exact(&mut body).map_err(FrameError::Io)?;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], limit: usize, expected: Result<String, &str>) {
        let result = receive_blocking::<String>(&mut &*bytes, limit);
        assert_eq!(result.map_err(|error| error.to_string()), expected.map_err(str::to_owned));
    }

    #[test]
    fn a_frame_round_trips_and_a_wrong_one_is_named() {
        let mut frame = Vec::new();
        send_blocking(&mut frame, &"hello".to_owned(), 100).expect("it fits");
        check(&frame, 100, Ok("hello".to_owned()));
        check(&[], 100, Err("the other process closed the pipe"));
        check(&frame[..3], 100, Err("the other process closed the pipe"));
        check(&frame[..6], 100, Err("the pipe between the agent's processes broke"));
        check(&frame, 6, Err("a frame of 7 bytes is above the limit of 6"));
        check(&[255, 255, 255, 255], 100, Err("a frame of 4294967295 bytes is above the limit of 100"));
        check(&[1, 0, 0, 0, b'x'], 100, Err("a frame holds no known message"));
    }

    #[test]
    fn a_message_above_the_limit_is_not_sent() {
        let mut pipe = Vec::new();
        let result = send_blocking(&mut pipe, &"x".repeat(100), 50);
        assert!(matches!(result, Err(FrameError::TooLarge { length: 102, limit: 50 })));
        assert!(pipe.is_empty());
    }
}
