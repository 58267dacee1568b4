//! The log as others see it: the tree over the journal's leaves, its signed checkpoints and proofs.
//!
//! Owned by the leader. The order of a batch is: append to the journal (durable), grow the tree, move
//! the checkpoint (durable, kept apart, compare-and-set), then tell anybody. A crash between the two
//! leaves a journal that is ahead of its checkpoint; the next start signs on. A journal that is *behind*
//! its checkpoint was restored from a backup, and the control plane refuses to start.

pub mod checkpoints;
pub mod tiles;

use checkpoints::{Checkpoints, CheckpointsError, Latest};
use fettle_audit::checkpoint::{Checkpoint, CheckpointError, LogVerifier};
use fettle_audit::note::{KeyName, NoteSigner, SignatureKind};
use fettle_audit::published::Published;
use fettle_audit::tree::{Hash, ProveError, consistency_proof, inclusion_proof, leaf_hash, root_of};
use fettle_model::counter::{LogPosition, TreeSize};
use tiles::{Tiles, TilesError};

/// Why the log cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The database is older than the checkpoint that was published.
    #[error(
        "the journal has {journal} records, but a checkpoint over {checkpoint} was published: it was restored from an older copy"
    )]
    Behind {
        /// Records in the journal.
        journal: TreeSize,
        /// Size of the published checkpoint.
        checkpoint: TreeSize,
    },
    /// The journal's leaves are not those of the published checkpoint.
    #[error("the journal's first {size} records do not have the root of the published checkpoint")]
    Differs {
        /// Size of the checkpoint.
        size: TreeSize,
    },
    /// The published checkpoint is not signed by this control plane's log key.
    #[error("the published checkpoint does not verify with this log key")]
    Checkpoint(#[source] CheckpointError),
    /// The checkpoint's file failed.
    #[error("the checkpoint could not be kept")]
    Checkpoints(#[source] CheckpointsError),
    /// The tree's files failed.
    #[error("the tree could not be read or written")]
    Tiles(#[source] TilesError),
    /// A proof could not be built.
    #[error("a proof could not be built")]
    Prove(#[source] ProveError<TilesError>),
}

/// The log's published face.
#[derive(Debug)]
pub struct Log {
    signer: NoteSigner,
    tiles: Tiles,
    checkpoints: Checkpoints,
    latest: Latest,
}

impl Log {
    /// Opens the log over the leaves of a journal: `leaves` are all of them in order.
    ///
    /// # Errors
    /// When the journal is behind its checkpoint or differs from it.
    pub fn open<E>(
        signer: NoteSigner,
        mut tiles: Tiles,
        checkpoints: Checkpoints,
        leaves: impl Iterator<Item = Result<Vec<u8>, E>>,
    ) -> Result<Result<Self, LogError>, E> {
        for leaf in leaves {
            if let Err(error) = tiles.append(leaf_hash(&leaf?)) {
                return Ok(Err(LogError::Tiles(error)));
            }
        }
        Ok(Self::over(signer, tiles, checkpoints))
    }

    fn over(signer: NoteSigner, tiles: Tiles, checkpoints: Checkpoints) -> Result<Self, LogError> {
        let size = tiles.size();
        let latest = match checkpoints.latest().map_err(LogError::Checkpoints)? {
            None => Latest::empty(),
            Some(latest) => {
                let verifier = LogVerifier::new(signer.verifier(SignatureKind::Ed25519))
                    .map_err(|_| LogError::Differs { size: latest.size })?;
                Checkpoint::open(&latest.note, &verifier).map_err(LogError::Checkpoint)?;
                latest
            }
        };
        if latest.size > size {
            return Err(LogError::Behind { journal: size, checkpoint: latest.size });
        }
        let root =
            root_of(latest.size, |level, index| tiles.node(latest.size, level, index)).map_err(LogError::Tiles)?;
        if latest.size > TreeSize(0) && root != latest.root {
            return Err(LogError::Differs { size: latest.size });
        }
        let mut log = Self { signer, tiles, checkpoints, latest };
        // The crash window between a batch and its checkpoint closes here.
        log.publish()?;
        Ok(log)
    }

    /// Takes in the leaves of a durable batch and publishes a checkpoint over them.
    ///
    /// # Errors
    /// When the tree or the checkpoint cannot be kept; the process must end.
    pub fn extend<'a>(&mut self, leaves: impl Iterator<Item = &'a [u8]>) -> Result<(), LogError> {
        for leaf in leaves {
            self.tiles.append(leaf_hash(leaf)).map_err(LogError::Tiles)?;
        }
        self.publish()
    }

    fn publish(&mut self) -> Result<(), LogError> {
        let (size, root) = (self.tiles.size(), self.tiles.root());
        if size == self.latest.size {
            return Ok(());
        }
        let checkpoint = Checkpoint { origin: self.signer.name().clone(), size, root };
        let note = checkpoint.sign(&self.signer).map_err(LogError::Checkpoint)?;
        let next = Latest { size, root, note };
        self.checkpoints.advance(&self.latest, &next).map_err(LogError::Checkpoints)?;
        self.latest = next;
        Ok(())
    }

    /// The published checkpoint.
    #[must_use]
    pub const fn latest(&self) -> &Latest {
        &self.latest
    }

    /// Its name.
    #[must_use]
    pub const fn origin(&self) -> &KeyName {
        self.signer.name()
    }

    /// A record with the proof that it is in the published checkpoint.
    ///
    /// # Errors
    /// When it is not yet published.
    pub fn prove(&self, position: LogPosition, leaf: Vec<u8>, envelope: Vec<u8>) -> Result<Published, LogError> {
        let size = self.latest.size;
        let inclusion = inclusion_proof(position, size, |level, index| self.tiles.node(size, level, index))
            .map_err(LogError::Prove)?;
        Ok(Published { envelope, leaf, position, checkpoint: self.latest.note.clone(), inclusion })
    }

    /// Proof that the published checkpoint continues the tree of `from` records.
    ///
    /// # Errors
    /// When `from` is larger than the published tree.
    pub fn prove_consistency(&self, from: TreeSize) -> Result<Vec<Hash>, LogError> {
        let size = self.latest.size;
        if from == TreeSize(0) {
            return Ok(Vec::new());
        }
        consistency_proof(from, size, |level, index| self.tiles.node(size, level, index)).map_err(LogError::Prove)
    }
}
