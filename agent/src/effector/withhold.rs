//! Requests that are not made: what hinders this host from running the playbook that answers a fault, and the
//! record that says so.
//!
//! Asked by `ask.rs` before every request. Never decides whether a run may be: that is the leader's, who is
//! asked as soon as nothing hinders it. What was said is kept with its record, so that no retry, reconnection
//! or restart says it again.

use super::admission::LogView;
use super::serve::{Effector, EffectorError};
use super::store::Value;
use crate::config::Unbound;
use fettle_model::check::CheckRef;
use fettle_model::counter::ConfigurationGeneration;
use fettle_model::digest::PlaybookDigest;
use fettle_model::permit::{BoundTarget, Purpose};
use fettle_model::record::Body;
use fettle_model::remediation::PlaybookVersion;
use fettle_model::withheld::{self, Hindrance, Hindrances, MAX_HINDRANCES, RequestWithheld};
use serde::{Deserialize, Serialize};

/// What was said of requests that were not made: for every check its newest transition, and the drill.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Withheld(Vec<Said>);

/// What was said of one purpose under one version of its playbook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    purpose: Purpose,
    playbook: PlaybookDigest,
    because: Vec<Hindrance>,
}

impl Withheld {
    /// The record that is due, and what has been said once it is written; `None`: nothing new is to be said. A
    /// hindrance is told once, and a record for each that comes to the others: at most [`MAX_HINDRANCES`].
    fn due(
        &self,
        purpose: Purpose,
        playbook: PlaybookVersion,
        configuration: ConfigurationGeneration,
        because: Vec<Hindrance>,
    ) -> Option<(RequestWithheld, Self)> {
        let known = self.0.iter().find(|said| said.purpose == purpose && said.playbook == playbook.digest);
        let mut said = known.map(|said| said.because.clone()).unwrap_or_default();
        let before = said.len();
        for hindrance in &because {
            if said.len() < MAX_HINDRANCES && !said.iter().any(|known| tells(known, hindrance)) {
                said.push(hindrance.clone());
            }
        }
        if said.len() == before {
            return None;
        }
        let because = Hindrances::first_of(because).ok()?;
        // An older transition, drill or version of the playbook has nothing more to say.
        let mut after = Self(self.0.iter().filter(|said| !same_subject(&said.purpose, &purpose)).cloned().collect());
        after.0.push(Said { purpose: purpose.clone(), playbook: playbook.digest, because: said });
        Some((RequestWithheld { purpose, playbook, configuration, because }, after))
    }
}

/// Whether somebody who was told the one knows the other: how far a playbook on its way has come is no news.
fn tells(known: &Hindrance, other: &Hindrance) -> bool {
    match (known, other) {
        (Hindrance::PlaybookNotReady { .. }, Hindrance::PlaybookNotReady { .. }) => true,
        (known, other) => known == other,
    }
}

fn same_subject(one: &Purpose, other: &Purpose) -> bool {
    match (one, other) {
        // The rungs of one transition are told one after the other.
        (
            Purpose::Remediate { check, epoch, rung, .. },
            Purpose::Remediate { check: other, epoch: later, rung: another, .. },
        ) => check == other && (epoch != later || rung == another),
        // At most one drill runs on a host.
        (Purpose::InjectFault { .. }, Purpose::InjectFault { .. })
        | (Purpose::Repeat { .. }, Purpose::Repeat { .. }) => true,
        (Purpose::Remediate { .. }, Purpose::InjectFault { .. } | Purpose::Repeat { .. })
        | (Purpose::InjectFault { .. }, Purpose::Remediate { .. } | Purpose::Repeat { .. })
        | (Purpose::Repeat { .. }, Purpose::Remediate { .. } | Purpose::InjectFault { .. })
        // Nothing is said of a budget that is not asked for.
        | (Purpose::Offline { .. }, _)
        | (_, Purpose::Offline { .. }) => false,
    }
}

impl Effector {
    /// What the playbook that answers a check would be bound to.
    ///
    /// # Errors
    /// With everything that hinders this host from running it.
    pub(super) fn runnable(
        &self,
        playbook: PlaybookDigest,
        check: &CheckRef,
    ) -> Result<Vec<BoundTarget>, Vec<Hindrance>> {
        let mut because = Vec::new();
        if self.log == LogView::Forked {
            because.push(Hindrance::LogForked);
        }
        because.extend(self.library.hindrance(playbook));
        let config = self.capabilities.config();
        // Without its admission nobody knows what it asks for.
        let bound = self
            .library
            .manifest(playbook)
            .map(|manifest| config.bindings_of(manifest, &check.service, Some(&check.check)).collect::<Vec<_>>());
        let mut targets = Vec::new();
        for each in bound.into_iter().flatten() {
            match each {
                Ok(target) => targets.push(target),
                Err(unbound) => because.push(hindrance_of(unbound)),
            }
        }
        if because.is_empty() { Ok(targets) } else { Err(because) }
    }

    /// Says that a request is not made, unless that was said.
    pub(super) async fn withhold(
        &mut self,
        purpose: Purpose,
        playbook: PlaybookVersion,
        because: Vec<Hindrance>,
    ) -> Result<(), EffectorError> {
        let due = self.withheld.due(purpose, playbook, self.configuration.generation(), because);
        let Some((record, said)) = due else { return Ok(()) };
        let rules: Vec<&str> = record.because.iter().map(Hindrance::rule).collect();
        tracing::warn!(playbook = %record.playbook.name, because = rules.join(", "), "no permit is asked for");
        let document = serde_json::to_string(&said).map_err(EffectorError::Json)?;
        self.record(Body::RequestWithheld(Box::new(record)), |store, sealed| {
            store.append_with_value(sealed.as_new(), Value::Withheld, &document)
        })
        .await?;
        self.withheld = said;
        Ok(())
    }
}

fn hindrance_of(unbound: Unbound) -> Hindrance {
    match unbound {
        Unbound::NothingFits { label, .. } => Hindrance::Unbound { label, how: withheld::Unbound::Nothing },
        Unbound::OtherKind { label, .. } => Hindrance::Unbound { label, how: withheld::Unbound::OtherKind },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::counter::TransitionEpoch;
    use fettle_model::escalation::Rung;
    use fettle_model::withheld::Lack;

    fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().expect("sound text")
    }

    fn purpose(check: &str, epoch: u64) -> Purpose {
        let check = CheckRef { service: parsed("web"), check: parsed(check) };
        Purpose::Remediate { check, epoch: TransitionEpoch(epoch), remediation: parsed("heal"), rung: Rung::FIRST }
    }

    fn unusable(why: impl Into<String>) -> Hindrance {
        Hindrance::PlaybookUnusable { why: why.into() }
    }

    /// How many hindrances the next record tells, and what was said after it.
    fn say(said: Withheld, purpose: Purpose, playbook: &str, because: Vec<Hindrance>) -> (Option<usize>, Withheld) {
        let playbook = PlaybookVersion { name: parsed("mend"), digest: PlaybookDigest::of(playbook.as_bytes()) };
        match said.due(purpose, playbook, ConfigurationGeneration(1), because) {
            Some((record, after)) => (Some(record.because.iter().count()), after),
            None => (None, said),
        }
    }

    #[test]
    fn a_hindrance_is_told_once_for_a_transition_and_a_version_of_the_playbook() {
        let not_ready = |lacks| vec![Hindrance::PlaybookNotReady { lacks }];
        let (told, said) = say(Withheld::default(), purpose("http", 1), "one", not_ready(Lack::Package));
        assert_eq!(told, Some(1));
        let (told, said) = say(said, purpose("http", 1), "one", not_ready(Lack::Package));
        assert_eq!(told, None, "again");
        let (told, said) = say(said, purpose("http", 1), "one", not_ready(Lack::Compilation));
        assert_eq!(told, None, "it is on its way as before");
        let (told, said) = say(said, purpose("http", 1), "one", vec![unusable("no component"), Hindrance::LogForked]);
        assert_eq!(told, Some(2), "it came to worse");
        let (told, said) = say(said, purpose("http", 1), "one", not_ready(Lack::Package));
        assert_eq!(told, None, "the agent was started again");
        let (told, said) = say(said, purpose("tcp", 1), "one", not_ready(Lack::Package));
        assert_eq!(told, Some(1), "another check");
        let (told, said) = say(said, purpose("http", 1), "two", not_ready(Lack::Package));
        assert_eq!(told, Some(1), "another version");
        let (told, said) = say(said, purpose("http", 3), "two", not_ready(Lack::Package));
        assert_eq!(told, Some(1), "another transition");
        assert_eq!(said.0.len(), 2, "one for each check");
    }

    #[test]
    fn a_host_whose_hindrances_never_repeat_has_said_enough_at_some_time() {
        let mut said = Withheld::default();
        let mut records = 0;
        for turn in 0..3 * MAX_HINDRANCES {
            let (told, after) = say(said, purpose("http", 1), "one", vec![unusable(turn.to_string())]);
            records += usize::from(told.is_some());
            said = after;
        }
        assert_eq!(records, MAX_HINDRANCES);
    }
}
