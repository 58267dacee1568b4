//! The protocol: its states, its steps, and the rules that allow them.
//!
//! A step is one thing that one party does. Who may do what in a state is decided by [`agent`], [`leader`],
//! [`person`] and [`clock`]; stateright takes every allowed step in every state that it meets. Messages are
//! not steps of their own: what was once sent may arrive at any time later, any number of times, in any order, or
//! never, so a receiver may act upon it whenever it could have arrived.

pub mod agent;
pub mod clock;
pub mod flaw;
pub mod leader;
pub mod person;
pub mod set;
pub mod setup;
pub mod state;

use crate::invariants;
use crate::reachable;
use agent::AgentStep;
use clock::Tick;
use flaw::{Flaw, Flaws};
use leader::LeaderStep;
use person::PersonStep;
use set::HostNo;
use setup::Setup;
use state::State;
use stateright::{Model, Property};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// The protocol in one setting, with the flaws that it is given.
#[derive(Debug)]
pub struct Protocol {
    /// Hosts, scopes, durations and faults.
    pub setup: Setup,
    /// What is wrong with it; nothing, in the protocol as it is.
    pub flaws: Flaws,
    /// The properties that are answered already, by their number.
    answered: AtomicU64,
}

impl Protocol {
    /// The protocol in this setting.
    #[must_use]
    pub const fn new(setup: Setup, flaws: Flaws) -> Self {
        Self { setup, flaws, answered: AtomicU64::new(0) }
    }

    /// Whether it has this flaw.
    #[must_use]
    pub const fn has(&self, flaw: Flaw) -> bool {
        self.flaws.contains(flaw)
    }

    /// The hosts of this setting.
    pub fn hosts(&self) -> impl Iterator<Item = HostNo> + use<> {
        (0..self.setup.hosts).map(HostNo)
    }

    /// Whether the property of this number was answered before. An answer is given once: stateright would
    /// otherwise keep the last path to it, which is the longest, and copy a path for every state.
    pub(crate) fn is_answered(&self, number: usize) -> bool {
        self.answered.load(Ordering::Relaxed) & (1 << number) != 0
    }

    /// Answers a property. False if somebody else did.
    pub(crate) fn answer(&self, number: usize) -> bool {
        self.answered.fetch_or(1 << number, Ordering::Relaxed) & (1 << number) == 0
    }
}

/// One thing that one party does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Time passes.
    Time(Tick),
    /// An agent, or its host, does something.
    Agent(HostNo, AgentStep),
    /// A leader does something.
    Leader(LeaderStep),
    /// A person does something.
    Person(PersonStep),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(Tick { slow: None }) => write!(f, "time passes"),
            Self::Time(Tick { slow: Some(host) }) => write!(f, "time passes, and the clock of host {host} stands"),
            Self::Agent(host, step) => write!(f, "host {host}: {step:?}"),
            Self::Leader(step) => write!(f, "leader: {step:?}"),
            Self::Person(step) => write!(f, "person: {step:?}"),
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::at_start(&self.setup)]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        self.ticks(state, steps);
        for host in self.hosts() {
            self.agent_steps(state, host, steps);
        }
        self.leader_steps(state, steps);
        self.person_steps(state, steps);
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = *state;
        match step {
            Step::Time(tick) => self.tick(&mut next, tick),
            Step::Agent(host, step) => self.agent_step(&mut next, host, step),
            Step::Leader(step) => self.leader_step(&mut next, step),
            Step::Person(step) => self.person_step(&mut next, step),
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = invariants::properties();
        properties.extend(reachable::properties(&self.setup));
        properties
    }
}
