//! The settings. Each brings one part of the protocol into play, because everything at once has more states than a machine
//! holds; what all have in common is the permit, its lease, its hold and the crash of an agent.

use crate::protocol::set::{HostNo, HostSet};
use crate::protocol::setup::{Class, Escrow, Level, Mode, Scope, Setup, Surprises, Timing};

const AUTO: [Mode; 3] = [Mode::Auto; 3];
const REVERSIBLE: [Class; 3] = [Class::Reversible; 3];
/// What host 0 does cannot be undone.
const ONE_IRREVERSIBLE: [Class; 3] = [Class::Irreversible, Class::Reversible, Class::Reversible];

/// Lease 2, run 0, effect 1, clocks one tick apart: the smallest in which every part of a hold is needed.
const SHORT: Timing = Timing { lease: 2, run_within: 0, effect_within: 1, margin: 1, lag: 1, wall_behind: 0 };
/// Without differences between clocks.
const ONE_CLOCK: Timing = Timing { margin: 0, lag: 0, ..SHORT };
/// A run may also start its effect a tick later.
const LONG: Timing = Timing { run_within: 1, ..SHORT };

const NO_SURPRISES: Surprises = Surprises { crashes: 0, restarts: 0, takeovers: 0, stops: 0, changes: 0 };

/// One service on two hosts, one effect at a time, two in all.
const ONE_AT_A_TIME: &[Scope] =
    &[Scope { level: Level::Service, hosts: HostSet::of(&[0, 1]), in_flight: 1, budget: 2 }];
/// The same with a budget for one.
const ONE_IN_ALL: &[Scope] = &[Scope { level: Level::Service, hosts: HostSet::of(&[0, 1]), in_flight: 1, budget: 1 }];
/// The same with a budget for three.
const ONE_AND_THREE: &[Scope] =
    &[Scope { level: Level::Service, hosts: HostSet::of(&[0, 1]), in_flight: 1, budget: 3 }];
/// The same with room for two at a time.
const TWO_AT_A_TIME: &[Scope] =
    &[Scope { level: Level::Service, hosts: HostSet::of(&[0, 1]), in_flight: 2, budget: 2 }];
/// The same with a budget for three.
const TWO_AND_THREE: &[Scope] =
    &[Scope { level: Level::Service, hosts: HostSet::of(&[0, 1]), in_flight: 2, budget: 3 }];
/// Two services in one environment that bears one effect at a time, a third service in another, and all of it.
const NESTED: &[Scope] = &[
    Scope { level: Level::Service, hosts: HostSet::of(&[0]), in_flight: 1, budget: 2 },
    Scope { level: Level::Service, hosts: HostSet::of(&[1]), in_flight: 1, budget: 2 },
    Scope { level: Level::Service, hosts: HostSet::of(&[2]), in_flight: 1, budget: 2 },
    Scope { level: Level::Around, hosts: HostSet::of(&[0, 1]), in_flight: 1, budget: 2 },
    Scope { level: Level::Around, hosts: HostSet::of(&[0, 1, 2]), in_flight: 2, budget: 3 },
];

/// Two hosts, one effect at a time, a crash, clocks that differ.
pub(super) const CORE: Setup = Setup {
    hosts: 2,
    scopes: ONE_AT_A_TIME,
    timing: SHORT,
    permits: 3,
    surprises: Surprises { crashes: 1, ..NO_SURPRISES },
    escrow: None,
    classes: REVERSIBLE,
    modes: AUTO,
};

/// The same with less, for flaws that show early.
pub(super) const SMALL: Setup = Setup { permits: 2, ..CORE };

/// The same with budget for one effect.
pub(super) const ONE_EFFECT: Setup = Setup { scopes: ONE_IN_ALL, ..SMALL };

/// The same with one clock, host 0's wall clock behind.
pub(super) const fn wall_clock(behind: u8, margin: u8) -> Setup {
    Setup { timing: Timing { wall_behind: behind, margin, ..ONE_CLOCK }, ..SMALL }
}

/// Two effects at a time.
pub(super) const TWO: Setup = Setup { scopes: TWO_AT_A_TIME, ..SMALL };

/// Everything that can crash does: agents twice, the control plane once, and runs that take longer.
pub(super) const CRASHES: Setup = Setup {
    scopes: TWO_AND_THREE,
    timing: LONG,
    surprises: Surprises { crashes: 2, restarts: 1, ..NO_SURPRISES },
    ..CORE
};

/// A control plane that crashes once.
pub(super) const RESTART: Setup = Setup { surprises: Surprises { restarts: 1, ..NO_SURPRISES }, ..SMALL };

/// Two leaders.
pub(super) const LEADERS: Setup =
    Setup { surprises: Surprises { crashes: 1, restarts: 1, takeovers: 1, ..NO_SURPRISES }, ..CORE };

/// Two leaders, and little else.
pub(super) const TAKEOVER: Setup = Setup { surprises: Surprises { takeovers: 1, ..NO_SURPRISES }, ..SMALL };

/// Three hosts in nested scopes.
pub(super) const SCOPES: Setup = Setup { hosts: 3, scopes: NESTED, timing: ONE_CLOCK, ..CORE };

/// Nested scopes, and little else.
pub(super) const NESTING: Setup = Setup { surprises: NO_SURPRISES, ..SCOPES };

/// Stop orders.
pub(super) const STOPS: Setup =
    Setup { timing: ONE_CLOCK, surprises: Surprises { crashes: 1, stops: 2, ..NO_SURPRISES }, ..CORE };

/// One stop order, and little else.
pub(super) const STOP: Setup =
    Setup { surprises: Surprises { crashes: 1, stops: 1, ..NO_SURPRISES }, timing: ONE_CLOCK, ..SMALL };

const UNITS: Escrow = Escrow { host: HostNo(0), units: 2, lease: 3 };

/// Units in advance for host 0, and room for both hosts at a time.
pub(super) const ESCROW: Setup = Setup {
    scopes: TWO_AND_THREE,
    timing: ONE_CLOCK,
    escrow: Some(UNITS),
    surprises: Surprises { crashes: 1, ..NO_SURPRISES },
    ..CORE
};

/// The same with a stop order.
pub(super) const ESCROW_AND_STOP: Setup =
    Setup { surprises: Surprises { crashes: 1, stops: 1, ..NO_SURPRISES }, ..ESCROW };

/// Units in advance, and little else: one effect at a time, two in all.
pub(super) const UNITS_ONE_AT_A_TIME: Setup =
    Setup { escrow: Some(UNITS), timing: ONE_CLOCK, surprises: NO_SURPRISES, ..SMALL };

/// Units in advance, one effect at a time, three in all.
pub(super) const UNITS_WITH_BUDGET: Setup = Setup { scopes: ONE_AND_THREE, ..UNITS_ONE_AT_A_TIME };

/// Units in advance, two effects at a time, two in all.
pub(super) const UNITS_TWO_AT_A_TIME: Setup = Setup { scopes: TWO_AT_A_TIME, ..UNITS_ONE_AT_A_TIME };

/// Units in advance for a host whose runs do what cannot be undone.
pub(super) const UNITS_IRREVERSIBLE: Setup = Setup { classes: ONE_IRREVERSIBLE, ..UNITS_ONE_AT_A_TIME };

/// Host 0 needs an approval, and what its runs do cannot be undone.
pub(super) const APPROVALS: Setup = Setup {
    surprises: Surprises { crashes: 1, changes: 1, ..NO_SURPRISES },
    classes: ONE_IRREVERSIBLE,
    modes: [Mode::Approve, Mode::Auto, Mode::Auto],
    ..CORE
};

/// The same with two changes.
pub(super) const APPROVALS_AND_CHANGES: Setup =
    Setup { surprises: Surprises { crashes: 1, changes: 2, ..NO_SURPRISES }, ..APPROVALS };

/// One change, and little else.
pub(super) const CHANGE: Setup = Setup {
    timing: ONE_CLOCK,
    permits: 2,
    surprises: Surprises { changes: 1, ..NO_SURPRISES },
    classes: REVERSIBLE,
    ..APPROVALS
};

/// What cannot be undone, and little else.
pub(super) const IRREVERSIBLE: Setup =
    Setup { surprises: Surprises { crashes: 1, ..NO_SURPRISES }, classes: ONE_IRREVERSIBLE, modes: AUTO, ..CHANGE };
