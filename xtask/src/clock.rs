//! The wall clock of this machine, which all processes of a demo share.

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the rim: faults are made, and dated, here")]
pub(crate) fn unix_millis() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
