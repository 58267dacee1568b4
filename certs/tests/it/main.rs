//! The attack cases of identity, against the public interface: real certificates, real handshakes
//! in memory, a clock that the test sets.

mod enrol;
mod fixture;
mod handshake;
mod issue;
