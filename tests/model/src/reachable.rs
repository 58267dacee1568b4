//! What must be able to happen: a protocol that does nothing breaks no invariant, and is of no use.

use crate::protocol::Protocol;
use crate::protocol::agent::Rejection;
use crate::protocol::setup::{Class, Mode, Setup};
use crate::protocol::state::{Answered, Journal, Kind, Permit, Standing, State, Switch};
use stateright::Property;

/// Something that must be able to happen.
#[derive(Debug, Clone, Copy)]
pub struct Reachable {
    /// Its number and what it is.
    pub name: &'static str,
    /// In which settings.
    applies: fn(&Setup) -> bool,
    happens: fn(&Protocol, &State) -> bool,
}

/// The first of these numbers follows those of the invariants.
const FIRST: usize = crate::invariants::INVARIANTS.len();

/// All of them.
pub const REACHABLE: [Reachable; 14] = [
    Reachable {
        name: "S1 an effect completes and is reported",
        applies: |_| true,
        happens: |_, state| {
            any(state, |permit| permit.effects > 0 && matches!(permit.standing, Standing::Done | Standing::Returned))
        },
    },
    Reachable {
        name: "S2 every host is served",
        applies: |_| true,
        happens: |protocol, state| {
            protocol.hosts().all(|host| any(state, |permit| permit.host == host && permit.effects > 0))
        },
    },
    Reachable {
        name: "S3 an orphan's effect is looked at when it is over",
        applies: |setup| setup.surprises.crashes > 0,
        happens: |protocol, state| {
            protocol.hosts().any(|host| {
                let here = state.host(host);
                let dangling = |permit: &Permit| permit.host == host && permit.journal == Journal::Intent;
                here.run.is_none()
                    && here.orphan.is_none()
                    && any(state, |permit| dangling(permit) && permit.effects > 0)
            })
        },
    },
    Reachable {
        name: "S4 the slot of a lost permit serves again",
        applies: |_| true,
        happens: |_, state| {
            any(state, |permit| permit.standing == Standing::Unresolved)
                && state.permits().last().is_some_and(|(_, last)| last.effects > 0)
        },
    },
    Reachable {
        name: "S5 a second leader's permit takes effect",
        applies: |setup| setup.surprises.takeovers > 0,
        happens: |_, state| any(state, |permit| permit.leader == 2 && permit.effects > 0),
    },
    Reachable {
        name: "S6 an old leader is refused by the log",
        applies: |setup| setup.surprises.takeovers > 0,
        happens: |_, state| state.leader > 1 && state.old.is_none(),
    },
    Reachable {
        name: "S7 a permit whose answer a crash cut off takes effect",
        applies: |setup| setup.surprises.restarts > 0,
        happens: |_, state| any(state, |permit| permit.answered == Answered::SentByAnother && permit.effects > 0),
    },
    Reachable {
        name: "S8 a stop order prevents an effect",
        applies: |setup| setup.surprises.stops > 0,
        happens: |protocol, state| {
            any(state, |permit| {
                permit.answered.may_arrive() && protocol.admit(state, permit) == Err(Rejection::Stopped)
            })
        },
    },
    Reachable {
        name: "S9 work goes on after a stop order was lifted",
        applies: |setup| setup.surprises.stops > 0,
        happens: |_, state| state.switch == Switch::On && any(state, |permit| permit.stop > 0 && permit.effects > 0),
    },
    Reachable {
        name: "S10 an effect is paid for in advance",
        applies: |setup| setup.escrow.is_some(),
        happens: |_, state| any(state, |permit| permit.kind == Kind::Escrow && permit.effects > 0),
    },
    Reachable {
        name: "S11 unused units come back and serve again",
        applies: |setup| setup.escrow.is_some(),
        happens: |protocol, state| {
            any(state, |permit| permit.standing == Standing::Returned && permit.uses < protocol.units(permit.kind))
                && any(state, |permit| permit.kind == Kind::Single && permit.effects > 0)
        },
    },
    Reachable {
        name: "S12 an approved effect happens",
        applies: |setup| setup.modes.contains(&Mode::Approve),
        happens: |_, state| any(state, |permit| permit.approval.is_some() && permit.effects > 0),
    },
    Reachable {
        name: "S13 a change voids an approval",
        applies: |setup| setup.surprises.changes > 0,
        happens: |protocol, state| {
            let asked = |host| state.host(host).waiting.map(|request| request.content);
            let other = |content| state.approval.is_some_and(|approval| approval.content < content);
            protocol.hosts().filter_map(asked).any(other)
        },
    },
    Reachable {
        name: "S14 an irreversible effect happens",
        applies: |setup| setup.classes.contains(&Class::Irreversible),
        happens: |protocol, state| {
            any(state, |permit| protocol.class(permit.host) == Class::Irreversible && permit.effects > 0)
        },
    },
];

fn any(state: &State, holds: impl Fn(&Permit) -> bool) -> bool {
    state.permits().any(|(_, permit)| holds(permit))
}

fn sometimes<const NUMBER: usize>() -> Property<Protocol> {
    Property::sometimes(REACHABLE[NUMBER].name, |protocol, state| {
        let number = FIRST + NUMBER;
        !protocol.is_answered(number) && (REACHABLE[NUMBER].happens)(protocol, state) && protocol.answer(number)
    })
}

pub(crate) fn properties(setup: &Setup) -> Vec<Property<Protocol>> {
    let all: [fn() -> Property<Protocol>; REACHABLE.len()] = [
        sometimes::<0>,
        sometimes::<1>,
        sometimes::<2>,
        sometimes::<3>,
        sometimes::<4>,
        sometimes::<5>,
        sometimes::<6>,
        sometimes::<7>,
        sometimes::<8>,
        sometimes::<9>,
        sometimes::<10>,
        sometimes::<11>,
        sometimes::<12>,
        sometimes::<13>,
    ];
    let those = REACHABLE.iter().zip(all).filter(|(reachable, _)| (reachable.applies)(setup));
    those.map(|(_, property)| property()).collect()
}
