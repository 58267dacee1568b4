//! Verifying proofs (RFC 9162, sections 2.1.3.2 and 2.1.4.2; the trees are those of RFC 6962).

use super::{Hash, MAX_PROOF_HASHES, node_hash};
use fettle_model::counter::{LogPosition, TreeSize};

/// Why a proof does not prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofMismatch {
    /// The leaf is not in a tree of this size.
    #[error("a tree of {size} leaves has no position {position}")]
    OutOfRange {
        /// The leaf's position.
        position: LogPosition,
        /// The tree's size.
        size: TreeSize,
    },
    /// The old tree is empty or larger than the new one. Every tree continues the empty one: who
    /// holds an empty tree needs no proof and must not ask for one to be verified.
    #[error("consistency cannot be proved from size {old} to size {new}")]
    Sizes {
        /// The old size.
        old: TreeSize,
        /// The new size.
        new: TreeSize,
    },
    /// Too many or too few hashes for these sizes.
    #[error("the proof has {found} hashes, which does not fit the tree")]
    Length {
        /// How many it has.
        found: usize,
    },
    /// The proof leads to another root than the old tree's.
    #[error("the proof leads to another old root")]
    OldRoot,
    /// The proof leads to another root.
    #[error("the proof leads to another root")]
    Root,
}

/// Verifies that the leaf with this hash is at this position of the tree with this size and root.
///
/// # Errors
/// With what does not fit.
pub fn verify_inclusion(
    leaf: &Hash,
    position: LogPosition,
    size: TreeSize,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofMismatch> {
    if position.0 >= size.0 {
        return Err(ProofMismatch::OutOfRange { position, size });
    }
    let length = ProofMismatch::Length { found: proof.len() };
    if proof.len() > MAX_PROOF_HASHES {
        return Err(length);
    }
    let (mut index, mut last) = (position.0, size.0 - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(length);
        }
        if index & 1 == 1 || index == last {
            hash = node_hash(sibling, &hash);
            // On the right edge a level without a sibling adds nothing to the proof.
            while index & 1 == 0 && index != 0 {
                index >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        index >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(length);
    }
    if hash == *root { Ok(()) } else { Err(ProofMismatch::Root) }
}

/// Verifies that the tree with the new size and root continues the one with the old size and root.
///
/// # Errors
/// With what does not fit; when the old size is 0 or above the new one.
pub fn verify_consistency(
    old: TreeSize,
    old_root: &Hash,
    new: TreeSize,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofMismatch> {
    if old.0 == 0 || old.0 > new.0 {
        return Err(ProofMismatch::Sizes { old, new });
    }
    let length = ProofMismatch::Length { found: proof.len() };
    if old == new {
        if !proof.is_empty() {
            return Err(length);
        }
        return if old_root == new_root { Ok(()) } else { Err(ProofMismatch::Root) };
    }
    if proof.is_empty() || proof.len() > MAX_PROOF_HASHES {
        return Err(length);
    }
    // When the old tree is one complete subtree, its root is the first node and the proof leaves it out.
    let (seed, rest) = if old.0.is_power_of_two() {
        (*old_root, proof)
    } else {
        let (first, rest) = proof.split_first().ok_or(length)?;
        (*first, rest)
    };
    let (mut old_index, mut new_index) = (old.0 - 1, new.0 - 1);
    while old_index & 1 == 1 {
        old_index >>= 1;
        new_index >>= 1;
    }
    let (mut old_hash, mut new_hash) = (seed, seed);
    for sibling in rest {
        if new_index == 0 {
            return Err(length);
        }
        if old_index & 1 == 1 || old_index == new_index {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while old_index & 1 == 0 && old_index != 0 {
                old_index >>= 1;
                new_index >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        old_index >>= 1;
        new_index >>= 1;
    }
    if new_index != 0 {
        return Err(length);
    }
    if old_hash != *old_root {
        return Err(ProofMismatch::OldRoot);
    }
    if new_hash == *new_root { Ok(()) } else { Err(ProofMismatch::Root) }
}
