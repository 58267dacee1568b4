//! The engine as it is configured, compiling and loading.

use super::artifact::{Artifact, Fingerprint};
use super::trusted;
use crate::package::{FEATURES, Package};
use fettle_model::digest::PlaybookDigest;
use sha2::{Digest as _, Sha256};
use std::hash::{Hash as _, Hasher};
use wasmtime::component::Component;
use wasmtime::{Config, OptLevel};

/// Stack of the component's own frames. The thread that runs it has [`super::execute::STACK_BYTES`].
const WASM_STACK_BYTES: usize = 512 * 1024;

/// A WASM engine. Cheap to make; one serves any number of packages and executions.
pub struct Engine {
    pub(super) wasmtime: wasmtime::Engine,
    fingerprint: Fingerprint,
}

/// A playbook that is loaded and can be executed.
pub struct Playbook {
    pub(super) component: Component,
    package: PlaybookDigest,
}

/// The engine does not run on this machine.
#[derive(Debug, thiserror::Error)]
#[error("the WASM engine cannot be set up on this machine: {message}")]
pub struct EngineUnavailable {
    /// What the engine says.
    pub message: String,
}

/// A package could not be compiled, though it is valid.
#[derive(Debug, thiserror::Error)]
#[error("the playbook {package} cannot be compiled: {message}")]
pub struct CompileError {
    /// Which.
    pub package: PlaybookDigest,
    /// What the compiler says.
    pub message: String,
}

/// An artifact could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It was made by another build of the engine, or on another kind of processor.
    #[error("the compiled playbook fits the engine {artifact}, and this one is {engine}")]
    OtherEngine {
        /// Which it fits.
        artifact: Fingerprint,
        /// Which this is.
        engine: Fingerprint,
    },
    /// It is damaged.
    #[error("the compiled playbook cannot be loaded: {message}")]
    Damaged {
        /// What the engine says.
        message: String,
    },
}

impl Engine {
    /// Sets the engine up.
    ///
    /// # Errors
    /// When the processor or the system lacks what the engine needs.
    pub fn new() -> Result<Self, EngineUnavailable> {
        let wasmtime = wasmtime::Engine::new(&configuration())
            .map_err(|error| EngineUnavailable { message: format!("{error:#}") })?;
        let fingerprint = fingerprint(&wasmtime);
        Ok(Self { wasmtime, fingerprint })
    }

    /// Names this engine: version, target, processor features and configuration.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Compiles a package. Takes a tenth of a second for a Rust guest; an attacker's package can
    /// make it take long, so it runs under rlimits and never while an alert waits.
    ///
    /// # Errors
    /// When the engine does not take the package.
    pub fn compile(&self, package: &Package) -> Result<Artifact, CompileError> {
        let code = self
            .wasmtime
            .precompile_component(package.bytes())
            .map_err(|error| CompileError { package: package.digest(), message: format!("{error:#}") })?;
        Ok(Artifact::compiled(package.digest(), self.fingerprint, code))
    }

    /// Loads an artifact.
    ///
    /// # Errors
    /// When it was made for another engine.
    pub fn load(&self, artifact: &Artifact) -> Result<Playbook, LoadError> {
        if artifact.engine() != self.fingerprint {
            return Err(LoadError::OtherEngine { artifact: artifact.engine(), engine: self.fingerprint });
        }
        let component = trusted::deserialize(&self.wasmtime, artifact)
            .map_err(|error| LoadError::Damaged { message: format!("{error:#}") })?;
        Ok(Playbook { component, package: artifact.package() })
    }
}

impl Playbook {
    /// The package that it was made from.
    #[must_use]
    pub const fn package(&self) -> PlaybookDigest {
        self.package
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine({})", self.fingerprint)
    }
}

impl std::fmt::Debug for Playbook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Playbook({})", self.package)
    }
}

fn configuration() -> Config {
    let mut config = Config::new();
    config
        .wasm_features(FEATURES.complement(), false)
        .wasm_features(FEATURES, true)
        .concurrency_support(false)
        .consume_fuel(true)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .cranelift_opt_level(OptLevel::Speed)
        .max_wasm_stack(WASM_STACK_BYTES)
        // Copying a guest's few data pages is cheap, and the worker then needs no memfd.
        .memory_init_cow(false);
    config
}

fn fingerprint(engine: &wasmtime::Engine) -> Fingerprint {
    let mut hasher = Sha256Hasher(Sha256::new_with_prefix(b"fettle engine v1"));
    engine.precompile_compatibility_hash().hash(&mut hasher);
    Fingerprint(hasher.0.finalize().into())
}

/// The engine describes itself to a [`Hasher`] only; this one keeps all that it is told.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        digest.iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte))
    }
}
