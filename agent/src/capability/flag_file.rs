//! The text of a flagd-format file: finds one flag's definition and changes its default variant.
//!
//! Pure. The change is a splice of the one string, so that everything else keeps its bytes: order
//! of keys, white space, numbers that a parser would round. Source of the format: flagd's flag
//! definition schema (`flags.<key>.{state, variants, defaultVariant, targeting}`).

use fettle_sandbox::call::Revision;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::ops::Range;

/// Why there is no usable definition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FlagFileError {
    /// Not JSON, or not of the format.
    #[error("not a flag definition file: {0}")]
    Malformed(String),
    /// No flag of this key.
    #[error("no such flag in the file")]
    Missing,
    /// A key is there twice: readers differ in which one counts.
    #[error("the key {0:?} is there twice")]
    Duplicate(String),
}

/// Whether flagd evaluates the flag at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum State {
    /// It does.
    Enabled,
    /// It does not: applications use their own default.
    Disabled,
}

/// Who decides the variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DecidedBy {
    /// The default variant alone.
    Default,
    /// Targeting rules; the default variant is only what is left.
    Targeting,
}

/// One flag as the file defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Definition {
    /// Its default variant.
    pub(super) value: String,
    /// Where the default variant's string stands in the file, quotes included.
    place: Range<usize>,
    /// Its variants, in the file's order, with those that mean *on* (JSON `true`) marked.
    pub(super) variants: Vec<(String, Meaning)>,
    /// Whether it is evaluated.
    pub(super) state: State,
    /// Who decides.
    pub(super) decided_by: DecidedBy,
    /// Digest of the definition's text.
    pub(super) revision: Revision,
}

/// What a variant's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// JSON `true`.
    On,
    /// Anything else.
    Other,
}

impl Definition {
    /// Finds a flag.
    ///
    /// # Errors
    /// When the text is not of the format, or the flag is not there exactly once.
    pub(super) fn find(text: &str, key: &str) -> Result<Self, FlagFileError> {
        let file: Members<'_> = parse(text)?;
        let flags: Members<'_> = parse(file.one("flags")?.ok_or_else(|| missing("flags"))?.get())?;
        let raw = flags.one(key)?.ok_or(FlagFileError::Missing)?;
        let definition: Members<'_> = parse(raw.get())?;
        let state = definition.one("state")?.ok_or_else(|| missing("state"))?;
        let default = definition.one("defaultVariant")?.ok_or_else(|| missing("defaultVariant"))?;
        let variants: Members<'_> = parse(definition.one("variants")?.ok_or_else(|| missing("variants"))?.get())?;
        let targeting = definition.one("targeting")?.map(|rules| parse::<Members<'_>>(rules.get())).transpose()?;
        // `default` is a slice of `text`: serde_json lends raw values out of its input.
        let start = default.get().as_ptr().addr().wrapping_sub(text.as_ptr().addr());
        Ok(Self {
            value: parse(default.get())?,
            place: start..start.saturating_add(default.get().len()),
            variants: variants.0.into_iter().map(|(name, value)| (name, meaning(value))).collect(),
            state: parse(state.get())?,
            decided_by: match targeting {
                Some(rules) if !rules.0.is_empty() => DecidedBy::Targeting,
                Some(_) | None => DecidedBy::Default,
            },
            revision: revision_of(raw.get()),
        })
    }

    /// The file's text with another default variant; everything else keeps its bytes.
    ///
    /// # Errors
    /// When `text` is not the one in which this definition was found.
    pub(super) fn with_value(&self, text: &str, value: &str) -> Result<String, FlagFileError> {
        let other_text = || FlagFileError::Malformed("the definition was found in another text".to_owned());
        let before = text.get(..self.place.start).ok_or_else(other_text)?;
        let after = text.get(self.place.end..).ok_or_else(other_text)?;
        let value = serde_json::Value::from(value);
        Ok(format!("{before}{value}{after}"))
    }

    /// Whether it has this variant.
    pub(super) fn has(&self, variant: &str) -> bool {
        self.variants.iter().any(|(name, _)| name == variant)
    }

    /// The names of its variants, for people.
    pub(super) fn variant_names(&self) -> String {
        let names: Vec<&str> = self.variants.iter().map(|(name, _)| name.as_str()).collect();
        names.join(", ")
    }
}

fn meaning(value: &RawValue) -> Meaning {
    if value.get() == "true" { Meaning::On } else { Meaning::Other }
}

fn missing(key: &str) -> FlagFileError {
    FlagFileError::Malformed(format!("no {key}"))
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, FlagFileError> {
    serde_json::from_str(text).map_err(|error| FlagFileError::Malformed(error.to_string()))
}

fn revision_of(definition: &str) -> Revision {
    let digest = Sha256::digest(definition.as_bytes());
    Revision(format!("flag:{}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

/// The members of a JSON object in their order, values unparsed.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    fn one(&self, key: &str) -> Result<Option<&'a RawValue>, FlagFileError> {
        let mut found = self.0.iter().filter(|(name, _)| name == key).map(|(_, value)| *value);
        match (found.next(), found.next()) {
            (first, None) => Ok(first),
            (_, Some(_)) => Err(FlagFileError::Duplicate(key.to_owned())),
        }
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = r#"{
  "$schema": "https://flagd.dev/schema/v0/flags.json",
  "flags": {
    "beta": {"variants": {"on": true,  "off": false}, "state": "ENABLED", "defaultVariant" : "on", "x": 1.50},
    "ruled": {"state": "ENABLED", "variants": {"a": "x"}, "defaultVariant": "a", "targeting": {"if": []}},
    "asleep": {"state": "DISABLED", "variants": {"a": "x"}, "defaultVariant": "a", "targeting": {}}
  }
}"#;

    #[test]
    fn only_the_default_variant_changes_and_every_other_byte_stays() {
        let beta = Definition::find(FILE, "beta").expect("beta");
        assert_eq!(beta.value, "on");
        assert_eq!(beta.variants, [("on".to_owned(), Meaning::On), ("off".to_owned(), Meaning::Other)]);
        let changed = beta.with_value(FILE, "off").expect("a text");
        assert_eq!(changed, FILE.replace(r#""defaultVariant" : "on""#, r#""defaultVariant" : "off""#));
        let again = Definition::find(&changed, "beta").expect("beta");
        assert_eq!(again.value, "off");
        assert_ne!(again.revision, beta.revision);
        let other = |text: &str| Definition::find(text, "ruled").expect("ruled").revision;
        assert_eq!(other(&changed), other(FILE), "another flag's revision stays");
    }

    #[test]
    fn state_and_targeting_are_seen() {
        let ruled = Definition::find(FILE, "ruled").expect("ruled");
        assert_eq!((ruled.state, ruled.decided_by), (State::Enabled, DecidedBy::Targeting));
        let asleep = Definition::find(FILE, "asleep").expect("asleep");
        assert_eq!((asleep.state, asleep.decided_by), (State::Disabled, DecidedBy::Default));
    }

    #[test]
    fn what_is_not_exactly_one_definition_is_refused() {
        let find = |text: &str| Definition::find(text, "a").map(|d| d.value);
        assert_eq!(find(r#"{"flags":{}}"#), Err(FlagFileError::Missing));
        assert_eq!(find(r#"{"flags":{"a":{},"a":{}}}"#), Err(FlagFileError::Duplicate("a".to_owned())));
        let twice = r#"{"flags":{"a":{"state":"ENABLED","variants":{},"defaultVariant":"x","defaultVariant":"y"}}}"#;
        assert_eq!(find(twice), Err(FlagFileError::Duplicate("defaultVariant".to_owned())));
        for text in ["", "[]", "{}", r#"{"flags":[]}"#, r#"{"flags":{"a":{"state":"ENABLED","variants":{}}}}"#] {
            assert!(matches!(find(text), Err(FlagFileError::Malformed(_))), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_variant_name_survives_being_set(value in "\\PC{0,20}") {
            let beta = Definition::find(FILE, "beta").expect("beta");
            let changed = beta.with_value(FILE, &value).expect("a text");
            prop_assert_eq!(Definition::find(&changed, "beta").expect("beta").value, value);
        }

        #[test]
        fn no_text_makes_the_parser_fall_over(text in "\\PC{0,200}") {
            // Reaching the end is the assertion; what it says is checked above.
            prop_assert!(Definition::find(&text, "beta").is_err());
        }
    }
}
