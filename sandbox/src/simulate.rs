//! Stateful simulated capabilities: services, releases, flags and health with virtual time.
//!
//! Scenarios and the machine's own tests run against a [`World`]. A service has a state machine, a
//! sleep takes no time, a check turns healthy some time after an action: canned answers would test
//! the script, not the behaviour. Errors can be injected at any call. Nothing here does I/O.

mod deed;
mod health;
mod inject;
mod spec;
mod thing;
mod world;

pub use deed::{SimBefore, SimDeed, SimDone};
pub use inject::{Effectiveness, Injection, Unfitting, Variant, name};
pub use spec::{Becomes, FlagSpec, HealthSpec, ReleaseRootSpec, ReleaseSpec, ServiceSpec, StartsInto, WorldSpec};
pub use world::{Sight, World, is_fact};

#[cfg(test)]
mod tests;
