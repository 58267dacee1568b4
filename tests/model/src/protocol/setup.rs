//! A setting in which the protocol is explored: hosts, nested scopes, durations, and how many faults there are.
//!
//! Durations are counted in ticks, a handful, so that every interleaving is met. Their proportions matter, not their size:
//! a lease is longer than a tick, an effect as long as one, and a hold is their sum (`controlplane/src/core/reclaim.rs`).

use super::Protocol;
use super::flaw::Flaw;
use super::set::{HostNo, HostSet};
use super::state::{Approval, HOSTS, Kind, PERMITS};

/// Limits that hold together for the hosts of a scope: a service, an environment, everything.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// What it stands for.
    pub level: Level,
    /// Its hosts.
    pub hosts: HostSet,
    /// Effects that may be in progress at once.
    pub in_flight: u8,
    /// Effects in the whole window.
    pub budget: u8,
}

/// How a scope is nested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A service in an environment: the scope that a request names.
    Service,
    /// What is around it: its environment, and everything.
    Around,
}

/// Durations in ticks.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// A run must have started less than this after its request was sent.
    pub lease: u8,
    /// No effect starts later than this after the run's start.
    pub run_within: u8,
    /// No effect takes longer.
    pub effect_within: u8,
    /// What the leader adds for clock rates.
    pub margin: u8,
    /// How far the agents' clocks may fall behind the leader's, all together.
    pub lag: u8,
    /// How far the wall clock of host 0 is behind. Only a flawed protocol looks at it.
    pub wall_behind: u8,
}

/// How many faults and surprises there may be at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Surprises {
    /// Crashes of agents, all together.
    pub crashes: u8,
    /// Crashes of the leading control plane, which starts again.
    pub restarts: u8,
    /// Takeovers by another control plane while the old one still believes that it leads.
    pub takeovers: u8,
    /// Stop orders.
    pub stops: u8,
    /// Changes of what an approved request would touch.
    pub changes: u8,
}

/// Units and slots that one host has in advance, to act on itself when it cannot reach the leader.
#[derive(Debug, Clone, Copy)]
pub struct Escrow {
    /// The host.
    pub host: HostNo,
    /// Effects that it may have.
    pub units: u8,
    /// In place of the lease of a permit.
    pub lease: u8,
}

/// Whether what a host's runs do can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It can.
    Reversible,
    /// It cannot: the intent is in the log before the effect.
    Irreversible,
}

/// How far the remediation on a host is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It asks nobody.
    Auto,
    /// A person says yes to exactly one content of a request.
    Approve,
}

/// A setting.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// How many hosts.
    pub hosts: u8,
    /// The scopes, each service's first.
    pub scopes: &'static [Scope],
    /// Durations.
    pub timing: Timing,
    /// Permits that are granted at most.
    pub permits: u8,
    /// Faults and surprises.
    pub surprises: Surprises,
    /// Whether one host may have units in advance.
    pub escrow: Option<Escrow>,
    /// What the runs of each host do.
    pub classes: [Class; HOSTS],
    /// The mode of each host's remediation.
    pub modes: [Mode; HOSTS],
}

impl Setup {
    /// Whether it fits into a [`super::state::State`].
    #[must_use]
    pub const fn fits(&self) -> bool {
        self.hosts as usize <= HOSTS && self.permits as usize <= PERMITS
    }
}

impl Protocol {
    /// From when it begins to count, how long a run may be started.
    pub(super) fn lease(&self, kind: Kind) -> u8 {
        match (kind, self.setup.escrow) {
            (Kind::Escrow, Some(escrow)) => escrow.lease,
            (Kind::Escrow, None) | (Kind::Single, _) => self.setup.timing.lease,
        }
    }

    /// From the grant, how long the slot of a permit is held when nothing is heard of it. Mirrors
    /// `reclaim::hold`.
    pub(super) fn hold(&self, kind: Kind) -> u8 {
        let timing = &self.setup.timing;
        let effect = if self.has(Flaw::HoldWithoutEffect) { 0 } else { timing.effect_within };
        let margin = if self.has(Flaw::HoldWithoutMargin) { 0 } else { timing.margin };
        self.lease(kind) + timing.run_within + effect + margin
    }

    /// Effects that a permit pays for.
    pub(crate) fn units(&self, kind: Kind) -> u8 {
        match (kind, self.setup.escrow) {
            (Kind::Escrow, Some(escrow)) => escrow.units,
            (Kind::Escrow, None) | (Kind::Single, _) => 1,
        }
    }

    /// What the runs of a host do.
    pub(crate) fn class(&self, host: HostNo) -> Class {
        self.setup.classes[usize::from(host.0)]
    }

    /// How far the remediation on a host is trusted.
    pub(crate) fn mode(&self, host: HostNo) -> Mode {
        self.setup.modes[usize::from(host.0)]
    }

    /// The approval under which a grant for a host is made.
    pub(super) fn approval_for(&self, host: HostNo, given: Option<Approval>) -> Option<Approval> {
        match self.mode(host) {
            Mode::Auto => None,
            Mode::Approve => given,
        }
    }
}
