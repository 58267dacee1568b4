//! Proposals that wait for people, what people said of them, and what else their approval depends on.
//!
//! Kept as the log says it. What may be proposed, approved or used is decided elsewhere; whether a proposal
//! still stands is answered here, by [`State::stands`], whenever somebody asks.

use super::Involvement;
use super::entry::Stamp;
use super::state::State;
use fettle_model::check::{CheckRef, Status};
use fettle_model::configuration::Configuration;
use fettle_model::counter::TransitionEpoch;
use fettle_model::digest::DocumentDigest;
use fettle_model::id::{HostId, ProposalId, RunId};
use fettle_model::identity::{HeldRole, Role};
use fettle_model::name::{PersonName, RemediationName};
use fettle_model::permit::{Permit, PermitRequest};
use fettle_model::proposal::{EndedBecause, Proposal};
use fettle_model::time::UnixMillis;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Most proposals that wait at once; beyond that a plan waits until somebody asks for its run by hand. People
/// decide some tens in an hour, and each tick looks at all of them: 1 000 of some 2 µs.
pub const MAX_OPEN_PROPOSALS: usize = 1_000;

/// Proposals kept after their end, for views: one operator's week. The records are in the journal.
const MAX_CLOSED_PROPOSALS: usize = 1_000;

/// A proposal with what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownProposal {
    /// The proposal.
    pub proposal: Proposal,
    /// What an approval of it must name.
    pub request: DocumentDigest,
    /// Its record.
    pub made: Stamp,
    /// Who approved it.
    pub approvals: BTreeMap<PersonName, GivenApproval>,
    /// How it stands.
    pub state: ProposalState,
}

/// One approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenApproval {
    /// Its record.
    pub stamp: Stamp,
    /// The key that signed it, base64.
    key: String,
}

/// How a proposal stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposalState {
    /// It waits: for people, or, where enough of them said yes, for its agent.
    Open,
    /// A permit used it up.
    Granted {
        /// The permit's run.
        run: RunId,
    },
    /// It ended without.
    Ended {
        /// Why.
        because: EndedBecause,
    },
}

impl KnownProposal {
    /// Whether as many people as it needs said yes.
    #[must_use]
    pub fn has_enough(&self) -> bool {
        self.count() >= self.proposal.required
    }

    /// How many people said yes.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.approvals.len()).unwrap_or(u32::MAX)
    }
}

/// A remediation as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Configured {
    digest: DocumentDigest,
    by: PersonName,
}

/// Who wished for a run, and about which transition.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wish {
    epoch: TransitionEpoch,
    by: BTreeSet<PersonName>,
}

/// One place of one host.
type Place = (HostId, CheckRef);

/// Proposals, and what they depend on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::core) struct Proposals {
    open: BTreeMap<ProposalId, KnownProposal>,
    /// At most one is open for a check of a host.
    at: BTreeMap<Place, ProposalId>,
    closed: VecDeque<KnownProposal>,
    /// The newest request about each check that a person decides. Only of checks that the configuration
    /// answers: at most [`fettle_model::configuration::MAX_REMEDIATIONS`] a host.
    asked: BTreeMap<Place, PermitRequest>,
    /// Bounded likewise, and by the number of people.
    wished: BTreeMap<Place, Wish>,
    configured: BTreeMap<RemediationName, Configured>,
}

impl Proposals {
    /// A configuration replaces another: whoever changed a remediation is its author from then on.
    pub(in crate::core) fn configure(&mut self, configuration: &Configuration, by: &PersonName) {
        let mut before = std::mem::take(&mut self.configured);
        self.configured = configuration
            .remediations()
            .iter()
            .map(|remediation| {
                let digest = Proposal::digest_of(remediation);
                let standing = before.remove(&remediation.name).filter(|standing| standing.digest == digest);
                (remediation.name.clone(), standing.unwrap_or_else(|| Configured { digest, by: by.clone() }))
            })
            .collect();
    }

    pub(in crate::core) fn wish(&mut self, host: HostId, check: &CheckRef, epoch: TransitionEpoch, by: &PersonName) {
        let wish = self.wished.entry((host, check.clone())).or_insert_with(|| Wish { epoch, by: BTreeSet::new() });
        if wish.epoch != epoch {
            *wish = Wish { epoch, by: BTreeSet::new() };
        }
        wish.by.insert(by.clone());
    }

    /// Who wished for a run about this transition.
    pub(in crate::core) fn wished_by(
        &self,
        host: HostId,
        check: &CheckRef,
        epoch: TransitionEpoch,
    ) -> BTreeSet<PersonName> {
        let wish = self.wished.get(&(host, check.clone())).filter(|wish| wish.epoch == epoch);
        wish.map(|wish| wish.by.clone()).unwrap_or_default()
    }

    pub(in crate::core) fn ask(&mut self, request: &PermitRequest, check: &CheckRef) {
        self.asked.insert((request.host, check.clone()), request.clone());
    }

    /// The newest request about a check that a person decides.
    pub(in crate::core) fn request(&self, host: HostId, check: &CheckRef) -> Option<&PermitRequest> {
        self.asked.get(&(host, check.clone()))
    }

    pub(in crate::core) fn make(&mut self, proposal: &Proposal, stamp: Stamp) {
        self.at.insert((proposal.host, proposal.check.clone()), proposal.proposal);
        let known = KnownProposal {
            request: proposal.request(),
            proposal: proposal.clone(),
            made: stamp,
            approvals: BTreeMap::new(),
            state: ProposalState::Open,
        };
        self.open.insert(proposal.proposal, known);
    }

    pub(in crate::core) fn approve(&mut self, proposal: ProposalId, person: &PersonName, key: &str, stamp: Stamp) {
        if let Some(known) = self.open.get_mut(&proposal) {
            known.approvals.insert(person.clone(), GivenApproval { stamp, key: key.to_owned() });
        }
    }

    /// A permit uses up what was approved, and answers what was wished for.
    pub(in crate::core) fn grant(&mut self, permit: &Permit, check: &CheckRef) {
        let place = (permit.host, check.clone());
        self.wished.remove(&place);
        self.asked.remove(&place);
        if let Some(approved) = &permit.approved {
            self.close(approved.proposal, ProposalState::Granted { run: permit.run });
        }
    }

    pub(in crate::core) fn end(&mut self, proposal: ProposalId, because: &EndedBecause) {
        self.close(proposal, ProposalState::Ended { because: because.clone() });
    }

    fn close(&mut self, proposal: ProposalId, state: ProposalState) {
        let Some(known) = self.open.remove(&proposal) else { return };
        self.at.remove(&(known.proposal.host, known.proposal.check.clone()));
        self.closed.push_back(KnownProposal { state, ..known });
        while self.closed.len() > MAX_CLOSED_PROPOSALS {
            self.closed.pop_front();
        }
    }

    /// Those that wait, by id.
    pub(in crate::core) fn open(&self) -> impl ExactSizeIterator<Item = &KnownProposal> {
        self.open.values()
    }

    /// The one that waits for a check of a host.
    pub(in crate::core) fn open_at(&self, host: HostId, check: &CheckRef) -> Option<&KnownProposal> {
        self.open.get(self.at.get(&(host, check.clone()))?)
    }
}

impl State {
    /// A proposal that is still known.
    #[must_use]
    pub fn proposal(&self, id: ProposalId) -> Option<&KnownProposal> {
        let closed = || self.proposals.closed.iter().rev().find(|known| known.proposal.proposal == id);
        self.proposals.open.get(&id).or_else(closed)
    }

    /// All proposals that are still known, the newest first.
    #[must_use]
    pub fn proposals(&self) -> Vec<&KnownProposal> {
        let mut known: Vec<_> = self.proposals.open.values().chain(&self.proposals.closed).collect();
        known.sort_unstable_by_key(|known| std::cmp::Reverse(known.made.position));
        known
    }

    /// Who wrote the standing configuration of a remediation.
    #[must_use]
    pub fn configured_by(&self, remediation: &RemediationName) -> Option<&PersonName> {
        self.proposals.configured.get(remediation).map(|configured| &configured.by)
    }

    /// Whether nothing that a proposal rests on has changed since it was made. What its host binds to the
    /// playbook's labels shows only when the agent asks.
    ///
    /// # Errors
    /// With the first thing that has.
    pub fn stands(
        &self,
        known: &KnownProposal,
        policies: &DocumentDigest,
        wall: UnixMillis,
    ) -> Result<(), EndedBecause> {
        let KnownProposal { proposal, approvals, .. } = known;
        if proposal.expires_at <= wall {
            return Err(EndedBecause::Expired);
        }
        if &proposal.policies != policies {
            return Err(EndedBecause::PoliciesChanged);
        }
        let newest = self.host(proposal.host).and_then(|host| host.checks.get(&proposal.check));
        if newest
            .is_none_or(|newest| newest.transition.epoch != proposal.epoch || newest.transition.to != Status::Critical)
        {
            return Err(EndedBecause::TransitionChanged);
        }
        let configured = self.proposals.configured.get(&proposal.remediation);
        if configured.is_none_or(|configured| configured.digest != proposal.configured) {
            return Err(EndedBecause::ConfigurationChanged);
        }
        let lost = approvals.iter().find(|(person, given)| {
            !self.approves_for(person, &proposal.check, wall)
                || self.signing_key(person) != Some(given.key.as_str())
                || self.involvement(known, person).is_some()
        });
        lost.map_or(Ok(()), |(person, _)| Err(EndedBecause::ApproverLost { person: person.clone() }))
    }

    /// Why a person's yes to this would be a yes to themselves. Asked when it is given and again when it is used: they may
    /// have become its author in between.
    pub(in crate::core) fn involvement(&self, known: &KnownProposal, by: &PersonName) -> Option<Involvement> {
        let proposal = &known.proposal;
        let admitted = self.playbook(&proposal.playbook.digest);
        if proposal.wished_by.contains(by) {
            Some(Involvement::Wished)
        } else if admitted.is_some_and(|admitted| &admitted.admission.by == by) {
            Some(Involvement::Admitted)
        } else if self.configured_by(&proposal.remediation) == Some(by) {
            Some(Involvement::Configured)
        } else {
            None
        }
    }

    /// Whether a person is an approver for the service of a check.
    fn approves_for(&self, person: &PersonName, check: &CheckRef, wall: UnixMillis) -> bool {
        let roles = self.holding(person, wall).roles;
        let owner = self.configuration().service(&check.service).map(|service| &service.owner);
        let of_team = owner.map(|team| HeldRole { role: Role::Approver, team: Some(team.clone()) });
        roles.contains(&HeldRole::from(Role::Approver)) || of_team.is_some_and(|held| roles.contains(&held))
    }
}
