//! The exported log as a test reads it: the records in order, and what must hold of any of them.
//!
//! The bundle is verified by the command line first; here its records are only read.

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fettle_model::id::RunId;
use fettle_model::permit::{Permit, PermitRejection};
use fettle_model::record::{Body, Record};
use fettle_model::run::{Change, RunRecord, StepOutcome};
use serde::Deserialize;
use std::collections::BTreeMap;
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
    /// it never began, the agent's refusal; and no run ended without a permit. A permit that was
    /// delivered again after its run is refused as a replay, and that ends nothing.
    pub fn every_permit_has_one_end(&self) -> anyhow::Result<()> {
        let mut ends: BTreeMap<RunId, Ends> = self.permits().map(|permit| (permit.run, Ends::default())).collect();
        for record in &self.records {
            if let Body::RunEnded(run) = &record.body {
                let known =
                    ends.get_mut(&run.run).with_context(|| format!("run {} ended without a permit", run.run))?;
                known.accounts += 1;
            }
            if let Body::PermitRejected(rejected) = &record.body {
                let known = rejected.run.and_then(|run| ends.get_mut(&run));
                let known = known.with_context(|| format!("{rejected:?} is of no permit"))?;
                if rejected.because == PermitRejection::Replayed {
                    known.replays += 1;
                } else {
                    known.refusals += 1;
                }
            }
        }
        let one_end = |ends: &Ends| matches!((ends.accounts, ends.refusals, ends.replays), (1, 0, _) | (0, 1, 0));
        let wrong: Vec<_> = ends.iter().filter(|(_, ends)| !one_end(ends)).collect();
        ensure!(wrong.is_empty(), "runs and their ends: {wrong:?}");
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Ends {
    accounts: usize,
    refusals: usize,
    replays: usize,
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
