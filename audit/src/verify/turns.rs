//! Turns: which rung of a remediation's list was due at a position of the log. Folded by [`super::course`].

use super::problems::Fingerprint;
use fettle_model::check::Status;
use fettle_model::escalation::{Escalation, Rung, TurnAfter};
use fettle_model::id::RunId;
use fettle_model::name::RemediationName;
use fettle_model::permit::Purpose;
use fettle_model::remediation::Remediation;
use fettle_model::time::UnixMillis;
use fettle_model::withheld::{Hindrance, RequestWithheld};
use std::collections::BTreeMap;
use std::fmt;

/// Whose turn it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Rung(Rung),
    People,
}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rung(rung) => write!(f, "rung {rung}"),
            Self::People => f.write_str("people"),
        }
    }
}

/// What the rung that is due waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    Permit,
    End(RunId),
    /// Its run succeeded; the turn is over when the check fails again.
    Relapse,
}

/// How far one problem has come up its list.
#[derive(Debug, Clone)]
struct Turn {
    remediation: RemediationName,
    /// Turns that are over.
    over: u32,
    /// From when the timeout of the present turn counts.
    since: Option<UnixMillis>,
    waits: Waits,
}

/// The turns of all problems.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns(BTreeMap<Fingerprint, Turn>);

/// Who is due when so many turns are over.
fn after(over: u32, list: &Escalation) -> Due {
    let rung = Rung::try_from(over.saturating_add(1)).ok();
    rung.filter(|rung| list.timeout(*rung).is_some()).map_or(Due::People, Due::Rung)
}

impl Turn {
    fn new(remediation: &RemediationName) -> Self {
        Self { remediation: remediation.clone(), over: 0, since: None, waits: Waits::Permit }
    }

    fn pass(&mut self) {
        self.over = self.over.saturating_add(1);
        (self.since, self.waits) = (None, Waits::Permit);
    }

    /// Whether the timeout has ended the present turn.
    fn timed_out(&self, list: &Escalation, now: UnixMillis) -> bool {
        let timeout = match (self.waits, after(self.over, list)) {
            (Waits::Permit | Waits::Relapse, Due::Rung(rung)) => list.timeout(rung),
            // A run whose effects may be in progress is never overtaken.
            (Waits::End(_), _) | (_, Due::People) => None,
        };
        self.since.zip(timeout).is_some_and(|(since, timeout)| since.plus(timeout) <= now)
    }

    fn over_at(&self, list: &Escalation, now: UnixMillis) -> u32 {
        self.over.saturating_add(u32::from(self.timed_out(list, now)))
    }

    fn catch_up(&mut self, list: &Escalation, now: UnixMillis) {
        if self.timed_out(list, now) {
            self.pass();
        }
    }
}

impl Turns {
    fn get(&self, of: &Fingerprint, remediation: &Remediation) -> Option<&Turn> {
        self.0.get(of).filter(|turn| turn.remediation == remediation.name)
    }

    /// Another remediation's list begins at its first rung.
    fn entry(&mut self, of: &Fingerprint, remediation: &Remediation) -> &mut Turn {
        let turn = self.0.entry(of.clone()).or_insert_with(|| Turn::new(&remediation.name));
        if turn.remediation != remediation.name {
            *turn = Turn::new(&remediation.name);
        }
        turn
    }

    /// Who was due. Without a list it is always the remediation's own playbook.
    pub(super) fn due(&self, of: &Fingerprint, remediation: &Remediation, now: UnixMillis) -> Due {
        let list = &remediation.escalation;
        if list.is_none() {
            return Due::Rung(Rung::FIRST);
        }
        after(self.get(of, remediation).map_or(0, |turn| turn.over_at(list, now)), list)
    }

    pub(super) fn granted(&mut self, of: &Fingerprint, remediation: &Remediation, run: RunId, now: UnixMillis) {
        if remediation.escalation.is_none() {
            self.0.remove(of);
            return;
        }
        let turn = self.entry(of, remediation);
        turn.catch_up(&remediation.escalation, now);
        turn.since.get_or_insert(now);
        turn.waits = Waits::End(run);
    }

    pub(super) fn ended(&mut self, of: &Fingerprint, run: RunId, how: TurnAfter) {
        let Some(turn) = self.0.get_mut(of).filter(|turn| turn.waits == Waits::End(run)) else { return };
        match how {
            TurnAfter::Over => turn.pass(),
            TurnAfter::OverIfItFailsAgain => turn.waits = Waits::Relapse,
            TurnAfter::GoesOn => turn.waits = Waits::Permit,
        }
    }

    /// Whether the end of this run is that of the last rung's turn.
    pub(super) fn is_last(&self, of: &Fingerprint, remediation: &Remediation, run: RunId) -> bool {
        self.get(of, remediation).is_some_and(|turn| {
            let next = after(turn.over.saturating_add(1), &remediation.escalation);
            turn.waits == Waits::End(run) && next == Due::People
        })
    }

    /// The check changed its status within its problem.
    pub(super) fn seen(&mut self, of: &Fingerprint, to: Status) {
        let Some(turn) = self.0.get_mut(of) else { return };
        match (to, turn.waits) {
            (Status::Critical, Waits::Relapse) => turn.pass(),
            (Status::Passing | Status::Warning, _) => turn.since = None,
            (Status::Critical | Status::Unknown, _) => {}
        }
    }

    /// An agent does not ask for a rung's run.
    pub(super) fn withheld(
        &mut self,
        of: &Fingerprint,
        remediation: &Remediation,
        said: &RequestWithheld,
        now: UnixMillis,
    ) {
        let Purpose::Remediate { rung, .. } = &said.purpose else { return };
        let due = Due::Rung(*rung);
        if self.due(of, remediation, now) != due {
            return;
        }
        let turn = self.entry(of, remediation);
        turn.catch_up(&remediation.escalation, now);
        if after(turn.over, &remediation.escalation) != due {
            return;
        }
        if said.because.iter().all(Hindrance::passes) {
            turn.since.get_or_insert(now);
        } else {
            turn.pass();
        }
    }

    /// Whether this word ends the last rung's turn.
    pub(super) fn withheld_last(
        &self,
        of: &Fingerprint,
        remediation: &Remediation,
        said: &RequestWithheld,
        now: UnixMillis,
    ) -> bool {
        let mut then = Self(self.0.get(of).map(|turn| (of.clone(), turn.clone())).into_iter().collect());
        then.withheld(of, remediation, said, now);
        then.get(of, remediation).is_some() && then.due(of, remediation, now) == Due::People
    }

    pub(super) fn new_problem(&mut self, of: &Fingerprint) {
        self.0.remove(of);
    }
}
