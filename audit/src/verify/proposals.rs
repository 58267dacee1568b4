//! Proposals and approvals: whether enough people, independent of it, said yes to exactly what was permitted.

use super::break_glass::Glasses;
use super::finding::{At, Rule};
use super::hosts::Hosts;
use super::people::People;
use super::standing::Standing;
use fettle_model::check::{CheckRef, Status};
use fettle_model::counter::TransitionEpoch;
use fettle_model::digest::{DocumentDigest, EnvelopeDigest};
use fettle_model::id::{HostId, ProposalId};
use fettle_model::name::{PersonName, RemediationName, TeamName};
use fettle_model::permit::{ApprovedPlan, Permit, Purpose};
use fettle_model::proposal::{Approval, PROPOSAL_VALID_FOR, Proposal, ProposalEnding, Verdict};
use fettle_model::record::{ConfigurationSet, RunWished};
use fettle_model::remediation::{Mode, Remediation};
use fettle_model::run::{Plan, PlannedStep};
use fettle_model::time::UnixMillis;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// What proposals rest on.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) hosts: &'a Hosts,
    pub(super) people: &'a People,
    pub(super) glasses: &'a Glasses,
    pub(super) standing: &'a Standing,
}

/// Proposals, and what they are compared with.
#[derive(Debug, Clone, Default)]
pub(super) struct Proposals {
    known: BTreeMap<ProposalId, Known>,
    /// The newest plan of each host.
    plans: BTreeMap<HostId, (EnvelopeDigest, Vec<PlannedStep>)>,
    /// Each remediation as it is configured, and who did so.
    authors: BTreeMap<RemediationName, (DocumentDigest, PersonName)>,
    wished: BTreeMap<(HostId, CheckRef), (Option<TransitionEpoch>, BTreeSet<PersonName>)>,
}

#[derive(Debug, Clone)]
struct Known {
    proposal: Proposal,
    request: DocumentDigest,
    progress: Progress,
    /// Who approved, with which key.
    approvals: BTreeMap<PersonName, [u8; 32]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Open,
    Over,
}

impl Proposals {
    pub(super) fn configure(&mut self, set: &ConfigurationSet) {
        let mut before = std::mem::take(&mut self.authors);
        let now = set.configuration.remediations().iter().map(|remediation| {
            let digest = Proposal::digest_of(remediation);
            let standing = before.remove(&remediation.name).filter(|(standing, _)| *standing == digest);
            (remediation.name.clone(), standing.unwrap_or_else(|| (digest, set.by.clone())))
        });
        self.authors = now.collect();
    }

    pub(super) fn wish(&mut self, wished: &RunWished, hosts: &Hosts) {
        let epoch = newest(hosts, wished.host, &wished.check).map(|(epoch, _)| epoch);
        let wish = self.wished.entry((wished.host, wished.check.clone())).or_default();
        if wish.0 != epoch {
            *wish = (epoch, BTreeSet::new());
        }
        wish.1.insert(wished.by.clone());
    }

    pub(super) fn plan(&mut self, host: HostId, plan: &Plan, envelope: EnvelopeDigest) {
        self.plans.insert(host, (envelope, plan.steps.clone()));
    }

    pub(super) fn make(&mut self, proposal: &Proposal, now: UnixMillis, ground: Ground<'_>, at: &mut At<'_>) {
        let mut wrong = |what: &str| at.flag(Rule::Proposal, format!("the proposal {} {what}", proposal.proposal));
        if proposal.targets.is_empty() || proposal.steps.is_empty() {
            wrong("has no target, or no step");
        }
        if newest(ground.hosts, proposal.host, &proposal.check) != Some((proposal.epoch, Status::Critical)) {
            wrong("is not about the check's newest transition, or that one is not critical");
        }
        let planned = self.plans.get(&proposal.host);
        if planned.is_none_or(|(envelope, steps)| *envelope != proposal.plan || *steps != proposal.steps) {
            wrong("is not the host's newest plan");
        }
        if proposal.expires_at > now.plus(PROPOSAL_VALID_FOR) {
            wrong("waits longer than an hour");
        }
        let wish = self.wished.get(&(proposal.host, proposal.check.clone()));
        let wish = wish.filter(|(epoch, _)| *epoch == Some(proposal.epoch));
        if wish.map(|(_, by)| by.clone()).unwrap_or_default() != proposal.wished_by {
            wrong("does not name those who wished for it");
        }
        match answering(proposal, ground) {
            Some((answer, remediation, required)) => {
                let same = Proposal::digest_of(answer) == proposal.configured
                    && remediation.playbook == proposal.playbook
                    && remediation.guard == proposal.guard
                    && remediation.parameters.digest() == proposal.parameters;
                if !same {
                    wrong("is not the remediation as it is configured");
                }
                if proposal.required < required {
                    wrong("asks for too few approvals");
                }
            }
            None => wrong("is for no remediation in mode approve of an admitted playbook"),
        }
        let known = Known {
            request: proposal.request(),
            proposal: proposal.clone(),
            progress: Progress::Open,
            approvals: BTreeMap::new(),
        };
        if self.known.insert(proposal.proposal, known).is_some() {
            at.flag(Rule::Identifier, format!("the proposal {} was made before", proposal.proposal));
        }
    }

    pub(super) fn approve(
        &mut self,
        person: &PersonName,
        given: &Approval,
        now: UnixMillis,
        ground: Ground<'_>,
        at: &mut At<'_>,
    ) {
        let mut wrong = |what: &str| at.flag(Rule::Approval, format!("{person} {what}"));
        let Some(known) = self.known.get_mut(&given.proposal) else {
            return wrong("answers a proposal that was not made");
        };
        let proposal = &known.proposal;
        if known.progress == Progress::Over || proposal.expires_at <= now {
            wrong("answers a proposal that had ended");
        }
        if given.request != known.request {
            return wrong("signed something else than what was proposed");
        }
        if !ground.people.approves_for(person, owner(proposal, ground), ground.glasses) {
            wrong("is no approver for the service");
        }
        match &given.verdict {
            Verdict::Reject { .. } => {}
            Verdict::Approve => {
                let wrote = self.authors.get(&proposal.remediation).is_some_and(|(_, by)| by == person);
                let admitted = ground.standing.admitted_by(&proposal.playbook.digest) == Some(person);
                if proposal.wished_by.contains(person) || wrote || admitted {
                    wrong("approved what they wished for, configured or admitted");
                }
                // Without a key the record was not taken.
                let Some(key) = ground.people.key(person) else { return };
                if known.approvals.insert(person.clone(), *key.as_bytes()).is_some() {
                    wrong("approved twice");
                }
            }
        }
    }

    pub(super) fn end(&mut self, ending: &ProposalEnding, at: &mut At<'_>) {
        match self.known.get_mut(&ending.proposal).filter(|known| known.progress == Progress::Open) {
            Some(known) => known.progress = Progress::Over,
            None => at.flag(Rule::Proposal, format!("{} ended, and did not wait", ending.proposal)),
        }
    }

    /// What a permit says was approved. That one in mode `approve` says so is checked with its configuration.
    pub(super) fn grant(&mut self, permit: &Permit, now: UnixMillis, ground: Ground<'_>, at: &mut At<'_>) {
        let Purpose::Remediate { check, .. } = &permit.purpose else { return };
        self.wished.remove(&(permit.host, check.clone()));
        let Some(ApprovedPlan { proposal: id, steps }) = &permit.approved else { return };
        let Some(known) = self.known.get_mut(id) else {
            return at.flag(Rule::Approval, format!("the permit rests on {id}, which was not proposed"));
        };
        let mut wrong = |what: &str| at.flag(Rule::Approval, format!("the permit rests on {id}, {what}"));
        let proposal = &known.proposal;
        if known.progress == Progress::Over || proposal.expires_at <= now {
            wrong("which had ended");
        }
        known.progress = Progress::Over;
        let purpose = Purpose::Remediate {
            check: proposal.check.clone(),
            epoch: proposal.epoch,
            remediation: proposal.remediation.clone(),
            rung: proposal.rung,
        };
        let same = permit.host == proposal.host
            && permit.purpose == purpose
            && permit.playbook.as_ref() == Some(&proposal.playbook)
            && permit.parameters.digest() == proposal.parameters
            && permit.targets == proposal.targets
            && *steps == proposal.steps;
        if !same {
            wrong("which is for something else");
        }
        if permit.policies != proposal.policies {
            wrong("which was made under other policies");
        }
        if self.authors.get(&proposal.remediation).is_none_or(|(digest, _)| *digest != proposal.configured) {
            wrong("which was made for another configuration");
        }
        let owner = owner(proposal, ground);
        let author = self.authors.get(&proposal.remediation).map(|(_, by)| by);
        let counts = |(person, key): &(&PersonName, &[u8; 32])| {
            author != Some(*person)
                && ground.people.key(person).is_some_and(|standing| standing.as_bytes() == *key)
                && ground.people.approves_for(person, owner, ground.glasses)
        };
        let keys: BTreeSet<_> = known.approvals.iter().filter(counts).map(|(_, key)| key).collect();
        if keys.len() < usize::try_from(proposal.required).unwrap_or(usize::MAX) {
            wrong(&format!("which {} approved where {} must", keys.len(), proposal.required));
        }
    }
}

fn newest(hosts: &Hosts, host: HostId, check: &CheckRef) -> Option<(TransitionEpoch, Status)> {
    hosts.get(host).and_then(|host| host.newest(check))
}

fn owner<'a>(proposal: &Proposal, ground: Ground<'a>) -> Option<&'a TeamName> {
    let configuration = ground.standing.configuration()?;
    configuration.service(&proposal.check.service).map(|service| &service.owner)
}

/// The remediation that a proposal is for, the same as it is on the proposal's rung, in mode `approve`, and how many
/// people must approve.
fn answering<'a>(proposal: &Proposal, ground: Ground<'a>) -> Option<(&'a Remediation, Cow<'a, Remediation>, u32)> {
    let host = ground.hosts.get(proposal.host)?;
    let answer = ground.standing.configuration()?.answer_to(&proposal.check)?;
    let placed = answer.at(proposal.rung)?;
    let manifest = ground.standing.manifest(&placed.playbook.digest)?;
    let fits = placed.name == proposal.remediation && placed.mode_in(&host.environment) == Mode::Approve;
    let required = Proposal::required(&placed.guard, manifest);
    fits.then_some((answer, placed, required))
}
