//! Whose deed a record is: the person who signed it, or in whose name the control plane wrote it.
//!
//! Asked by the operators' API, which marks what somebody did while glass was broken for them. A deed of nobody, and an
//! agent's, has no actor.

use crate::name::PersonName;
use crate::record::{Author, Body, Record};

/// The person whose deed a record is.
#[must_use]
pub fn actor(record: &Record) -> Option<&PersonName> {
    match &record.author {
        Author::Person { person } => return Some(person),
        Author::Agent { .. } => return None,
        Author::ControlPlane => {}
    }
    match &record.body {
        Body::RoleGranted(granted) => granted.by.as_ref(),
        Body::HostStateSet(set) => set.by.as_ref(),
        Body::PersonRevoked(revoked) => Some(&revoked.by),
        Body::RoleRevoked(revoked) => Some(&revoked.by),
        Body::PersonKeySet(set) => Some(&set.by),
        Body::IdentityRegistered(registered) => Some(&registered.by),
        Body::PersonLoggedIn(login) => Some(&login.person),
        Body::TokenCreated(created) => Some(&created.by),
        Body::PublisherTrusted(trusted) => Some(&trusted.by),
        Body::PlaybookAdmitted(admitted) => Some(&admitted.by),
        Body::ScenariosPassed(passed) => Some(&passed.by),
        Body::ConfigurationSet(set) => Some(&set.by),
        Body::FreezeDeclared(declared) => Some(&declared.by),
        Body::FreezeLifted(lifted) => Some(&lifted.by),
        Body::MuteStarted(started) => Some(&started.by),
        Body::MuteLifted(lifted) => Some(&lifted.by),
        Body::AutomationStopped(order) => Some(&order.by),
        Body::AutomationResumed(order) => Some(&order.by),
        Body::DrillStarted(drill) => Some(&drill.by),
        Body::ActionRefused(refused) => Some(&refused.by),
        Body::RunWished(wished) => Some(&wished.by),
        Body::BreakGlassClosed(closed) => Some(&closed.by),
        Body::RolloutOrdered(order) => Some(&order.by),
        Body::BreakGlassAsked(_)
        | Body::BreakGlassOpened(_)
        | Body::ApprovalGiven(_)
        | Body::LogOpened(_)
        | Body::HostEnrolled(_)
        | Body::CertificateIssued(_)
        | Body::HostDescribed(_)
        | Body::TransitionSeen(_)
        | Body::PermitRequested(_)
        | Body::PermitGranted(_)
        | Body::PermitRefused(_)
        | Body::PermitRejected(_)
        | Body::RunEnded(_)
        | Body::RunUnresolved(_)
        | Body::PlanMade(_)
        | Body::BreakerOpened(_)
        | Body::BreakerClosed(_)
        | Body::BreakerEased(_)
        | Body::DrillStagePassed(_)
        | Body::DrillEnded(_)
        | Body::EvidenceEarned(_)
        | Body::IncidentOpened(_)
        | Body::ForkSeen(_)
        | Body::RequestWithheld(_)
        | Body::ProposalMade(_)
        | Body::ProposalEnded(_)
        | Body::ScheduleRefused(_)
        | Body::OfflineReturned(_)
        | Body::OfflineExpired(_)
        | Body::StepIntended(_)
        | Body::RolloutAdvanced(_)
        | Body::RolloutHalted(_)
        | Body::ConfigurationRejected(_)
        | Body::PromotionProposed(_) => None,
    }
}
