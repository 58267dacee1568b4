//! The permit protocol as a model that a machine explores: every order of messages, crashes and clocks
//! within the bounds of a configuration, and after each step the invariants.
//!
//! The model stands beside the code and is not compiled into any program. It says what the protocol *is*: its
//! rules in [`protocol`], what must hold in [`invariants`], what must be able to happen in [`reachable`]. The
//! tests explore the protocol as it is, and with every known flaw, which must break the invariants named in
//! [`cases`]. `README.md` has the figures; `docs/adr/0016-the-permit-protocol-is-model-checked.md` the reasons.

pub mod cases;
pub mod explore;
pub mod invariants;
pub mod protocol;
pub mod reachable;
