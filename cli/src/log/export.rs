//! Reads the log through the connection: rows, one whole record, the bundle, the policy.

use super::show;
use crate::answer::Answer;
use crate::connection::{Connection, unexpected};
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::file::{self, Draft};
use crate::table::count;
use fettle_audit::bundle::{Line, MAX_LINE_BYTES};
use fettle_audit::envelope::Envelope;
use fettle_audit::policy::Policy;
use fettle_model::counter::LogPosition;
use fettle_proto::operator::{LogRow, Query, QueryReply};
use serde::Serialize;
use std::path::Path;

pub(super) async fn list(
    connection: &mut Connection,
    from: Option<LogPosition>,
    limit: u32,
) -> Result<Answer, Failure> {
    let (size, records) = rows(connection, from, limit).await?;
    let text = show::records(size, &records);
    Answer::new(&QueryReply::Log { size, records }, text)
}

async fn rows(
    connection: &mut Connection,
    from: Option<LogPosition>,
    limit: u32,
) -> Result<(u64, Vec<LogRow>), Failure> {
    let QueryReply::Log { size, records } = connection.query(&Query::Log { from, limit }).await? else {
        return unexpected("records");
    };
    Ok((size, records))
}

#[derive(Serialize)]
struct Shown<'a> {
    row: &'a LogRow,
    key: String,
    record: serde_json::Value,
}

/// One record with its body. The body comes out of the bundle, whose lines before it are let go.
pub(super) async fn show(connection: &mut Connection, position: LogPosition) -> Result<Answer, Failure> {
    let (size, records) = rows(connection, Some(position), 1).await?;
    let Some(row) = records.first().filter(|row| row.position == position) else {
        let message = format!("there is no record at position {position}: the log has {}", count(size, "record"));
        return Err(Failure::new(Exit::NotFound, message, "see `fettle log list`"));
    };
    let envelope = envelope(connection, position).await?;
    if envelope.digest() != row.digest {
        let message = format!("the record at position {position} has another digest in the export than in the list");
        return Err(Failure::new(Exit::Internal, message, "export the log and verify it: `fettle log verify`"));
    }
    let record: serde_json::Value = serde_json::from_slice(envelope.unverified_payload())
        .map_err(|error| Failure::internal(format!("the record at position {position} is no JSON: {error}")))?;
    let key = envelope.key_id().to_string();
    let text = show::record(row, &key, &record);
    Answer::new(&Shown { row, key, record }, text)
}

async fn envelope(connection: &mut Connection, position: LogPosition) -> Result<Envelope, Failure> {
    let mut export = connection.export().await?;
    let mut lines = Lines::default();
    // Line 0 is the header.
    let mut next = 0_u64;
    while let Some(piece) = export.next().await? {
        for line in lines.take(&piece)? {
            if next == position.0 + 1 {
                return record_in(&line);
            }
            next += 1;
        }
    }
    Err(Failure::internal(format!("the export ends before position {position}")))
}

fn record_in(line: &[u8]) -> Result<Envelope, Failure> {
    match Line::parse(line).map_err(|error| Failure::internal(chain(&error)))? {
        Line::Record { envelope, .. } => {
            Envelope::parse(envelope.to_vec()).map_err(|error| Failure::internal(chain(&error)))
        }
        Line::Header { .. } | Line::Checkpoint { .. } => Err(Failure::internal("the export has another order")),
    }
}

/// Cuts pieces of any size into lines. Holds one line.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    fn take(&mut self, piece: &[u8]) -> Result<Vec<Vec<u8>>, Failure> {
        let mut whole = Vec::new();
        let mut parts = piece.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            if self.rest.len() + part.len() > MAX_LINE_BYTES {
                return Err(Failure::internal(format!("a line of the export is longer than {MAX_LINE_BYTES} bytes")));
            }
            self.rest.extend_from_slice(part);
            if parts.peek().is_some() {
                whole.push(std::mem::take(&mut self.rest));
            }
        }
        Ok(whole)
    }
}

#[derive(Serialize)]
struct Exported<'a> {
    out: &'a Path,
    bytes: u64,
    records: u64,
}

pub(super) async fn export(connection: &mut Connection, out: &Path) -> Result<Answer, Failure> {
    let mut draft = Draft::begin(out)?;
    let mut export = connection.export().await?;
    let (mut bytes, mut lines) = (0_u64, 0_u64);
    while let Some(piece) = export.next().await? {
        draft.write(&piece)?;
        bytes += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        lines += u64::try_from(piece.iter().filter(|byte| **byte == b'\n').count()).unwrap_or(u64::MAX);
    }
    // Header and checkpoint are lines too.
    let records = lines.saturating_sub(2);
    draft.finish()?;
    let text = format!("{} in {}, {bytes} bytes\n", count(records, "record"), out.display());
    Answer::new(&Exported { out, bytes, records }, text)
}

#[derive(Serialize)]
struct Written<'a> {
    out: &'a Path,
    policy: &'a str,
}

pub(super) async fn policy(connection: &mut Connection, out: &Path) -> Result<Answer, Failure> {
    let QueryReply::Policy { policy } = connection.query(&Query::Policy).await? else { return unexpected("a policy") };
    if let Err(error) = policy.parse::<Policy>() {
        return Err(Failure::internal(format!("the control plane's policy is none: {}", chain(&error))));
    }
    file::write(out, policy.as_bytes())?;
    let text = format!(
        "the policy is in {}; compare it with what the control plane printed when it was made:\n\n{policy}",
        out.display()
    );
    Answer::new(&Written { out, policy: &policy }, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_become_the_same_lines() {
        let text = b"one\ntwo\n\nthree";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let mut whole = Vec::new();
            for piece in text.chunks(size) {
                whole.extend(lines.take(piece).expect("short lines"));
            }
            assert_eq!(whole, [&b"one"[..], b"two", b""], "pieces of {size}");
            assert_eq!(lines.rest, b"three");
        }
    }

    #[test]
    fn a_line_without_an_end_is_not_kept() {
        let mut lines = Lines::default();
        lines.take(&vec![b'x'; MAX_LINE_BYTES]).expect("the longest line");
        assert!(lines.take(b"x").is_err());
    }
}
