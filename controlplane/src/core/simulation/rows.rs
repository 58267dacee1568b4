//! What is told of a replay: one row a fault, and all of it added up. Decides nothing.

use super::past::{FaultKey, Past};
use fettle_model::check::CheckRef;
use fettle_model::id::HostId;
use fettle_model::refusal::Reason;
use fettle_model::simulation::{MAX_DECISIONS_TOLD, MAX_FAULTS_TOLD, Says, SimulatedDecision, SimulatedFault, Summary};
use std::collections::BTreeSet;

/// The number of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowId(usize);

#[derive(Debug)]
struct Row {
    key: FaultKey,
    fault: SimulatedFault,
    /// Rules that refused it at least once.
    refused: BTreeSet<&'static str>,
    proposed: bool,
    planned: bool,
    withheld: bool,
}

/// All rows, and what adds up besides them.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: Vec<Row>,
    runs: u64,
    acted_on: BTreeSet<HostId>,
    in_progress: u64,
    most_at_once: u64,
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn add(&mut self, key: FaultKey, fault: SimulatedFault) -> RowId {
        self.rows.push(Row { key, fault, refused: BTreeSet::new(), proposed: false, planned: false, withheld: false });
        RowId(self.rows.len() - 1)
    }

    pub(super) fn decided(&mut self, row: RowId, decision: SimulatedDecision) {
        let Some(row) = self.rows.get_mut(row.0) else { return };
        match &decision.says {
            Says::Acts { .. } => {
                self.runs = self.runs.saturating_add(1);
                self.acted_on.insert(row.key.host);
                self.in_progress = self.in_progress.saturating_add(1);
                self.most_at_once = self.most_at_once.max(self.in_progress);
            }
            Says::Proposes => row.proposed = true,
            Says::Plans => row.planned = true,
            Says::Withheld { .. } => row.withheld = true,
            Says::Refuses { reasons, .. } => row.refused.extend(reasons.iter().map(Reason::rule)),
        }
        row.tell(decision);
    }

    /// A simulated run is over.
    pub(super) fn ended(&mut self) {
        self.in_progress = self.in_progress.saturating_sub(1);
    }

    /// The first faults as rows, all of them added up, and the checks that were critical.
    pub(super) fn told(self, past: &mut Past) -> (Vec<SimulatedFault>, Summary, BTreeSet<CheckRef>) {
        let mut summary = Summary {
            faults: u64::try_from(self.rows.len()).unwrap_or(u64::MAX),
            runs: self.runs,
            hosts: u64::try_from(self.acted_on.len()).unwrap_or(u64::MAX),
            most_at_once: self.most_at_once,
            ..Summary::default()
        };
        let (mut faults, mut checks, mut hosts_then) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        for Row { key, mut fault, refused, proposed, planned, withheld } in self.rows {
            let (happened, more_happened, runs_then) = past.told(&key);
            (fault.happened, fault.more_happened) = (happened, more_happened);
            summary.proposed = summary.proposed.saturating_add(u64::from(proposed));
            summary.planned = summary.planned.saturating_add(u64::from(planned));
            summary.withheld = summary.withheld.saturating_add(u64::from(withheld));
            summary.runs_then = summary.runs_then.saturating_add(runs_then);
            for rule in refused {
                let count = summary.refused.entry(rule.to_owned()).or_default();
                *count = count.saturating_add(1);
            }
            if runs_then > 0 {
                hosts_then.insert(key.host);
            }
            checks.insert(key.check);
            if faults.len() < MAX_FAULTS_TOLD {
                faults.push(fault);
            }
        }
        summary.hosts_then = u64::try_from(hosts_then.len()).unwrap_or(u64::MAX);
        (faults, summary, checks)
    }
}

impl Row {
    fn tell(&mut self, decision: SimulatedDecision) {
        let told = &mut self.fault.decisions;
        if let Some(last) = told.last_mut()
            && self.fault.more_decisions == 0
            && goes_on(last, &decision)
        {
            if let Says::Refuses { times, .. } = &mut last.says {
                *times = times.saturating_add(1);
            }
        } else if told.len() < MAX_DECISIONS_TOLD {
            told.push(decision);
        } else {
            self.fault.more_decisions = self.fault.more_decisions.saturating_add(1);
        }
    }
}

/// Whether a decision says once more what the one before it said.
fn goes_on(last: &SimulatedDecision, next: &SimulatedDecision) -> bool {
    let rules = |reasons: &[Reason]| reasons.iter().map(Reason::rule).collect::<BTreeSet<_>>();
    let says_the_same = match (&last.says, &next.says) {
        (Says::Refuses { reasons: before, .. }, Says::Refuses { reasons: now, .. }) => rules(before) == rules(now),
        (Says::Proposes, Says::Proposes) | (Says::Plans, Says::Plans) => true,
        (Says::Withheld { because: before }, Says::Withheld { because: now }) => before == now,
        (
            Says::Acts { .. } | Says::Proposes | Says::Plans | Says::Refuses { .. } | Says::Withheld { .. },
            Says::Acts { .. } | Says::Proposes | Says::Plans | Says::Refuses { .. } | Says::Withheld { .. },
        ) => false,
    };
    says_the_same && last.rung == next.rung && last.playbook == next.playbook
}
