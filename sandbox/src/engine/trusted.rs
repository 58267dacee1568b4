//! The one place with `unsafe`: machine code from an artifact becomes a component.
#![expect(unsafe_code, reason = "loading machine code is unsafe by nature; the argument stands at the call")]

use super::artifact::Artifact;
use wasmtime::component::Component;

/// Loads the artifact's machine code into this engine.
pub(super) fn deserialize(engine: &wasmtime::Engine, artifact: &Artifact) -> wasmtime::Result<Component> {
    // SAFETY: `Component::deserialize` asks that the bytes are the unmodified output of a
    // `precompile_component` of this version of Wasmtime. An `Artifact` exists in two ways only
    // (its fields are private to `artifact.rs`): `Engine::compile` made it in this process, or
    // `SealedArtifact::open` proved an HMAC-SHA256 over exactly these bytes under a key that only
    // this host's effector derives, and which it uses only to seal what `Engine::compile` gave. The
    // MAC also covers the engine's fingerprint, which `Engine::load` has compared with its own
    // before this call: version, target, processor features and configuration are the same. The
    // bytes are owned memory, so that nobody changes them between that proof and this use, as
    // could happen to a mapped file.
    unsafe { Component::deserialize(engine, artifact.code()) }
}
