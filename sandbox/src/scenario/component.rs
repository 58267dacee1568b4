//! Runs the component itself in scenarios: the glue between [`Executor`](super::Executor) and the engine.
//!
//! `fettle playbook test` and the playbooks' own tests go this way; neither reads a file through it:
//!
//! ```text
//! component + playbook.toml --Package::build--> Package --Component::new--> Component
//! scenarios/x.toml --Scenario::from_toml--> Scenario
//! both --run--> Report (differences), --faults--> Findings, --crashes--> Findings
//! ```

use crate::call::{Call, Reply};
use crate::engine::{CompileError, Engine, EngineUnavailable, LoadError, Playbook};
use crate::execution::{Execution, Gone, Limits, Trigger};
use crate::package::Package;
use fettle_model::playbook::{GrantKind, Manifest};
use std::collections::BTreeSet;

/// A compiled playbook with the engine that runs it.
#[derive(Debug)]
pub struct Component {
    engine: Engine,
    playbook: Playbook,
    granted: BTreeSet<GrantKind>,
    limits: Limits,
    manifest: Manifest,
}

/// A package could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// There is no engine here.
    #[error("failed to set the engine up")]
    Engine(#[source] EngineUnavailable),
    /// It does not compile.
    #[error("failed to compile the package")]
    Compile(#[source] CompileError),
    /// It does not load.
    #[error("failed to load the compiled package")]
    Load(#[source] LoadError),
}

impl Component {
    /// Compiles a package for scenarios.
    ///
    /// # Errors
    /// When the engine does not take it.
    pub fn new(package: &Package) -> Result<Self, NotReady> {
        let engine = Engine::new().map_err(NotReady::Engine)?;
        let artifact = engine.compile(package).map_err(NotReady::Compile)?;
        let playbook = engine.load(&artifact).map_err(NotReady::Load)?;
        let manifest = package.manifest().clone();
        let granted = manifest.grants.iter().map(|grant| grant.kind).collect();
        let limits = Limits::for_duration(manifest.limits.duration.0);
        Ok(Self { engine, playbook, granted, limits, manifest })
    }

    /// The package's manifest.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Executes it once; an executor of scenarios calls this.
    pub fn execute(&self, trigger: &Trigger, host: &mut dyn FnMut(Call) -> Result<Reply, Gone>) -> Execution {
        self.engine.execute(&self.playbook, &self.granted, trigger, self.limits, host)
    }
}
