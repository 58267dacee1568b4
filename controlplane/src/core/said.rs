//! What agents say, as a closed enum: the kinds of records that only agents write.

use fettle_model::check::Transition;
use fettle_model::host::HostDescription;
use fettle_model::offline::OfflineReturned;
use fettle_model::permit::PermitRequest;
use fettle_model::record::{Body, PermitRejected};
use fettle_model::rollout::ConfigurationRejected;
use fettle_model::run::{Plan, RunRecord, StepIntended};
use fettle_model::withheld::RequestWithheld;

/// The body of an agent's record.
#[derive(Debug, Clone, Copy)]
pub(in crate::core) enum Said<'a> {
    Described(&'a HostDescription),
    Saw(&'a Transition),
    Asked(&'a PermitRequest),
    Rejected(&'a PermitRejected),
    Ended(&'a RunRecord),
    Planned(&'a Plan),
    Withheld(&'a RequestWithheld),
    GaveBack(&'a OfflineReturned),
    Intended(&'a StepIntended),
    CannotHold(&'a ConfigurationRejected),
    SawFork,
}

impl<'a> Said<'a> {
    /// The body, when it is one that agents write; all other kinds are the control plane's.
    pub(in crate::core) fn of(body: &'a Body) -> Option<Self> {
        match body {
            Body::HostDescribed(description) => Some(Self::Described(description)),
            Body::TransitionSeen(transition) => Some(Self::Saw(transition)),
            Body::PermitRequested(request) => Some(Self::Asked(request)),
            Body::PermitRejected(rejected) => Some(Self::Rejected(rejected)),
            Body::RunEnded(ended) => Some(Self::Ended(ended)),
            Body::PlanMade(plan) => Some(Self::Planned(plan)),
            Body::RequestWithheld(withheld) => Some(Self::Withheld(withheld)),
            Body::ConfigurationRejected(rejected) => Some(Self::CannotHold(rejected)),
            Body::OfflineReturned(returned) => Some(Self::GaveBack(returned)),
            Body::StepIntended(intent) => Some(Self::Intended(intent)),
            Body::ForkSeen(_) => Some(Self::SawFork),
            Body::LogOpened(_)
            | Body::RoleGranted(_)
            | Body::PersonRevoked(_)
            | Body::BreakGlassAsked(_)
            | Body::BreakGlassOpened(_)
            | Body::BreakGlassClosed(_)
            | Body::RoleRevoked(_)
            | Body::PersonKeySet(_)
            | Body::IdentityRegistered(_)
            | Body::PersonLoggedIn(_)
            | Body::ProposalMade(_)
            | Body::ApprovalGiven(_)
            | Body::ProposalEnded(_)
            | Body::RolloutAdvanced(_)
            | Body::RolloutHalted(_)
            | Body::RolloutOrdered(_)
            | Body::TokenCreated(_)
            | Body::HostEnrolled(_)
            | Body::CertificateIssued(_)
            | Body::HostStateSet(_)
            | Body::PublisherTrusted(_)
            | Body::PlaybookAdmitted(_)
            | Body::ScenariosPassed(_)
            | Body::ConfigurationSet(_)
            | Body::PermitGranted(_)
            | Body::PermitRefused(_)
            | Body::RunUnresolved(_)
            | Body::BreakerOpened(_)
            | Body::BreakerClosed(_)
            | Body::BreakerEased(_)
            | Body::FreezeDeclared(_)
            | Body::FreezeLifted(_)
            | Body::MuteStarted(_)
            | Body::MuteLifted(_)
            | Body::PromotionProposed(_)
            | Body::AutomationStopped(_)
            | Body::AutomationResumed(_)
            | Body::DrillStarted(_)
            | Body::DrillStagePassed(_)
            | Body::ScheduleRefused(_)
            | Body::OfflineExpired(_)
            | Body::DrillEnded(_)
            | Body::EvidenceEarned(_)
            | Body::IncidentOpened(_)
            | Body::ActionRefused(_)
            | Body::RunWished(_) => None,
        }
    }
}
