//! Connecting to what a `tcp` or `http` probe names, and telling a broken service from a probe that cannot ask.

use crate::check::observation::Verdict;
use crate::check::reason::Reason;
use fettle_model::check::Status;
use std::io::{Error, ErrorKind};
use tokio::net::{TcpStream, lookup_host};

/// Most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// A connection to `host:port`, or the verdict that there is none.
pub(super) async fn dial(address: &str) -> Result<TcpStream, Verdict> {
    let found = lookup_host(address)
        .await
        .map_err(|error| Verdict { status: Status::Unknown, reason: Reason::of_error(address, &error) })?;
    let mut last = Verdict::unknown(&format!("{address}: the name has no address"));
    for address in found.take(MAX_ADDRESSES) {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = refused(&address.to_string(), &error),
        }
    }
    Err(last)
}

/// No connection because of the other side, or because of ourselves (no descriptors, no ports, no right).
fn refused(address: &str, error: &Error) -> Verdict {
    let theirs = matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::TimedOut
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
    );
    let status = if theirs { Status::Critical } else { Status::Unknown };
    Verdict { status, reason: Reason::of_error(address, error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_other_side_makes_a_failed_connection_critical() {
        for (error, expected) in [
            (Error::from(ErrorKind::ConnectionRefused), Status::Critical),
            (Error::from(ErrorKind::HostUnreachable), Status::Critical),
            (Error::from(rustix::io::Errno::MFILE), Status::Unknown),
            (Error::from(rustix::io::Errno::ADDRNOTAVAIL), Status::Unknown),
            (Error::from(ErrorKind::PermissionDenied), Status::Unknown),
        ] {
            let verdict = refused("127.0.0.1:1", &error);
            assert_eq!(verdict.status, expected, "{error}");
            assert!(verdict.reason.as_str().starts_with("127.0.0.1:1: "), "{}", verdict.reason);
        }
    }
}
