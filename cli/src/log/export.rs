//! Reads the log through the connection: rows, one whole record, the bundle, the policy.

use super::show;
use crate::answer::Answer;
use crate::connection::{Connection, unexpected};
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::file::{self, Draft};
use crate::table::count;
use fettle_audit::checkpoint::Checkpoint;
use fettle_audit::policy::Policy;
use fettle_audit::published::Published;
use fettle_audit::signed_record::UnverifiedRecord;
use fettle_model::counter::{LogPosition, TreeSize};
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
    /// Size of the checkpoint that proves it.
    proven_in: TreeSize,
    record: serde_json::Value,
}

/// One record with its body, and the proof that the log has it.
pub(super) async fn show(connection: &mut Connection, position: LogPosition) -> Result<Answer, Failure> {
    let QueryReply::Record { row, published } = connection.query(&Query::Record { position }).await? else {
        return unexpected("a record");
    };
    let policy = asked_policy(connection).await?.1;
    let (claimed, checkpoint) = proven(&policy, position, &published).map_err(|what| unproven(position, &what))?;
    let envelope = claimed.envelope();
    if envelope.digest() != row.digest {
        return Err(unproven(position, "its row is of another record"));
    }
    let record: serde_json::Value = serde_json::from_slice(envelope.unverified_payload())
        .map_err(|error| Failure::internal(format!("the record at position {position} is no JSON: {error}")))?;
    let key = envelope.key_id().to_string();
    let text = show::record(&row, &key, checkpoint.size, &record);
    Answer::new(&Shown { row: &row, key, proven_in: checkpoint.size, record }, text)
}

/// Under the log's key that the control plane names: whether that is the right one, only a policy that was kept
/// apart tells.
fn proven(policy: &Policy, position: LogPosition, document: &str) -> Result<(UnverifiedRecord, Checkpoint), String> {
    let published = Published::parse(document.as_bytes()).map_err(|error| chain(&error))?;
    if published.position != position {
        return Err(format!("it stands at position {}", published.position));
    }
    let log = policy.logs().first().ok_or_else(|| "the policy names no log".to_owned())?;
    published.prove(log).map_err(|error| chain(&error))
}

fn unproven(position: LogPosition, what: &str) -> Failure {
    let message = format!("the record at position {position} is not proven to be in the log: {what}");
    Failure::new(Exit::Internal, message, "export the log and verify it: `fettle log verify`")
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
    let (policy, _) = asked_policy(connection).await?;
    file::write(out, policy.as_bytes())?;
    let text = format!(
        "the policy is in {}; compare it with what the control plane printed when it was made:\n\n{policy}",
        out.display()
    );
    Answer::new(&Written { out, policy: &policy }, text)
}

/// The policy as the control plane wrote it, and read.
async fn asked_policy(connection: &mut Connection) -> Result<(String, Policy), Failure> {
    let QueryReply::Policy { policy } = connection.query(&Query::Policy).await? else { return unexpected("a policy") };
    match policy.parse::<Policy>() {
        Ok(parsed) => Ok((policy, parsed)),
        Err(error) => Err(Failure::internal(format!("the control plane's policy is none: {}", chain(&error)))),
    }
}
