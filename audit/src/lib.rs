//! The mathematics of the log: envelopes, Merkle tree, checkpoints, proofs, verification.
//!
//! Pure: no I/O, no clock, no randomness. The control plane signs and grows the log with it, agents
//! verify with it what they are told, and an auditor verifies a whole log with it.
//!
//! | module | holds |
//! |---|---|
//! | [`key`] | Ed25519 keys |
//! | [`person_key`] | that a person holds the signing key that is registered for them |
//! | [`envelope`], [`signed_record`] | DSSE envelopes and the records in them, byte for byte |
//! | [`leaf`], [`tree`], [`tile`] | what the Merkle tree commits to, RFC 6962 hashing and proofs, C2SP tiles |
//! | [`note`], [`checkpoint`], [`cosignature`] | C2SP signed notes, the log's signed heads, witnesses' cosignatures |
//! | [`published`] | one record with the proof that it is in the log |
//! | [`bundle`], [`policy`], [`verify`] | a whole log in one file, whom to believe, and the offline verifier |

pub mod bundle;
pub mod checkpoint;
pub mod cosignature;
mod encoding;
pub mod envelope;
pub mod key;
pub mod leaf;
pub mod note;
pub mod person_key;
pub mod policy;
pub mod published;
pub mod signed_record;
pub mod tile;
pub mod tree;
pub mod verify;
