//! Packages: a playbook component with its manifest embedded, checked without running or compiling it.
//!
//! The control plane reads a package at admission, an agent before it compiles, the author's tools
//! after each build. A [`Package`] that exists has been checked: it is a component within its
//! limits, it carries one sound manifest, and what it imports is granted. Whether its publisher is
//! trusted is not decided here.

mod import;
mod scan;

pub use import::{HOST_PACKAGE, Import, VirtualWasi};

use fettle_model::digest::PlaybookDigest;
use fettle_model::playbook::{
    GrantKind, InvalidManifest, MANIFEST_SECTION, MAX_MANIFEST_BYTES, MAX_PACKAGE_BYTES, Manifest,
};
use std::collections::BTreeSet;
use wasmparser::WasmFeatures;

/// What a package may use of WebAssembly, and what the engine turns on: the target `wasm32-wasip2`'s
/// own set and the component model. No threads, SIMD, 64-bit or several memories, garbage
/// collection, exceptions, tail calls, or asynchronous components: most of the engine's advisories
/// are about those, and no playbook needs them.
pub const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::COMPONENT_MODEL);

/// Most core functions of a package. The standard playbooks have about 200; compiling 10 000 small
/// ones takes some seconds and stays within a compiling worker's limits.
pub const MAX_FUNCTIONS: u32 = 10_000;

/// What is wrong with a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPackage {
    /// Longer than a package may be.
    #[error("the package has {bytes} bytes, more than the {MAX_PACKAGE_BYTES} that it may have")]
    TooLarge {
        /// How many it has.
        bytes: usize,
    },
    /// It does not begin as WebAssembly does.
    #[error("the package is not WebAssembly")]
    NotWebAssembly,
    /// Machine code, which could do anything.
    #[error("the package is precompiled machine code, which is never accepted")]
    Precompiled,
    /// A core module, which names no interfaces.
    #[error("the package is a core module, not a component (build it for wasm32-wasip2)")]
    CoreModule,
    /// It is not valid, or uses a part of WebAssembly that is turned off.
    #[error("the package is not a valid component at byte {offset}: {message}")]
    Malformed {
        /// Where.
        offset: u64,
        /// What the validator says.
        message: String,
    },
    /// More functions than are compiled.
    #[error("the package has more than {MAX_FUNCTIONS} functions")]
    TooManyFunctions,
    /// It defines resource types of its own, whose handles no limit of ours would count.
    #[error("the package defines a resource type of its own")]
    OwnResource,
    /// There is no manifest.
    #[error("the package has no section {MANIFEST_SECTION}")]
    ManifestMissing,
    /// There are two, and readers could differ in which one they take.
    #[error("the package has more than one section {MANIFEST_SECTION}")]
    ManifestTwice,
    /// The manifest is longer than one may be.
    #[error("the manifest has {bytes} bytes, more than the {MAX_MANIFEST_BYTES} that it may have")]
    ManifestTooLarge {
        /// How many it has.
        bytes: usize,
    },
    /// The manifest is no UTF-8 text.
    #[error("the manifest is not UTF-8 text")]
    ManifestNotText,
    /// The manifest itself is wrong.
    #[error("the manifest is not sound")]
    Manifest(#[source] InvalidManifest),
    /// The manifest asks for another interface version.
    #[error("the manifest asks for {given}, and this host serves {HOST_PACKAGE}")]
    HostVersion {
        /// What it asks for.
        given: String,
    },
    /// It imports what no playbook gets.
    #[error("the package imports {name}, which no playbook is given")]
    ForbiddenImport {
        /// The import's name.
        name: String,
    },
    /// It imports an interface without asking for a grant of its kind.
    #[error("the package imports {interface} and its manifest has no grant of kind {kind}", kind = kind_name(*kind))]
    NotGranted {
        /// The import's name.
        interface: String,
        /// The grant that would be needed.
        kind: GrantKind,
    },
    /// It does not export the playbook interface.
    #[error("the package does not export the interface fettle:host/playbook")]
    NoPlaybook,
}

/// A checked package.
#[derive(Clone)]
pub struct Package {
    bytes: Vec<u8>,
    digest: PlaybookDigest,
    manifest: Manifest,
    imports: BTreeSet<Import>,
}

impl Package {
    /// Checks a package. Costs one validating pass over at most [`MAX_PACKAGE_BYTES`].
    ///
    /// # Errors
    /// With the first thing that is wrong, from the outside in.
    pub fn read(bytes: Vec<u8>) -> Result<Self, InvalidPackage> {
        if bytes.len() > MAX_PACKAGE_BYTES {
            return Err(InvalidPackage::TooLarge { bytes: bytes.len() });
        }
        let scan = scan::scan(&bytes)?;
        let manifest = manifest(&scan.manifests)?;
        let imports = scan.imports.iter().map(|name| granted(name, &manifest)).collect::<Result<_, _>>()?;
        if !scan.exports.iter().any(|name| import::is_playbook(name)) {
            return Err(InvalidPackage::NoPlaybook);
        }
        let digest = PlaybookDigest::of(&bytes);
        Ok(Self { bytes, digest, manifest, imports })
    }

    /// Embeds the manifest in a component as a toolchain made it, and checks the result.
    ///
    /// # Errors
    /// As [`Package::read`].
    pub fn build(component: &[u8], manifest_toml: &str) -> Result<Self, InvalidPackage> {
        Self::read(embed(component, manifest_toml))
    }

    /// The package as it is stored, sent and signed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the bytes: the playbook's version.
    #[must_use]
    pub const fn digest(&self) -> PlaybookDigest {
        self.digest
    }

    /// The embedded manifest.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What the component imports.
    #[must_use]
    pub const fn imports(&self) -> &BTreeSet<Import> {
        &self.imports
    }
}

impl std::fmt::Debug for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Package")
            .field("name", &self.manifest.playbook.name)
            .field("digest", &self.digest)
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// Appends the manifest to a component as the custom section [`MANIFEST_SECTION`]. The same
/// component and manifest give the same bytes. Checks nothing: [`Package::read`] does.
#[must_use]
pub fn embed(component: &[u8], manifest_toml: &str) -> Vec<u8> {
    let name = MANIFEST_SECTION.as_bytes();
    let mut section = Vec::with_capacity(name.len() + manifest_toml.len() + 8);
    write_leb128(&mut section, name.len());
    section.extend_from_slice(name);
    section.extend_from_slice(manifest_toml.as_bytes());
    let mut package = Vec::with_capacity(component.len() + section.len() + 8);
    package.extend_from_slice(component);
    package.push(0);
    write_leb128(&mut package, section.len());
    package.extend_from_slice(&section);
    package
}

fn write_leb128(to: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0x7f);
        value >>= 7;
        if value == 0 {
            to.push(low);
            return;
        }
        to.push(low | 0x80);
    }
}

fn manifest(sections: &[&[u8]]) -> Result<Manifest, InvalidPackage> {
    let section = match sections {
        [] => return Err(InvalidPackage::ManifestMissing),
        [section] => section,
        [_, _, ..] => return Err(InvalidPackage::ManifestTwice),
    };
    if section.len() > MAX_MANIFEST_BYTES {
        return Err(InvalidPackage::ManifestTooLarge { bytes: section.len() });
    }
    let text = std::str::from_utf8(section).map_err(|_| InvalidPackage::ManifestNotText)?;
    let manifest = Manifest::from_toml(text).map_err(InvalidPackage::Manifest)?;
    if !import::serves(&manifest.playbook.host) {
        return Err(InvalidPackage::HostVersion { given: manifest.playbook.host });
    }
    Ok(manifest)
}

fn granted(name: &str, manifest: &Manifest) -> Result<Import, InvalidPackage> {
    let import = Import::parse(name)
        .ok_or_else(|| InvalidPackage::ForbiddenImport { name: name.chars().take(200).collect() })?;
    match import.needs() {
        Some(kind) if !manifest.grants.iter().any(|grant| grant.kind == kind) => {
            Err(InvalidPackage::NotGranted { interface: name.to_owned(), kind })
        }
        Some(_) | None => Ok(import),
    }
}

const fn kind_name(kind: GrantKind) -> &'static str {
    match kind {
        GrantKind::Service => "service",
        GrantKind::Release => "release",
        GrantKind::Flag => "flag",
        GrantKind::Health => "health",
        GrantKind::Facts => "facts",
    }
}
