//! The cases that are explored: settings of the protocol as it is, which must hold, and flawed ones, each of which must
//! break exactly the invariants that are named here.

mod flawed;
mod settings;
mod sound;

pub use flawed::FLAWED;
pub use sound::{LARGE, SOUND};

use crate::protocol::flaw::Flaws;
use crate::protocol::setup::Setup;

/// A setting, what is wrong with the protocol in it, and what comes of that.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What it is called on the command line.
    pub name: &'static str,
    /// In which setting.
    pub setup: Setup,
    /// What is wrong.
    pub flaws: Flaws,
    /// The invariants that break, in their order; none, if the protocol holds.
    pub breaks: &'static [&'static str],
}

impl Case {
    /// A case. Evaluated at compile time, where a setting that does not fit into a state stops the build.
    const fn new(name: &'static str, setup: Setup, flaws: Flaws, breaks: &'static [&'static str]) -> Self {
        assert!(setup.fits(), "the setting has more hosts or permits than a state");
        Self { name, setup, flaws, breaks }
    }
}
