//! The one feature flag that matters, from a file in flagd's format. Called for every request.
//!
//! A flag that is missing, disabled or unreadable is off, as the SDKs do it with `off` as the code's
//! default: a broken flag file must not turn a feature on.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Whether the feature is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlagState {
    /// It is.
    On,
    /// It is not.
    Off,
}

/// Why a flag's state could not be found out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FlagError {
    /// The file cannot be read.
    #[error("read the flag file")]
    Read(#[source] std::io::Error),
    /// It is no flagd document.
    #[error("understand the flag file")]
    Parse(#[source] serde_json::Error),
    /// Its default variant does not exist or is no boolean.
    #[error("variant {variant:?} of flag {key:?} is no boolean")]
    Variant {
        /// The flag.
        key: String,
        /// Its default variant.
        variant: String,
    },
}

// flagd allows more keys (targeting, metadata, $schema): this service knows no targeting.
#[derive(Deserialize)]
struct Document {
    flags: BTreeMap<String, Definition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Definition {
    state: Activity,
    variants: BTreeMap<String, serde_json::Value>,
    default_variant: String,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
enum Activity {
    Enabled,
    Disabled,
}

/// Reads the state of flag `key` from `file`.
pub(crate) fn state(file: &Path, key: &str) -> Result<FlagState, FlagError> {
    match crate::file::read(file) {
        Ok(bytes) => parse(&bytes, key),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(FlagState::Off),
        Err(error) => Err(FlagError::Read(error)),
    }
}

fn parse(bytes: &[u8], key: &str) -> Result<FlagState, FlagError> {
    let document: Document = serde_json::from_slice(bytes).map_err(FlagError::Parse)?;
    let Some(flag) = document.flags.get(key).filter(|flag| flag.state == Activity::Enabled) else {
        return Ok(FlagState::Off);
    };
    match flag.variants.get(&flag.default_variant).and_then(serde_json::Value::as_bool) {
        Some(true) => Ok(FlagState::On),
        Some(false) => Ok(FlagState::Off),
        None => Err(FlagError::Variant { key: key.to_owned(), variant: flag.default_variant.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(document: &str, expected: Option<FlagState>) {
        assert_eq!(parse(document.as_bytes(), "new-checkout").ok(), expected, "{document}");
    }

    #[test]
    fn a_flag_is_on_only_when_it_is_enabled_and_its_default_variant_is_true() {
        let flag = |state: &str, variant: &str| {
            format!(
                r#"{{"$schema":"x","flags":{{"new-checkout":{{"state":"{state}","variants":{{"on":true,"off":false,"blue":"azure"}},"defaultVariant":"{variant}"}}}}}}"#
            )
        };
        check(&flag("ENABLED", "on"), Some(FlagState::On));
        check(&flag("ENABLED", "off"), Some(FlagState::Off));
        check(&flag("DISABLED", "on"), Some(FlagState::Off));
        check(r#"{"flags":{}}"#, Some(FlagState::Off));
        check(&flag("ENABLED", "blue"), None);
        check(&flag("ENABLED", "absent"), None);
        check(&flag("MAYBE", "on"), None);
        check("", None);
    }
}
