//! The whole log as a bundle, as [`fettle_audit::bundle`] writes it.
//!
//! A thread of its own reads the journal, beside the leader and at the caller's pace; what is appended
//! meanwhile is not part of the bundle, which ends with the checkpoint that was newest when it began.

use crate::gateway::{Shared, gone, internal};
use crate::journal::{Journal, JournalError};
use fettle_audit::bundle::{checkpoint_line, header_line, record_line};
use fettle_audit::envelope::{Envelope, EnvelopeError};
use fettle_audit::leaf::{InvalidLeaf, Leaf};
use fettle_audit::note::KeyName;
use fettle_model::counter::{LogPosition, TreeSize};
use fettle_proto::session::CHUNK_BYTES;
use fettle_proto::v1::BundlePart;
use std::path::PathBuf;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tonic::Status;

/// Parts that wait for the network: below HTTP/2's window.
const PARTS: usize = 4;
/// Records read at once: of 2 KiB each, 128 KiB; of the largest kind, which are rare, 8 MiB each.
const PAGE: usize = 64;

/// Why an export broke off.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("the journal could not be read")]
    Journal(#[source] JournalError),
    #[error("the journal ends before its checkpoint")]
    Short,
    #[error("the leaf at {0} is malformed")]
    Leaf(LogPosition, #[source] InvalidLeaf),
    #[error("the envelope at {0} is malformed")]
    Envelope(LogPosition, #[source] EnvelopeError),
}

/// What to export.
struct Plan {
    journal: PathBuf,
    origin: KeyName,
    size: TreeSize,
    checkpoint: String,
}

/// Begins an export; `turn` is given back when it ends.
pub(super) async fn export(
    shared: &Shared,
    turn: OwnedSemaphorePermit,
) -> Result<mpsc::Receiver<Result<BundlePart, Status>>, Status> {
    let plan = shared.leader.inspect(|view| Plan {
        journal: view.journal_path(),
        origin: view.origin(),
        size: view.size(),
        checkpoint: view.checkpoint().to_owned(),
    });
    let plan = plan.await.map_err(gone)?;
    let (out, parts) = mpsc::channel(PARTS);
    std::thread::Builder::new()
        .name("export".to_owned())
        .spawn(move || {
            let _turn = turn;
            if let Err(error) = write(&plan, &out) {
                // The caller sees a bundle that ends too early, and the reason.
                drop(out.blocking_send(Err(internal(error))));
            }
        })
        .map_err(internal)?;
    Ok(parts)
}

fn write(plan: &Plan, out: &mpsc::Sender<Result<BundlePart, Status>>) -> Result<(), ExportError> {
    let journal = Journal::open(&plan.journal).map_err(ExportError::Journal)?;
    let mut part = header_line(&plan.origin).into_bytes();
    let mut next = LogPosition(0);
    while next.0 < plan.size.0 {
        let page = usize::try_from(plan.size.0 - next.0).unwrap_or(PAGE).min(PAGE);
        let rows = journal.read(next, page).map_err(ExportError::Journal)?;
        if rows.is_empty() {
            return Err(ExportError::Short);
        }
        for row in rows {
            let leaf = Leaf::decode(&row.leaf).map_err(|source| ExportError::Leaf(next, source))?;
            let envelope = Envelope::parse(row.envelope).map_err(|source| ExportError::Envelope(next, source))?;
            part.extend_from_slice(&record_line(&leaf, &envelope));
            next = next.next();
            if part.len() >= CHUNK_BYTES {
                if send(&part, out).is_err() {
                    return Ok(());
                }
                part.clear();
            }
        }
    }
    part.extend_from_slice(checkpoint_line(&plan.checkpoint).as_bytes());
    // Whoever does not take the end has gone.
    drop(send(&part, out));
    Ok(())
}

/// The caller takes no more.
struct Left;

fn send(part: &[u8], out: &mpsc::Sender<Result<BundlePart, Status>>) -> Result<(), Left> {
    let mut chunks = part.chunks(CHUNK_BYTES);
    chunks.try_for_each(|chunk| out.blocking_send(Ok(BundlePart { data: chunk.to_vec() })).map_err(|_| Left))
}
