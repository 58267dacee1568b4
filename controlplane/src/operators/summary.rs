//! One line about a record, for lists of the log. The record itself is what counts.

use super::rows::host_name;
use crate::core::State;
use crate::time_text::utc;
use fettle_model::breaker::{BreakerEased, Easing};
use fettle_model::evidence::{Drill, DrillEnding, DrillResult};
use fettle_model::id::HostId;
use fettle_model::identity::HeldRole;
use fettle_model::incident::{IncidentCause, IncidentOpened};
use fettle_model::mute::MuteStarted;
use fettle_model::name::PersonName;
use fettle_model::permit::{Permit, PermitRejection, Purpose};
use fettle_model::promotion::{PromotionOf, PromotionProposed};
use fettle_model::proposal::{Approval, Proposal, Verdict};
use fettle_model::record::{Author, Body, ConfigurationSet, RoleGranted, RoleRevoked};
use fettle_model::refusal::Refusal;
use fettle_model::rollout::{RolloutHalted, RolloutOrdered};
use fettle_model::run::StepIntended;
use fettle_model::scenarios::{ScenarioTally, ScenariosPassed};

/// Who wrote a record.
pub(super) fn author(state: &State, author: &Author) -> String {
    match author {
        Author::ControlPlane => "control plane".to_owned(),
        Author::Agent { host, .. } => name(state, *host),
        Author::Person { person } => person.to_string(),
    }
}

fn name(state: &State, host: HostId) -> String {
    host_name(state, host).map_or_else(|| host.to_string(), |name| name.to_string())
}

fn by(person: Option<&PersonName>) -> String {
    person.map_or_else(|| "by the control plane".to_owned(), |person| format!("by {person}"))
}

fn eased_to(eased: &BreakerEased) -> String {
    let ended = format!("the breaker {}: its {} is over", eased.scope, eased.reason.as_str());
    match eased.easing {
        Easing::HalfOpen { at } => format!("{ended}, and from {} on a probe may pass", utc(at)),
        Easing::Gone => ended,
    }
}

/// What a record says, in one line.
pub(super) fn of(state: &State, body: &Body) -> String {
    match body {
        Body::LogOpened(opened) => format!("the log {} was opened", opened.origin),
        Body::RoleGranted(granted) => got(granted),
        Body::PersonRevoked(revoked) => format!("{} was revoked by {}: {}", revoked.person, revoked.by, revoked.why),
        Body::RoleRevoked(revoked) => lost(revoked),
        Body::BreakGlassAsked(asked) => format!("asks to be {} for half an hour: {}", asked.held(), asked.why),
        Body::BreakGlassOpened(opened) => format!("confirms the break-glass ask {}", opened.ask),
        Body::BreakGlassClosed(closed) => {
            format!("the break-glass ask {} was closed by {}: {}", closed.ask, closed.by, closed.why)
        }
        Body::PersonKeySet(set) => format!("a signing key of {} was registered by {}", set.person, set.by),
        Body::IdentityRegistered(it) => format!("{} is {} by {}", it.person, it.identity, it.by),
        Body::PersonLoggedIn(login) => format!("{} logged in as {}", login.person, login.identity),
        Body::ProposalMade(proposal) => proposed(state, proposal),
        Body::ApprovalGiven(given) => answered(given),
        Body::RolloutAdvanced(it) => {
            format!("configuration {} reached the ring {}", it.generation, it.ring.as_str())
        }
        Body::RolloutHalted(it) => rollout_halted(it),
        Body::RolloutOrdered(it) => rollout_ordered(it),
        Body::ConfigurationRejected(it) => {
            format!("cannot hold configuration {}, and keeps {}", it.generation, it.keeps)
        }
        Body::ProposalEnded(ending) => format!("the proposal {} ended: {}", ending.proposal, ending.because.rule()),
        Body::TokenCreated(created) => match &created.host {
            Some(host) => format!("a token for {host} in {} by {}", created.environment, created.by),
            None => format!("a token for {} by {}", created.environment, created.by),
        },
        Body::HostEnrolled(enrolled) => format!("{} enrolled in {}", enrolled.name, enrolled.environment),
        Body::CertificateIssued(issued) => {
            let under = if issued.token.is_some() { ", under a new token" } else { "" };
            format!("certificate {} of {}{under}", issued.generation, issued.subject)
        }
        Body::HostStateSet(set) => {
            format!("{} is {} {}: {}", name(state, set.host), set.state.as_str(), by(set.by.as_ref()), set.why)
        }
        Body::HostDescribed(description) => {
            let services: Vec<&str> = description.services.iter().map(|carried| carried.name.as_str()).collect();
            format!("{} {} with {}", description.os.id, description.os.version, list(&services))
        }
        Body::PublisherTrusted(trusted) => format!("{} is trusted by {}", trusted.publisher, trusted.by),
        Body::PlaybookAdmitted(admitted) => {
            let about = &admitted.manifest.playbook;
            format!("{} {} of {} admitted by {}", about.name, about.version, admitted.publisher, admitted.by)
        }
        Body::ScenariosPassed(passed) => scenarios_passed(passed),
        Body::ConfigurationSet(set) => configured(set),
        Body::TransitionSeen(seen) => format!(
            "{}: {} to {}, epoch {}: {}",
            seen.of,
            seen.from.as_str(),
            seen.to.as_str(),
            seen.epoch,
            seen.reason
        ),
        Body::PermitRequested(request) => format!("asks for a permit: {}", purpose(&request.purpose)),
        Body::PermitGranted(permit) => granted(state, permit),
        Body::PermitRefused(refusal) => refused(state, refusal),
        Body::PermitRejected(rejected) => format!("the agent rejected a permit: {}", rule(&rejected.because)),
        Body::RequestWithheld(withheld) => {
            let rules: Vec<&str> = withheld.because.iter().map(fettle_model::withheld::Hindrance::rule).collect();
            format!("does not ask for a permit: {}: {}", purpose(&withheld.purpose), rules.join(", "))
        }
        Body::StepIntended(it) => intended(it),
        Body::RunEnded(ended) => format!("run ended {}: {}", ended.ending.as_str(), ended.summary),
        Body::OfflineReturned(back) => format!("a budget given in advance is given back, {} used", back.used),
        Body::OfflineExpired(it) => format!("{} did not give its budget back in time", name(state, it.host)),
        Body::RunUnresolved(unresolved) => format!("a run on {} never reported", name(state, unresolved.host)),
        Body::PlanMade(plan) => format!("a plan of {} in {} steps", plan.playbook.name, plan.steps.len()),
        Body::BreakerOpened(opened) => format!("the breaker {} opened", opened.scope),
        Body::BreakerClosed(closed) => format!("the breaker {} closed", closed.scope),
        Body::FreezeDeclared(freeze) => {
            format!("{} frozen until {} by {}: {}", freeze.scope, utc(freeze.until), freeze.by, freeze.why)
        }
        Body::FreezeLifted(lifted) => format!("the freeze {} lifted by {}: {}", lifted.freeze, lifted.by, lifted.why),
        Body::MuteStarted(mute) => muted(mute),
        Body::MuteLifted(lifted) => format!("the mute {} lifted by {}: {}", lifted.mute, lifted.by, lifted.why),
        Body::BreakerEased(eased) => eased_to(eased),
        Body::AutomationStopped(order) => format!("{} stopped by {}: {}", order.scope, order.by, order.why),
        Body::AutomationResumed(order) => format!("{} resumed by {}: {}", order.scope, order.by, order.why),
        Body::DrillStarted(drill) => drilled(state, drill),
        Body::ScheduleRefused(refused) => {
            format!("the schedule {} began no drill: {}", refused.was.schedule, refused.reason)
        }
        Body::DrillStagePassed(passed) => {
            format!("the drill on {} passed: {}", name(state, passed.host), passed.stage.as_str())
        }
        Body::DrillEnded(ending) => drill_ended(ending),
        Body::EvidenceEarned(evidence) => format!("{} earned evidence for {}", evidence.playbook.name, evidence.class),
        Body::PromotionProposed(proposed) => earned(proposed),
        Body::IncidentOpened(incident) => called(state, incident),
        Body::ActionRefused(refused) => {
            format!("{} was refused {} on {}", refused.by, refused.action, refused.resource)
        }
        Body::ForkSeen(_) => "the agent saw two logs that contradict each other".to_owned(),
        Body::RunWished(wished) => {
            format!("{} wishes a run for {} on {}", wished.by, wished.check, name(state, wished.host))
        }
    }
}

fn got(granted: &RoleGranted) -> String {
    let held = HeldRole { role: granted.role, team: granted.team.clone() };
    format!("{} is {held} {}", granted.person, by(granted.by.as_ref()))
}

fn muted(mute: &MuteStarted) -> String {
    format!("{} muted until {} by {}: {}", mute.scope, utc(mute.until), mute.by, mute.why)
}

fn drill_ended(ending: &DrillEnding) -> String {
    match &ending.result {
        DrillResult::Proved => "the drill proved the playbook".to_owned(),
        DrillResult::NotProved { reason } => format!("the drill proved nothing: {reason}"),
    }
}

fn lost(revoked: &RoleRevoked) -> String {
    let held = HeldRole { role: revoked.role, team: revoked.team.clone() };
    format!("{} is not {held} any more, by {}: {}", revoked.person, revoked.by, revoked.why)
}

fn proposed(state: &State, proposal: &Proposal) -> String {
    let waits_for = match proposal.required {
        1 => "an approval".to_owned(),
        several => format!("{several} approvals"),
    };
    let (playbook, host) = (&proposal.playbook.name, name(state, proposal.host));
    format!("{playbook} for {} on {host} waits for {waits_for}", proposal.check)
}

fn scenarios_passed(passed: &ScenariosPassed) -> String {
    let ScenarioTally { scenarios, errors, crashes } = passed.report.tally();
    format!(
        "{}: {scenarios} scenarios passed with {errors} errors and {crashes} crashes, says {}",
        passed.playbook.name, passed.publisher
    )
}

fn configured(set: &ConfigurationSet) -> String {
    let (generation, by) = (set.configuration.generation(), &set.by);
    let (services, remediations) = (set.configuration.services().len(), set.configuration.remediations().len());
    format!("generation {generation}: {services} services, {remediations} remediations, by {by}")
}

fn rollout_halted(halted: &RolloutHalted) -> String {
    let (generation, ring) = (halted.generation, halted.ring.as_str());
    format!("the rollout of configuration {generation} halted in the ring {ring}")
}

fn rollout_ordered(ordered: &RolloutOrdered) -> String {
    let (order, generation) = (ordered.order.as_str(), ordered.generation);
    format!("{} ordered to {order} the rollout of configuration {generation}: {}", ordered.by, ordered.why)
}

fn answered(given: &Approval) -> String {
    match &given.verdict {
        Verdict::Approve => format!("approves the proposal {}", given.proposal),
        Verdict::Reject { why } => format!("rejects the proposal {}: {why}", given.proposal),
    }
}

fn drilled(state: &State, drill: &Drill) -> String {
    let Drill { playbook, host, fault, by, scheduled, .. } = drill;
    let by = scheduled.as_ref().map_or_else(|| by.to_string(), |was| format!("the schedule {}", was.schedule));
    format!("drill of {} on {}: {} by {by}", playbook.name, name(state, *host), fault.kind.as_str())
}

fn intended(intent: &StepIntended) -> String {
    let StepIntended { number, action, label, arguments, .. } = intent;
    let what = action.map_or("a fault", fettle_model::playbook::Action::as_str);
    let space = if arguments.is_empty() { "" } else { " " };
    format!("is about to take step {number}: {what} {label}{space}{arguments}")
}

fn earned(proposed: &PromotionProposed) -> String {
    let PromotionOf { remediation, environment, .. } = &proposed.of;
    let (to, runs) = (proposed.to.as_str(), proposed.earned_by.len());
    format!("{remediation} in {environment} has earned mode {to}, {runs} times in a row")
}

fn called(state: &State, incident: &IncidentOpened) -> String {
    let cause = match &incident.cause {
        IncidentCause::AttemptsExhausted { attempts, tried } if tried.is_empty() => {
            format!("{attempts} attempts did not help")
        }
        IncidentCause::AttemptsExhausted { tried, .. } => {
            let tried: Vec<String> = tried.iter().map(ToString::to_string).collect();
            format!("nothing on the list helped: {}", tried.join(", "))
        }
        IncidentCause::BrokenGlass { person, role, confirmed_by, until, .. } => {
            let until = utc(*until);
            return format!(
                "people are called: {person} is {role} by broken glass until {until}, confirmed by {confirmed_by}"
            );
        }
        IncidentCause::InDoubt { .. } => "a run is in doubt".to_owned(),
        IncidentCause::Unannounced { number, .. } => {
            format!("its agent took step {number}, which cannot be taken back, before it was in the log")
        }
        IncidentCause::Escalated { summary, .. } => summary.clone(),
        IncidentCause::RolloutHalted { generation } => format!("the rollout of configuration {generation} halted"),
        IncidentCause::ConfigurationRejected { generation } => {
            format!("the host cannot hold configuration {generation}")
        }
    };
    let host = incident.host.map_or_else(|| "no host".to_owned(), |host| name(state, host));
    format!("people are called for {host}: {cause}")
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "no service".to_owned() } else { names.join(", ") }
}

fn purpose(purpose: &Purpose) -> String {
    match purpose {
        Purpose::Remediate { check, remediation, .. } => format!("{remediation} for {check}"),
        Purpose::InjectFault { fault, .. } => format!("to inject {}", fault.kind.as_str()),
        Purpose::Repeat { check, .. } => format!("to run once more while {check} passes"),
        Purpose::Offline { check, remediation } => {
            format!("{remediation} for {check} while the control plane cannot be reached")
        }
    }
}

fn granted(state: &State, permit: &Permit) -> String {
    let playbook =
        permit.playbook.as_ref().map_or_else(|| "the fault".to_owned(), |playbook| playbook.name.to_string());
    format!("{playbook} may run on {}: {}, fence {}", name(state, permit.host), purpose(&permit.purpose), permit.fence)
}

/// The rule's name, as it stands in the record.
fn rule(because: &PermitRejection) -> String {
    let written = serde_json::to_value(because).ok();
    let rule = written.as_ref().and_then(|written| written.get("rule")?.as_str());
    rule.unwrap_or("see the record").to_owned()
}

fn refused(state: &State, refusal: &Refusal) -> String {
    let rules: Vec<&str> = refusal.reasons.iter().map(fettle_model::refusal::Reason::rule).collect();
    let about = refusal.check.as_ref().map_or_else(|| "a drill".to_owned(), ToString::to_string);
    format!("{about} on {} refused: {}", name(state, refusal.host), rules.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::digest::{EnvelopeDigest, KeyId};
    use fettle_model::record::PermitRejected;

    #[test]
    fn a_rejected_permit_is_told_with_its_rule() {
        let key = KeyId::of(b"another");
        for (because, rule) in
            [(PermitRejection::BadSignature, "bad-signature"), (PermitRejection::ForeignKey { key }, "foreign-key")]
        {
            let rejected = PermitRejected { permit: None, run: None, envelope: EnvelopeDigest::of(b"x"), because };
            let told = of(&State::default(), &Body::PermitRejected(Box::new(rejected)));
            assert_eq!(told, format!("the agent rejected a permit: {rule}"));
        }
    }
}
