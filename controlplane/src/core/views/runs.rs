//! Runs, the answer to "why did it not act?", and incidents.

use crate::core::answers::{KnownRefusal, KnownWithheld};
use crate::core::entry::Stamp;
use crate::core::runs::{Run, RunState};
use crate::core::state::State;
use fettle_model::check::CheckRef;
use fettle_model::counter::LogPosition;
use fettle_model::id::{DrillId, HostId, PermitId, RequestId, RunId};
use fettle_model::incident::IncidentOpened;
use fettle_model::name::{EnvironmentName, PlaybookName};
use fettle_model::permit::{PermitRejection, Purpose};
use fettle_model::refusal::Refusal;
use fettle_model::run::Ending;
use fettle_model::withheld::RequestWithheld;
use serde::Serialize;

/// One run in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunRow {
    /// The run.
    pub run: RunId,
    /// Its permit.
    pub permit: PermitId,
    /// The permit's record.
    pub granted: Stamp,
    /// The host.
    pub host: HostId,
    /// Its environment at the grant.
    pub environment: EnvironmentName,
    /// What it is for.
    pub purpose: Purpose,
    /// The check that it is about.
    pub check: CheckRef,
    /// The playbook, or the one that a drill's fault is to prove.
    pub playbook: PlaybookName,
    /// The drill that it belongs to.
    pub drill: Option<DrillId>,
    /// How far it is.
    pub standing: RunStanding,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum RunStanding {
    /// Its effects may be in progress.
    InFlight,
    /// It ended.
    Ended {
        /// Its record.
        stamp: Stamp,
        /// How.
        ending: Ending,
        /// Why.
        summary: String,
        /// Changing calls.
        steps: u32,
    },
    /// The agent refused the permit.
    Rejected {
        /// The agent's record.
        stamp: Stamp,
        /// Why.
        because: PermitRejection,
    },
    /// It never reported.
    Unresolved {
        /// Where it was given up.
        stamp: Stamp,
    },
    /// A budget given in advance, which its agent gave back.
    Returned {
        /// The agent's record.
        stamp: Stamp,
        /// Runs that were begun under it.
        used: u32,
    },
    /// A budget given in advance, which was not given back in time.
    Expired {
        /// Where its slot was taken back.
        stamp: Stamp,
    },
}

fn row(run: &Run) -> RunRow {
    let standing = match &run.state {
        RunState::InFlight => RunStanding::InFlight,
        RunState::Ended { stamp, ending, summary, steps, .. } => {
            RunStanding::Ended { stamp: *stamp, ending: *ending, summary: summary.clone(), steps: *steps }
        }
        RunState::Rejected { stamp, because } => RunStanding::Rejected { stamp: *stamp, because: because.clone() },
        RunState::Unresolved { stamp } => RunStanding::Unresolved { stamp: *stamp },
        RunState::Returned { stamp, used } => RunStanding::Returned { stamp: *stamp, used: *used },
        RunState::Expired { stamp } => RunStanding::Expired { stamp: *stamp },
    };
    RunRow {
        run: run.permit.run,
        permit: run.permit.permit,
        granted: run.granted,
        host: run.permit.host,
        environment: run.environment.clone(),
        purpose: run.permit.purpose.clone(),
        check: run.check.clone(),
        playbook: run.playbook.clone(),
        drill: run.permit.drill,
        standing,
    }
}

/// The newest runs, at most `limit`, newest first.
#[must_use]
pub fn runs(state: &State, limit: usize) -> Vec<RunRow> {
    let mut known: Vec<&Run> = state.runs.iter().collect();
    known.sort_unstable_by_key(|run| std::cmp::Reverse(run.granted.position));
    known.into_iter().take(limit).map(row).collect()
}

/// One run with its permit; `None` when it is unknown, or so old that only the journal has it.
#[must_use]
pub fn run(state: &State, run: RunId) -> Option<(RunRow, &Run)> {
    state.runs.run(run).map(|known| (row(known), known))
}

/// Why nothing happens about a check on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Why {
    /// The refusals that are kept, newest first, each with its record's place.
    pub refusals: Vec<(Stamp, Refusal)>,
    /// What the agent newest said that it does not ask for.
    pub withheld: Option<(Stamp, RequestWithheld)>,
    /// The newest plan, with the request that it answers.
    pub plan: Option<(LogPosition, RequestId)>,
    /// The run whose effects may be in progress on the host.
    pub in_flight: Option<RunRow>,
    /// Runs for the present problem.
    pub attempts: u32,
}

/// "Why did it not act?" With `None`: about drills on the host.
#[must_use]
pub fn why(state: &State, host: HostId, check: Option<&CheckRef>) -> Why {
    let refusals = state.answers.refusals(host, check);
    let withheld = check.and_then(|check| state.answers.newest_withheld(host, check));
    Why {
        refusals: refusals.map(|KnownRefusal { refusal, stamp }| (*stamp, refusal.clone())).collect(),
        withheld: withheld.map(|KnownWithheld { withheld, stamp }| (*stamp, withheld.clone())),
        plan: check.and_then(|check| state.answers.plan(host, check)).map(|plan| (plan.stamp.position, plan.request)),
        in_flight: state.runs.on_host(host).map(row),
        attempts: check.map_or(0, |check| state.attempts(host, check).count),
    }
}

/// One incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IncidentRow {
    /// Its record.
    pub opened: Stamp,
    /// What people are called to.
    pub incident: IncidentOpened,
}

/// The newest incidents, at most `limit`, newest first.
#[must_use]
pub fn incidents(state: &State, limit: usize) -> Vec<IncidentRow> {
    let newest = state.incidents.iter().rev().take(limit);
    newest.map(|known| IncidentRow { opened: known.stamp, incident: known.incident.clone() }).collect()
}
