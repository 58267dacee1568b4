//! Whether people said yes to what is permitted where they have to (I10), tallied from the log alone: who may, whose key
//! stands, who has a hand in it, and what exactly they signed.

use crate::world::Logged;
use fettle_model::break_glass::BREAK_GLASS_LASTS;
use fettle_model::counter::TransitionEpoch;
use fettle_model::digest::{DocumentDigest, EnvelopeDigest, PlaybookDigest};
use fettle_model::id::{BreakGlassId, HostId, ProposalId};
use fettle_model::identity::{HeldRole, Role};
use fettle_model::name::{EnvironmentName, PersonName, TeamName};
use fettle_model::permit::{ApprovedPlan, Permit, Purpose};
use fettle_model::playbook::Action;
use fettle_model::proposal::{Proposal, Verdict};
use fettle_model::record::{Author, Body};
use fettle_model::remediation::{Mode, Remediation};
use fettle_model::run::Plan;
use fettle_model::time::UnixMillis;
use fettle_permit_model::invariants::I10;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// From the proposal's record on.
const WAITS: Duration = Duration::from_mins(60);

/// A yes, and the key that stood for whoever signed it.
struct Yes {
    person: PersonName,
    request: DocumentDigest,
    key: Option<String>,
}

struct Proposed {
    proposal: Proposal,
    at: UnixMillis,
    /// Who wished for it until then.
    wished: BTreeSet<PersonName>,
    yes: Vec<Yes>,
    /// A no, an end or a permit.
    over: bool,
}

/// A role by broken glass.
struct Glass {
    ask: BreakGlassId,
    by: PersonName,
    held: HeldRole,
    opened: Option<(PersonName, UnixMillis)>,
    closed: bool,
}

#[derive(Default)]
pub(crate) struct Approvals {
    /// The remediation, and who changed it last.
    configured: Option<(Remediation, PersonName)>,
    owner: Option<TeamName>,
    admitted: BTreeMap<PlaybookDigest, PersonName>,
    roles: BTreeMap<PersonName, BTreeSet<HeldRole>>,
    keys: BTreeMap<PersonName, String>,
    glasses: Vec<Glass>,
    wished: BTreeMap<(HostId, TransitionEpoch), BTreeSet<PersonName>>,
    plans: BTreeMap<EnvelopeDigest, Plan>,
    proposed: BTreeMap<ProposalId, Proposed>,
    /// Permits that people said yes to.
    pub(crate) used: usize,
    /// Why proposals ended without one.
    pub(crate) ended: BTreeSet<&'static str>,
}

impl Approvals {
    /// Reads a record; `epoch` is that of a host's newest transition.
    pub(super) fn read(&mut self, logged: &Logged, epoch: impl Fn(&HostId) -> TransitionEpoch) {
        let at = logged.received_at;
        match &logged.record.body {
            Body::ConfigurationSet(set) => {
                let newest = set.configuration.remediations().first().expect("one remediation");
                if self.configured.as_ref().is_none_or(|(standing, _)| standing != newest) {
                    self.configured = Some((newest.clone(), set.by.clone()));
                }
                self.owner = set.configuration.services().first().map(|service| service.owner.clone());
            }
            Body::PlaybookAdmitted(admitted) => {
                self.admitted.entry(admitted.digest).or_insert_with(|| admitted.by.clone());
            }
            Body::RunWished(wished) => {
                let place = (wished.host, epoch(&wished.host));
                self.wished.entry(place).or_default().insert(wished.by.clone());
            }
            Body::PlanMade(plan) => drop(self.plans.insert(logged.envelope, (**plan).clone())),
            Body::ProposalMade(proposal) => {
                let wished = self.wished.get(&(proposal.host, proposal.epoch)).cloned().unwrap_or_default();
                let proposed = Proposed { proposal: (**proposal).clone(), at, wished, yes: Vec::new(), over: false };
                assert!(self.proposed.insert(proposal.proposal, proposed).is_none(), "a proposal is made twice");
            }
            Body::ProposalEnded(ending) => {
                self.ended.insert(ending.because.rule());
                self.proposed.get_mut(&ending.proposal).expect("a proposal of the log").over = true;
            }
            Body::ApprovalGiven(approval) => {
                let Author::Person { person } = &logged.record.author else { unreachable!("a person's word") };
                let proposed = self.proposed.get_mut(&approval.proposal).expect("a proposal of the log");
                let (person, request, key) = (person.clone(), approval.request, self.keys.get(person).cloned());
                match approval.verdict {
                    Verdict::Approve => proposed.yes.push(Yes { person, request, key }),
                    Verdict::Reject { .. } => proposed.over = true,
                }
            }
            other => self.people(other, &logged.record.author, at),
        }
    }

    fn people(&mut self, body: &Body, author: &Author, at: UnixMillis) {
        match body {
            Body::RoleGranted(granted) => {
                let held = HeldRole { role: granted.role, team: granted.team.clone() };
                self.roles.entry(granted.person.clone()).or_default().insert(held);
            }
            Body::RoleRevoked(revoked) => {
                let held = HeldRole { role: revoked.role, team: revoked.team.clone() };
                self.roles.entry(revoked.person.clone()).or_default().remove(&held);
            }
            Body::PersonRevoked(revoked) => {
                self.roles.remove(&revoked.person);
                self.keys.remove(&revoked.person);
                let confirmed = |glass: &Glass| glass.opened.as_ref().is_some_and(|(by, _)| *by == revoked.person);
                for glass in self.glasses.iter_mut().filter(|glass| glass.by == revoked.person || confirmed(glass)) {
                    glass.closed = true;
                }
            }
            Body::PersonKeySet(set) => drop(self.keys.insert(set.person.clone(), set.signing_key.key.clone())),
            Body::BreakGlassAsked(asked) => {
                let Author::Person { person } = author else { unreachable!("a person's word") };
                let (ask, by, held) = (asked.ask, person.clone(), asked.held());
                self.glasses.push(Glass { ask, by, held, opened: None, closed: false });
            }
            Body::BreakGlassOpened(opened) => {
                let Author::Person { person } = author else { unreachable!("a person's word") };
                let glass = self.glasses.iter_mut().find(|glass| glass.ask == opened.ask).expect("an ask of the log");
                glass.opened = Some((person.clone(), at));
            }
            Body::BreakGlassClosed(closed) => {
                let glass = self.glasses.iter_mut().find(|glass| glass.ask == closed.ask).expect("an ask of the log");
                glass.closed = true;
            }
            _ => {}
        }
    }

    /// Whether somebody may say yes here, by a role that was given to them or by broken glass.
    pub(crate) fn may(&self, person: &PersonName, at: UnixMillis) -> bool {
        let suits = |held: &HeldRole| held.role == Role::Approver && (held.team.is_none() || held.team == self.owner);
        let own = self.roles.get(person).cloned().unwrap_or_default();
        let open = |glass: &&Glass| {
            let opened = glass.opened.as_ref().is_some_and(|(_, opened)| at < opened.plus(BREAK_GLASS_LASTS));
            glass.by == *person && opened && !glass.closed
        };
        let by_glass = self.glasses.iter().filter(open).any(|glass| suits(&glass.held));
        own.iter().any(suits) || (by_glass && !own.is_empty())
    }

    /// A permit is granted: where people have to say yes, they did, and to exactly this.
    pub(super) fn granted(
        &mut self,
        permit: &Permit,
        environment: &EnvironmentName,
        policies: &DocumentDigest,
        at: UnixMillis,
    ) {
        let Purpose::Remediate { epoch, .. } = &permit.purpose else {
            assert!(permit.approved.is_none(), "{I10}: a yes to something that heals nothing");
            return;
        };
        let (remediation, _) = self.configured.as_ref().expect("a configuration");
        match (remediation.modes.get(environment), &permit.approved) {
            (Some(Mode::Auto), None) => {}
            (Some(Mode::Approve), Some(plan)) => self.is_approved(permit, plan, policies, at),
            (mode, plan) => unreachable!("{I10}: in mode {mode:?} a permit with {plan:?}"),
        }
        // What was wished for is answered.
        self.wished.remove(&(permit.host, *epoch));
    }

    fn is_approved(&mut self, permit: &Permit, plan: &ApprovedPlan, policies: &DocumentDigest, at: UnixMillis) {
        let proposed = self.proposed.get_mut(&plan.proposal).expect("a proposal of the log");
        let proposal = &proposed.proposal;
        assert!(!proposed.over, "{I10}: {} had ended", proposal.proposal);
        proposed.over = true;
        assert!(at < proposed.at.plus(WAITS), "{I10}: {} had expired", proposal.proposal);
        let Purpose::Remediate { check, epoch, remediation: name, rung } = &permit.purpose else {
            unreachable!("it heals something")
        };
        assert_eq!(
            (permit.host, check, epoch, name, rung, permit.playbook.as_ref(), permit.parameters.digest()),
            (
                proposal.host,
                &proposal.check,
                &proposal.epoch,
                &proposal.remediation,
                &proposal.rung,
                Some(&proposal.playbook),
                proposal.parameters
            ),
            "{I10}: another run than was approved"
        );
        assert_eq!(permit.targets, proposal.targets, "{I10}: other targets than were approved");
        let planned = &self.plans.get(&proposal.plan).expect("a plan of the log").steps;
        assert!(planned == &proposal.steps && planned == &plan.steps, "{I10}: other steps than were planned");
        let (remediation, configured_by) = self.configured.as_ref().expect("a configuration");
        let configured = DocumentDigest::of(&serde_json::to_vec(remediation).expect("JSON"));
        assert_eq!(proposal.configured, configured, "{I10}: the remediation changed after the yes");
        assert_eq!(&proposal.policies, policies, "{I10}: the policies changed after the yes");
        let grave = permit.targets.iter().any(|target| target.actions.contains(&Action::Restart));
        let required = remediation.guard.approvals.max(if grave { 2 } else { 1 });
        let mut signed = b"fettle proposal v1\n".to_vec();
        signed.extend(serde_json::to_vec(proposal).expect("JSON"));
        let request = DocumentDigest::of(&signed);
        let admitted_by = self.admitted.get(&proposal.playbook.digest);
        let proposed = self.proposed.get(&plan.proposal).expect("just seen");
        let counts = |yes: &&Yes| {
            let person = &yes.person;
            let standing = yes.key.is_some() && self.keys.get(person) == yes.key.as_ref();
            let involved = proposed.wished.contains(person) || admitted_by == Some(person) || configured_by == person;
            yes.request == request && standing && !involved && self.may(person, at)
        };
        let (people, keys): (BTreeSet<_>, BTreeSet<_>) =
            proposed.yes.iter().filter(counts).map(|yes| (&yes.person, &yes.key)).unzip();
        let count = u32::try_from(people.len().min(keys.len())).expect("few");
        assert!(count >= required, "{I10}: {people:?} said yes, {required} have to");
        self.used += 1;
    }
}
