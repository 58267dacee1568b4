//! Identity: who may speak to whom, and how it is proven.
//!
//! Agents, control planes and people each hold a short-lived certificate with exactly one SPIFFE
//! id, issued by one authority. Everything here is computed from its arguments: instants and random
//! bytes are passed in. The exceptions are named: [`store`] reads and writes files, keys and ECDSA
//! signatures draw from the cryptographic provider's generator, and rustls asks the clock that its
//! configuration was given.
//!
//! | module | holds |
//! |---|---|
//! | [`authority`] | the certificate authority: its root, and certificates from the server's template |
//! | [`root`] | a root certificate, parsed and checked, with its pin |
//! | [`key`], [`csr`] | TLS keys; certificate requests and the proof that the sender holds the key |
//! | [`peer`], [`serial`] | what a certificate says: SPIFFE id, serial, validity |
//! | [`identity`] | chain, key and root that belong together |
//! | [`token`], [`enrol`] | join tokens and the enrolment that they authorise |
//! | [`rotation`] | when to rotate, and which certificate of a subject is live |
//! | [`tls`] | rustls configurations |
//! | [`store`] | identities on disk |

pub mod authority;
pub mod csr;
pub mod enrol;
pub mod identity;
pub mod key;
pub mod peer;
mod pem;
pub mod root;
pub mod rotation;
pub mod serial;
pub mod store;
pub mod tls;
pub mod token;
mod verify;

pub use pem::InvalidPem;
