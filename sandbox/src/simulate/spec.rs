//! What a simulated world is made of, as it stands in a scenario file.

use crate::call::{Activity, Verdict};
use fettle_model::name::Label;
use fettle_model::time::HumanDuration;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// A world at its beginning. Every thing has the label of the grant that it is bound to.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorldSpec {
    /// Services.
    #[serde(default)]
    pub service: BTreeMap<Label, ServiceSpec>,
    /// Deployables with releases.
    #[serde(default)]
    pub release: BTreeMap<Label, ReleaseRootSpec>,
    /// Flags.
    #[serde(default)]
    pub flag: BTreeMap<Label, FlagSpec>,
    /// Checks.
    #[serde(default)]
    pub health: BTreeMap<Label, HealthSpec>,
    /// Facts by key: text, a whole number, yes or no, or several texts.
    #[serde(default)]
    pub fact: BTreeMap<String, toml::Value>,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ServiceSpec {
    /// What it does.
    pub activity: Activity,
    /// How often it was restarted in the last hour.
    #[serde(default)]
    pub restarts_last_hour: u32,
    /// What a start leads to.
    #[serde(default)]
    pub starts_into: StartsInto,
    /// How long a start takes.
    #[serde(default = "at_once")]
    pub start_takes: HumanDuration,
    /// The last lines of its log.
    #[serde(default)]
    pub log: Vec<String>,
}

/// What starting a service leads to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartsInto {
    /// It runs.
    #[default]
    Active,
    /// It ends badly.
    Failed,
}

/// A deployable.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ReleaseRootSpec {
    /// Id of the current release.
    pub current: String,
    /// Newest first.
    pub history: Vec<ReleaseSpec>,
    /// How long a release takes until it serves.
    #[serde(default = "at_once")]
    pub settle_takes: HumanDuration,
}

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ReleaseSpec {
    /// Its id.
    pub id: String,
    /// Its version for people.
    pub version: String,
    /// Whether it is known to be good.
    #[serde(default)]
    pub known_good: bool,
    /// Whether it ever serves.
    #[serde(default = "yes")]
    pub serves: bool,
}

/// A flag.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlagSpec {
    /// Its variant.
    pub value: String,
    /// All its variants.
    pub variants: Vec<String>,
}

/// A check.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthSpec {
    /// What it says.
    pub verdict: Verdict,
    /// In words.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// How it changes. Of several that apply, the one that took effect last holds.
    #[serde(default)]
    pub becomes: Vec<Becomes>,
}

/// A change of a check.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Becomes {
    /// To what.
    pub verdict: Verdict,
    /// In words.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// How long after.
    pub after: HumanDuration,
    /// After which action, `service.restart`; each time it is done. Without one: after the beginning.
    pub following: Option<String>,
}

const fn at_once() -> HumanDuration {
    HumanDuration(Duration::ZERO)
}

const fn yes() -> bool {
    true
}
