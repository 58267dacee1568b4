//! The right edge of a growing tree: the roots of its complete subtrees, left to right.

use super::{Hash, empty_root, node_hash};
use fettle_model::counter::TreeSize;

/// A tree of which only the complete subtrees' roots are kept: one per set bit of its size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

/// A tree of this size has another number of complete subtrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tree of {size} leaves has {expected} complete subtrees, not {found}")]
pub struct FrontierMismatch {
    /// The size.
    pub size: TreeSize,
    /// How many hashes belong to it.
    pub expected: u32,
    /// How many there are.
    pub found: usize,
}

impl Frontier {
    /// The tree without leaves.
    #[must_use]
    pub const fn new() -> Self {
        Self { size: 0, roots: Vec::new() }
    }

    /// A tree of this size whose complete subtrees have these roots, left (largest) to right.
    ///
    /// # Errors
    /// When the number of roots is not that of the size.
    pub fn from_parts(size: TreeSize, roots: Vec<Hash>) -> Result<Self, FrontierMismatch> {
        let expected = size.0.count_ones();
        if usize::try_from(expected) == Ok(roots.len()) {
            Ok(Self { size: size.0, roots })
        } else {
            Err(FrontierMismatch { size, expected, found: roots.len() })
        }
    }

    /// Reads the complete subtrees' roots of a stored tree of this size. `node` gives the root of
    /// the complete subtree over leaves `index << level` up to `(index + 1) << level`.
    ///
    /// # Errors
    /// Those of `node`.
    pub fn load<E>(size: TreeSize, mut node: impl FnMut(u8, u64) -> Result<Hash, E>) -> Result<Self, E> {
        let roots = super::prove::complete_subtrees(0, size.0)
            .map(|(level, index)| node(level, index))
            .collect::<Result<_, E>>()?;
        Ok(Self { size: size.0, roots })
    }

    /// Adds a leaf.
    pub fn append(&mut self, leaf: Hash) {
        self.append_with(leaf, |_, _, _| {});
    }

    /// Adds a leaf and tells every node that is complete with it, the leaf first: level, index
    /// within the level, hash.
    pub fn append_with(&mut self, leaf: Hash, mut complete: impl FnMut(u8, u64, Hash)) {
        let mut hash = leaf;
        let mut level = 0_u8;
        let mut index = self.size;
        complete(level, index, hash);
        while index & 1 == 1 {
            let Some(left) = self.roots.pop() else { break };
            hash = node_hash(&left, &hash);
            level += 1;
            index >>= 1;
            complete(level, index, hash);
        }
        self.roots.push(hash);
        self.size += 1;
    }

    /// Number of leaves.
    #[must_use]
    pub const fn size(&self) -> TreeSize {
        TreeSize(self.size)
    }

    /// Roots of the complete subtrees, left to right.
    #[must_use]
    pub fn roots(&self) -> &[Hash] {
        &self.roots
    }

    /// The tree's root.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.roots.iter().rev().copied().reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root)
    }
}
