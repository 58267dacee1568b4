//! What becomes of each kind of record when the past is replayed. Pure; called by `replay` for every record.

use fettle_model::breaker::ReasonKind;
use fettle_model::check::{CheckRef, Transition};
use fettle_model::configuration::Configuration;
use fettle_model::id::{HostId, PermitId};
use fettle_model::permit::{PermitRequest, Purpose};
use fettle_model::record::Body;
use fettle_model::run::Ending;

/// What becomes of a record.
#[derive(Debug, Clone, Copy)]
pub(super) enum Course<'a> {
    /// It stands as it was.
    Stands,
    /// It followed from the rules, and follows anew.
    FollowsAnew,
    /// The edit is laid over it.
    Configuration(&'a Configuration),
    /// It stands, and may begin or end a fault.
    Transition(&'a Transition),
    /// An agent asked about a fault.
    Request(&'a PermitRequest, &'a CheckRef),
    /// An agent said that it does not ask about a fault.
    Withheld(&'a CheckRef),
    /// It is an answer to a fault, or belongs to one: it follows anew where the edit touches the check.
    OfFault(HostId, &'a CheckRef),
    /// A run ended, where it is one of the replay's state.
    RunEnd(PermitId, Option<Ending>),
}

fn of_purpose(host: HostId, purpose: &Purpose) -> Course<'_> {
    match purpose {
        Purpose::Remediate { check, .. } => Course::OfFault(host, check),
        // What was given in advance, and what was done under it, is not decided anew.
        Purpose::InjectFault { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. } => Course::Stands,
    }
}

const fn of_breaker(reason: ReasonKind) -> Course<'static> {
    match reason {
        ReasonKind::Failures | ReasonKind::Storm => Course::FollowsAnew,
        // What the log cannot tell anew.
        ReasonKind::Blindness | ReasonKind::LogLag | ReasonKind::ByHand => Course::Stands,
    }
}

impl<'a> Course<'a> {
    pub(super) fn of(body: &'a Body) -> Self {
        match body {
            Body::ConfigurationSet(set) => Self::Configuration(&set.configuration),
            Body::TransitionSeen(transition) => Self::Transition(transition),
            Body::PermitRequested(request) => match &request.purpose {
                Purpose::Remediate { check, .. } => Self::Request(request, check),
                Purpose::InjectFault { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. } => Self::Stands,
            },
            Body::RequestWithheld(withheld) => match &withheld.purpose {
                Purpose::Remediate { check, .. } => Self::Withheld(check),
                Purpose::InjectFault { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. } => Self::Stands,
            },
            Body::PermitGranted(permit) if permit.drill.is_some() => Self::Stands,
            Body::PermitGranted(permit) => of_purpose(permit.host, &permit.purpose),
            Body::PermitRefused(refusal) => {
                refusal.check.as_ref().map_or(Self::Stands, |check| Self::OfFault(refusal.host, check))
            }
            Body::PlanMade(plan) => of_purpose(plan.host, &plan.purpose),
            Body::ProposalMade(proposal) => Self::OfFault(proposal.host, &proposal.check),
            Body::RunWished(wished) => Self::OfFault(wished.host, &wished.check),
            Body::PermitRejected(rejected) => rejected.permit.map_or(Self::Stands, |permit| Self::RunEnd(permit, None)),
            Body::RunEnded(ended) if matches!(ended.purpose, Purpose::Offline { .. }) => Self::Stands,
            Body::RunEnded(ended) => Self::RunEnd(ended.permit, Some(ended.ending)),
            Body::RunUnresolved(lost) => Self::RunEnd(lost.permit, Some(Ending::InDoubt)),
            Body::BreakerOpened(opened) => of_breaker(opened.because.kind()),
            Body::BreakerEased(eased) => of_breaker(eased.reason),
            Body::BreakerClosed(closed) if closed.probe.is_some() => Self::FollowsAnew,
            // The edit is everywhere at once, so nothing is rolled out; nothing is proposed, and nobody is called.
            Body::PromotionProposed(_)
            | Body::RolloutAdvanced(_)
            | Body::RolloutHalted(_)
            | Body::RolloutOrdered(_)
            | Body::ConfigurationRejected(_)
            | Body::IncidentOpened(_) => Self::FollowsAnew,
            Body::BreakerClosed(_)
            | Body::LogOpened(_)
            | Body::RoleGranted(_)
            | Body::PersonRevoked(_)
            | Body::BreakGlassAsked(_)
            | Body::BreakGlassOpened(_)
            | Body::BreakGlassClosed(_)
            | Body::RoleRevoked(_)
            | Body::PersonKeySet(_)
            | Body::IdentityRegistered(_)
            | Body::PersonLoggedIn(_)
            | Body::ApprovalGiven(_)
            | Body::ProposalEnded(_)
            | Body::TokenCreated(_)
            | Body::HostEnrolled(_)
            | Body::CertificateIssued(_)
            | Body::HostStateSet(_)
            | Body::HostDescribed(_)
            | Body::PublisherTrusted(_)
            | Body::PlaybookAdmitted(_)
            | Body::ScenariosPassed(_)
            | Body::AutomationStopped(_)
            | Body::AutomationResumed(_)
            | Body::FreezeDeclared(_)
            | Body::FreezeLifted(_)
            | Body::MuteStarted(_)
            | Body::MuteLifted(_)
            | Body::DrillStarted(_)
            | Body::DrillStagePassed(_)
            | Body::DrillEnded(_)
            | Body::ScheduleRefused(_)
            | Body::OfflineReturned(_)
            | Body::OfflineExpired(_)
            | Body::StepIntended(_)
            | Body::EvidenceEarned(_)
            | Body::ActionRefused(_)
            | Body::ForkSeen(_) => Self::Stands,
        }
    }
}
