//! Remediations: the binding of a check to a playbook.

use crate::digest::{DocumentDigest, PlaybookDigest};
use crate::escalation::{Escalation, Further, Rung};
use crate::guard::Guard;
use crate::name::{CheckName, EnvironmentName, PlaybookName, RemediationName, ServiceName};
use crate::offline::Offline;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// How far a remediation is trusted in an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Plan only.
    Observe,
    /// A person says yes.
    Approve,
    /// By itself, within every rule.
    Auto,
}

impl Mode {
    /// The mode as it stands in documents and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Approve => "approve",
            Self::Auto => "auto",
        }
    }
}

/// When this check of this service is critical: this playbook, in this mode, under this guard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remediation {
    /// Its name.
    pub name: RemediationName,
    /// The service.
    pub service: ServiceName,
    /// The check of that service which must be critical.
    pub check: CheckName,
    /// The playbook and the exact version, resolved when the configuration was applied.
    pub playbook: PlaybookVersion,
    /// What the playbook is given; already valid against its schema.
    pub parameters: Parameters,
    /// How far it is trusted, per environment. An environment that is not here is `observe`.
    pub modes: BTreeMap<EnvironmentName, Mode>,
    /// Its limits.
    pub guard: Guard,
    /// What follows the playbook where it does not help.
    #[serde(default, skip_serializing_if = "Escalation::is_none")]
    pub escalation: Escalation,
    /// What a host may do while it cannot reach the control plane; `None`: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline: Option<Offline>,
}

impl Remediation {
    /// The mode in an environment; `observe` where none was given.
    #[must_use]
    pub fn mode_in(&self, environment: &EnvironmentName) -> Mode {
        self.modes.get(environment).copied().unwrap_or(Mode::Observe)
    }

    /// The remediation as it is on a rung of its list: with the playbook, the parameters and the modes that stand there,
    /// and nothing that follows. `None` beyond the list.
    #[must_use]
    pub fn at(&self, rung: Rung) -> Option<Cow<'_, Self>> {
        if rung.is_first() {
            return Some(Cow::Borrowed(self));
        }
        let Further { playbook, parameters, modes, timeout: _ } = self.escalation.further(rung)?.clone();
        let (escalation, offline) = (Escalation::default(), None);
        Some(Cow::Owned(Self { playbook, parameters, modes, escalation, offline, ..self.clone() }))
    }

    /// The remediation as it is on each rung.
    pub fn rungs(&self) -> impl Iterator<Item = (Rung, Cow<'_, Self>)> {
        self.escalation.rungs().filter_map(|rung| Some((rung, self.at(rung)?)))
    }

    /// Every playbook's version that it uses, in the order of its list.
    pub fn playbooks(&self) -> impl Iterator<Item = &PlaybookVersion> {
        std::iter::once(&self.playbook).chain(self.escalation.then.iter().map(|further| &further.playbook))
    }

    /// The first rung on which this version stands.
    #[must_use]
    pub fn rung_of(&self, version: &PlaybookVersion) -> Option<Rung> {
        self.escalation.rungs().zip(self.playbooks()).find(|(_, playbook)| *playbook == version).map(|(rung, _)| rung)
    }
}

/// A playbook's version, by name for people and by digest for everything else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaybookVersion {
    /// The name.
    pub name: PlaybookName,
    /// SHA-256 of its package.
    pub digest: PlaybookDigest,
}

/// A JSON object of parameters, kept in one canonical spelling (keys sorted, no spaces).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Parameters(pub BTreeMap<String, serde_json::Value>);

impl Parameters {
    /// The canonical text. `serde_json`'s maps are sorted too (no `preserve_order`), so equal
    /// parameters have equal text.
    #[must_use]
    pub fn canonical_text(&self) -> String {
        serde_json::Value::Object(self.0.clone().into_iter().collect()).to_string()
    }

    /// SHA-256 of the canonical text.
    #[must_use]
    pub fn digest(&self) -> DocumentDigest {
        DocumentDigest::of(self.canonical_text().as_bytes())
    }
}
