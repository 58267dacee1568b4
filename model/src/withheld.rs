//! Requests that an agent does not make: what stands between a fault and the question whether it may be
//! mended, on the host itself, as data.
//!
//! The control plane refuses what it is asked ([`crate::refusal`]). Where a host cannot run the playbook that
//! answers a fault, there is nothing to ask for, and its agent says so in a record of its own.

use crate::counter::ConfigurationGeneration;
use crate::name::{Label, PublisherName};
use crate::permit::Purpose;
use crate::remediation::PlaybookVersion;
use serde::{Deserialize, Serialize};

/// Most hindrances of one record: a page for a person. A playbook asks for a handful of labels; of one that
/// asks for more, the first are named.
pub const MAX_HINDRANCES: usize = 32;

/// An agent does not ask for a permit. Said when something hinders it that it has not said before of this
/// purpose and this version of the playbook; once that is gone, it asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestWithheld {
    /// What the permit would have been for.
    pub purpose: Purpose,
    /// The playbook that answers the fault; of a drill, the one that it is to prove.
    pub playbook: PlaybookVersion,
    /// The configuration that the agent holds.
    pub configuration: ConfigurationGeneration,
    /// Everything that hinders it, not only the first.
    pub because: Hindrances,
}

/// What hinders an agent: at least one thing, at most [`MAX_HINDRANCES`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Hindrance>", into = "Vec<Hindrance>")]
pub struct Hindrances(Vec<Hindrance>);

/// Nothing hinders the agent, or more than a record tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a request is withheld because of 1 to {MAX_HINDRANCES} things, not {0}")]
pub struct InvalidHindrances(pub usize);

impl Hindrances {
    /// The first [`MAX_HINDRANCES`] of these.
    ///
    /// # Errors
    /// When there is none.
    pub fn first_of(mut all: Vec<Hindrance>) -> Result<Self, InvalidHindrances> {
        all.truncate(MAX_HINDRANCES);
        Self::try_from(all)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Hindrance> {
        self.0.iter()
    }
}

impl TryFrom<Vec<Hindrance>> for Hindrances {
    type Error = InvalidHindrances;

    fn try_from(all: Vec<Hindrance>) -> Result<Self, InvalidHindrances> {
        if (1..=MAX_HINDRANCES).contains(&all.len()) { Ok(Self(all)) } else { Err(InvalidHindrances(all.len())) }
    }
}

impl From<Hindrances> for Vec<Hindrance> {
    fn from(hindrances: Hindrances) -> Self {
        hindrances.0
    }
}

/// One thing on a host because of which its agent does not ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "rule", deny_unknown_fields)]
pub enum Hindrance {
    /// The log forked: this agent only observes.
    LogForked,
    /// No publisher whom the host's owner trusts signed the playbook.
    PublisherUntrusted {
        /// Who signed it, as the control plane says.
        publisher: PublisherName,
    },
    /// The playbook is on its way to being usable here; the agent asks when it is.
    PlaybookNotReady {
        /// What is missing.
        lacks: Lack,
    },
    /// The playbook cannot be used on this host.
    PlaybookUnusable {
        /// Why, for people: one line of at most [`crate::check::MAX_REASON_BYTES`].
        why: String,
    },
    /// A label that the playbook asks for stands for nothing here.
    Unbound {
        /// The label.
        label: Label,
        /// How that is.
        how: Unbound,
    },
}

/// What a playbook lacks before it can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lack {
    /// Its admission: the agent has not been told of the playbook yet.
    Admission,
    /// Its package.
    Package,
    /// To be compiled.
    Compilation,
}

/// Why a label stands for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unbound {
    /// The owner bound nothing to it, and there is not exactly one thing that fits.
    Nothing,
    /// The owner bound a thing of another kind than the playbook asks for.
    OtherKind,
}

impl Hindrance {
    /// Its name in documents and tables.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::LogForked => "log-forked",
            Self::PublisherUntrusted { .. } => "publisher-untrusted",
            Self::PlaybookNotReady { .. } => "playbook-not-ready",
            Self::PlaybookUnusable { .. } => "playbook-unusable",
            Self::Unbound { .. } => "unbound",
        }
    }

    /// Whether it goes away without a person.
    #[must_use]
    pub const fn passes(&self) -> bool {
        match self {
            Self::PlaybookNotReady { .. } => true,
            Self::LogForked
            | Self::PublisherUntrusted { .. }
            | Self::PlaybookUnusable { .. }
            | Self::Unbound { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_withheld_because_of_something_and_of_no_more_than_a_page() {
        let many = |count| serde_json::to_string(&vec![Hindrance::LogForked; count]).expect("JSON");
        for count in [0, MAX_HINDRANCES + 1] {
            assert!(serde_json::from_str::<Hindrances>(&many(count)).is_err(), "{count}");
        }
        for count in [1, MAX_HINDRANCES] {
            assert!(serde_json::from_str::<Hindrances>(&many(count)).is_ok(), "{count}");
        }
        assert_eq!(Hindrances::first_of(Vec::new()), Err(InvalidHindrances(0)));
        let cut = Hindrances::first_of(vec![Hindrance::LogForked; MAX_HINDRANCES + 1]).expect("cut");
        assert_eq!(cut.iter().count(), MAX_HINDRANCES);
    }

    #[test]
    fn a_hindrances_name_is_the_one_in_its_document() {
        let all = [
            Hindrance::LogForked,
            Hindrance::PublisherUntrusted { publisher: "acme".parse().expect("a name") },
            Hindrance::PlaybookNotReady { lacks: Lack::Package },
            Hindrance::PlaybookUnusable { why: "it is no component".to_owned() },
            Hindrance::Unbound { label: "worker".parse().expect("a label"), how: Unbound::Nothing },
        ];
        for each in all {
            let json = serde_json::to_value(&each).expect("JSON");
            assert_eq!(json.get("rule").and_then(|rule| rule.as_str()), Some(each.rule()));
        }
    }
}
