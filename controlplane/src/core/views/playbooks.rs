//! Playbook versions with their evidence and what it does not cover, and drills.

use crate::core::coverage::coverage;
use crate::core::drills::RunningDrill;
use crate::core::entry::Stamp;
use crate::core::playbooks::Admitted;
use crate::core::state::State;
use fettle_model::coverage::{Coverage, Finding};
use fettle_model::evidence::{Drill, DrillResult, DrillStage, Evidence, HostClass};
use fettle_model::name::{PublisherName, RemediationName};
use fettle_model::remediation::PlaybookVersion;
use fettle_model::scenarios::KnownScenarios;
use fettle_model::time::UnixMillis;
use serde::Serialize;
use std::collections::BTreeSet;

/// One admitted version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlaybookRow {
    /// Name and digest.
    pub playbook: PlaybookVersion,
    /// Its version for people.
    pub version: String,
    /// One line.
    pub summary: String,
    /// Who signed it.
    pub publisher: PublisherName,
    /// Where it was admitted.
    pub admitted: Stamp,
    /// What its publisher says of its scenarios, and where.
    pub scenarios: Option<KnownScenarios>,
    /// The remediations that use this very version.
    pub used_by: Vec<RemediationName>,
    /// Its evidence, newest first.
    pub evidence: Vec<EvidenceRow>,
    /// Classes of hosts outside staging on which a remediation would use it, and that no valid evidence
    /// covers: what must still be drilled.
    pub uncovered: Vec<HostClass>,
}

/// One piece of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EvidenceRow {
    /// Its record.
    pub earned: Stamp,
    /// What was proved.
    pub evidence: Evidence,
    /// Whether it counts.
    pub standing: EvidenceStanding,
}

/// Whether evidence counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceStanding {
    /// It does.
    Valid,
    /// It has expired.
    Expired,
}

/// All admitted versions, by name, the newest of a name first.
#[must_use]
pub fn playbooks(state: &State, wall: UnixMillis) -> Vec<PlaybookRow> {
    let needs = coverage(state, wall);
    let mut rows: Vec<PlaybookRow> =
        state.playbooks.iter().map(|admitted| row(state, admitted, &needs, wall)).collect();
    rows.sort_by(|a, b| a.playbook.name.cmp(&b.playbook.name).then(b.admitted.position.cmp(&a.admitted.position)));
    rows
}

fn row(state: &State, admitted: &Admitted, needs: &[Coverage], wall: UnixMillis) -> PlaybookRow {
    let about = &admitted.admission.manifest.playbook;
    let version = admitted.version();
    let users = || state.configuration().remediations().iter().filter(|answer| answer.rung_of(&version).is_some());
    let evidence = admitted.evidence.iter().rev().map(|known| EvidenceRow {
        earned: known.stamp,
        evidence: known.evidence.clone(),
        standing: if known.evidence.expires_at > wall { EvidenceStanding::Valid } else { EvidenceStanding::Expired },
    });
    let uncovered: BTreeSet<HostClass> = needs
        .iter()
        .filter(|need| need.playbook == version)
        .filter_map(|need| match need.finding {
            Finding::Covered { .. } => None,
            Finding::Expired { .. } | Finding::Differs { .. } | Finding::Nothing | Finding::Unbound => {
                Some(need.class.clone())
            }
        })
        .collect();
    PlaybookRow {
        version: about.version.clone(),
        summary: about.summary.clone(),
        publisher: admitted.admission.publisher.clone(),
        admitted: admitted.stamp,
        scenarios: admitted.scenarios.as_ref().map(|said| said.known),
        used_by: users().map(|answer| answer.name.clone()).collect(),
        evidence: evidence.collect(),
        uncovered: uncovered.into_iter().collect(),
        playbook: version,
    }
}

/// One drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DrillRow {
    /// What was started.
    pub drill: Drill,
    /// Where.
    pub started: Stamp,
    /// How far it is.
    pub standing: DrillStanding,
    /// The stages that it passed, and where.
    pub stages: Vec<(DrillStage, Stamp)>,
}

/// How far a drill is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum DrillStanding {
    /// The agent has not yet been permitted to inject the fault.
    Waiting,
    /// The fault is being injected; the check is not critical yet.
    Injecting,
    /// The check is critical.
    Critical,
    /// The playbook runs, or ran and the check is not passing yet.
    Healing,
    /// The first fault is healed; the playbook is to run once more where nothing is wrong, or does or did.
    Repeating,
    /// It ended.
    Ended {
        /// Where.
        stamp: Stamp,
        /// How.
        result: DrillResult,
    },
}

fn standing(running: &RunningDrill) -> DrillStanding {
    let round = running.round();
    match (round.injection, round.critical, round.healing) {
        _ if running.has_passed(DrillStage::Healed) && running.second.injection.is_none() => DrillStanding::Repeating,
        (None, _, _) => DrillStanding::Waiting,
        (Some(_), None, _) => DrillStanding::Injecting,
        (Some(_), Some(_), None) => DrillStanding::Critical,
        (Some(_), Some(_), Some(_)) => DrillStanding::Healing,
    }
}

/// Running drills, then at most `limit` ended ones, newest first.
#[must_use]
pub fn drills(state: &State, limit: usize) -> Vec<DrillRow> {
    let mut running: Vec<DrillRow> = state
        .drills
        .running()
        .map(|running| DrillRow {
            drill: running.drill.clone(),
            started: running.started,
            stages: running.stages.clone(),
            standing: standing(running),
        })
        .collect();
    running.sort_unstable_by_key(|row| std::cmp::Reverse(row.started.position));
    let ended = state.drills.ended().rev().take(limit).map(|ended| DrillRow {
        drill: ended.drill.clone(),
        started: ended.started,
        stages: ended.stages.clone(),
        standing: DrillStanding::Ended { stamp: ended.ended, result: ended.result.clone() },
    });
    running.into_iter().chain(ended).collect()
}
