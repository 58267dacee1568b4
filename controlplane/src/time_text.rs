//! Instants as text for people.

use fettle_model::time::UnixMillis;

/// An instant in UTC, as RFC 3339 writes it.
#[must_use]
pub fn utc(at: UnixMillis) -> String {
    let timestamp = i64::try_from(at.0).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    timestamp.map_or_else(|| format!("{} ms after 1970", at.0), |timestamp| timestamp.to_string())
}
