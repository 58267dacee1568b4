//! What did happen to each fault in the time in question: collected from the records before they are replayed, because a
//! replayed decision is set beside what came later. Decides nothing.

use crate::core::entry::Entry;
use fettle_model::check::CheckRef;
use fettle_model::counter::{LogPosition, TransitionEpoch};
use fettle_model::id::{HostId, PermitId, RunId};
use fettle_model::name::PlaybookName;
use fettle_model::permit::{Permit, PermitRequest, Purpose};
use fettle_model::record::{Author, Body};
use fettle_model::refusal::{Reason, Refusal};
use fettle_model::run::Ending;
use fettle_model::simulation::{Edit, Happened, MAX_HAPPENED_TOLD};
use fettle_model::time::UnixMillis;
use fettle_model::withheld::RequestWithheld;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Faults of one simulation: twice a day on each of 300 hosts for 30 days. With what happened to each, at most about
/// 2 KiB, they are 40 MiB.
pub const MAX_PAST_FAULTS: usize = 20_000;

/// There are more faults than one simulation looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {MAX_PAST_FAULTS} faults of the edited rules are in that time")]
pub struct TooManyFaults;

/// One fault, by the transition that the log has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FaultKey {
    pub(super) host: HostId,
    pub(super) check: CheckRef,
    pub(super) epoch: TransitionEpoch,
}

/// A run of the past that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PastEnd {
    pub(super) run: RunId,
    pub(super) ending: Ending,
    pub(super) took: Duration,
}

#[derive(Debug)]
struct PastRun {
    permit: PermitId,
    run: RunId,
    playbook: Option<PlaybookName>,
    granted: UnixMillis,
    end: Option<PastEnd>,
    /// Whether a replayed run has ended as this one did.
    used: bool,
}

#[derive(Debug, Default)]
struct PastFault {
    request: Option<PermitRequest>,
    withheld: Option<RequestWithheld>,
    runs: Vec<PastRun>,
    happened: Vec<Happened>,
    more_happened: u64,
}

/// What did happen.
#[derive(Debug)]
pub struct Past {
    edit: Edit,
    faults: BTreeMap<FaultKey, PastFault>,
    permits: BTreeMap<PermitId, FaultKey>,
}

impl Past {
    /// Nothing yet, of the checks that an edit touches.
    #[must_use]
    pub fn of(edit: &Edit) -> Self {
        Self { edit: edit.clone(), faults: BTreeMap::new(), permits: BTreeMap::new() }
    }

    /// Takes note of a record of the time in question.
    ///
    /// # Errors
    /// When there are more faults than one simulation looks at.
    pub fn note(&mut self, entry: &Entry<'_>) -> Result<(), TooManyFaults> {
        let (position, at) = (entry.position, entry.received_at);
        let author = match &entry.record.author {
            Author::Agent { host, .. } => Some(*host),
            Author::ControlPlane | Author::Person { .. } => None,
        };
        if let Body::PermitRequested(request) = &entry.record.body {
            if let Some(fault) = self.of_purpose(request.host, &request.purpose)? {
                fault.request.get_or_insert_with(|| (**request).clone());
            }
        } else if let Body::PermitGranted(permit) = &entry.record.body {
            self.granted(permit, position, at)?;
        } else if let Body::PermitRefused(refusal) = &entry.record.body {
            self.refused(refusal, position)?;
        } else if let (Body::RequestWithheld(said), Some(host)) = (&entry.record.body, author) {
            if let Some(fault) = self.of_purpose(host, &said.purpose)? {
                fault.tell(Happened::Withheld { position, because: said.because.clone() });
                fault.withheld.get_or_insert_with(|| (**said).clone());
            }
        } else if let Body::ProposalMade(made) = &entry.record.body {
            if let Some(fault) = self.fault(made.host, &made.check, made.epoch)? {
                fault.tell(Happened::Proposed { position });
            }
        } else if let Body::RunEnded(ended) = &entry.record.body {
            self.ended(ended.permit, ended.ending, at);
        } else if let Body::RunUnresolved(lost) = &entry.record.body {
            self.ended(lost.permit, Ending::InDoubt, at);
        }
        Ok(())
    }

    fn fault(
        &mut self,
        host: HostId,
        check: &CheckRef,
        epoch: TransitionEpoch,
    ) -> Result<Option<&mut PastFault>, TooManyFaults> {
        if !self.edit.touches(check) {
            return Ok(None);
        }
        let key = FaultKey { host, check: check.clone(), epoch };
        if self.faults.len() >= MAX_PAST_FAULTS && !self.faults.contains_key(&key) {
            return Err(TooManyFaults);
        }
        Ok(Some(self.faults.entry(key).or_default()))
    }

    fn of_purpose(&mut self, host: HostId, purpose: &Purpose) -> Result<Option<&mut PastFault>, TooManyFaults> {
        match purpose {
            Purpose::Remediate { check, epoch, .. } => self.fault(host, check, *epoch),
            Purpose::InjectFault { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. } => Ok(None),
        }
    }

    fn granted(&mut self, permit: &Permit, position: LogPosition, at: UnixMillis) -> Result<(), TooManyFaults> {
        let Purpose::Remediate { check, epoch, .. } = &permit.purpose else { return Ok(()) };
        let playbook = permit.playbook.as_ref().map(|version| version.name.clone());
        let Some(fault) = self.of_purpose(permit.host, &permit.purpose)? else { return Ok(()) };
        let (id, run) = (permit.permit, permit.run);
        fault.runs.push(PastRun { permit: id, run, playbook: playbook.clone(), granted: at, end: None, used: false });
        if let Some(playbook) = playbook {
            fault.tell(Happened::Granted { position, run, playbook, ending: None });
        }
        self.permits.insert(id, FaultKey { host: permit.host, check: check.clone(), epoch: *epoch });
        Ok(())
    }

    fn refused(&mut self, refusal: &Refusal, position: LogPosition) -> Result<(), TooManyFaults> {
        let (Some(check), Some(epoch)) = (&refusal.check, refusal.epoch) else { return Ok(()) };
        let Some(fault) = self.fault(refusal.host, check, epoch)? else { return Ok(()) };
        let refused_by: BTreeSet<String> =
            refusal.reasons.iter().map(|reason| Reason::rule(reason).to_owned()).collect();
        match fault.happened.last_mut() {
            Some(Happened::Refused { rules, times, .. }) if *rules == refused_by => *times = times.saturating_add(1),
            Some(_) | None => fault.tell(Happened::Refused { position, rules: refused_by, times: 1 }),
        }
        Ok(())
    }

    fn ended(&mut self, permit: PermitId, ending: Ending, at: UnixMillis) {
        let Some(fault) = self.permits.get(&permit).and_then(|key| self.faults.get_mut(key)) else { return };
        let Some(past) = fault.runs.iter_mut().find(|run| run.permit == permit) else { return };
        past.end = Some(PastEnd { run: past.run, ending, took: at.since(past.granted) });
        let of = past.run;
        for told in &mut fault.happened {
            match told {
                Happened::Granted { run, ending: told, .. } if *run == of => *told = Some(ending),
                Happened::Granted { .. }
                | Happened::Refused { .. }
                | Happened::Withheld { .. }
                | Happened::Proposed { .. } => {}
            }
        }
    }

    pub(super) fn request(&self, key: &FaultKey) -> Option<&PermitRequest> {
        self.faults.get(key)?.request.as_ref()
    }

    /// What the agent said instead of asking, where it never asked about this fault.
    pub(super) fn withheld(&self, key: &FaultKey) -> Option<&RequestWithheld> {
        self.faults.get(key).filter(|fault| fault.request.is_none())?.withheld.as_ref()
    }

    /// How the next run of this playbook for this fault ended then.
    pub(super) fn next_end(&mut self, key: &FaultKey, playbook: &PlaybookName) -> Option<PastEnd> {
        let runs = self.faults.get_mut(key)?.runs.iter_mut();
        let mut unused = runs.filter(|run| !run.used && run.playbook.as_ref() == Some(playbook) && run.end.is_some());
        let next = unused.next()?;
        next.used = true;
        next.end
    }

    /// What did happen to a fault, how much more, and how many runs it had.
    pub(super) fn told(&mut self, key: &FaultKey) -> (Vec<Happened>, u64, u64) {
        let Some(fault) = self.faults.remove(key) else { return (Vec::new(), 0, 0) };
        (fault.happened, fault.more_happened, u64::try_from(fault.runs.len()).unwrap_or(u64::MAX))
    }
}

impl PastFault {
    fn tell(&mut self, happened: Happened) {
        if self.happened.len() < MAX_HAPPENED_TOLD {
            self.happened.push(happened);
        } else {
            self.more_happened = self.more_happened.saturating_add(1);
        }
    }
}
