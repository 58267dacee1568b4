//! One record at a time: leaf, envelope, author, signature, chain; then the rules for its kind.

use super::authority;
use super::break_glass::Glasses;
use super::course::{Course, Scene};
use super::finding::{AgentTail, At, Findings, Rule};
use super::grants::Grants;
use super::hosts::Hosts;
use super::logins::Logins;
use super::mutes::Mutes;
use super::people::People;
use super::promotions::Promotions;
use super::proposals::{Ground, Proposals};
use super::runs::Runs;
use super::standing::Standing;
use crate::checkpoint::Checkpoint;
use crate::key::PublicKey;
use crate::leaf::{LEAF_BYTES, Leaf, leaf_for};
use crate::note::{KeyName, VerifierKey};
use crate::policy::Policy;
use crate::signed_record::{SignedRecord, Speaker, UnverifiedRecord};
use fettle_model::check::Status;
use fettle_model::digest::EnvelopeDigest;
use fettle_model::id::HostId;
use fettle_model::permit::Purpose;
use fettle_model::record::{Author, Body, ForkSeen, Kind, LogOpened, Record};
use fettle_model::time::UnixMillis;
use fettle_model::withheld::RequestWithheld;

/// The log that the bundle says it is, and whom to believe.
pub(super) struct Log<'a> {
    pub(super) policy: &'a Policy,
    pub(super) origin: &'a KeyName,
}

/// Everything that later records are compared with.
#[derive(Debug, Clone)]
pub(super) struct Records {
    permit_key: PublicKey,
    hosts: Hosts,
    people: People,
    glasses: Glasses,
    mutes: Mutes,
    proposals: Proposals,
    promotions: Promotions,
    logins: Logins,
    standing: Standing,
    grants: Grants,
    runs: Runs,
    course: Course,
}

impl Records {
    pub(super) fn new(permit_key: PublicKey) -> Self {
        Self {
            permit_key,
            hosts: Hosts::default(),
            people: People::default(),
            glasses: Glasses::default(),
            mutes: Mutes::default(),
            proposals: Proposals::default(),
            promotions: Promotions::default(),
            logins: Logins::default(),
            standing: Standing::default(),
            grants: Grants::default(),
            runs: Runs::default(),
            course: Course::default(),
        }
    }

    /// Takes the next record of the log.
    pub(super) fn take(&mut self, log: &Log<'_>, leaf: &[u8; LEAF_BYTES], envelope: &[u8], at: &mut At<'_>) {
        let Some((leaf, signed)) = self.open(leaf, envelope, at) else { return };
        let record = signed.record();
        if leaf != leaf_for(&signed, leaf.received_at) {
            at.flag(Rule::Leaf, "the leaf is not that of its record");
        }
        check_entitlement(&signed.speaker(), record.body.kind(), at);
        if let Author::Agent { host, sequence, previous } = &record.author {
            self.hosts.link(*host, *sequence, *previous, signed.envelope().digest(), record.at, at);
        }
        let opens = record.body.kind() == Kind::LogOpened;
        if opens != (at.position.0 == 0) {
            at.flag(Rule::Opening, "the record log-opened must be the first record and no other");
        }
        self.logins.see(&record.body, leaf.received_at, at);
        self.glasses.see(leaf.received_at);
        self.glasses.judge(record, at);
        authority::judge(record, &self.people, &self.glasses, at);
        self.apply(log, &leaf, record, at);
        self.follow(record, leaf.received_at, at);
    }

    /// The leaf and the record of a line, as far as both can be believed.
    fn open(&self, leaf: &[u8], envelope: &[u8], at: &mut At<'_>) -> Option<(Leaf, SignedRecord)> {
        let leaf = match Leaf::decode(leaf) {
            Ok(leaf) => leaf,
            Err(error) => {
                at.flag(Rule::Leaf, error.to_string());
                return None;
            }
        };
        if EnvelopeDigest::of(envelope) != leaf.envelope {
            at.flag(Rule::Envelope, "the envelope is not the one that the leaf names");
            return None;
        }
        let unverified = match UnverifiedRecord::parse(envelope.to_vec()) {
            Ok(unverified) => unverified,
            Err(error) => {
                at.flag(Rule::Envelope, error.to_string());
                return None;
            }
        };
        let speaker = unverified.claimed_speaker();
        let key = match &speaker {
            Speaker::ControlPlane => Some(&self.permit_key),
            Speaker::Agent(host) => self.hosts.record_key(*host),
            Speaker::Person(person) => self.people.key(person),
        };
        let Some(key) = key else {
            at.flag(Rule::Author, format!("no key stands here for {}", words_for(&speaker)));
            return None;
        };
        match unverified.verify(key) {
            Ok(signed) => Some((leaf, signed)),
            Err(_) => {
                at.flag(Rule::Signature, format!("no sound signature by the key of {}", words_for(&speaker)));
                None
            }
        }
    }

    fn apply(&mut self, log: &Log<'_>, leaf: &Leaf, record: &Record, at: &mut At<'_>) {
        let Self { hosts, people, glasses, mutes, proposals, standing, grants, runs, .. } = self;
        match (&record.body, agent_of(&record.author)) {
            (Body::LogOpened(opened), _) => {
                check_opening(log, opened, at);
                people.open(&opened.trust_domain);
            }
            (Body::RoleGranted(granted), _) => people.grant(granted),
            (Body::PersonRevoked(revoked), _) => {
                people.revoke(&revoked.person);
                glasses.revoke(&revoked.person);
            }
            (Body::IdentityRegistered(registered), _) => people.register(registered),
            (Body::BreakGlassAsked(_) | Body::BreakGlassOpened(_), _) => {
                glasses.said(record, leaf.envelope, people, at);
            }
            (Body::BreakGlassClosed(closed), _) => glasses.close(closed, at),
            (Body::IncidentOpened(incident), _) => glasses.called(incident, at),
            (Body::RoleRevoked(revoked), _) => people.end_role(revoked, at),
            (Body::PersonKeySet(set), _) => people.set_key(set, at),
            (Body::RunWished(wished), _) => proposals.wish(wished, hosts),
            (Body::PlanMade(plan), Some(host)) => proposals.plan(host, plan, leaf.envelope),
            (Body::ProposalMade(proposal), _) => {
                proposals.make(proposal, leaf.received_at, Ground { hosts, people, glasses, standing }, at);
            }
            (Body::ApprovalGiven(given), _) => {
                if let Author::Person { person } = &record.author {
                    proposals.approve(person, given, leaf.received_at, Ground { hosts, people, glasses, standing }, at);
                }
            }
            (Body::ProposalEnded(ending), _) => proposals.end(ending, at),
            (Body::TokenCreated(token), _) => hosts.token(token, at),
            (Body::HostEnrolled(enrolled), _) => hosts.enrol(enrolled, record.at, at),
            (Body::CertificateIssued(issued), _) => hosts.certify(issued, record.at, at),
            (Body::HostStateSet(set), _) => hosts.set_state(set, at),
            (Body::HostDescribed(description), Some(host)) => hosts.describe(host, description),
            (Body::TransitionSeen(transition), Some(host)) => hosts.transition(host, transition),
            (Body::PublisherTrusted(trusted), _) => standing.trust(trusted, at),
            (Body::PlaybookAdmitted(admitted), _) => standing.admit(admitted, at),
            (Body::ScenariosPassed(passed), _) => standing.pass_scenarios(passed, at),
            (Body::ConfigurationSet(set), _) => {
                standing.configurations.set(set, hosts, at);
                proposals.configure(set);
                hosts.count_groups_anew();
            }
            (Body::RolloutAdvanced(advanced), _) => {
                standing.configurations.advance(advanced, hosts, at);
                hosts.count_groups_anew();
            }
            (Body::RolloutHalted(halted), _) => standing.configurations.halt(halted, at),
            (Body::RolloutOrdered(ordered), _) => standing.configurations.order(ordered, at),
            (Body::AutomationStopped(order), _) => standing.stop(order, at),
            (Body::AutomationResumed(order), _) => standing.resume(order),
            (Body::BreakerOpened(opened), _) => standing.open_breaker(opened),
            (Body::BreakerClosed(closed), _) => standing.close_breaker(closed),
            (Body::BreakerEased(eased), _) => standing.ease_breaker(eased),
            (Body::FreezeDeclared(declared), _) => standing.freeze(declared),
            (Body::FreezeLifted(lifted), _) => standing.lift(lifted, at),
            (Body::MuteStarted(started), _) => mutes.start(started, record.at, at),
            (Body::MuteLifted(lifted), _) => mutes.lift(lifted, record.at, at),
            (Body::DrillStarted(drill), _) => standing.start_drill(drill, record.at, hosts, at),
            (Body::ScheduleRefused(refused), _) => standing.falls_due(&refused.was, record.at, at),
            (Body::DrillStagePassed(passed), _) => standing.pass_stage(passed, hosts, at),
            (Body::DrillEnded(ending), _) => standing.end_drill(ending, at),
            (Body::EvidenceEarned(evidence), _) => standing.earn(evidence, record.at, hosts, runs, at),
            (Body::PermitRequested(request), Some(host)) => grants.request(host, request, at),
            (Body::PermitRefused(refusal), _) => grants.refuse(refusal, at),
            (Body::PermitGranted(permit), _) => {
                proposals.grant(permit, leaf.received_at, Ground { hosts, people, glasses, standing }, at);
                grants.grant(permit, record.at, hosts, standing, runs, at);
            }
            (Body::PermitRejected(rejected), Some(host)) => runs.reject(host, rejected, hosts, at),
            (Body::RunEnded(run), Some(host)) => runs.end(host, run, hosts, at),
            (Body::RunUnresolved(unresolved), _) => runs.give_up(unresolved, hosts, at),
            (Body::StepIntended(intent), Some(host)) => runs.intend(host, intent, at),
            (Body::OfflineReturned(returned), Some(host)) => runs.give_back(host, returned, hosts, at),
            (Body::OfflineExpired(expired), _) => runs.expire(expired, hosts, at),
            (Body::RequestWithheld(withheld), Some(host)) => check_withheld(host, withheld, hosts, standing, at),
            (Body::ForkSeen(fork), Some(host)) => check_fork(log, host, fork, at),
            // Agents' records by somebody else are flagged by `check_entitlement` and have no effect.
            (
                Body::HostDescribed(_)
                | Body::TransitionSeen(_)
                | Body::PermitRequested(_)
                | Body::PermitRejected(_)
                | Body::RunEnded(_)
                | Body::OfflineReturned(_)
                | Body::StepIntended(_)
                | Body::PlanMade(_)
                | Body::RequestWithheld(_)
                | Body::ForkSeen(_),
                None,
            )
            | (Body::PersonLoggedIn(_) | Body::ConfigurationRejected(_) | Body::ActionRefused(_), _)
            | (Body::PromotionProposed(_), _) => {}
        }
    }

    /// Hands a record to those that look at several kinds, after what it changes stands.
    fn follow(&mut self, record: &Record, now: UnixMillis, at: &mut At<'_>) {
        let Self { hosts, standing, promotions, course, .. } = self;
        promotions.see(record, hosts, standing, at);
        course.see(record, Scene { hosts, standing, now }, at);
    }

    /// Adds what only the end of the log shows.
    pub(super) fn finish(&self, findings: &mut Findings) {
        self.glasses.finish(findings);
        self.runs.finish(findings);
        self.course.finish(findings);
    }

    pub(super) fn permits(&self) -> u64 {
        self.runs.granted()
    }

    pub(super) fn runs(&self) -> u64 {
        self.runs.ended()
    }

    pub(super) fn tails(&self) -> Vec<AgentTail> {
        self.hosts.tails()
    }
}

/// The host whose agent is the author.
const fn agent_of(author: &Author) -> Option<HostId> {
    match author {
        Author::ControlPlane | Author::Person { .. } => None,
        Author::Agent { host, .. } => Some(*host),
    }
}

fn words_for(speaker: &Speaker) -> String {
    match speaker {
        Speaker::ControlPlane => "the control plane".to_owned(),
        Speaker::Agent(host) => format!("the agent of {host}"),
        Speaker::Person(person) => format!("the person {person}"),
    }
}

/// Who writes records of a kind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writer {
    ControlPlane,
    Agents,
    People,
}

/// Who may write which kind of record: an agent must not grant permits to itself.
fn check_entitlement(speaker: &Speaker, kind: Kind, at: &mut At<'_>) {
    let writer = match kind {
        Kind::HostDescribed
        | Kind::TransitionSeen
        | Kind::PermitRequested
        | Kind::PermitRejected
        | Kind::RunEnded
        | Kind::OfflineReturned
        | Kind::StepIntended
        | Kind::PlanMade
        | Kind::RequestWithheld
        | Kind::ConfigurationRejected
        | Kind::ForkSeen => Writer::Agents,
        Kind::ApprovalGiven | Kind::BreakGlassAsked | Kind::BreakGlassOpened => Writer::People,
        Kind::LogOpened
        | Kind::RoleGranted
        | Kind::PersonRevoked
        | Kind::BreakGlassClosed
        | Kind::RoleRevoked
        | Kind::PersonKeySet
        | Kind::IdentityRegistered
        | Kind::PersonLoggedIn
        | Kind::ProposalMade
        | Kind::ProposalEnded
        | Kind::RolloutAdvanced
        | Kind::RolloutHalted
        | Kind::RolloutOrdered
        | Kind::TokenCreated
        | Kind::HostEnrolled
        | Kind::CertificateIssued
        | Kind::HostStateSet
        | Kind::PublisherTrusted
        | Kind::PlaybookAdmitted
        | Kind::ScenariosPassed
        | Kind::ConfigurationSet
        | Kind::PermitGranted
        | Kind::PermitRefused
        | Kind::RunUnresolved
        | Kind::OfflineExpired
        | Kind::BreakerOpened
        | Kind::BreakerClosed
        | Kind::BreakerEased
        | Kind::FreezeDeclared
        | Kind::FreezeLifted
        | Kind::MuteStarted
        | Kind::MuteLifted
        | Kind::PromotionProposed
        | Kind::AutomationStopped
        | Kind::AutomationResumed
        | Kind::DrillStarted
        | Kind::DrillStagePassed
        | Kind::ScheduleRefused
        | Kind::DrillEnded
        | Kind::EvidenceEarned
        | Kind::IncidentOpened
        | Kind::ActionRefused
        | Kind::RunWished => Writer::ControlPlane,
    };
    let speaks_as = match speaker {
        Speaker::ControlPlane => Writer::ControlPlane,
        Speaker::Agent(_) => Writer::Agents,
        Speaker::Person(_) => Writer::People,
    };
    if writer != speaks_as {
        at.flag(Rule::Author, format!("{} may not write {}", words_for(speaker), kind.as_str()));
    }
}

fn check_opening(log: &Log<'_>, opened: &LogOpened, at: &mut At<'_>) {
    if opened.origin != log.origin.as_str() {
        at.flag(Rule::Opening, format!("the log was opened as {:?}, the bundle is of {}", opened.origin, log.origin));
    }
    if opened.permit_key != log.policy.permit_key().to_string() {
        at.flag(Rule::Opening, "the log was opened with another permit key than the policy's");
    }
    let known = opened
        .log_key
        .parse()
        .is_ok_and(|key: VerifierKey| log.policy.logs_named(log.origin).any(|log| log.key() == &key));
    if !known {
        at.flag(Rule::Opening, "the log was opened with a log key that the policy does not know");
    }
}

/// What an agent does not ask for must be something that it could have asked for.
fn check_withheld(host: HostId, withheld: &RequestWithheld, hosts: &Hosts, standing: &Standing, at: &mut At<'_>) {
    match &withheld.purpose {
        Purpose::Remediate { check, epoch, .. } => {
            let newest = hosts.get(host).and_then(|host| host.newest(check));
            if newest != Some((*epoch, Status::Critical)) {
                let words = format!("does not ask about transition {epoch} of {check}, which is not its newest");
                at.flag(Rule::Transition, format!("the agent of {host} {words}, or not critical"));
            }
        }
        // There is no fault to answer, so there is nothing to say of one.
        Purpose::Offline { check, .. } => {
            at.flag(Rule::Request, format!("the agent of {host} withholds a budget in advance for {check}"));
        }
        Purpose::InjectFault { drill, .. } | Purpose::Repeat { drill, .. } => {
            if standing.drill(*drill).is_none_or(|running| running.drill.host != host) {
                at.flag(Rule::Drill, format!("the agent of {host} does not ask for {drill}, which is no drill there"));
            }
        }
    }
}

fn check_fork(log: &Log<'_>, host: HostId, fork: &ForkSeen, at: &mut At<'_>) {
    let open = |note: &str| log.policy.logs_named(log.origin).find_map(|log| Checkpoint::open(note, log).ok());
    match (open(&fork.held), open(&fork.given)) {
        (Some(held), Some(given)) if held.size == given.size && held.root != given.root => {
            at.flag(Rule::Fork, format!("the log's key signed two roots for size {}, seen by {host}", held.size));
        }
        _ => at.flag(Rule::ForkReported, format!("the agent of {host} says that it saw a fork")),
    }
}
