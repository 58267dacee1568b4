//! Merkle trees of RFC 6962: hashing, growing, proving, verifying.
//!
//! The control plane grows a [`Frontier`] and builds proofs from stored nodes; agents and auditors
//! verify. Works for sizes up to 2^63. Never holds more than the frontier: O(log n) hashes.

mod frontier;
mod prove;
mod verify;

pub use frontier::{Frontier, FrontierMismatch};
pub use prove::{ProveError, consistency_proof, inclusion_proof, root_of};
pub use verify::{ProofMismatch, verify_consistency, verify_inclusion};

use crate::encoding::{array_from_base64, serde_as_text, to_base64};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// Most hashes in a proof: one per level of the tallest tree, and one more for consistency.
pub const MAX_PROOF_HASHES: usize = 64;

/// A hash of the tree. Text form: its 32 bytes in standard padded base64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

/// The text is not a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tree hash must be 32 bytes in standard padded base64")]
pub struct InvalidHash;

impl Hash {
    /// Wraps a hash that was read.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_base64(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        array_from_base64(text).map(Self).ok_or(InvalidHash)
    }
}

serde_as_text!(Hash);

/// Hash of a leaf: SHA-256 over 0x00 and its bytes.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0]).chain_update(leaf).finalize().into())
}

/// Hash of an inner node: SHA-256 over 0x01 and both children.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// Root of the tree without leaves: SHA-256 over nothing.
#[must_use]
pub fn empty_root() -> Hash {
    Hash(Sha256::digest([]).into())
}

#[cfg(test)]
mod tests;
