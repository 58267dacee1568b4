//! Tests of the rim: a control plane that serves on loopback, real TLS, real gRPC clients.
//!
//! Every test makes a [`site::Site`]: a control plane in a folder of its own, on ports that the system
//! chose, in this process. Agents here are [`agent::Agent`]s: an identity and a record key that speak the
//! protocol, without checks and without effects.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test picks one message or answer out of all and stops on others"
)]

mod agent;
mod approvals;
mod break_glass;
mod console;
mod enrolment;
mod export;
mod people;
mod permits;
mod publishing;
mod restart;
mod revocation;
mod rotation;
mod sessions;
mod signing_keys;
mod simulating;
mod site;
mod wire;
