//! Promotions: whether what is proposed was earned by the records that it names. Sees each record in the order of
//! the log, after what it changes stands. That each of the runs held is not counted again: it rests on the times at which the control plane received
//! transitions.

use super::finding::{At, Rule};
use super::hosts::Hosts;
use super::standing::Standing;
use fettle_model::counter::LogPosition;
use fettle_model::id::{HostId, PermitId};
use fettle_model::permit::{Permit, Purpose};
use fettle_model::promotion::{EarnedWith, PromotionOf, PromotionProposed, next_mode, trusted};
use fettle_model::record::{Author, Body, Record};
use fettle_model::remediation::Mode;
use fettle_model::run::{Claim, Ending, Plan};
use std::collections::{BTreeMap, BTreeSet};

/// What may earn a promotion.
#[derive(Debug, Clone, Default)]
pub(super) struct Promotions {
    /// Permits that people approved, until their runs end.
    approved: BTreeMap<PermitId, (PromotionOf, EarnedWith)>,
    /// The records that earn something as it is configured, by their position.
    earning: BTreeMap<LogPosition, (PromotionOf, EarnedWith)>,
    /// The last record that set something back.
    set_back: BTreeMap<PromotionOf, LogPosition>,
}

impl Promotions {
    /// Takes a record in that may earn, set back or propose something.
    pub(super) fn see(&mut self, record: &Record, hosts: &Hosts, standing: &Standing, at: &mut At<'_>) {
        if let Body::ConfigurationSet(_) = &record.body {
            self.configure(standing);
        } else if let Body::PermitGranted(permit) = &record.body {
            self.grant(permit, hosts);
        } else if let Body::RunUnresolved(unresolved) = &record.body {
            // Nobody knows what it did.
            self.end(unresolved.permit, Ending::InDoubt, standing, at);
        } else if let Body::PromotionProposed(proposed) = &record.body {
            self.propose(proposed, standing, at);
        } else if let (Body::RunEnded(run), Author::Agent { .. }) = (&record.body, &record.author) {
            self.end(run.permit, run.ending, standing, at);
        } else if let (Body::PlanMade(plan), Author::Agent { host, .. }) = (&record.body, &record.author) {
            self.plan(*host, plan, hosts, standing, at);
        }
    }

    /// What changed begins anew.
    fn configure(&mut self, standing: &Standing) {
        self.earning.retain(|_, (of, with)| stands(standing, of, with));
    }

    fn grant(&mut self, permit: &Permit, hosts: &Hosts) {
        let (Purpose::Remediate { remediation, rung, .. }, Some(_)) = (&permit.purpose, &permit.approved) else {
            return;
        };
        let (Some(host), Some(playbook)) = (hosts.get(permit.host), &permit.playbook) else { return };
        let of = PromotionOf { remediation: remediation.clone(), rung: *rung, environment: host.environment.clone() };
        let with =
            EarnedWith { mode: Mode::Approve, playbook: playbook.clone(), parameters: permit.parameters.digest() };
        self.approved.insert(permit.permit, (of, with));
    }

    fn end(&mut self, permit: PermitId, ending: Ending, standing: &Standing, at: &At<'_>) {
        let Some((of, with)) = self.approved.remove(&permit) else { return };
        if !stands(standing, &of, &with) {
            return;
        }
        match ending {
            Ending::Succeeded => drop(self.earning.insert(at.position, (of, with))),
            Ending::Ineffective | Ending::Failed | Ending::Reverted | Ending::InDoubt => {
                self.set_back.insert(of, at.position);
            }
            Ending::Superseded | Ending::Cancelled | Ending::Expired => {}
        }
    }

    fn plan(&mut self, host: HostId, plan: &Plan, hosts: &Hosts, standing: &Standing, at: &At<'_>) {
        let (Purpose::Remediate { remediation, rung, .. }, Some(known)) = (&plan.purpose, hosts.get(host)) else {
            return;
        };
        let of = PromotionOf { remediation: remediation.clone(), rung: *rung, environment: known.environment.clone() };
        let judged_by = standing.configurations.of(host, known);
        let Some(with) = judged_by.and_then(|configuration| trusted(configuration, &of)) else { return };
        let helps = match &plan.claim {
            Claim::Resolved { .. } | Claim::Mitigated { .. } => !plan.steps.is_empty(),
            Claim::NoAction { .. } | Claim::Escalate { .. } | Claim::Failed { .. } => false,
        };
        if helps && plan.playbook == with.playbook && stands(standing, &of, &with) {
            self.earning.insert(at.position, (of, with));
        }
    }

    fn propose(&mut self, proposed: &PromotionProposed, standing: &Standing, at: &mut At<'_>) {
        let PromotionProposed { of, with, to, after, earned_by } = proposed;
        let name = format!("{} in {}", of.remediation, of.environment);
        let mut wrong = |what: &str| at.flag(Rule::Promotion, format!("the promotion of {name} {what}"));
        if !stands(standing, of, with) || next_mode(with.mode) != Some(*to) {
            wrong("is not of what is configured there, or to another mode than the next");
        }
        let distinct: BTreeSet<&LogPosition> = earned_by.iter().collect();
        let asked = standing.configurations.newest().map(|newest| newest.promotion().after);
        if asked != Some(*after) || u32::try_from(distinct.len()) != Ok(*after) {
            wrong("rests on another number of runs than is asked for");
        }
        let since = self.set_back.get(of).copied();
        let earned = |position: &LogPosition| {
            self.earning.get(position).is_some_and(|(earned, by)| earned == of && by == with)
                && since.is_none_or(|since| *position > since)
        };
        if !earned_by.iter().all(earned) {
            wrong("names a record that did not earn it");
        }
    }
}

/// Whether the newest configuration says exactly this.
fn stands(standing: &Standing, of: &PromotionOf, with: &EarnedWith) -> bool {
    let newest = standing.configurations.newest();
    newest.and_then(|configuration| trusted(configuration, of)).as_ref() == Some(with)
}
