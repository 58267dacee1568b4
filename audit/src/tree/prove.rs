//! Building proofs (RFC 6962, sections 2.1.1 and 2.1.2) from stored nodes.
//!
//! Generic over a reader of *complete* subtrees' roots: `node(level, index)` is the root over leaves
//! `index << level` up to `(index + 1) << level`. Roots of incomplete subtrees are computed here.

use super::{Hash, empty_root, node_hash};
use fettle_model::counter::{LogPosition, TreeSize};

/// Why a proof was not built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProveError<E> {
    /// The leaf is not in a tree of this size.
    #[error("a tree of {size} leaves has no position {position}")]
    OutOfRange {
        /// The leaf's position.
        position: LogPosition,
        /// The tree's size.
        size: TreeSize,
    },
    /// The old tree is empty or larger than the new one: nothing can be proved.
    #[error("consistency cannot be proved from size {old} to size {new}")]
    Sizes {
        /// The old size.
        old: TreeSize,
        /// The new size.
        new: TreeSize,
    },
    /// A node could not be read.
    #[error("a tree node could not be read")]
    Node(#[source] E),
}

/// Proof that the leaf at this position is in the tree of this size: the siblings from the leaf up.
///
/// # Errors
/// When there is no such leaf, and those of `node`.
pub fn inclusion_proof<E>(
    position: LogPosition,
    size: TreeSize,
    mut node: impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, ProveError<E>> {
    if position.0 >= size.0 {
        return Err(ProveError::OutOfRange { position, size });
    }
    let (mut start, mut end) = (0, size.0);
    let mut proof = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        let sibling = if position.0 < middle { (middle, end) } else { (start, middle) };
        proof.push(range_root(sibling.0, sibling.1, &mut node).map_err(ProveError::Node)?);
        (start, end) = if position.0 < middle { (start, middle) } else { (middle, end) };
    }
    proof.reverse();
    Ok(proof)
}

/// Proof that the tree of size `new` continues the one of size `old`. Empty when they are equal.
///
/// # Errors
/// When `old` is 0 (every tree continues the empty one, there is nothing to prove) or larger than
/// `new`, and those of `node`.
pub fn consistency_proof<E>(
    old: TreeSize,
    new: TreeSize,
    mut node: impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, ProveError<E>> {
    if old.0 == 0 || old.0 > new.0 {
        return Err(ProveError::Sizes { old, new });
    }
    let (mut start, mut end) = (0, new.0);
    let mut proof = Vec::new();
    // SUBPROOF of RFC 6962 from the root down; `old` is always within the range.
    while end != old.0 {
        let middle = start + split(end - start);
        let sibling = if old.0 <= middle { (middle, end) } else { (start, middle) };
        proof.push(range_root(sibling.0, sibling.1, &mut node).map_err(ProveError::Node)?);
        (start, end) = if old.0 <= middle { (start, middle) } else { (middle, end) };
    }
    if start != 0 {
        proof.push(range_root(start, end, &mut node).map_err(ProveError::Node)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Root of the tree of this size.
///
/// # Errors
/// Those of `node`.
pub fn root_of<E>(size: TreeSize, mut node: impl FnMut(u8, u64) -> Result<Hash, E>) -> Result<Hash, E> {
    if size.0 == 0 { Ok(empty_root()) } else { range_root(0, size.0, &mut node) }
}

/// Largest power of two below `length`, which is at least 2.
const fn split(length: u64) -> u64 {
    1 << (63 - (length - 1).leading_zeros())
}

/// Root over leaves `start` to `end`, a range that RFC 6962's recursion reaches: `start` is a
/// multiple of the smallest power of two that is not below the length.
fn range_root<E>(start: u64, end: u64, node: &mut impl FnMut(u8, u64) -> Result<Hash, E>) -> Result<Hash, E> {
    let mut roots = Vec::new();
    for (level, index) in complete_subtrees(start, end) {
        roots.push(node(level, index)?);
    }
    Ok(roots.into_iter().rev().reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root))
}

/// The complete subtrees, largest first, that make up such a range: level and index of each.
pub(super) fn complete_subtrees(start: u64, end: u64) -> impl Iterator<Item = (u8, u64)> {
    let mut at = start;
    std::iter::from_fn(move || {
        let left = end - at;
        if left == 0 {
            return None;
        }
        let level = 63 - left.leading_zeros();
        let index = at >> level;
        at += 1 << level;
        // At most 63, so it fits.
        u8::try_from(level).ok().map(|level| (level, index))
    })
}
