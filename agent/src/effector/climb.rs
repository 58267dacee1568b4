//! Which rung of a remediation's list is asked for.
//!
//! The control plane alone counts turns: what is kept here is what it said last, and for how long this host has waited
//! for a playbook that it cannot run yet. Both may be lost with the process: the next refusal names the rung that is
//! due. Called by `ask.rs`.

use super::serve::{Effector, EffectorError};
use fettle_model::check::CheckRef;
use fettle_model::counter::TransitionEpoch;
use fettle_model::escalation::Rung;
use fettle_model::id::HostId;
use fettle_model::permit::Purpose;
use fettle_model::refusal::{Reason, Refusal};
use fettle_model::remediation::Remediation;
use fettle_model::time::UnixMillis;
use fettle_model::withheld::Hindrance;
use std::collections::BTreeMap;

/// What is known of the lists of this host's checks; one entry for each at most.
#[derive(Debug, Clone, Default)]
pub(super) struct Climbs {
    /// The rung that was last said to be due.
    due: BTreeMap<CheckRef, Rung>,
    /// The rung whose playbook is on its way, and until when it is waited for.
    waits: BTreeMap<CheckRef, (Rung, UnixMillis)>,
}

impl Climbs {
    fn due(&self, check: &CheckRef) -> Rung {
        self.due.get(check).copied().unwrap_or_default()
    }

    /// Until when a rung's playbook is waited for.
    fn wait(&mut self, check: &CheckRef, rung: Rung, until: UnixMillis) -> UnixMillis {
        let wait = self.waits.entry(check.clone()).or_insert((rung, until));
        if wait.0 != rung {
            *wait = (rung, until);
        }
        wait.1
    }

    /// The check changed: nothing is waited for any more.
    pub(super) fn forget_waits(&mut self, check: &CheckRef) {
        self.waits.remove(check);
    }

    /// When the next wait ends.
    pub(super) fn next_end(&self, now: UnixMillis) -> Option<UnixMillis> {
        self.waits.values().map(|(_, until)| *until).filter(|until| *until > now).min()
    }

    /// The checks that have waited long enough.
    pub(super) fn ended(&self, now: UnixMillis) -> Vec<CheckRef> {
        self.waits.iter().filter(|(_, (_, until))| *until <= now).map(|(check, _)| check.clone()).collect()
    }
}

impl Effector {
    /// Asks for the rung that is due, or, where this host cannot run what stands there and says so, for the first after
    /// it that it can.
    pub(super) async fn climb(
        &mut self,
        host: HostId,
        check: &CheckRef,
        epoch: TransitionEpoch,
        answer: &Remediation,
    ) -> Result<(), EffectorError> {
        let known = self.climbs.due(check);
        let mut next = Some(if answer.at(known).is_some() { known } else { Rung::FIRST });
        while let Some(rung) = next {
            let Some(placed) = answer.at(rung) else { return Ok(()) };
            let playbook = placed.playbook.clone();
            let remediation = answer.name.clone();
            let purpose = Purpose::Remediate { check: check.clone(), epoch, remediation, rung };
            match self.runnable(playbook.digest, check) {
                Ok(targets) => {
                    self.climbs.forget_waits(check);
                    self.ask(host, purpose, Some(playbook.digest), targets).await?;
                    self.load_ahead(playbook.digest).await;
                    return Ok(());
                }
                Err(because) if self.carries(check) => {
                    let passes = because.iter().all(Hindrance::passes);
                    self.withhold(purpose, playbook, because).await?;
                    if passes && !self.has_waited(check, rung, answer) {
                        return Ok(());
                    }
                }
                // A check that was taken away from this host is none that it withholds anything about.
                Err(_) => return Ok(()),
            }
            next = answer.escalation.after(rung);
        }
        Ok(())
    }

    /// Whether a playbook that is on its way was waited for as long as its rung's run might have taken.
    fn has_waited(&mut self, check: &CheckRef, rung: Rung, answer: &Remediation) -> bool {
        if answer.escalation.is_none() {
            return false;
        }
        let now = self.clocks.now().wall;
        let timeout = answer.escalation.timeout(rung).unwrap_or_default();
        self.climbs.wait(check, rung, now.plus(timeout)) <= now
    }

    /// Takes note of the rung that a refusal says is due; gives whether to ask for that one at once.
    pub(super) fn told_due(&mut self, check: &CheckRef, refusal: &Refusal) -> bool {
        let due = refusal
            .reasons
            .iter()
            .find_map(|reason| if let Reason::RungNotDue { due, .. } = reason { Some(*due) } else { None });
        let Some(due) = due else { return false };
        self.climbs.due.insert(check.clone(), due);
        // One that this host cannot run was passed over as far as it can be: asking again says nothing new.
        let placed = self.configuration.answer_to(check).and_then(|answer| answer.at(due));
        placed.is_some_and(|placed| self.runnable(placed.playbook.digest, check).is_ok())
    }
}
