//! gRPC between agent, control plane and operator.
//!
//! Thin by design: messages carry signed documents (`fettle-audit`) or JSON documents
//! ([`enrolment`], [`login`], [`operator`]) and a few routing fields. This crate makes no decision and opens no
//! connection.

pub mod enrolment;
pub mod login;
pub mod operator;
pub mod session;

/// The generated messages, clients and servers.
#[expect(
    missing_docs,
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated from proto/"
)]
pub mod v1 {
    tonic::include_proto!("fettle.v1");
}
