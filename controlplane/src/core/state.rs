//! The state: a projection of the log and of nothing else.
//!
//! [`State::apply`] is deterministic, so any reader of the log can compute it. It refuses a log that
//! this state machine does not write, and leaves the state unchanged then.

mod lifecycle;
mod rollouts;

use super::answers::{Answer, Answers};
use super::attempts::{Attempts, Fingerprint, Ledger};
use super::break_glass::Glasses;
use super::breakers::Breakers;
use super::budgets::Budgets;
use super::descriptions::Descriptions;
use super::drills::Drills;
use super::entry::{ApplyError, Entry, Stamp};
use super::freezes::Freezes;
use super::hosts::{Host, Place, Seen};
use super::identities::Identities;
use super::incidents::Incidents;
use super::mutes::Mutes;
use super::people::{People, Token};
use super::playbooks::{Admitted, Playbooks};
use super::promotions::Promotions;
use super::proposals::Proposals;
use super::ramps::Ramps;
use super::rollout::Rollouts;
use super::runs::{Run, Runs};
use super::said::Said;
use super::schedules::Schedules;
use super::sickness::Sickness;
use super::stops::Stops;
use super::tallies::{Hands, Tallies};
use super::turns::Turns;
use fettle_model::check::{CheckRef, Transition};
use fettle_model::configuration::Configuration;
use fettle_model::counter::LogPosition;
use fettle_model::digest::PlaybookDigest;
use fettle_model::host::HostState;
use fettle_model::id::{HostId, PermitId, RequestId, TokenId};
use fettle_model::identity::Principal;
use fettle_model::incident::{IncidentCause, IncidentOpened};
use fettle_model::name::{PersonName, PublisherName};
use fettle_model::permit::{PermitRequest, Purpose};
use fettle_model::proposal::Verdict;
use fettle_model::record::{Author, Body, CertificateIssued, HostEnrolled, LogOpened};
use fettle_model::remediation::Mode;
use fettle_model::rollout::RolloutOrder;
use fettle_model::time::UnixMillis;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that the log says. Two states are equal when the logs say the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    next: LogPosition,
    log: Option<LogOpened>,
    /// Boxed: a node of the map has room for eleven, half of it empty.
    hosts: BTreeMap<HostId, Box<Host>>,
    configuration: Configuration,
    configured: Option<Stamp>,
    descriptions: Descriptions,
    rollouts: Rollouts,
    attempts: Ledger,
    pub(in crate::core) tallies: Tallies,
    pub(in crate::core) sickness: Sickness,
    pub(in crate::core) budgets: Budgets,
    pub(in crate::core) ramps: Ramps,
    pub(in crate::core) people: People,
    pub(in crate::core) identities: Identities,
    pub(in crate::core) glasses: Glasses,
    pub(in crate::core) playbooks: Playbooks,
    pub(in crate::core) runs: Runs,
    pub(in crate::core) breakers: Breakers,
    pub(in crate::core) stops: Stops,
    pub(in crate::core) freezes: Freezes,
    pub(in crate::core) schedules: Schedules,
    pub(in crate::core) drills: Drills,
    pub(in crate::core) incidents: Incidents,
    pub(in crate::core) answers: Answers,
    pub(in crate::core) proposals: Proposals,
    pub(in crate::core) turns: Turns,
    pub(in crate::core) promotions: Promotions,
    pub(in crate::core) mutes: Mutes,
}

impl State {
    /// The position that the next record will have.
    #[must_use]
    pub const fn next_position(&self) -> LogPosition {
        self.next
    }

    /// The log's name and first keys, once it is opened.
    #[must_use]
    pub const fn log(&self) -> Option<&LogOpened> {
        self.log.as_ref()
    }

    /// A host.
    #[must_use]
    pub fn host(&self, host: HostId) -> Option<&Host> {
        self.hosts.get(&host).map(Box::as_ref)
    }

    /// All hosts, by id.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values().map(Box::as_ref)
    }

    /// A join token.
    #[must_use]
    pub fn token(&self, token: TokenId) -> Option<&Token> {
        self.people.tokens.get(&token)
    }

    /// All people with roles.
    pub fn people(&self) -> impl Iterator<Item = &PersonName> {
        self.people.roles.keys()
    }

    /// Whether a certificate of a person was withdrawn: they were revoked, and were not given it since.
    #[must_use]
    pub fn is_withdrawn(&self, person: &PersonName, serial: &str) -> bool {
        self.people.is_withdrawn(person, serial)
    }

    /// The signing key that stands for a person, base64.
    #[must_use]
    pub fn signing_key(&self, person: &PersonName) -> Option<&str> {
        self.people.signing_key(person)
    }

    /// The keys of a publisher, base64, as they were trusted.
    #[must_use]
    pub fn publisher_keys(&self, publisher: &PublisherName) -> BTreeSet<String> {
        self.people.publishers.get(publisher).cloned().unwrap_or_default()
    }

    /// The newest configuration; of generation 0 and empty before the first. Hosts that a rollout has not reached hold
    /// another one: [`Self::configuration_of`].
    #[must_use]
    pub const fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// Where the newest configuration was set.
    #[must_use]
    pub const fn configured(&self) -> Option<Stamp> {
        self.configured
    }

    /// An admitted playbook version.
    #[must_use]
    pub fn playbook(&self, digest: &PlaybookDigest) -> Option<&Admitted> {
        self.playbooks.get(digest)
    }

    /// A permit and its run.
    #[must_use]
    pub fn permit(&self, permit: PermitId) -> Option<&Run> {
        self.runs.permit(permit)
    }

    /// Permits whose effects may be in progress.
    pub fn in_flight(&self) -> impl Iterator<Item = &Run> {
        self.runs.in_flight()
    }

    /// What a host's request was answered with, if it was and is still known.
    #[must_use]
    pub fn answer(&self, host: HostId, request: RequestId) -> Option<Answer> {
        self.answers.to(host, request)
    }

    /// The attempts at the present problem of a check on a host.
    #[must_use]
    pub fn attempts(&self, host: HostId, check: &CheckRef) -> Attempts {
        self.attempts.of(&Fingerprint { host, check: check.clone() })
    }

    /// When the last run for a check on a host ended.
    pub(in crate::core) fn last_end(&self, fingerprint: &Fingerprint) -> Option<UnixMillis> {
        self.attempts.last_end(fingerprint)
    }

    /// The check with which the present problem of this one began, where a fix for that brought this one down.
    #[must_use]
    pub fn began_with(&self, host: HostId, check: &CheckRef) -> Option<&CheckRef> {
        self.attempts.began_with(&Fingerprint { host, check: check.clone() })
    }

    pub(in crate::core) fn hands(&self, host: HostId) -> Hands {
        if self.runs.on_host(host).is_some() { Hands::Full } else { Hands::Free }
    }

    /// Takes the next record in.
    ///
    /// # Errors
    /// When it cannot be the next record of a log that this state machine wrote; nothing is changed.
    pub fn apply(&mut self, entry: &Entry<'_>) -> Result<(), ApplyError> {
        self.check(entry)?;
        self.next = self.next.next();
        let stamp = Stamp { position: entry.position, at: entry.received_at };
        self.glasses.see(stamp.at);
        if let Author::Agent { host, sequence, .. } = &entry.record.author
            && let Some(known) = self.hosts.get_mut(host)
        {
            known.extend_chain(*sequence, entry.envelope, stamp);
        }
        match (&entry.record.author, Said::of(&entry.record.body)) {
            (Author::Agent { host, .. }, Some(said)) => self.fold_agent(*host, said, stamp),
            (Author::Person { person }, _) => self.fold_person(person, entry, stamp),
            (Author::Agent { .. } | Author::ControlPlane, None | Some(_)) => self.fold_own(&entry.record.body, stamp),
        }
        Ok(())
    }

    fn check(&self, entry: &Entry<'_>) -> Result<(), ApplyError> {
        if entry.position != self.next {
            return Err(ApplyError::Position { expected: self.next, found: entry.position });
        }
        let body = &entry.record.body;
        let wrong = || ApplyError::WrongAuthor { kind: body.kind() };
        match (&entry.record.author, Said::of(body)) {
            (Author::Person { .. }, _) if peoples(body) => Ok(()),
            (Author::ControlPlane, None) if peoples(body) => Err(wrong()),
            (Author::ControlPlane, None) => self.check_own(body),
            (Author::Agent { host, sequence, previous }, Some(_)) => {
                let known = self.known_host(*host)?;
                match known.place(*sequence, *previous, entry.envelope) {
                    Place::Next => Ok(()),
                    Place::Known { .. } | Place::Gap { .. } | Place::Forked => {
                        Err(ApplyError::BrokenChain { host: *host, head: known.head.sequence, found: *sequence })
                    }
                }
            }
            (Author::ControlPlane, Some(_)) | (Author::Agent { .. }, None) | (Author::Person { .. }, _) => Err(wrong()),
        }
    }

    fn check_own(&self, body: &Body) -> Result<(), ApplyError> {
        let host = match body {
            Body::HostStateSet(set) => Some(set.host),
            Body::PermitRefused(refusal) => Some(refusal.host),
            Body::PermitGranted(permit) => {
                if let Purpose::InjectFault { drill, .. } | Purpose::Repeat { drill, .. } = &permit.purpose {
                    self.drills.get(*drill).ok_or(ApplyError::UnknownDrill { drill: *drill })?;
                }
                Some(permit.host)
            }
            Body::DrillStarted(drill) => Some(drill.host),
            Body::DrillStagePassed(passed) => Some(passed.host),
            Body::ScheduleRefused(refused) => refused.host,
            Body::ProposalMade(proposal) => Some(proposal.host),
            Body::RunWished(wished) => Some(wished.host),
            Body::OfflineExpired(expired) => Some(expired.host),
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
            | Body::ApprovalGiven(_)
            | Body::ProposalEnded(_)
            | Body::RolloutAdvanced(_)
            | Body::RolloutHalted(_)
            | Body::RolloutOrdered(_)
            | Body::ConfigurationRejected(_)
            | Body::TokenCreated(_)
            | Body::HostEnrolled(_)
            | Body::CertificateIssued(_)
            | Body::HostDescribed(_)
            | Body::PublisherTrusted(_)
            | Body::PlaybookAdmitted(_)
            | Body::ScenariosPassed(_)
            | Body::ConfigurationSet(_)
            | Body::TransitionSeen(_)
            | Body::PermitRequested(_)
            | Body::PermitRejected(_)
            | Body::RunEnded(_)
            | Body::RunUnresolved(_)
            | Body::OfflineReturned(_)
            | Body::StepIntended(_)
            | Body::PlanMade(_)
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
            | Body::DrillEnded(_)
            | Body::EvidenceEarned(_)
            | Body::IncidentOpened(_)
            | Body::ActionRefused(_)
            | Body::ForkSeen(_)
            | Body::RequestWithheld(_) => None,
        };
        host.map_or(Ok(()), |host| self.known_host(host).map(|_| ()))
    }

    fn known_host(&self, host: HostId) -> Result<&Host, ApplyError> {
        self.host(host).ok_or(ApplyError::UnknownHost { host })
    }

    fn fold_own(&mut self, body: &Body, stamp: Stamp) {
        match body {
            Body::LogOpened(opened) => self.log = Some((**opened).clone()),
            Body::RoleGranted(granted) => self.people.grant(granted),
            Body::RoleRevoked(revoked) => self.people.end_role(revoked),
            Body::PersonKeySet(set) => self.people.set_key(set),
            Body::PersonRevoked(revoked) => {
                self.people.revoke(&revoked.person);
                self.identities.withdraw(&revoked.person);
                self.glasses.revoke(&revoked.person, stamp);
            }
            Body::BreakGlassClosed(closed) => self.glasses.close(closed, stamp),
            Body::IdentityRegistered(registered) => self.identities.register(registered),
            Body::PersonLoggedIn(login) => self.identities.logged_in(login, stamp),
            Body::TokenCreated(created) => self.people.add_token(created, stamp),
            Body::HostEnrolled(enrolled) => self.enrol(enrolled, stamp),
            Body::CertificateIssued(issued) => self.certify(issued, stamp),
            Body::HostStateSet(set) => self.set_host_state(set.host, set.state, stamp.at),
            Body::PublisherTrusted(trusted) => self.people.trust(trusted),
            Body::PlaybookAdmitted(admission) => self.playbooks.admit(admission, stamp),
            Body::ScenariosPassed(passed) => self.playbooks.pass_scenarios(passed, stamp),
            Body::ConfigurationSet(set) => {
                self.proposals.configure(&set.configuration, &set.by);
                self.promotions.configure(&set.configuration);
                self.schedules.configure(&self.configuration, set, stamp.at);
                let before = std::mem::replace(&mut self.configuration, set.configuration.clone());
                let before = (before, self.configured.replace(stamp));
                self.rollouts.configure(set, before, stamp);
                let configuration = &self.configuration;
                self.ramps.keep(|name| configuration.remediation(name).is_some());
                self.count_anew(stamp.at);
            }
            Body::RolloutAdvanced(advanced) => self.advance_rollout(advanced, stamp),
            Body::RolloutHalted(halted) => self.rollouts.halt(halted, stamp),
            Body::RolloutOrdered(ordered) => match ordered.order {
                RolloutOrder::Resume => self.rollouts.resume(stamp),
                // The configuration that is set with it ends the rollout.
                RolloutOrder::Abort => {}
            },
            Body::PermitGranted(permit) => self.grant(permit, stamp),
            Body::PermitRefused(refusal) => self.answers.refused(refusal, stamp),
            Body::RunUnresolved(unresolved) => self.give_up(unresolved.permit, unresolved.host, stamp),
            Body::OfflineExpired(expired) => self.expire_budget(expired.permit, expired.host, stamp),
            Body::BreakerOpened(opened) => {
                self.breakers.on_opened(opened, stamp);
                self.rollouts.breaker_opened(&opened.scope);
            }
            Body::BreakerClosed(closed) => self.breakers.on_closed(closed, stamp),
            Body::BreakerEased(eased) => self.breakers.on_eased(eased),
            Body::FreezeDeclared(declared) => self.freezes.declare(declared, stamp),
            Body::FreezeLifted(lifted) => self.freezes.lift(lifted.freeze),
            Body::MuteStarted(started) => self.mutes.start(started, stamp),
            Body::MuteLifted(lifted) => self.mutes.lift(lifted),
            Body::AutomationStopped(order) => self.stops.stop(order, stamp),
            Body::AutomationResumed(order) => self.stops.resume(order, stamp),
            Body::DrillStarted(drill) => {
                self.drills.start(drill, self.playbooks.scenarios_at(&drill.playbook), stamp);
                if let Some(was) = &drill.scheduled {
                    self.schedules.started(was, drill.drill, stamp);
                }
                self.sickness.spare(drill.host);
            }
            Body::DrillStagePassed(passed) => self.drills.pass(passed, stamp),
            Body::ScheduleRefused(refused) => self.schedules.refused(refused, stamp),
            Body::DrillEnded(ending) => {
                let host = self.drills.get(ending.drill).map(|running| running.drill.host);
                self.drills.end(ending, stamp);
                if let Some(host) = host {
                    self.examine(host, stamp.at);
                }
            }
            Body::EvidenceEarned(evidence) => self.playbooks.earn(evidence, stamp),
            Body::IncidentOpened(incident) => self.call(incident, stamp),
            // Kept in the log for people and auditors; no rule depends on them.
            Body::ActionRefused(_) => {}
            Body::RunWished(wished) => {
                let epoch = self.hosts.get(&wished.host).map(|host| host.newest_epoch(&wished.check));
                self.proposals.wish(wished.host, &wished.check, epoch.unwrap_or_default(), &wished.by);
            }
            Body::PromotionProposed(proposed) => self.promotions.propose(proposed, stamp.position),
            Body::ProposalMade(proposal) => self.proposals.make(proposal, stamp),
            Body::ProposalEnded(ending) => self.proposals.end(ending.proposal, &ending.because),
            // People's kinds: `check` has refused them under this author.
            Body::ApprovalGiven(_) | Body::BreakGlassAsked(_) | Body::BreakGlassOpened(_) => {}
            // Agents' kinds: `check` has refused them under this author.
            Body::HostDescribed(_)
            | Body::TransitionSeen(_)
            | Body::PermitRequested(_)
            | Body::PermitRejected(_)
            | Body::RunEnded(_)
            | Body::OfflineReturned(_)
            | Body::StepIntended(_)
            | Body::PlanMade(_)
            | Body::RequestWithheld(_)
            | Body::ConfigurationRejected(_)
            | Body::ForkSeen(_) => {}
        }
    }

    fn fold_person(&mut self, person: &PersonName, entry: &Entry<'_>, stamp: Stamp) {
        let Some(key) = self.people.signing_key(person) else { return };
        // `check` has refused every other kind under this author.
        if let Body::ApprovalGiven(given) = &entry.record.body {
            match given.verdict {
                Verdict::Approve => self.proposals.approve(given.proposal, person, key, stamp),
                // Its end is a record of its own.
                Verdict::Reject { .. } => {}
            }
        } else if let Body::BreakGlassAsked(asked) = &entry.record.body {
            self.glasses.ask(asked, person, key, entry.envelope, stamp);
        } else if let Body::BreakGlassOpened(opened) = &entry.record.body {
            self.glasses.open(opened, person, stamp);
        }
    }

    fn fold_agent(&mut self, host: HostId, said: Said<'_>, stamp: Stamp) {
        match said {
            Said::Described(description) => {
                let Some(known) = self.hosts.get(&host) else { return };
                let shared = self.descriptions.replace(known.description.as_ref(), description);
                self.change_host(host, stamp.at, |host| host.description = Some(shared));
            }
            Said::Saw(transition) => self.see(host, transition, stamp),
            Said::Asked(request) => self.ask(host, request),
            Said::Rejected(rejected) => {
                if let Some(permit) = rejected.permit {
                    self.reject(permit, host, &rejected.because, stamp);
                }
            }
            Said::Ended(ended) => self.end_run(host, ended, stamp),
            Said::GaveBack(returned) => self.give_back(host, returned, stamp),
            Said::Intended(intent) => self.runs.intend(host, intent),
            Said::Planned(plan) => self.plan(host, plan, stamp),
            Said::Withheld(withheld) => self.withhold(host, withheld, stamp),
            Said::CannotHold(rejected) => {
                let newest = self.configuration.generation();
                self.rollouts.rejected(host, rejected, newest, stamp);
            }
            Said::SawFork => {
                if let Some(host) = self.hosts.get_mut(&host) {
                    host.fork_seen = Some(stamp);
                }
            }
        }
    }

    fn certify(&mut self, issued: &CertificateIssued, stamp: Stamp) {
        if let Some(token) = issued.token {
            self.people.use_token(token, stamp);
        }
        match &issued.subject.principal {
            Principal::Agent(host) => {
                if let Some(host) = self.hosts.get_mut(host) {
                    host.certificates.issued(issued.generation, &issued.serial);
                }
            }
            Principal::Person(person) => self.people.certified(person, issued, stamp),
            Principal::ControlPlane(_) => {}
        }
    }

    fn enrol(&mut self, enrolled: &HostEnrolled, stamp: Stamp) {
        self.people.use_token(enrolled.token, stamp);
        self.hosts.insert(enrolled.host, Box::new(Host::enrolled(enrolled, stamp)));
    }

    fn set_host_state(&mut self, host: HostId, state: HostState, at: UnixMillis) {
        self.change_host(host, at, |host| host.state = state);
    }

    /// Changes what is known of a host, and what its groups add up to with it.
    fn change_host<T>(&mut self, host: HostId, at: UnixMillis, change: impl FnOnce(&mut Host) -> T) -> Option<T> {
        let hands = self.hands(host);
        let known = self.hosts.get_mut(&host)?;
        self.tallies.leave(known, hands, self.rollouts.configuration_of(known, &self.configuration));
        let changed = change(known);
        self.tallies.join(known, hands, self.rollouts.configuration_of(known, &self.configuration));
        self.examine(host, at);
        Some(changed)
    }

    /// Takes a transition in. It touches the group of its own service only.
    fn take_status(&mut self, host: HostId, transition: &Transition, stamp: Stamp) -> Option<Seen> {
        let hands = self.hands(host);
        let known = self.hosts.get_mut(&host)?;
        let configuration = self.rollouts.configuration_of(known, &self.configuration);
        let service = configuration.service(&transition.of.service);
        // A host that does not carry the service has no share in its group, before and after.
        if let Some(service) = service {
            self.tallies.leave_group(known, hands, service);
        }
        let seen = known.see(transition, stamp);
        if let Some(service) = service {
            self.tallies.join_group(known, hands, service);
        }
        self.examine(host, stamp.at);
        Some(seen)
    }

    /// Counts a host as sick or well; one that a drill breaks on purpose is neither.
    fn examine(&mut self, host: HostId, at: UnixMillis) {
        if let Some(known) = self.hosts.get(&host)
            && self.drills.on_host(host).is_none()
        {
            self.sickness.see(known, self.rollouts.configuration_of(known, &self.configuration), at);
        }
    }

    /// A configuration decides who is in which group. Who was sick before does not count in it.
    fn count_anew(&mut self, at: UnixMillis) {
        self.tallies = Tallies::default();
        self.sickness = Sickness::default();
        for host in self.hosts.keys().copied().collect::<Vec<_>>() {
            self.examine(host, at);
        }
        for host in self.hosts.values() {
            let configuration = self.rollouts.configuration_of(host, &self.configuration);
            self.tallies.join(host, self.hands(host.id), configuration);
        }
        for run in self.runs.in_flight() {
            self.tallies.granted(run);
        }
    }

    fn see(&mut self, host: HostId, transition: &Transition, stamp: Stamp) {
        let healthy_for = self.answer_on(host, &transition.of).map(|answer| answer.guard.healthy_for);
        let Some(seen) = self.take_status(host, transition, stamp) else { return };
        match seen {
            Seen::Ignored => return,
            Seen::LeftHealth(healthy) => {
                let of = Fingerprint { host, check: transition.of.clone() };
                if let Some(enough) = healthy_for {
                    self.promotions.left_health(&of, healthy, enough, stamp);
                }
                if healthy_for.is_some_and(|enough| healthy >= enough) {
                    self.attempts.new_problem(&of);
                    self.turns.new_problem(&of);
                    self.promotions.new_problem(&of);
                }
                if let Some(cause) = self.caused_by_a_fix(&of, stamp.at) {
                    self.attempts.moved(&of, &cause);
                }
            }
            Seen::Noted => {}
        }
        self.turns.seen(&Fingerprint { host, check: transition.of.clone() }, transition.to);
        self.drills.on_transition(host, transition, stamp);
    }

    /// The check whose fix was under way on the host, or had not yet lasted, when another check failed there.
    fn caused_by_a_fix(&self, failed: &Fingerprint, at: UnixMillis) -> Option<CheckRef> {
        let fix = self.attempts.fix_of_another(failed)?;
        let lasts = self.answer_on(failed.host, &fix.check)?.guard.healthy_for;
        fix.ended.is_none_or(|ended| at.since(ended) < lasts).then(|| fix.check.clone())
    }

    /// The answer is what counts, and it is a record of its own. What was asked for is what people decide about.
    fn ask(&mut self, host: HostId, request: &PermitRequest) {
        let Purpose::Remediate { check, rung, .. } = &request.purpose else { return };
        let answer = self.answer_on(host, check).and_then(|answer| answer.at(*rung));
        let mode = self.hosts.get(&host).zip(answer);
        if mode.is_some_and(|(host, answer)| answer.mode_in(&host.environment) == Mode::Approve) {
            self.proposals.ask(request, check);
        }
    }

    fn call(&mut self, incident: &IncidentOpened, stamp: Stamp) {
        if let (IncidentCause::AttemptsExhausted { .. }, Some(host), Some(check)) =
            (&incident.cause, incident.host, &incident.check)
        {
            self.attempts.called(&Fingerprint { host, check: check.clone() });
        }
        self.incidents.open(incident, stamp);
    }
}

/// Whether people write records of this kind, and nobody else.
const fn peoples(body: &Body) -> bool {
    matches!(body, Body::ApprovalGiven(_) | Body::BreakGlassAsked(_) | Body::BreakGlassOpened(_))
}
