//! Numbers of hosts and permits, and sets of them: one byte each, because a state is kept millions of times.

use std::fmt;

/// The number of a host, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HostNo(pub u8);

impl fmt::Display for HostNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The number of a permit: its place in the log, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PermitNo(pub u8);

/// Hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HostSet(u8);

impl HostSet {
    /// These hosts.
    #[must_use]
    pub const fn of(hosts: &[u8]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < hosts.len() {
            bits |= 1 << hosts[at];
            at += 1;
        }
        Self(bits)
    }

    /// Whether the host is among them.
    #[must_use]
    pub const fn contains(self, host: HostNo) -> bool {
        self.0 & (1 << host.0) != 0
    }
}

/// Permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PermitSet(u8);

impl PermitSet {
    /// Whether the permit is among them.
    #[must_use]
    pub const fn contains(self, permit: PermitNo) -> bool {
        self.0 & (1 << permit.0) != 0
    }

    /// Adds one.
    pub const fn insert(&mut self, permit: PermitNo) {
        self.0 |= 1 << permit.0;
    }
}
