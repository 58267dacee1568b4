//! What must hold in every state, stated once. Property tests of the real core may quote these by their names.
//!
//! They are safety properties: nothing bad ever happens. That something good happens in the end is not
//! explored (see the decision record); that it *can* happen is, in [`crate::reachable`].

use crate::protocol::Protocol;
use crate::protocol::state::{Breach, Journal, Kind, Permit, Phase, Standing, State};
use stateright::Property;

/// An invariant.
#[derive(Debug, Clone, Copy)]
pub struct Invariant {
    /// Its number and what it says.
    pub name: &'static str,
    /// Where the code keeps it.
    pub kept_by: &'static str,
    holds: fn(&Protocol, &State) -> bool,
}

/// Effects happen once at most.
pub const I1: &str = "I1 an effect happens at most once per use of a permit";
/// Intents come first.
pub const I2: &str = "I2 no effect without a durable earlier intent";
/// Bounded blast radius.
pub const I3: &str = "I3 effects in progress within every scope's limit, orphans included";
/// Budgets.
pub const I4: &str = "I4 effects within every scope's budget";
/// Fences.
pub const I5: &str = "I5 no run below the highest fence that its target accepted";
/// Stop orders.
pub const I6: &str = "I6 no effect starts after a newer stop order arrived";
/// Nothing is forgotten.
pub const I7: &str = "I7 every effect is in the journal, and never reported as not applied";
/// Irreversible effects.
pub const I8: &str = "I8 an irreversible effect starts only after its intent is in the log";
/// One permit per target.
pub const I9: &str = "I9 no two permits for one target in flight";
/// Approvals.
pub const I10: &str = "I10 what is executed is what another person approved";
/// One answer.
pub const I11: &str = "I11 a request is answered by one permit at most";

/// All of them, in their order.
pub const INVARIANTS: [Invariant; 11] = [
    Invariant {
        name: I1,
        kept_by: "effector::admission::admit (Replayed, units included), sandbox::journal::replay (Dangling)",
        holds: |_, state| state.permits().all(|(_, permit)| happened_once(permit)),
    },
    Invariant {
        name: I2,
        kept_by: "sandbox::machine (intent, effect, outcome)",
        holds: |_, state| !state.breaches.contains(Breach::WithoutIntent),
    },
    Invariant {
        name: I3,
        kept_by: "core::governor::checks::group, core::reclaim::hold, effector::admission::within_lease",
        holds: |protocol, state| {
            protocol.setup.scopes.iter().all(|scope| {
                let hosts = protocol.hosts().filter(|host| scope.hosts.contains(*host));
                hosts.map(|host| in_progress(state, host)).sum::<u8>() <= scope.in_flight
            })
        },
    },
    Invariant {
        name: I4,
        kept_by: "core::governor::checks::budget, core::budgets (units held in advance, no refund but by word)",
        holds: |protocol, state| {
            protocol.setup.scopes.iter().all(|scope| {
                let here = state.permits().filter(|(_, permit)| scope.hosts.contains(permit.host));
                let effects = here.map(|(_, permit)| permit.effects).sum::<u8>();
                effects <= scope.budget && protocol.debited(state, scope) <= scope.budget
            })
        },
    },
    Invariant {
        name: I5,
        kept_by: "effector::admission::admit (StaleFence)",
        holds: |_, state| !state.breaches.contains(Breach::StaleFence),
    },
    Invariant {
        name: I6,
        kept_by: "effector::admission::not_stopped, and the same before each effect",
        holds: |_, state| !state.breaches.contains(Breach::AfterStop),
    },
    Invariant {
        name: I7,
        kept_by: "sandbox::journal::fate, core::runs::Runs::finish",
        holds: |_, state| state.permits().all(|(_, permit)| permit.effects == 0 || is_accounted_for(permit)),
    },
    Invariant {
        name: I8,
        kept_by: "sandbox::machine (publish: intend, published), effector::hear::acknowledged (the record itself is proven)",
        holds: |_, state| !state.breaches.contains(Breach::Unpublished),
    },
    Invariant {
        name: I9,
        kept_by: "core::governor::checks::host (HostBusy)",
        holds: |protocol, state| {
            protocol.hosts().all(|host| {
                let in_flight = |permit: &Permit| permit.host == host && permit.standing == Standing::InFlight;
                state.permits().filter(|(_, permit)| in_flight(permit)).count() <= 1
            })
        },
    },
    Invariant {
        name: I10,
        kept_by: "core::governor (mode approve), effector::admission::within_ceiling (TargetsDiffer)",
        holds: |_, state| !state.breaches.contains(Breach::Unapproved),
    },
    Invariant {
        name: I11,
        kept_by: "core::decide::agent::asked (State::answer)",
        holds: |_, state| state.permits().all(|(number, permit)| permit.request == number),
    },
];

fn happened_once(permit: &Permit) -> bool {
    match permit.kind {
        Kind::Single => permit.effects <= 1,
        Kind::Escrow => permit.effects <= permit.uses,
    }
}

/// Effects that may be in progress on a host.
fn in_progress(state: &State, host: crate::protocol::set::HostNo) -> u8 {
    let here = state.host(host);
    let by_run = here.run.is_some_and(|run| match run.phase {
        Phase::Acting | Phase::Acted => true,
        Phase::Opened | Phase::Suspended | Phase::Declared | Phase::Published => false,
    });
    u8::from(by_run) + u8::from(here.orphan.is_some())
}

fn is_accounted_for(permit: &Permit) -> bool {
    let in_journal = match permit.journal {
        Journal::Intent | Journal::Idle | Journal::Done | Journal::InDoubt | Journal::Returned => true,
        // Between two units of an escrow.
        Journal::Used => permit.kind == Kind::Escrow,
        Journal::Nothing | Journal::NotApplied => false,
    };
    in_journal && permit.standing != Standing::NotApplied
}

fn always<const NUMBER: usize>() -> Property<Protocol> {
    Property::always(INVARIANTS[NUMBER].name, |protocol, state| {
        protocol.is_answered(NUMBER) || (INVARIANTS[NUMBER].holds)(protocol, state) || !protocol.answer(NUMBER)
    })
}

pub(crate) fn properties() -> Vec<Property<Protocol>> {
    vec![
        always::<0>(),
        always::<1>(),
        always::<2>(),
        always::<3>(),
        always::<4>(),
        always::<5>(),
        always::<6>(),
        always::<7>(),
        always::<8>(),
        always::<9>(),
        always::<10>(),
    ]
}
