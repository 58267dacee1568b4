//! Agents' records: the chain is checked, the record is taken in, and what follows from it is added.
//!
//! Transitions, recoveries and reports always pass: no breaker or stop order holds back what an agent
//! says. Only a record that does not continue its chain, or is not the agent's to write, is refused.

use super::{Append, Decision, Outcome, endings, proposals, rollouts};
use crate::core::authorisation::Authorisation;
use crate::core::drills;
use crate::core::governor::{Case, Verdict, judge};
use crate::core::hosts::{Host, Place};
use crate::core::now::Now;
use crate::core::reclaim::Reclaims;
use crate::core::said::Said;
use crate::core::state::State;
use fettle_model::counter::{AgentSequence, LogPosition};
use fettle_model::digest::{DocumentDigest, EnvelopeDigest};
use fettle_model::host::HostState;
use fettle_model::id::{HostId, IncidentId, PermitId, ProposalId, RunId};
use fettle_model::offline::UnitNumber;
use fettle_model::permit::{PermitRequest, Purpose};
use fettle_model::record::{Author, Body, HostStateSet, Kind, Record};

/// An agent's record whose signature has been verified with the record key of `host`.
#[derive(Debug, Clone)]
pub struct AgentRecord {
    /// Whose key it was.
    pub host: HostId,
    /// The record.
    pub record: Record,
    /// SHA-256 of its envelope.
    pub envelope: EnvelopeDigest,
    /// Ids for what may follow from it.
    pub fresh: Fresh,
    /// What Cedar says of [`crate::core::facts_for_authorisation`], for a permit request. A request
    /// without it is refused as not authorised.
    pub authorised: Option<Authorisation>,
    /// SHA-256 over the policies that said so.
    pub policies: DocumentDigest,
}

/// Ids that the rim has minted for one command. Those that are not used are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fresh {
    /// For a permit.
    pub permit: PermitId,
    /// For an incident.
    pub incident: IncidentId,
    /// For a proposal.
    pub proposal: ProposalId,
}

/// Why an agent's record is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordRefusal {
    /// The host was never enrolled.
    #[error("the host {0} is not enrolled")]
    UnknownHost(HostId),
    /// The host's identity is withdrawn.
    #[error("the host {0} is revoked")]
    Revoked(HostId),
    /// The record, or something in it, names another host than the one whose key signed it.
    #[error("the record names another host than {0}")]
    OtherHost(HostId),
    /// Records before it are missing.
    #[error("record {found} came where {expected} is due")]
    Gap {
        /// The number that is due.
        expected: AgentSequence,
        /// The one that came.
        found: AgentSequence,
    },
    /// The chain has another record there. The host is quarantined: two holders of one identity, or
    /// one that was restored from a backup.
    #[error("record {sequence} contradicts the records that are known")]
    Forked {
        /// The number.
        sequence: AgentSequence,
    },
    /// An agent does not write records of this kind.
    #[error("an agent writes no {} records", .0.as_str())]
    NotForAgents(Kind),
    /// The request names a run that another request has named.
    #[error("the run {0} belongs to another request")]
    RunKnown(RunId),
}

pub(super) fn decide(state: &State, reclaims: &Reclaims, now: Now, given: &AgentRecord) -> Decision {
    let refused = |refusal| Decision::nothing(Outcome::RecordRefused(refusal));
    let Statement { host, sequence, previous, said } = match statement(state, given) {
        Ok(statement) => statement,
        Err(refusal) => return refused(refusal),
    };
    match host.place(sequence, previous, given.envelope) {
        Place::Next => match fits(state, host, said) {
            Ok(()) => taken(state, reclaims, now, host, said, given),
            Err(refusal) => refused(refusal),
        },
        Place::Known { at } => {
            let answer = if let Said::Asked(request) = said { state.answer(host.id, request.request) } else { None };
            Decision::nothing(Outcome::AlreadyKnown { at, answer: answer.map(|answer| answer.stamp.position) })
        }
        Place::Gap { expected } => refused(RecordRefusal::Gap { expected, found: sequence }),
        Place::Forked => forked(host, sequence),
    }
}

/// An agent's record, taken apart.
struct Statement<'a> {
    host: &'a Host,
    sequence: AgentSequence,
    previous: Option<EnvelopeDigest>,
    said: Said<'a>,
}

fn statement<'a>(state: &'a State, given: &'a AgentRecord) -> Result<Statement<'a>, RecordRefusal> {
    let host = state.host(given.host).ok_or(RecordRefusal::UnknownHost(given.host))?;
    if host.state == HostState::Revoked {
        return Err(RecordRefusal::Revoked(given.host));
    }
    let body = &given.record.body;
    let said = Said::of(body).ok_or_else(|| RecordRefusal::NotForAgents(body.kind()))?;
    match given.record.author {
        Author::Agent { host: author, sequence, previous } if author == given.host => {
            Ok(Statement { host, sequence, previous, said })
        }
        Author::Agent { .. } | Author::ControlPlane | Author::Person { .. } => {
            Err(RecordRefusal::OtherHost(given.host))
        }
    }
}

/// What the body itself says must fit its author.
fn fits(state: &State, host: &Host, said: Said<'_>) -> Result<(), RecordRefusal> {
    let named = match said {
        Said::Asked(request) => {
            let asked_before = state.answer(host.id, request.request).is_some();
            if !asked_before {
                let runs = std::iter::once(request.run).chain(units_of(request));
                if let Some(known) = runs.into_iter().find(|run| state.runs.knows(*run)) {
                    return Err(RecordRefusal::RunKnown(known));
                }
            }
            request.host
        }
        Said::Ended(ended) => ended.host,
        Said::Planned(plan) => plan.host,
        Said::Described(_)
        | Said::Saw(_)
        | Said::Rejected(_)
        | Said::Withheld(_)
        | Said::GaveBack(_)
        | Said::Intended(_)
        | Said::CannotHold(_)
        | Said::SawFork => host.id,
    };
    if named == host.id { Ok(()) } else { Err(RecordRefusal::OtherHost(host.id)) }
}

/// The runs that a budget in advance would be for, at most.
fn units_of(request: &PermitRequest) -> impl Iterator<Item = RunId> + use<> {
    let budget = match &request.purpose {
        Purpose::Offline { .. } => Some(request.run),
        Purpose::Remediate { .. } | Purpose::InjectFault { .. } | Purpose::Repeat { .. } => None,
    };
    budget.into_iter().flat_map(|run| UnitNumber::all().map(move |unit| unit.run(run)))
}

fn forked(host: &Host, sequence: AgentSequence) -> Decision {
    let append = match host.state {
        HostState::Active => {
            let why = format!("record {sequence} contradicts the records that are known of this host");
            let set = HostStateSet { host: host.id, state: HostState::Quarantined, by: None, why };
            vec![Append::Own(Body::HostStateSet(Box::new(set)))]
        }
        HostState::Quarantined | HostState::Revoked => Vec::new(),
    };
    Decision { append, outcome: Outcome::RecordRefused(RecordRefusal::Forked { sequence }) }
}

fn taken(state: &State, reclaims: &Reclaims, now: Now, host: &Host, said: Said<'_>, given: &AgentRecord) -> Decision {
    let position = state.next_position();
    let (follows, outcome) = match said {
        Said::Asked(request) => asked(state, reclaims, now, host, request, given),
        Said::Ended(ended) => (endings::of_report(state, now, position, ended, given.fresh.incident), Outcome::Done),
        Said::Rejected(rejected) => {
            (endings::of_rejection(state, host.id, rejected, given.fresh.incident), Outcome::Done)
        }
        Said::Saw(transition) => {
            (drills::after_transition(state, host.id, transition, position, now.wall), Outcome::Done)
        }
        Said::Withheld(withheld) => {
            let incident = endings::of_withheld(state, now, host.id, withheld, given.fresh.incident);
            let follows = drills::after_withheld(state, host.id, withheld).into_iter().chain(incident).collect();
            (follows, Outcome::Done)
        }
        Said::Planned(plan) => (proposals::after_plan(state, now, host, plan, given), Outcome::Done),
        Said::CannotHold(rejected) => {
            (rollouts::after_rejection(state, host.id, rejected, given.fresh.incident), Outcome::Done)
        }
        // Noted by `State::apply`; nothing follows from them.
        Said::Described(_) | Said::GaveBack(_) | Said::Intended(_) | Said::SawFork => (Vec::new(), Outcome::Done),
    };
    let append = std::iter::once(Append::AgentEnvelope).chain(follows.into_iter().map(Append::Own)).collect();
    Decision { append, outcome }
}

fn asked(
    state: &State,
    reclaims: &Reclaims,
    now: Now,
    host: &Host,
    request: &PermitRequest,
    given: &AgentRecord,
) -> (Vec<Body>, Outcome) {
    if let Some(answer) = state.answer(host.id, request.request) {
        return (Vec::new(), Outcome::Answered { answer: answer.stamp.position });
    }
    let denied = Authorisation::Denied { policies: Vec::new() };
    let case = Case {
        state,
        reclaims,
        now,
        host,
        request,
        authorised: given.authorised.as_ref().unwrap_or(&denied),
        permit: given.fresh.permit,
        policies: &given.policies,
    };
    // The request itself is appended first.
    let answer = LogPosition(state.next_position().0 + 1);
    let bodies = match judge(&case) {
        Verdict::Granted(permit) => vec![Body::PermitGranted(permit)],
        Verdict::Refused(refusal) => {
            let incident = endings::of_refusal(state, &refusal, given.fresh.incident);
            let ended = proposals::after_request(state, now, request);
            std::iter::once(Body::PermitRefused(refusal)).chain(incident).chain(ended).collect()
        }
    };
    (bodies, Outcome::Answered { answer })
}
