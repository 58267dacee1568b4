//! What a history is about: how its service is healed, and how much of it at once.

use fastrand::Rng;
use std::ops::RangeInclusive;

/// How the remediation of a history acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// A permit for each fault, for a restart.
    Auto,
    /// Besides, one host at a time holds a budget in advance; what is done can be undone.
    Offline,
    /// Two people say yes first.
    Approve,
}

/// The setting of a history.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) way: Way,
    /// Effects at once.
    pub(crate) limit: u32,
}

/// Of ten histories so many are about permits alone, and so many more about budgets in advance.
const AUTO: u32 = 4;
const OFFLINE: u32 = 3;
/// Effects at once: none more than hosts, where all would be allowed.
const LIMITS: RangeInclusive<u32> = 1..=2;

impl Setting {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let limit = rng.u32(LIMITS);
        let drawn = rng.u32(0..10);
        let way = if drawn < AUTO {
            Way::Auto
        } else if drawn < AUTO + OFFLINE {
            Way::Offline
        } else {
            Way::Approve
        };
        // A budget in advance takes a slot that connected hosts do not have.
        Self { way, limit: if way == Way::Offline { *LIMITS.end() } else { limit } }
    }
}
