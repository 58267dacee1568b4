//! What must be true once everything has come to rest: of the log, and of what it says of what happened.

use crate::approvals;
use crate::control_plane::{Process, read_log};
use crate::fixture::host_id;
use crate::host::Host;
use crate::scene::Scene;
use crate::tally;
use crate::truth::{Effect, Progress};
use fettle_controlplane::journal::Journal;
use fettle_controlplane::leader::read_state;
use fettle_model::id::{HostId, PermitId, RequestId, RunId};
use fettle_model::record::{Body, Kind, Record};
use fettle_model::run::{RunRecord, StepOutcome};
use fettle_permit_model::invariants::{I7, I11};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// No permit, no effect: the first sentence of the design.
const GRANTED: &str = "every effect has a permit that is in the log";
/// The state is a projection of the log.
const REPLAYS: &str = "the leader's state is what the log gives";
/// No run stays running.
const ENDS: &str = "every run ends, in exactly one record";
/// Nothing waits for ever.
const ANSWERED: &str = "every request is answered and every slot comes back";

/// Asks everything.
pub(crate) fn check(folder: &Path, scene: &mut Scene, hosts: &[Host], leader: Option<&Process>) -> anyhow::Result<()> {
    let journal = Journal::open(&folder.join("journal.db"))?;
    let log = read_log(&journal)?;
    count(scene, &log);
    match read_state(folder) {
        Ok(state) if leader.is_some_and(|leader| leader.core().state() == &state) => {
            if state.in_flight().next().is_some() {
                scene.truth.breaks(ANSWERED, format!("{} permits are in flight", state.in_flight().count()));
            }
        }
        Ok(_) => scene.truth.breaks(REPLAYS, "they differ".to_owned()),
        Err(error) => scene.truth.breaks(REPLAYS, format!("{:#}", anyhow::Error::from(error))),
    }
    answers(scene, &log);
    tally::check(scene, &journal, &log)?;
    approvals::check(scene, &log)?;
    runs(scene, &log);
    for host in hosts {
        if host.unanswered() > 0 {
            scene.truth.breaks(ANSWERED, format!("host {} waits", host.number));
        }
    }
    Ok(())
}

fn count(scene: &mut Scene, log: &[Arc<Record>]) {
    let counted = |kind: Kind| {
        let all = log.iter().filter(|record| record.body.kind() == kind).count();
        u32::try_from(all).unwrap_or(u32::MAX)
    };
    let counts = &mut scene.truth.counts;
    counts.granted = counted(Kind::PermitGranted);
    counts.refused = counted(Kind::PermitRefused);
    counts.unresolved = counted(Kind::RunUnresolved);
    counts.stops = counted(Kind::AutomationStopped);
    counts.expired = counted(Kind::OfflineExpired);
}

/// One permit answers a request at most.
fn answers(scene: &mut Scene, log: &[Arc<Record>]) {
    let mut answered: BTreeSet<(HostId, RequestId)> = BTreeSet::new();
    for record in log {
        if let Body::PermitGranted(permit) = &record.body
            && !answered.insert((permit.host, permit.request))
        {
            scene.truth.breaks(I11, format!("request {} has two permits", permit.request));
        }
    }
}

/// Every run that was opened has one record, and it says what happened.
fn runs(scene: &mut Scene, log: &[Arc<Record>]) {
    let mut granted: BTreeSet<PermitId> = BTreeSet::new();
    let mut ended: BTreeMap<RunId, Vec<&RunRecord>> = BTreeMap::new();
    for record in log {
        if let Body::PermitGranted(permit) = &record.body {
            granted.insert(permit.permit);
            granted.extend(permit.all_units().map(|unit| unit.permit));
        }
        if let Body::RunEnded(run) = &record.body {
            ended.entry(run.run).or_default().push(run);
        }
    }
    let truth = &mut scene.truth;
    for (host, run) in
        (0..).zip(truth.opened.clone()).flat_map(|(host, runs)| runs.into_iter().map(move |run| (host, run)))
    {
        let (run, permit, _) = run;
        let records = ended.get(&run).map_or(0, Vec::len);
        if records != 1 {
            truth.breaks(ENDS, format!("run {run} of {} has {records} records", host_id(host)));
        }
        if !granted.contains(&permit) {
            truth.breaks(GRANTED, format!("run {run} under {permit}"));
        }
    }
    for effect in truth.effects.clone() {
        let told = ended.get(&effect.run).and_then(|records| records.first());
        let step = told.and_then(|record| record.steps.iter().find(|step| step.number == effect.number));
        match step.map(|step| &step.outcome) {
            Some(outcome) if agrees(&effect, outcome) => {}
            outcome => truth.breaks(I7, format!("{effect:?} is told as {outcome:?}")),
        }
    }
}

/// Whether a record tells of an effect what happened, or that it does not know.
fn agrees(effect: &Effect, told: &StepOutcome) -> bool {
    match (effect.progress, told) {
        (Progress::Happened, StepOutcome::Done { .. } | StepOutcome::Indeterminate { .. })
        | (Progress::Failed, StepOutcome::Failed { .. } | StepOutcome::Indeterminate { .. }) => true,
        (Progress::Happened, StepOutcome::Failed { .. } | StepOutcome::Refused { .. })
        | (Progress::Failed, StepOutcome::Done { .. } | StepOutcome::Refused { .. })
        | (
            Progress::Under,
            StepOutcome::Done { .. }
            | StepOutcome::Failed { .. }
            | StepOutcome::Refused { .. }
            | StepOutcome::Indeterminate { .. },
        ) => false,
    }
}
