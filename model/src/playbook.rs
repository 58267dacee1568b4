//! A playbook's manifest: what it is, what it asks for, how it is confirmed and drilled.
//!
//! `playbook.toml` beside the source is parsed by [`Manifest::from_toml`], embedded in the component
//! as the custom section [`MANIFEST_SECTION`] (as the same TOML bytes), and read from there by
//! everybody else. The package is that component; its SHA-256 names the version.

use crate::digest::{KeyId, PlaybookDigest};
use crate::evidence::FaultKind;
use crate::name::{Label, PlaybookName, PublisherName};
use crate::remediation::Parameters;
use crate::time::HumanDuration;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Name of the component's custom section that holds the manifest.
pub const MANIFEST_SECTION: &str = "fettle:manifest";
/// Longest manifest in bytes.
pub const MAX_MANIFEST_BYTES: usize = 64 * 1024;
/// Largest package: the biggest measured guest (componentised Python) has 18.5 MB and is not yet
/// supported; a Rust one has 0.1 MB.
pub const MAX_PACKAGE_BYTES: usize = 8 * 1024 * 1024;

/// A manifest, format 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manifest {
    /// The format; 1.
    pub manifest: u32,
    /// Who it is.
    pub playbook: About,
    /// Its parameters by name.
    #[serde(default)]
    pub parameters: BTreeMap<String, Parameter>,
    /// What it asks for.
    #[serde(rename = "grant", default)]
    pub grants: Vec<Grant>,
    /// What one run may use.
    pub limits: Limits,
    /// What the host checks after the playbook says `resolved`.
    pub confirm: Confirm,
    /// What happens to reversible steps of a failed run.
    pub on_failure: OnFailure,
    /// The faults by which a drill proves it.
    #[serde(rename = "drill", default)]
    pub drills: Vec<DrillDeclaration>,
}

/// Who a playbook is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Its name.
    pub name: PlaybookName,
    /// Its version for people; the digest is what counts.
    pub version: String,
    /// One line.
    pub summary: String,
    /// Who answers for it.
    pub owners: Vec<String>,
    /// The interface version that it needs, `fettle:host@0.1.0`.
    pub host: String,
}

/// A parameter's type, bounds and default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "kebab-case")]
pub enum Parameter {
    /// A whole number.
    Integer {
        /// Used when none is given.
        default: i64,
        /// Smallest allowed.
        minimum: i64,
        /// Largest allowed.
        maximum: i64,
        /// For people.
        summary: String,
    },
    /// Text of at most 1 024 bytes.
    Text {
        /// Used when none is given.
        default: String,
        /// For people.
        summary: String,
    },
    /// A duration such as `"30s"`; the playbook receives whole milliseconds.
    Duration {
        /// Used when none is given.
        default: HumanDuration,
        /// Longest allowed.
        maximum: HumanDuration,
        /// For people.
        summary: String,
    },
    /// Yes or no.
    Boolean {
        /// Used when none is given.
        default: bool,
        /// For people.
        summary: String,
    },
}

/// A capability that the manifest asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The label by which the playbook opens it.
    pub label: Label,
    /// What kind of thing.
    pub kind: GrantKind,
    /// The changing actions it asks for; observing is implied.
    #[serde(default)]
    pub actions: BTreeSet<Action>,
    /// Why it is needed, for those who approve it.
    pub why: String,
}

/// What kind of thing a grant is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GrantKind {
    /// A service unit.
    Service,
    /// A deployable with releases.
    Release,
    /// A feature flag.
    Flag,
    /// A check's health.
    Health,
    /// Facts about the host.
    Facts,
}

/// A changing action. Closed: each has an interface, a probe after a crash, and an undo class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Start a service.
    Start,
    /// Stop a service.
    Stop,
    /// Restart a service.
    Restart,
    /// Make a service read its configuration again.
    Reload,
    /// Make a release the current one.
    Activate,
    /// Set a feature flag for a while.
    Set,
}

impl Action {
    /// The kind of grant that this action belongs to.
    #[must_use]
    pub const fn kind(self) -> GrantKind {
        match self {
            Self::Start | Self::Stop | Self::Restart | Self::Reload => GrantKind::Service,
            Self::Activate => GrantKind::Release,
            Self::Set => GrantKind::Flag,
        }
    }

    /// Whether an inverse takes it back.
    #[must_use]
    pub const fn reversibility(self) -> Reversibility {
        match self {
            Self::Start | Self::Stop | Self::Activate | Self::Set => Reversibility::Reversible,
            Self::Restart | Self::Reload => Reversibility::Irreversible,
        }
    }

    /// The action as it stands in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Reload => "reload",
            Self::Activate => "activate",
            Self::Set => "set",
        }
    }
}

/// Whether what a playbook does can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reversibility {
    /// All of it, by inverses that the journal holds.
    Reversible,
    /// Not all of it.
    Irreversible,
}

/// What one run may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Changing calls in one run; at most 100.
    pub actions: u32,
    /// From the start of the run to its end, the confirmation not counted; at most 30 minutes.
    pub duration: HumanDuration,
}

/// What the host itself checks before it believes `resolved`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    /// Label of a `health` grant.
    pub health: Label,
    /// Healthy for this long without interruption.
    pub stable: HumanDuration,
    /// Within this long; otherwise the run is `ineffective`.
    pub within: HumanDuration,
}

/// What happens to the reversible steps of a failed run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnFailure {
    /// Undo or leave.
    pub undo: UndoPolicy,
    /// Why, where they are left.
    #[serde(default)]
    pub why: Option<String>,
}

/// Whether reversible steps of a failed run are undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UndoPolicy {
    /// In reverse order, from the journal.
    Automatic,
    /// They stay.
    Leave,
}

/// A fault by which the playbook can be drilled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrillDeclaration {
    /// The fault.
    pub fault: FaultKind,
    /// The label whose bound thing it hits.
    pub on: Label,
}

/// What is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidManifest {
    /// Not TOML, an unknown key, a missing key, or a value of the wrong type.
    #[error("line {line}: {message}")]
    Syntax {
        /// Line in the manifest, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// The parts contradict each other.
    #[error("{0}")]
    Inconsistent(String),
}

impl Manifest {
    /// Whether everything that its grants ask for has an inverse.
    #[must_use]
    pub fn reversibility(&self) -> Reversibility {
        let actions = self.grants.iter().flat_map(|grant| &grant.actions);
        actions.map(|action| action.reversibility()).max().unwrap_or(Reversibility::Reversible)
    }

    /// Parses and checks a manifest.
    ///
    /// # Errors
    /// With the line for what the syntax shows; with the names for what the parts contradict.
    pub fn from_toml(text: &str) -> Result<Self, InvalidManifest> {
        let manifest: Self = toml::from_str(text).map_err(|error| InvalidManifest::Syntax {
            line: crate::config_file::line_of(text, error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        })?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The grant of this label.
    #[must_use]
    pub fn grant(&self, label: &Label) -> Option<&Grant> {
        self.grants.iter().find(|grant| &grant.label == label)
    }

    fn check(&self) -> Result<(), InvalidManifest> {
        let wrong = |text: String| Err(InvalidManifest::Inconsistent(text));
        if self.manifest != 1 {
            return wrong(format!("manifest = {}: only format 1 is known", self.manifest));
        }
        if !(1..=MAX_ACTIONS).contains(&self.limits.actions) {
            return wrong(format!("limits.actions must be 1 to {MAX_ACTIONS}, not {}", self.limits.actions));
        }
        if self.limits.duration > MAX_DURATION || self.confirm.within > MAX_DURATION {
            return wrong(format!("limits.duration and confirm.within may be at most {MAX_DURATION}"));
        }
        if self.confirm.stable > self.confirm.within {
            return wrong(format!(
                "confirm.stable ({}) is longer than confirm.within ({}), so no run could be confirmed",
                self.confirm.stable, self.confirm.within
            ));
        }
        let mut labels = BTreeSet::new();
        for grant in &self.grants {
            if !labels.insert(&grant.label) {
                return wrong(format!("two grants have the label {}", grant.label));
            }
            if let Some(action) = grant.actions.iter().find(|action| action.kind() != grant.kind) {
                return wrong(format!("grant {}: the action {} is not one of its kind", grant.label, action.as_str()));
            }
        }
        match self.grant(&self.confirm.health) {
            Some(grant) if grant.kind == GrantKind::Health => {}
            _ => {
                return wrong(format!(
                    "confirm.health names {}, which is no grant of kind health",
                    self.confirm.health
                ));
            }
        }
        for drill in &self.drills {
            match self.grant(&drill.on) {
                Some(grant) if grant.kind == drill.fault.kind() => {}
                _ => {
                    return wrong(format!(
                        "drill {} needs a grant of its kind with the label {}",
                        drill.fault.as_str(),
                        drill.on
                    ));
                }
            }
        }
        if self.on_failure.undo == UndoPolicy::Leave && self.on_failure.why.is_none() {
            return wrong("on-failure.undo = \"leave\" needs a why".to_owned());
        }
        Ok(())
    }

    /// Checks given parameters against the declared ones and fills in defaults. Durations become
    /// whole milliseconds.
    ///
    /// # Errors
    /// With the parameter's name and what it may be.
    pub fn complete(&self, given: &BTreeMap<String, serde_json::Value>) -> Result<Parameters, InvalidParameter> {
        if let Some(name) = given.keys().find(|name| !self.parameters.contains_key(*name)) {
            return Err(InvalidParameter { name: name.clone(), expected: self.known_parameters() });
        }
        let mut complete = BTreeMap::new();
        for (name, parameter) in &self.parameters {
            let value = parameter
                .accept(given.get(name))
                .ok_or_else(|| InvalidParameter { name: name.clone(), expected: parameter.expectation() })?;
            complete.insert(name.clone(), value);
        }
        Ok(Parameters(complete))
    }

    fn known_parameters(&self) -> String {
        if self.parameters.is_empty() {
            return "absent: this playbook has no parameters".to_owned();
        }
        let names: Vec<&str> = self.parameters.keys().map(String::as_str).collect();
        format!("one of {}", names.join(", "))
    }
}

/// Most changing calls that a manifest may ask for.
const MAX_ACTIONS: u32 = 100;
/// Longest run, and longest confirmation: a permit's slot is held for their sum at worst.
const MAX_DURATION: HumanDuration = HumanDuration(std::time::Duration::from_mins(30));
/// Longest text parameter.
const MAX_TEXT_PARAMETER_BYTES: usize = 1_024;

/// A parameter was given that the manifest does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the parameter {name} must be {expected}")]
pub struct InvalidParameter {
    /// Its name.
    pub name: String,
    /// What it must be.
    pub expected: String,
}

impl Parameter {
    fn accept(&self, given: Option<&serde_json::Value>) -> Option<serde_json::Value> {
        match self {
            Self::Integer { default, minimum, maximum, .. } => match given {
                None => Some((*default).into()),
                Some(value) => value.as_i64().filter(|v| (minimum..=maximum).contains(&v)).map(Into::into),
            },
            Self::Text { default, .. } => match given {
                None => Some(default.clone().into()),
                Some(value) => value.as_str().filter(|v| v.len() <= MAX_TEXT_PARAMETER_BYTES).map(Into::into),
            },
            Self::Duration { default, maximum, .. } => {
                let chosen = match given {
                    None => *default,
                    Some(value) => value.as_str()?.parse().ok().filter(|d: &HumanDuration| d <= maximum)?,
                };
                Some(crate::time::whole_millis(chosen.0).into())
            }
            Self::Boolean { default, .. } => match given {
                None => Some((*default).into()),
                Some(value) => value.as_bool().map(Into::into),
            },
        }
    }

    fn expectation(&self) -> String {
        match self {
            Self::Integer { minimum, maximum, .. } => format!("a whole number from {minimum} to {maximum}"),
            Self::Text { .. } => format!("text of at most {MAX_TEXT_PARAMETER_BYTES} bytes"),
            Self::Duration { maximum, .. } => format!("a duration such as \"30s\", at most {maximum}"),
            Self::Boolean { .. } => "true or false".to_owned(),
        }
    }
}

/// What a publisher signs: this package, under this name, with this manifest. The payload of a DSSE
/// envelope of type [`PUBLICATION_PAYLOAD_TYPE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publication {
    /// The playbook.
    pub name: PlaybookName,
    /// Its version for people.
    pub version: String,
    /// SHA-256 of the package.
    pub digest: PlaybookDigest,
    /// Who signs.
    pub publisher: PublisherName,
    /// With which key.
    pub key: KeyId,
}

/// DSSE payload type of a [`Publication`].
pub const PUBLICATION_PAYLOAD_TYPE: &str = "application/vnd.fettle.publication.v1+json";
