//! Validates a component and lists what [`super::Package`] decides by.

use super::{FEATURES, InvalidPackage, MAX_FUNCTIONS};
use fettle_model::playbook::MANIFEST_SECTION;
use wasmparser::{BinaryReaderError, ComponentType, Parser, Payload, Validator};

/// What stands at the component's outermost level.
#[derive(Default)]
pub(super) struct Scan<'a> {
    /// Bodies of the manifest sections.
    pub(super) manifests: Vec<&'a [u8]>,
    /// Names of the imports.
    pub(super) imports: Vec<&'a str>,
    /// Names of the exports.
    pub(super) exports: Vec<&'a str>,
}

const WASM_MAGIC: &[u8] = b"\0asm";
const ELF_MAGIC: &[u8] = b"\x7fELF";
/// Version 13, layer 1: the component encoding (component model's `Binary.md`, "Component Definitions").
const COMPONENT_VERSION: &[u8] = &[0x0d, 0x00, 0x01, 0x00];
/// Version 1, layer 0: a core module (core specification, section 5.5.16).
const MODULE_VERSION: &[u8] = &[0x01, 0x00, 0x00, 0x00];

/// Validates the bytes and lists the outermost level.
pub(super) fn scan(bytes: &[u8]) -> Result<Scan<'_>, InvalidPackage> {
    if bytes.starts_with(ELF_MAGIC) {
        return Err(InvalidPackage::Precompiled);
    }
    let version = bytes.strip_prefix(WASM_MAGIC).ok_or(InvalidPackage::NotWebAssembly)?;
    if version.starts_with(MODULE_VERSION) {
        return Err(InvalidPackage::CoreModule);
    }
    if !version.starts_with(COMPONENT_VERSION) {
        return Err(InvalidPackage::NotWebAssembly);
    }
    Validator::new_with_features(FEATURES).validate_all(bytes).map_err(malformed)?;
    list(bytes)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the validator's enum: every other section is validated and says nothing here"
)]
fn list(bytes: &[u8]) -> Result<Scan<'_>, InvalidPackage> {
    let mut scan = Scan::default();
    let mut functions = 0_u32;
    // Nested modules and components begin with `Version` and stop with `End`; 1 is the outermost.
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(malformed)? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::CodeSectionStart { count, .. } => {
                functions = functions.saturating_add(count);
                if functions > MAX_FUNCTIONS {
                    return Err(InvalidPackage::TooManyFunctions);
                }
            }
            Payload::ComponentTypeSection(types) => {
                for defined in types {
                    if let ComponentType::Resource { .. } = defined.map_err(malformed)? {
                        return Err(InvalidPackage::OwnResource);
                    }
                }
            }
            Payload::CustomSection(section) if depth == 1 && section.name() == MANIFEST_SECTION => {
                scan.manifests.push(section.data());
            }
            Payload::ComponentImportSection(imports) if depth == 1 => {
                for import in imports {
                    scan.imports.push(import.map_err(malformed)?.name.name);
                }
            }
            Payload::ComponentExportSection(exports) if depth == 1 => {
                for export in exports {
                    scan.exports.push(export.map_err(malformed)?.name.name);
                }
            }
            _ => {}
        }
    }
    Ok(scan)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` takes")]
fn malformed(error: BinaryReaderError) -> InvalidPackage {
    InvalidPackage::Malformed {
        offset: u64::try_from(error.offset()).unwrap_or(u64::MAX),
        message: error.message().chars().take(400).collect(),
    }
}
