//! The exported log as a test reads it: the records in order, and what must hold of any of them.
//!
//! The bundle is verified by the command line first; here its records are only read.

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fettle_model::id::{PermitId, RunId};
use fettle_model::permit::Permit;
use fettle_model::record::{Body, Record};
use fettle_model::run::{Change, RunRecord, StepOutcome};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A log that was read.
#[derive(Debug)]
pub struct Log {
    records: Vec<Record>,
}

/// How many effects a run may have had at least and at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effects {
    /// Those that it says it made.
    pub made: usize,
    /// Those that it says it made, and those of which it cannot tell.
    pub possible: usize,
}

#[derive(Deserialize)]
struct Line {
    envelope: Option<Envelope>,
}

#[derive(Deserialize)]
struct Envelope {
    payload: String,
}

impl Log {
    /// Reads a bundle.
    pub fn read(bundle: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(bundle).with_context(|| format!("read {}", bundle.display()))?;
        let mut records = Vec::new();
        for line in text.lines() {
            let line: Line = serde_json::from_str(line).context("a line of the bundle")?;
            let Some(envelope) = line.envelope else { continue };
            let payload = STANDARD.decode(envelope.payload).context("a payload")?;
            records.push(serde_json::from_slice(&payload).context("a record")?);
        }
        Ok(Self { records })
    }

    /// Its records, in order.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The permits that were granted.
    pub fn permits(&self) -> impl Iterator<Item = &Permit> {
        self.records
            .iter()
            .filter_map(|record| if let Body::PermitGranted(permit) = &record.body { Some(&**permit) } else { None })
    }

    /// The accounts of runs that ended.
    pub fn runs(&self) -> impl Iterator<Item = &RunRecord> {
        self.records.iter().filter_map(
            |record| {
                if let Body::RunEnded(run) = &record.body { Some(&**run) } else { None }
            },
        )
    }

    /// Fails unless every permit that was granted came to exactly one end: its run's account, or, where
    /// it never began, the agent's refusal; and no run ended without a permit. A budget given in advance ends when it
    /// is given back, and each of its units at most once.
    pub fn every_permit_has_one_end(&self) -> anyhow::Result<()> {
        let mut ends: BTreeMap<RunId, usize> = self.permits().map(|permit| (permit.run, 0)).collect();
        let mut units: BTreeSet<RunId> = self.permits().flat_map(Permit::all_units).map(|unit| unit.run).collect();
        let budgets: BTreeMap<PermitId, RunId> =
            self.permits().filter(|permit| permit.is_offline()).map(|permit| (permit.permit, permit.run)).collect();
        for record in &self.records {
            let ended = if let Body::RunEnded(run) = &record.body {
                (!units.remove(&run.run)).then_some(run.run)
            } else if let Body::OfflineReturned(returned) = &record.body {
                Some(*budgets.get(&returned.permit).with_context(|| format!("{returned:?} is of no budget"))?)
            } else if let Body::PermitRejected(rejected) = &record.body {
                Some(rejected.run.with_context(|| format!("{rejected:?} is of no permit"))?)
            } else {
                None
            };
            if let Some(run) = ended {
                *ends.get_mut(&run).with_context(|| format!("run {run} ended without a permit"))? += 1;
            }
        }
        let wrong: Vec<_> = ends.iter().filter(|(_, ends)| **ends != 1).collect();
        ensure!(wrong.is_empty(), "runs and the number of their ends: {wrong:?}");
        Ok(())
    }
}

/// How often a run may have changed anything, by its own account.
#[must_use]
pub fn effects(run: &RunRecord) -> Effects {
    let mut effects = Effects::default();
    for step in run.steps.iter().chain(&run.undone) {
        match &step.outcome {
            StepOutcome::Done { change: Change::Made, .. } => {
                effects.made += 1;
                effects.possible += 1;
            }
            StepOutcome::Indeterminate { .. } => effects.possible += 1,
            StepOutcome::Done { change: Change::Unneeded, .. }
            | StepOutcome::Refused { .. }
            | StepOutcome::Failed { .. } => {}
        }
    }
    effects
}
