//! Requests and their answers: whether a permit had every reason at its position of the log.

use super::finding::{At, Rule};
use super::hosts::{Host, Hosts};
use super::offline;
use super::runs::Runs;
use super::standing::{Coverage, Passage, Progress, RunningDrill, Standing};
use fettle_model::breaker::Scope;
use fettle_model::check::{CheckRef, Status};
use fettle_model::counter::TransitionEpoch;
use fettle_model::escalation::Rung;
use fettle_model::evidence::{Drill, DrillStage, Fault, HostClass, ProvedGrant};
use fettle_model::host::HostState;
use fettle_model::id::{DrillId, HostId, RequestId};
use fettle_model::name::{EnvironmentName, RemediationName};
use fettle_model::permit::{KillPoint, Permit, PermitRequest, Purpose};
use fettle_model::playbook::Manifest;
use fettle_model::refusal::Refusal;
use fettle_model::remediation::{Mode, PlaybookVersion};
use fettle_model::time::UnixMillis;
use std::collections::{BTreeMap, BTreeSet};

/// Requests that wait for an answer, and the ids of all that were made.
#[derive(Debug, Clone, Default)]
pub(super) struct Grants {
    open: BTreeMap<RequestId, PermitRequest>,
    seen: BTreeMap<RequestId, HostId>,
}

/// A remediation permit's purpose, taken apart.
struct Remediate<'a> {
    check: &'a CheckRef,
    epoch: TransitionEpoch,
    remediation: &'a RemediationName,
    rung: Rung,
}

impl Grants {
    pub(super) fn request(&mut self, author: HostId, request: &PermitRequest, at: &mut At<'_>) {
        if request.host != author {
            return at.flag(Rule::Request, format!("the agent of {author} asks for {}", request.host));
        }
        match self.seen.insert(request.request, author) {
            None => {
                self.open.insert(request.request, request.clone());
            }
            // Asked again after a lost connection: the first one is what is answered, once.
            Some(before) if before == author => {}
            Some(before) => {
                at.flag(Rule::Identifier, format!("the request {} was made by {before} before", request.request));
            }
        }
    }

    pub(super) fn refuse(&mut self, refusal: &Refusal, at: &mut At<'_>) {
        match self.open.remove(&refusal.request) {
            Some(request) if request.host == refusal.host && request.run == refusal.run => {}
            Some(_) => at.flag(Rule::Request, format!("the refusal of {} names another host or run", refusal.request)),
            None => {
                at.flag(Rule::Request, format!("the refusal answers {}, which is no open request", refusal.request));
            }
        }
        if refusal.reasons.is_empty() {
            at.flag(Rule::Request, "a refusal without a reason");
        }
    }

    pub(super) fn grant(
        &mut self,
        permit: &Permit,
        now: UnixMillis,
        hosts: &mut Hosts,
        standing: &mut Standing,
        runs: &mut Runs,
        at: &mut At<'_>,
    ) {
        self.answer(permit, at);
        if permit.grounds.iter().any(|ground| *ground >= at.position) {
            at.flag(Rule::Grounds, "the permit names grounds that do not come before it");
        }
        let drill = match &permit.purpose {
            Purpose::InjectFault { drill, .. } | Purpose::Repeat { drill, .. } => Some(*drill),
            Purpose::Remediate { .. } | Purpose::Offline { .. } => permit.drill,
        };
        let mut group = None;
        match hosts.get(permit.host) {
            None => at.flag(Rule::HostState, format!("{} was not enrolled before", permit.host)),
            Some(host) => {
                let environment = host.environment.clone();
                check_host(permit, host, at);
                let check = match &permit.purpose {
                    Purpose::Remediate { check, epoch, remediation, rung } => {
                        let purpose = Remediate { check, epoch: *epoch, remediation, rung: *rung };
                        check_remediation(permit, &purpose, now, host, standing, at);
                        Some(check.clone())
                    }
                    Purpose::InjectFault { drill, fault } => inject(permit, *drill, fault, standing, at),
                    Purpose::Repeat { drill, check, remediation } => {
                        repeat(permit, *drill, (check, remediation), host, standing, at);
                        Some(check.clone())
                    }
                    Purpose::Offline { check, remediation } => {
                        offline::check(permit, &offline::Asked { check, remediation, host }, now, standing, at);
                        Some(check.clone())
                    }
                };
                check_switches(permit, now, &environment, standing, runs, at);
                if let Some(check) = check {
                    check_room(&check, &environment, hosts, standing, runs, at);
                    let of = (check.service.clone(), environment);
                    if permit.is_offline() {
                        offline::check_room(&check, &of, hosts, standing, runs, at);
                    } else if !permit.units.is_one() {
                        at.flag(Rule::Offline, "a permit for more than one run that is no budget in advance");
                    }
                    group = Some(of);
                }
            }
        }
        if let Some(host) = hosts.get_mut(permit.host) {
            host.fence = host.fence.max(Some(permit.fence));
        }
        runs.start(permit, drill, group, hosts, at);
    }

    /// A permit answers one open request of its host, word for word.
    fn answer(&mut self, permit: &Permit, at: &mut At<'_>) {
        let Some(request) = self.open.remove(&permit.request) else {
            return at.flag(Rule::Request, format!("the permit answers {}, which is no open request", permit.request));
        };
        let mut differs =
            |what: &str| at.flag(Rule::Request, format!("the permit names another {what} than its request"));
        if permit.host != request.host {
            differs("host");
        }
        if permit.run != request.run {
            differs("run");
        }
        if permit.boot != request.boot || permit.sent_at != request.sent_at {
            differs("boot or sending time");
        }
        if permit.purpose != request.purpose {
            differs("purpose");
        }
        if permit.playbook.as_ref().map(|playbook| playbook.digest) != request.playbook {
            differs("playbook");
        }
        let mut asked = request.targets.iter();
        let unasked = permit
            .targets
            .iter()
            .find(|target| !asked.clone().any(|bound| bound.label == target.label && bound.target == target.target));
        if let Some(target) = unasked {
            at.flag(Rule::Target, format!("the permit's target {} is not among those of the request", target.label));
        }
        if asked.next().is_none() {
            at.flag(Rule::Target, "the request has no target");
        }
    }
}

/// What holds for every permit of a host.
fn check_host(permit: &Permit, host: &Host, at: &mut At<'_>) {
    if host.state != HostState::Active {
        at.flag(Rule::HostState, format!("{} is {}", permit.host, host.state.as_str()));
    }
    if host.description.as_ref().is_none_or(|described| described.environment != host.environment) {
        at.flag(Rule::HostState, format!("{} does not describe itself as in its environment", permit.host));
    }
    if host.fence.is_some_and(|fence| permit.fence <= fence) {
        at.flag(Rule::Fence, format!("fence {} of {} does not grow", permit.fence, permit.host));
    }
    if permit.targets.is_empty() {
        at.flag(Rule::Target, "the permit has no target");
    }
    let labels: BTreeSet<_> = permit.targets.iter().map(|target| &target.label).collect();
    if labels.len() != permit.targets.len() {
        at.flag(Rule::Target, "two targets of the permit have one label");
    }
}

fn check_remediation(
    permit: &Permit,
    purpose: &Remediate<'_>,
    now: UnixMillis,
    host: &Host,
    standing: &mut Standing,
    at: &mut At<'_>,
) {
    if host.newest(purpose.check) != Some((purpose.epoch, Status::Critical)) {
        let words = format!("epoch {} of {} is not the newest, or not critical", purpose.epoch, purpose.check);
        at.flag(Rule::Transition, words);
    }
    if !check_playbook(permit, standing, at) {
        return;
    }
    let answer = (purpose.check, purpose.remediation, AnswerOn::Rung(purpose.rung));
    check_configured(permit, answer, host, standing, at);
    match permit.drill {
        Some(drill) => heal(permit, purpose, drill, standing, at),
        None => {
            not_killed(permit, at);
            check_evidence(permit, purpose.check, now, host, standing, at);
        }
    }
}

/// Only what heals a drill's second fault is killed.
pub(super) fn not_killed(permit: &Permit, at: &mut At<'_>) {
    match permit.kill {
        None => {}
        Some(KillPoint::FirstDeed) => at.flag(Rule::Drill, "a run is to be killed that heals no drill's second fault"),
    }
}

/// The playbook was admitted and declares what is permitted; gives whether there is one at all.
pub(super) fn check_playbook(permit: &Permit, standing: &Standing, at: &mut At<'_>) -> bool {
    let Some(playbook) = &permit.playbook else {
        at.flag(Rule::Playbook, "a permit to run a playbook without one");
        return false;
    };
    match standing.manifest(&playbook.digest) {
        Some(manifest) if manifest.playbook.name == playbook.name => check_declared(permit, manifest, at),
        _ => at.flag(Rule::Playbook, format!("{} was not admitted as {}", playbook.name, playbook.digest)),
    }
    true
}

/// Actions and counts stay within what the manifest declares.
fn check_declared(permit: &Permit, manifest: &Manifest, at: &mut At<'_>) {
    for target in &permit.targets {
        let declared = manifest.grant(&target.label).is_some_and(|grant| target.actions.is_subset(&grant.actions));
        if !declared {
            at.flag(Rule::Target, format!("the manifest does not declare the actions on {}", target.label));
        }
    }
    if permit.actions > manifest.limits.actions {
        let words = format!("{} actions, where the manifest declares {}", permit.actions, manifest.limits.actions);
        at.flag(Rule::Target, words);
    }
}

/// On which rung of its list a remediation answers.
pub(super) enum AnswerOn<'a> {
    /// This one.
    Rung(Rung),
    /// The first on which this version stands.
    ThatOf(Option<&'a PlaybookVersion>),
}

pub(super) fn check_configured(
    permit: &Permit,
    (check, remediation, on): (&CheckRef, &RemediationName, AnswerOn<'_>),
    host: &Host,
    standing: &Standing,
    at: &mut At<'_>,
) {
    let configuration = standing.configuration_of(permit.host, host);
    let Some(configuration) = configuration.filter(|newest| newest.generation() == permit.configuration) else {
        let words =
            format!("configuration {} is not the newest one of its host at this position", permit.configuration);
        return at.flag(Rule::Configuration, words);
    };
    let known = configuration.remediation(remediation);
    let Some(remediation) = known.filter(|bound| bound.service == check.service && bound.check == check.check) else {
        let words = format!("the configuration does not answer {check} by {remediation}");
        return at.flag(Rule::Configuration, words);
    };
    if !configuration.service(&check.service).is_some_and(|service| host.is_selected_by(service)) {
        at.flag(Rule::Configuration, format!("{} is not selected to carry {}", host.name(), check.service));
    }
    let rung = match on {
        AnswerOn::Rung(rung) => Some(rung),
        AnswerOn::ThatOf(version) => version.and_then(|version| remediation.rung_of(version)),
    };
    let Some(remediation) = rung.and_then(|rung| remediation.at(rung)) else {
        let words = format!("the list of {} has no such rung", remediation.name);
        return at.flag(Rule::Configuration, words);
    };
    if permit.playbook.as_ref() != Some(&remediation.playbook) || permit.parameters != remediation.parameters {
        at.flag(Rule::Configuration, format!("{} has another playbook or other parameters", remediation.name));
    }
    let mode = remediation.mode_in(&host.environment);
    match mode {
        Mode::Auto if permit.approved.is_none() => {}
        // What was approved, and by whom, is checked with the proposals.
        Mode::Approve if permit.approved.is_some() && permit.drill.is_none() => {}
        Mode::Auto | Mode::Observe | Mode::Approve => {
            let words = format!("{} is in mode {} in {}", remediation.name, mode.as_str(), host.environment);
            at.flag(Rule::Mode, words);
        }
    }
}

pub(super) fn check_evidence(
    permit: &Permit,
    check: &CheckRef,
    now: UnixMillis,
    host: &Host,
    standing: &Standing,
    at: &mut At<'_>,
) {
    let described = host.description.as_ref();
    let Some(class) = described.and_then(|described| HostClass::of(described, &check.service)) else {
        let words = format!("{} does not describe itself as carrying {}", permit.host, check.service);
        return at.flag(Rule::Evidence, words);
    };
    let Some(playbook) = &permit.playbook else { return };
    let coverage = Coverage {
        playbook: playbook.digest,
        parameters: permit.parameters.digest(),
        grants: ProvedGrant::of(&permit.targets),
        class,
    };
    match standing.evidence_until(&coverage) {
        None => at.flag(Rule::Evidence, format!("no evidence covers {} on {}", playbook.name, coverage.class)),
        Some(until) if until <= now => {
            at.flag(Rule::Evidence, format!("the evidence for {} had expired", playbook.name));
        }
        Some(_) => {}
    }
}

/// A permit that heals a drill's fault: the drill stands for the evidence.
fn heal(permit: &Permit, purpose: &Remediate<'_>, drill: DrillId, standing: &mut Standing, at: &mut At<'_>) {
    let Some(running) = running_drill(drill, standing, at) else { return };
    check_of_drill(permit, purpose.check, &running.drill, at);
    let (injected, healing) = match permit.kill {
        None => (running.injection, &mut running.healing),
        Some(KillPoint::FirstDeed) => (running.second_injection, &mut running.killed),
    };
    if injected.is_none() {
        at.flag(Rule::Drill, format!("the fault of the drill {drill} was not injected before"));
    }
    if healing.replace(permit.permit).is_some() {
        at.flag(Rule::Drill, format!("the fault of the drill {drill} was to be healed before"));
    }
}

/// A permit for a drill's second run: the drill stands for the evidence, and the check has to pass.
fn repeat(
    permit: &Permit,
    drill: DrillId,
    (check, remediation): (&CheckRef, &RemediationName),
    host: &Host,
    standing: &mut Standing,
    at: &mut At<'_>,
) {
    if host.newest(check).is_none_or(|(_, status)| status != Status::Passing) {
        at.flag(Rule::Transition, format!("{check} does not pass, and a drill is to run once more"));
    }
    if !check_playbook(permit, standing, at) {
        return;
    }
    check_configured(permit, (check, remediation, AnswerOn::ThatOf(permit.playbook.as_ref())), host, standing, at);
    not_killed(permit, at);
    let Some(running) = running_drill(drill, standing, at) else { return };
    check_of_drill(permit, check, &running.drill, at);
    if permit.drill != Some(drill) || !running.stages.contains(&DrillStage::Healed) {
        at.flag(Rule::Drill, format!("the fault of the drill {drill} was not healed before"));
    }
    if running.repetition.replace(permit.permit).is_some() {
        at.flag(Rule::Drill, format!("the playbook of the drill {drill} was to run once more before"));
    }
}

fn check_of_drill(permit: &Permit, of: &CheckRef, drill: &Drill, at: &mut At<'_>) {
    let Drill { drill, host, playbook, service, check, .. } = drill;
    let of_drill = *host == permit.host
        && permit.playbook.as_ref() == Some(playbook)
        && of.service == *service
        && of.check == *check;
    if !of_drill {
        at.flag(Rule::Drill, format!("the permit is for another host, playbook or check than the drill {drill}"));
    }
}

/// A permit that injects a drill's fault; gives the check that it breaks.
fn inject(
    permit: &Permit,
    drill: DrillId,
    fault: &Fault,
    standing: &mut Standing,
    at: &mut At<'_>,
) -> Option<CheckRef> {
    if permit.targets.iter().all(|target| target.label != fault.on) {
        at.flag(Rule::Target, format!("the fault's label {} is not a target", fault.on));
    }
    not_killed(permit, at);
    let running = running_drill(drill, standing, at)?;
    if running.drill.host != permit.host || &running.drill.fault != fault || permit.drill != Some(drill) {
        at.flag(Rule::Drill, format!("the permit is for another host or fault than the drill {drill}"));
    }
    let check = running.check();
    let again = running.stages.contains(&DrillStage::Repeated);
    let injection = if again { &mut running.second_injection } else { &mut running.injection };
    if injection.replace(permit.permit).is_some() {
        at.flag(Rule::Drill, format!("the fault of the drill {drill} was to be injected before"));
    }
    Some(check)
}

fn running_drill<'s>(drill: DrillId, standing: &'s mut Standing, at: &mut At<'_>) -> Option<&'s mut RunningDrill> {
    let running = standing.drill_mut(drill).filter(|running| running.progress == Progress::Running);
    if running.is_none() {
        at.flag(Rule::Drill, format!("the drill {drill} does not run"));
    }
    running
}

/// Stop orders, freezes and breakers bind every permit. A drill's injection and its second run are no probes: their success
/// shows nothing.
fn check_switches(
    permit: &Permit,
    now: UnixMillis,
    environment: &EnvironmentName,
    standing: &mut Standing,
    runs: &Runs,
    at: &mut At<'_>,
) {
    for scope in scopes(permit, environment, standing) {
        if let Some(newest) = standing.newest_stop(&scope).filter(|newest| permit.stop_epoch < *newest) {
            let words = format!("stop order {newest} for {scope} is newer than the permit's {}", permit.stop_epoch);
            at.flag(Rule::Stop, words);
        }
        if standing.is_stopped(&scope) {
            at.flag(Rule::Stop, format!("automation is stopped for {scope}"));
        }
        for freeze in standing.frozen(&scope, now) {
            at.flag(Rule::Freeze, format!("{scope} is frozen by {freeze}"));
        }
        let Some(breaker) = standing.breaker_mut(&scope) else { continue };
        match (breaker.passage(now), &permit.purpose) {
            (Passage::Shut, _)
            | (Passage::Probe, Purpose::InjectFault { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. }) => {
                at.flag(Rule::Breaker, format!("the breaker {scope} is open"));
            }
            (Passage::Probe, Purpose::Remediate { .. }) => {
                if breaker.probe.replace(permit.permit).is_some_and(|probe| runs.is_in_flight(probe)) {
                    at.flag(Rule::Breaker, format!("the half-open breaker {scope} has a probe already"));
                }
            }
        }
    }
}

fn scopes(permit: &Permit, environment: &EnvironmentName, standing: &Standing) -> Vec<Scope> {
    let mut scopes = vec![Scope::Global, Scope::Environment(environment.clone())];
    match &permit.purpose {
        Purpose::Remediate { check, .. } | Purpose::Repeat { check, .. } | Purpose::Offline { check, .. } => {
            scopes.push(Scope::Service(check.service.clone()));
            scopes.extend(permit.playbook.as_ref().map(|version| Scope::Playbook(version.name.clone())));
        }
        Purpose::InjectFault { drill, .. } => {
            if let Some(running) = standing.drill(*drill) {
                scopes.push(Scope::Service(running.drill.service.clone()));
                scopes.push(Scope::Playbook(running.drill.playbook.name.clone()));
            }
        }
    }
    scopes
}

/// The group has room, counted without this permit.
fn check_room(
    check: &CheckRef,
    environment: &EnvironmentName,
    hosts: &mut Hosts,
    standing: &Standing,
    runs: &Runs,
    at: &mut At<'_>,
) {
    // Without either, another rule has been flagged already.
    let Some(configuration) = standing.configuration() else { return };
    let Some((service, remediation)) = configuration.service(&check.service).zip(configuration.answer_to(check)) else {
        return;
    };
    let limit = remediation.guard.max_in_flight.as_maximum(hosts.group_size(&service.name, environment, standing));
    let in_flight = runs.in_flight(&(service.name.clone(), environment.clone()));
    if in_flight >= limit {
        let words = format!("{in_flight} of {limit} permits for {} in {environment} are in flight", service.name);
        at.flag(Rule::InFlight, words);
    }
}
