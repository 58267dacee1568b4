//! Escalation: the ordered playbooks that answer one problem, each in its turn, and people after the last.
//!
//! A *rung* is a place in that list: the remediation's own playbook stands on the first. Which rung is due is counted
//! by the control plane alone, from the log; here is what operators write, and what is told of a list. Decides nothing.

use crate::id::RunId;
use crate::name::{EnvironmentName, PlaybookName};
use crate::permit::PermitRejection;
use crate::remediation::{Mode, Parameters, PlaybookVersion};
use crate::run::Ending;
use crate::time::{UnixMillis, millis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Most rungs of one list: what a person still reads at a glance. Every rung is a playbook of at most half an hour.
pub const MAX_RUNGS: u32 = 8;
/// How long a fault may go on after a rung's run began: three of the default cooldowns, long enough for a run of the
/// standard playbooks and its confirmation.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_mins(15);
/// Longest such time: a fault that goes on for a day is people's.
pub const MAX_TIMEOUT: Duration = Duration::from_hours(24);
/// Most attempts that are told of one problem, the newest: four rounds of the longest list.
pub const MAX_TRIED: usize = 32;

/// A place in a remediation's list, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Rung(u32);

/// The number is no place in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a rung is a number from 1 to {MAX_RUNGS}, not {0}")]
pub struct InvalidRung(pub u32);

impl Rung {
    /// The remediation's own playbook.
    pub const FIRST: Self = Self(1);

    /// The rung after this one; `None` beyond [`MAX_RUNGS`].
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        if self.0 < MAX_RUNGS { Some(Self(self.0 + 1)) } else { None }
    }

    /// Whether it is the first: all that a remediation without a list has, and all that records knew before there were
    /// lists.
    #[must_use]
    pub fn is_first(&self) -> bool {
        *self == Self::FIRST
    }

    /// Its index among the further ones; `None` for the first.
    fn further(self) -> Option<usize> {
        usize::try_from(self.0).ok()?.checked_sub(2)
    }
}

impl Default for Rung {
    fn default() -> Self {
        Self::FIRST
    }
}

impl TryFrom<u32> for Rung {
    type Error = InvalidRung;

    fn try_from(number: u32) -> Result<Self, InvalidRung> {
        if (1..=MAX_RUNGS).contains(&number) { Ok(Self(number)) } else { Err(InvalidRung(number)) }
    }
}

impl From<Rung> for u32 {
    fn from(rung: Rung) -> Self {
        rung.0
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What follows a remediation's own playbook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Escalation {
    /// How long after the run of the remediation's own playbook began the check may stay critical before the turn of
    /// what follows.
    #[serde(with = "millis", rename = "timeout_ms")]
    pub timeout: Duration,
    /// The playbooks after it, in their order; at most [`MAX_RUNGS`] less one.
    pub then: Vec<Further>,
}

impl Default for Escalation {
    fn default() -> Self {
        Self { timeout: DEFAULT_TIMEOUT, then: Vec::new() }
    }
}

impl Escalation {
    /// Whether nothing follows: the playbook is tried until the attempts are used up.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.then.is_empty()
    }

    /// What stands on a rung after the first.
    #[must_use]
    pub fn further(&self, rung: Rung) -> Option<&Further> {
        self.then.get(rung.further()?)
    }

    /// Every rung of the list, the first included.
    pub fn rungs(&self) -> impl Iterator<Item = Rung> {
        let further = u32::try_from(self.then.len()).unwrap_or(MAX_RUNGS);
        (1..=further.saturating_add(1).min(MAX_RUNGS)).map(Rung)
    }

    /// How long after a rung's run began the check may stay critical; `None` beyond the list.
    #[must_use]
    pub fn timeout(&self, rung: Rung) -> Option<Duration> {
        if rung.is_first() { Some(self.timeout) } else { self.further(rung).map(|further| further.timeout) }
    }

    /// The rung that follows; `None`: people.
    #[must_use]
    pub fn after(&self, rung: Rung) -> Option<Rung> {
        rung.next().filter(|next| self.further(*next).is_some())
    }
}

/// A playbook after the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Further {
    /// The playbook and the exact version, resolved when the configuration was applied.
    pub playbook: PlaybookVersion,
    /// What it is given; already valid against its schema.
    pub parameters: Parameters,
    /// How far it is trusted, per environment; the remediation's own modes where the file names none.
    pub modes: BTreeMap<EnvironmentName, Mode>,
    /// How long after its run began the check may stay critical before the next rung's turn, or people's.
    #[serde(with = "millis", rename = "timeout_ms")]
    pub timeout: Duration,
}

/// One thing that was tried at a problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tried {
    /// On which rung.
    pub rung: Rung,
    /// The playbook that stood there.
    pub playbook: PlaybookName,
    /// What came of it.
    pub how: TriedHow,
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "was", deny_unknown_fields)]
pub enum TriedHow {
    /// Its run ended.
    Ended {
        /// The run.
        run: RunId,
        /// How.
        ending: Ending,
    },
    /// The agent refused the permit; nothing was done.
    Rejected {
        /// The run that it would have been.
        run: RunId,
    },
    /// Its run never reported.
    Unresolved {
        /// The run.
        run: RunId,
    },
    /// The host cannot run it, as its agent said.
    PassedOver,
}

impl TriedHow {
    /// What came of it, in a word, as in tables.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Ended { ending, .. } => ending.as_str(),
            Self::Rejected { .. } => "rejected",
            Self::Unresolved { .. } => "unresolved",
            Self::PassedOver => "passed over",
        }
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.playbook, self.how.as_str())
    }
}

/// A rung of a check's list on a host, with what was tried there at the present problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RungRow {
    /// The rung.
    pub rung: Rung,
    /// The playbook that stands there.
    pub playbook: PlaybookVersion,
    /// How far it is trusted there.
    pub mode: Mode,
    /// How long after its run began the check may stay critical.
    #[serde(with = "millis", rename = "timeout_ms")]
    pub timeout: Duration,
    /// What was tried there, in order.
    pub tried: Vec<Tried>,
    /// How its turn stands.
    pub standing: RungStanding,
}

/// How a rung's turn stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is", deny_unknown_fields)]
pub enum RungStanding {
    /// It is over.
    Over,
    /// It is the one that is due.
    Due {
        /// When its turn is over by its timeout, where that counts.
        over_at: Option<UnixMillis>,
    },
    /// It comes later.
    Waiting,
}

/// What an ending says about its rung's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnAfter {
    /// It is over: the playbook did what it does, and it did not help, or it could not do it.
    Over,
    /// It is over as soon as the check fails again within the same problem.
    OverIfItFailsAgain,
    /// It goes on, until its timeout: nothing is known about whether the playbook helps.
    GoesOn,
}

/// What a run's ending says about its rung's turn.
#[must_use]
pub const fn turn_after(ending: Ending) -> TurnAfter {
    match ending {
        Ending::Ineffective | Ending::Failed | Ending::Reverted => TurnAfter::Over,
        Ending::Succeeded => TurnAfter::OverIfItFailsAgain,
        Ending::Superseded | Ending::Cancelled | Ending::Expired | Ending::InDoubt => TurnAfter::GoesOn,
    }
}

/// What an agent's rejection of a permit says about its rung's turn: what this host does not allow today it does not
/// allow in a minute.
#[must_use]
pub const fn turn_after_rejection(because: &PermitRejection) -> TurnAfter {
    match because {
        PermitRejection::PlaybookUntrusted
        | PermitRejection::TargetsDiffer { .. }
        | PermitRejection::AboveCeiling { .. } => TurnAfter::Over,
        PermitRejection::BadSignature
        | PermitRejection::ForeignKey { .. }
        | PermitRejection::NotInLog
        | PermitRejection::OtherHost
        | PermitRejection::OtherRequest
        | PermitRejection::Replayed
        | PermitRejection::Expired { .. }
        | PermitRejection::StaleFence { .. }
        | PermitRejection::Stopped { .. }
        | PermitRejection::DrillsRefused
        | PermitRejection::Busy
        | PermitRejection::LogForked
        | PermitRejection::NotForOffline => TurnAfter::GoesOn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::PlaybookDigest;

    fn list(further: usize) -> Escalation {
        let playbook = PlaybookVersion { name: "mend".parse().expect("a name"), digest: PlaybookDigest::of(b"mend") };
        let modes = BTreeMap::new();
        let each = Further { playbook, parameters: Parameters::default(), modes, timeout: Duration::from_mins(1) };
        Escalation { timeout: Duration::from_mins(2), then: vec![each; further] }
    }

    #[test]
    fn a_list_goes_up_rung_by_rung_and_then_to_people() {
        let list = list(2);
        let rungs: Vec<u32> = list.rungs().map(u32::from).collect();
        assert_eq!(rungs, [1, 2, 3]);
        let second = list.after(Rung::FIRST).expect("a second");
        let third = list.after(second).expect("a third");
        assert_eq!(list.after(third), None);
        let timeouts = [Rung::FIRST, second, third].map(|rung| list.timeout(rung));
        assert_eq!(timeouts, [2, 1, 1].map(|minutes| Some(Duration::from_mins(minutes))));
        assert_eq!(Escalation::default().after(Rung::FIRST), None);
    }

    #[test]
    fn a_rung_is_a_number_of_the_longest_list() {
        for wrong in ["0", "9", "-1"] {
            assert!(serde_json::from_str::<Rung>(wrong).is_err(), "{wrong}");
        }
        let last: Rung = serde_json::from_str("8").expect("the last");
        assert_eq!(last.next(), None);
    }
}
