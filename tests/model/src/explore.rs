//! Explores a case: breadth first, so that the path to what breaks is short. Called by the tests and by the command.

use crate::cases::Case;
use crate::invariants::INVARIANTS;
use crate::protocol::Protocol;
use crate::reachable;
use stateright::{Checker as _, Expectation, HasDiscoveries, Model as _};
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

/// What came of exploring a case.
#[derive(Debug)]
pub struct Report {
    /// States that were met, each time.
    pub states: usize,
    /// Different ones.
    pub unique: usize,
    /// Steps on the longest of the shortest paths.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// The invariants that broke, with a shortest path.
    pub broken: BTreeMap<&'static str, Vec<String>>,
    /// What happened of that which must be able to, with the length of its path.
    pub reached: BTreeMap<&'static str, usize>,
    /// What did not happen.
    pub unreached: Vec<&'static str>,
}

impl Report {
    /// The names of the invariants that broke, in their order.
    #[must_use]
    pub fn broken_names(&self) -> Vec<&'static str> {
        INVARIANTS.iter().map(|invariant| invariant.name).filter(|name| self.broken.contains_key(name)).collect()
    }
}

/// Explores every state of a case. With one thread, paths are the shortest; with more, they may be a step longer.
#[must_use]
pub fn explore(case: &Case, threads: NonZeroUsize) -> Report {
    let began = Instant::now();
    let checker = Protocol::new(case.setup, case.flaws)
        .checker()
        .threads(threads.get())
        .finish_when(HasDiscoveries::AllOf([NEVER].into()))
        .spawn_bfs()
        .join();
    let mut broken = BTreeMap::new();
    let mut reached = BTreeMap::new();
    for (name, path) in checker.discoveries() {
        let steps: Vec<_> = path.into_actions().iter().map(ToString::to_string).collect();
        match checker.model().property(name).expectation {
            Expectation::Always => {
                broken.insert(name, steps);
            }
            Expectation::Sometimes | Expectation::Eventually => {
                reached.insert(name, steps.len());
            }
        }
    }
    let wanted = reachable::properties(&case.setup).into_iter().map(|property| property.name);
    let unreached = wanted.filter(|name| !reached.contains_key(name)).collect();
    Report {
        states: checker.state_count(),
        unique: checker.unique_state_count(),
        depth: checker.max_depth(),
        took: began.elapsed(),
        broken,
        reached,
        unreached,
    }
}

/// The name of no property: a state space is explored to its end, whatever is found on the way.
const NEVER: &str = "never";

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, unique, depth, took, .. } = self;
        writeln!(f, "  explored: {states} states, {unique} unique, depth {depth}, {:.1} s", took.as_secs_f64())?;
        for (name, length) in &self.reached {
            writeln!(f, "  happens after {length} steps: {name}")?;
        }
        for name in &self.unreached {
            writeln!(f, "  NEVER HAPPENS: {name}")?;
        }
        for (name, path) in &self.broken {
            writeln!(f, "  BROKEN after {} steps: {name}", path.len())?;
            for invariant in INVARIANTS.iter().filter(|invariant| invariant.name == *name) {
                writeln!(f, "    kept by {}", invariant.kept_by)?;
            }
            for step in path {
                writeln!(f, "    {step}")?;
            }
        }
        Ok(())
    }
}
