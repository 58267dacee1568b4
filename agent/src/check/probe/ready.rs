//! Waits on a descriptor that the kernel makes readable when something happened (pidfd, inotify).

use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers the descriptor with the runtime, for reading. Call it inside a tokio runtime.
#[expect(
    deprecated,
    reason = "the replacement is unsafe because a type may change or close its descriptor behind the runtime; an OwnedFd that nobody else holds cannot, and this crate has no unsafe code"
)]
pub(super) fn when_readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}
