//! Permits and the runs under them: those whose effects may be in progress, and how others ended.

use super::entry::Stamp;
use fettle_model::check::CheckRef;
use fettle_model::id::{HostId, PermitId, RunId};
use fettle_model::name::{EnvironmentName, PlaybookName, RemediationName, ServiceName};
use fettle_model::permit::{Permit, PermitRejection, Purpose};
use fettle_model::run::{Ending, IrreversibleStep, RunRecord, StepIntended};
use fettle_model::time::UnixMillis;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Finished runs kept for views and for late reports; the full record of any run is in the journal.
/// 10 000 of about 2 KiB are 20 MiB.
const MAX_FINISHED_RUNS: usize = 10_000;
/// Most steps that a run is known to have announced: each of its hundred changing calls, and those that it announced again
/// after a crash, at most once for each of its five resumptions.
const MAX_ANNOUNCED: usize = 105;

/// A permit and the run under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The permit.
    pub permit: Permit,
    /// Where it was granted.
    pub granted: Stamp,
    /// The host's environment at the grant.
    pub environment: EnvironmentName,
    /// The service that it touches.
    pub service: ServiceName,
    /// The check that it is about: the one it answers, or the one that a drill breaks.
    pub check: CheckRef,
    /// The playbook whose breaker it concerns: its own, or the one that a drill proves.
    pub playbook: PlaybookName,
    /// From the grant, how long its slot is held at most.
    pub hold: Duration,
    /// How far it is.
    pub state: RunState,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// Its effects may be in progress.
    InFlight,
    /// The agent reported its end.
    Ended {
        /// Where.
        stamp: Stamp,
        /// How.
        ending: Ending,
        /// In the agent's words.
        summary: String,
        /// Changing calls.
        steps: u32,
        /// On the agent's clock.
        started_at: UnixMillis,
        /// On the agent's clock.
        ended_at: UnixMillis,
    },
    /// The agent refused the permit; nothing was done.
    Rejected {
        /// Where.
        stamp: Stamp,
        /// Why.
        because: PermitRejection,
    },
    /// It never reported, and its slot was given back.
    Unresolved {
        /// Where.
        stamp: Stamp,
    },
    /// A budget given in advance, which its agent gave back.
    Returned {
        /// Where.
        stamp: Stamp,
        /// Runs that were begun under it.
        used: u32,
    },
    /// A budget given in advance, which was not given back while it held its slot.
    Expired {
        /// Where.
        stamp: Stamp,
    },
}

/// What kind of run it is, as far as counting goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) enum Role {
    /// It answers a fault.
    Remediation,
    /// It heals a drill's fault.
    Healing,
    /// It injects a drill's fault.
    Injection,
    /// It shows in a drill that nothing is changed where nothing is wrong.
    Repetition,
    /// It is no run: a budget given in advance, whose units are remediations.
    Budget,
}

impl Run {
    pub(in crate::core) fn role(&self) -> Role {
        match (&self.permit.purpose, self.permit.drill) {
            (Purpose::InjectFault { .. }, _) => Role::Injection,
            (Purpose::Repeat { .. }, _) => Role::Repetition,
            (Purpose::Remediate { .. }, Some(_)) => Role::Healing,
            (Purpose::Remediate { .. }, None) => Role::Remediation,
            (Purpose::Offline { .. }, _) => match self.permit.unit {
                Some(_) => Role::Remediation,
                None => Role::Budget,
            },
        }
    }

    /// The remediation that it is a run of; `None` in a drill.
    pub(in crate::core) fn remediation(&self) -> Option<&RemediationName> {
        match (&self.permit.purpose, self.role()) {
            (Purpose::Remediate { remediation, .. }, Role::Remediation) => Some(remediation),
            // What is given in advance is split beforehand, and no ramp counts it.
            (
                Purpose::Remediate { .. }
                | Purpose::InjectFault { .. }
                | Purpose::Repeat { .. }
                | Purpose::Offline { .. },
                _,
            ) => None,
        }
    }
}

/// Whether an agent's rejection ends a permit. `Replayed` says that it was used; after a bad or foreign
/// signature or a missing proof the same permit may arrive once more, sound; a rejection as another
/// host's says nothing of this host. These keep the slot until the run reports or is reclaimed.
pub(in crate::core) const fn ends_permit(because: &PermitRejection) -> bool {
    match because {
        PermitRejection::BadSignature
        | PermitRejection::ForeignKey { .. }
        | PermitRejection::NotInLog
        | PermitRejection::OtherHost
        | PermitRejection::Replayed => false,
        PermitRejection::OtherRequest
        | PermitRejection::Expired { .. }
        | PermitRejection::StaleFence { .. }
        | PermitRejection::Stopped { .. }
        | PermitRejection::PlaybookUntrusted
        | PermitRejection::TargetsDiffer { .. }
        | PermitRejection::AboveCeiling { .. }
        | PermitRejection::DrillsRefused
        | PermitRejection::Busy
        | PermitRejection::LogForked
        | PermitRejection::NotForOffline => true,
    }
}

/// All runs that are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::core) struct Runs {
    by_permit: BTreeMap<PermitId, Run>,
    by_run: BTreeMap<RunId, PermitId>,
    in_flight: BTreeSet<PermitId>,
    /// The same by host; a host without one has no entry.
    by_host: BTreeMap<HostId, BTreeSet<PermitId>>,
    /// Finished ones, in the order in which they finished.
    finished: VecDeque<PermitId>,
    /// Of which budget given in advance a permit is a unit.
    units: BTreeMap<PermitId, PermitId>,
    /// The irreversible steps that runs have announced which have not been reported.
    intended: BTreeMap<PermitId, BTreeSet<IrreversibleStep>>,
}

impl Runs {
    pub(in crate::core) fn permit(&self, permit: PermitId) -> Option<&Run> {
        self.by_permit.get(&permit)
    }

    pub(in crate::core) fn run(&self, run: RunId) -> Option<&Run> {
        self.by_run.get(&run).and_then(|permit| self.by_permit.get(permit))
    }

    pub(in crate::core) fn iter(&self) -> impl Iterator<Item = &Run> {
        self.by_permit.values()
    }

    pub(in crate::core) fn in_flight(&self) -> impl Iterator<Item = &Run> {
        self.in_flight.iter().filter_map(|permit| self.by_permit.get(permit))
    }

    pub(in crate::core) fn on_host(&self, host: HostId) -> Option<&Run> {
        self.by_host.get(&host)?.first().and_then(|permit| self.by_permit.get(permit))
    }

    pub(in crate::core) fn grant(&mut self, run: Run) {
        let permit = run.permit.permit;
        self.by_run.insert(run.permit.run, permit);
        self.in_flight.insert(permit);
        self.by_host.entry(run.permit.host).or_default().insert(permit);
        for unit in run.permit.all_units() {
            self.by_run.insert(unit.run, unit.permit);
            self.units.insert(unit.permit, permit);
        }
        self.by_permit.insert(permit, run);
    }

    /// The run that an agent reports: one that has a permit, or one under a unit of a budget given in advance, which is
    /// in flight until it is reported. A budget is none.
    pub(in crate::core) fn reported(&self, permit: PermitId) -> Option<Cow<'_, Run>> {
        if let Some(run) = self.permit(permit) {
            return (run.role() != Role::Budget).then_some(Cow::Borrowed(run));
        }
        let budget = self.permit(*self.units.get(&permit)?)?;
        match budget.state {
            RunState::InFlight | RunState::Expired { .. } => {}
            // Its agent has said how many runs were begun under it, and told of all of them before.
            RunState::Returned { used, .. } if self.ended_under(&budget.permit) < used => {}
            RunState::Returned { .. }
            | RunState::Rejected { .. }
            | RunState::Ended { .. }
            | RunState::Unresolved { .. } => return None,
        }
        let unit = budget.permit.all_units().find(|unit| unit.permit == permit)?;
        Some(Cow::Owned(Run { permit: unit, state: RunState::InFlight, ..budget.clone() }))
    }

    /// Runs under a budget given in advance that were reported.
    pub(in crate::core) fn ended_under(&self, budget: &Permit) -> u32 {
        let ended = budget.all_units().filter(|unit| self.by_permit.contains_key(&unit.permit));
        u32::try_from(ended.count()).unwrap_or(u32::MAX)
    }

    /// Whether a run of this id is known, or has a permit in advance.
    pub(in crate::core) fn knows(&self, run: RunId) -> bool {
        self.by_run.contains_key(&run)
    }

    /// The run under a unit of a budget given in advance has ended. The slot is the budget's.
    pub(in crate::core) fn end_unit(&mut self, run: Run) {
        self.finished.push_back(run.permit.permit);
        self.by_permit.insert(run.permit.permit, run);
        self.forget();
    }

    /// The budgets given in advance that hold their slots.
    pub(in crate::core) fn budgets_held(&self) -> impl Iterator<Item = &Run> {
        self.in_flight().filter(|run| run.role() == Role::Budget)
    }

    /// The run under this permit, when it still counts as in flight.
    pub(in crate::core) fn in_flight_under(&self, permit: PermitId) -> Option<&Run> {
        self.permit(permit).filter(|_| self.in_flight.contains(&permit))
    }

    /// The run in this permit, when it still counts as in flight and belongs to this host.
    pub(in crate::core) fn open(&self, permit: PermitId, host: HostId) -> Option<&Run> {
        self.in_flight_under(permit).filter(|run| run.permit.host == host)
    }

    /// An agent is about to do what cannot be taken back.
    pub(in crate::core) fn intend(&mut self, host: HostId, intent: &StepIntended) {
        let run = self.permit(intent.permit);
        let open = run.is_some_and(|run| {
            let awaited = matches!(run.state, RunState::InFlight | RunState::Unresolved { .. });
            awaited && run.permit.host == host && run.permit.run == intent.run
        });
        if !open {
            return;
        }
        let intended = self.intended.entry(intent.permit).or_default();
        if intended.len() < MAX_ANNOUNCED {
            intended.insert(intent.step());
        }
    }

    /// The first irreversible step that a run reports to have tried and that it did not announce.
    pub(in crate::core) fn unannounced(&self, ended: &RunRecord) -> Option<u32> {
        let announced =
            |step: &IrreversibleStep| self.intended.get(&ended.permit).is_some_and(|known| known.contains(step));
        ended.irreversible_steps().find(|step| !announced(step)).map(|step| step.number)
    }

    /// Ends a run. A run that was given up may end once more, by its agent's late report; every other
    /// end stays.
    pub(in crate::core) fn finish(&mut self, permit: PermitId, end: RunState) {
        let Some(run) = self.by_permit.get_mut(&permit) else { return };
        // One that was given up may be reported still.
        if !matches!(end, RunState::Unresolved { .. }) {
            self.intended.remove(&permit);
        }
        match run.state {
            RunState::InFlight => {
                run.state = end;
                self.in_flight.remove(&permit);
                if let Some(on_host) = self.by_host.get_mut(&run.permit.host) {
                    on_host.remove(&permit);
                    if on_host.is_empty() {
                        self.by_host.remove(&run.permit.host);
                    }
                }
                self.finished.push_back(permit);
            }
            RunState::Unresolved { .. } | RunState::Expired { .. } => run.state = end,
            RunState::Ended { .. } | RunState::Rejected { .. } | RunState::Returned { .. } => {}
        }
        self.forget();
    }

    fn forget(&mut self) {
        while self.finished.len() > MAX_FINISHED_RUNS {
            let Some(oldest) = self.finished.pop_front() else { break };
            let Some(run) = self.by_permit.remove(&oldest) else { continue };
            self.intended.remove(&oldest);
            if self.by_run.get(&run.permit.run) == Some(&oldest) {
                self.by_run.remove(&run.permit.run);
            }
            for unit in run.permit.all_units() {
                self.units.remove(&unit.permit);
                if !self.by_permit.contains_key(&unit.permit) {
                    self.by_run.remove(&unit.run);
                }
            }
        }
    }
}
