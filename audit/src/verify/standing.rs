//! What stands at a position of the log: configuration, playbooks, evidence, drills, stops, breakers.

use super::finding::{At, Rule};
use super::hosts::{Host, Hosts};
use super::rollout::Configurations;
use super::runs::Runs;
use crate::envelope::Envelope;
use crate::key::PublicKey;
use fettle_model::breaker::{
    BreakerClosed, BreakerEased, BreakerOpened, Easing, OpenReason, ResumeOrder, Scope, StopOrder,
};
use fettle_model::check::{CheckRef, Status};
use fettle_model::configuration::Configuration;
use fettle_model::counter::{LogPosition, StopEpoch};
use fettle_model::digest::{DocumentDigest, KeyId, PlaybookDigest};
use fettle_model::evidence::{Drill, DrillEnding, DrillStage, DrillStagePassed, Evidence, HostClass, ProvedGrant};
use fettle_model::freeze::{FreezeDeclared, FreezeLifted, FrozenBy, Standing as FreezeStanding};
use fettle_model::host::DrillConsent;
use fettle_model::id::{DrillId, FreezeId, HostId, PermitId, RunId};
use fettle_model::name::{PersonName, PublisherName, ScheduleName};
use fettle_model::playbook::{Manifest, PUBLICATION_PAYLOAD_TYPE, Publication};
use fettle_model::record::{PlaybookAdmitted, PublisherTrusted};
use fettle_model::remediation::PlaybookVersion;
use fettle_model::run::Ending;
use fettle_model::scenarios::{SCENARIOS_PAYLOAD_TYPE, ScenariosPassed};
use fettle_model::schedule::DueTime;
use fettle_model::time::UnixMillis;
use std::collections::{BTreeMap, BTreeSet};

/// What decisions rest on.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    pub(super) configurations: Configurations,
    publishers: BTreeMap<(PublisherName, KeyId), PublicKey>,
    playbooks: BTreeMap<PlaybookDigest, std::sync::Arc<Manifest>>,
    admitted_by: BTreeMap<PlaybookDigest, PersonName>,
    published_by: BTreeMap<PlaybookDigest, PublisherName>,
    /// Where the newest word on each version's scenarios stands.
    scenarios: BTreeMap<PlaybookDigest, LogPosition>,
    /// When the longest-lived evidence expires.
    evidence: BTreeMap<Coverage, UnixMillis>,
    drills: BTreeMap<DrillId, RunningDrill>,
    /// The newest due time of each schedule that was handled.
    handled: BTreeMap<ScheduleName, UnixMillis>,
    newest_stop: BTreeMap<Scope, StopEpoch>,
    stopped: BTreeSet<Scope>,
    highest_stop: StopEpoch,
    freezes: BTreeMap<FreezeId, FreezeDeclared>,
    breakers: BTreeMap<Scope, Breaker>,
}

/// What evidence covers: a version, its parameters, what its labels stand for, a class of host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Coverage {
    pub(super) playbook: PlaybookDigest,
    pub(super) parameters: DocumentDigest,
    pub(super) grants: Vec<ProvedGrant>,
    pub(super) class: HostClass,
}

/// A drill with what became of it.
#[derive(Debug, Clone)]
pub(super) struct RunningDrill {
    pub(super) drill: Drill,
    pub(super) progress: Progress,
    /// Where the stage before it stood when it began.
    scenarios: Option<LogPosition>,
    /// The permit to inject its fault.
    pub(super) injection: Option<PermitId>,
    /// The permit to heal it.
    pub(super) healing: Option<PermitId>,
    /// The permit to run once more.
    pub(super) repetition: Option<PermitId>,
    /// The permit to inject its fault once more.
    pub(super) second_injection: Option<PermitId>,
    /// The permit whose run is killed.
    pub(super) killed: Option<PermitId>,
    /// The stages that it passed.
    pub(super) stages: BTreeSet<DrillStage>,
}

/// Whether a drill still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Running,
    Ended,
}

/// An open breaker.
#[derive(Debug, Clone, Default)]
pub(super) struct Breaker {
    reasons: Vec<(OpenReason, Option<UnixMillis>)>,
    /// The permit that was its last probe.
    pub(super) probe: Option<PermitId>,
}

/// What an open breaker lets through.
pub(super) enum Passage {
    /// Nothing.
    Shut,
    /// One probe.
    Probe,
}

impl Standing {
    pub(super) fn configuration(&self) -> Option<&Configuration> {
        self.configurations.newest()
    }

    /// What stands for a host.
    pub(super) fn configuration_of(&self, id: HostId, host: &Host) -> Option<&Configuration> {
        self.configurations.of(id, host)
    }

    pub(super) fn manifest(&self, digest: &PlaybookDigest) -> Option<&Manifest> {
        self.playbooks.get(digest).map(AsRef::as_ref)
    }

    /// Who brought a playbook's version.
    pub(super) fn admitted_by(&self, digest: &PlaybookDigest) -> Option<&PersonName> {
        self.admitted_by.get(digest)
    }

    /// When the evidence that covers this expires; `None`: there is none.
    pub(super) fn evidence_until(&self, coverage: &Coverage) -> Option<UnixMillis> {
        self.evidence.get(coverage).copied()
    }

    pub(super) fn drill_mut(&mut self, drill: DrillId) -> Option<&mut RunningDrill> {
        self.drills.get_mut(&drill)
    }

    pub(super) fn drill(&self, drill: DrillId) -> Option<&RunningDrill> {
        self.drills.get(&drill)
    }

    /// The drill that runs on a host and breaks this check.
    pub(super) fn drill_on(&self, host: HostId, check: &CheckRef) -> Option<&Drill> {
        let running = self.drills.values().filter(|running| running.progress == Progress::Running);
        running
            .map(|running| &running.drill)
            .find(|drill| drill.host == host && drill.service == check.service && drill.check == check.check)
    }

    /// The newest stop order in a scope.
    pub(super) fn newest_stop(&self, scope: &Scope) -> Option<StopEpoch> {
        self.newest_stop.get(scope).copied()
    }

    pub(super) fn is_stopped(&self, scope: &Scope) -> bool {
        self.stopped.contains(scope)
    }

    pub(super) fn breaker_mut(&mut self, scope: &Scope) -> Option<&mut Breaker> {
        self.breakers.get_mut(scope)
    }

    pub(super) fn trust(&mut self, trusted: &PublisherTrusted, at: &mut At<'_>) {
        match trusted.key.parse::<PublicKey>() {
            Ok(key) => {
                self.publishers.insert((trusted.publisher.clone(), key.key_id()), key);
            }
            Err(error) => at.flag(Rule::Playbook, format!("the key of {}: {error}", trusted.publisher)),
        }
    }

    pub(super) fn admit(&mut self, admitted: &PlaybookAdmitted, at: &mut At<'_>) {
        let name = &admitted.manifest.playbook.name;
        let Some(key) = self.publishers.get(&(admitted.publisher.clone(), admitted.key)) else {
            return at.flag(
                Rule::Playbook,
                format!("the key that signed {name} is no trusted one of {}", admitted.publisher),
            );
        };
        let publication = Envelope::parse(admitted.publication.clone().into_bytes())
            .ok()
            .and_then(|envelope| serde_json::from_slice(envelope.verify(key, PUBLICATION_PAYLOAD_TYPE).ok()?).ok());
        let expected = Publication {
            name: name.clone(),
            version: admitted.manifest.playbook.version.clone(),
            digest: admitted.digest,
            publisher: admitted.publisher.clone(),
            key: admitted.key,
        };
        if publication != Some(expected) {
            return at
                .flag(Rule::Playbook, format!("{} did not sign {name} as {}", admitted.publisher, admitted.digest));
        }
        self.admitted_by.insert(admitted.digest, admitted.by.clone());
        self.published_by.insert(admitted.digest, admitted.publisher.clone());
        self.playbooks.insert(admitted.digest, std::sync::Arc::new(admitted.manifest.clone()));
    }

    /// The second stage of a version's validation: its publisher's own word, for this very package.
    pub(super) fn pass_scenarios(&mut self, passed: &ScenariosPassed, at: &mut At<'_>) {
        let PlaybookVersion { name, digest } = &passed.playbook;
        if self.manifest(digest).is_none_or(|manifest| &manifest.playbook.name != name) {
            return at.flag(Rule::Playbook, format!("{name} was not admitted as {digest}, and its scenarios passed"));
        }
        let key = self.publishers.get(&(passed.publisher.clone(), passed.key));
        let Some(key) = key.filter(|_| self.published_by.get(digest) == Some(&passed.publisher)) else {
            return at.flag(
                Rule::Playbook,
                format!("the key that signed the report on {name} is no trusted one of its publisher's"),
            );
        };
        let signed = Envelope::parse(passed.signed.clone().into_bytes())
            .ok()
            .and_then(|envelope| serde_json::from_slice(envelope.verify(key, SCENARIOS_PAYLOAD_TYPE).ok()?).ok());
        if signed.as_ref() != Some(&passed.report) {
            return at.flag(Rule::Playbook, format!("{} did not sign the report on {name}", passed.publisher));
        }
        if let Err(flaw) = passed.report.check(digest) {
            return at.flag(Rule::Playbook, format!("the scenarios of {name} did not pass: {flaw}"));
        }
        self.scenarios.insert(*digest, at.position);
    }

    pub(super) fn stop(&mut self, order: &StopOrder, at: &mut At<'_>) {
        if order.epoch <= self.highest_stop {
            at.flag(Rule::Stop, format!("stop order {} does not follow {}", order.epoch, self.highest_stop));
        }
        self.highest_stop = self.highest_stop.max(order.epoch);
        self.newest_stop.insert(order.scope.clone(), order.epoch);
        self.stopped.insert(order.scope.clone());
    }

    pub(super) fn resume(&mut self, order: &ResumeOrder) {
        self.stopped.remove(&order.scope);
        if let Some(breaker) = self.breakers.get_mut(&order.scope) {
            breaker.reasons.retain(|(reason, _)| !matches!(reason, OpenReason::ByHand { .. }));
            if breaker.reasons.is_empty() {
                self.breakers.remove(&order.scope);
            }
        }
    }

    pub(super) fn freeze(&mut self, declared: &FreezeDeclared) {
        self.freezes.insert(declared.freeze, declared.clone());
    }

    pub(super) fn lift(&mut self, lifted: &FreezeLifted, at: &mut At<'_>) {
        if self.freezes.remove(&lifted.freeze).is_none() {
            at.flag(Rule::Freeze, format!("the freeze {} was not in force", lifted.freeze));
        }
    }

    /// What freezes exactly this scope.
    pub(super) fn frozen(&self, scope: &Scope, now: UnixMillis) -> Vec<FrozenBy> {
        let calendars = self.configuration().into_iter().flat_map(Configuration::freezes);
        let calendars = calendars.filter(|freeze| &freeze.scope == scope && freeze.at(now) != FreezeStanding::Open);
        let by_hand = self.freezes.values().filter(|declared| &declared.scope == scope && declared.until > now);
        calendars
            .map(|freeze| FrozenBy::Calendar { name: freeze.name.clone() })
            .chain(by_hand.map(|hand| FrozenBy::Person { freeze: hand.freeze, by: hand.by.clone() }))
            .collect()
    }

    pub(super) fn open_breaker(&mut self, opened: &BreakerOpened) {
        let breaker = self.breakers.entry(opened.scope.clone()).or_default();
        // A reason of one kind is replaced: after a failed probe the breaker opens anew.
        breaker.reasons.retain(|(reason, _)| reason.kind() != opened.because.kind());
        breaker.reasons.push((opened.because.clone(), opened.half_open_at));
    }

    pub(super) fn ease_breaker(&mut self, eased: &BreakerEased) {
        let Some(breaker) = self.breakers.get_mut(&eased.scope) else { return };
        match eased.easing {
            Easing::HalfOpen { at } => {
                let ended = breaker.reasons.iter_mut().find(|(reason, _)| reason.kind() == eased.reason);
                if let Some((_, half_open_at)) = ended {
                    *half_open_at = Some(at);
                }
            }
            Easing::Gone => breaker.reasons.retain(|(reason, _)| reason.kind() != eased.reason),
        }
        if breaker.reasons.is_empty() {
            self.breakers.remove(&eased.scope);
        }
    }

    pub(super) fn close_breaker(&mut self, closed: &BreakerClosed) {
        self.breakers.remove(&closed.scope);
    }

    /// A schedule's due time is handled: one of its moments, and each once.
    pub(super) fn falls_due(&mut self, was: &DueTime, now: UnixMillis, at: &mut At<'_>) {
        let DueTime { schedule: name, due } = was;
        let schedules = self.configuration().into_iter().flat_map(Configuration::schedules);
        let known =
            schedules.filter(|schedule| &schedule.name == name).find(|known| known.at.newest(*due) == Some(*due));
        if known.is_none() || *due > now {
            at.flag(Rule::Drill, format!("the schedule {name} is not due at {} ms", due.0));
        }
        if self.handled.insert(name.clone(), *due).is_some_and(|before| before >= *due) {
            at.flag(Rule::Drill, format!("what the schedule {name} was due for at {} ms was handled before", due.0));
        }
    }

    pub(super) fn start_drill(&mut self, drill: &Drill, now: UnixMillis, hosts: &Hosts, at: &mut At<'_>) {
        if let Some(was) = &drill.scheduled {
            self.falls_due(was, now, at);
        }
        let allowed = hosts.get(drill.host).is_some_and(|host| {
            let consent = host.description.as_ref().is_some_and(|described| described.drills == DrillConsent::Allowed);
            host.environment.is_staging() && consent
        });
        if !allowed {
            at.flag(Rule::Drill, format!("{} is no staging host whose owner allows drills", drill.host));
        }
        if self.manifest(&drill.playbook.digest).is_none_or(|manifest| manifest.playbook.name != drill.playbook.name) {
            at.flag(Rule::Drill, format!("{} was not admitted as {}", drill.playbook.name, drill.playbook.digest));
        }
        let scenarios = self.scenarios.get(&drill.playbook.digest).copied();
        if scenarios.is_none() {
            at.flag(
                Rule::Drill,
                format!("the drill {} began before the scenarios of {} passed", drill.drill, drill.playbook.name),
            );
        }
        let running = RunningDrill {
            drill: drill.clone(),
            progress: Progress::Running,
            scenarios,
            injection: None,
            healing: None,
            repetition: None,
            second_injection: None,
            killed: None,
            stages: BTreeSet::new(),
        };
        if self.drills.insert(drill.drill, running).is_some() {
            at.flag(Rule::Identifier, format!("the drill {} was started before", drill.drill));
        }
    }

    pub(super) fn pass_stage(&mut self, passed: &DrillStagePassed, hosts: &Hosts, at: &mut At<'_>) {
        let id = passed.drill;
        let running = self.drills.get_mut(&id).filter(|running| running.progress == Progress::Running);
        let Some(running) = running.filter(|running| running.drill.host == passed.host) else {
            return at.flag(Rule::Drill, format!("the drill {id} does not run there, and passed a stage"));
        };
        let stage = passed.stage.as_str();
        if passed.observed.iter().any(|position| *position >= at.position) {
            at.flag(Rule::Drill, format!("the stage {stage} of the drill {id} rests on what came later"));
        }
        let next = match passed.stage {
            DrillStage::Healed => true,
            DrillStage::Repeated => running.stages.contains(&DrillStage::Healed),
            DrillStage::Killed => running.stages.contains(&DrillStage::Repeated),
        };
        let check = running.check();
        let newest = hosts.get(running.drill.host).and_then(|host| host.newest(&check));
        if newest.is_none_or(|(_, status)| status != Status::Passing) {
            at.flag(Rule::Drill, format!("{check} does not pass where the drill {id} passes the stage {stage}"));
        }
        if !(running.stages.insert(passed.stage) && next) {
            at.flag(Rule::Drill, format!("the stage {stage} of the drill {id} was not next"));
        }
    }

    pub(super) fn end_drill(&mut self, ending: &DrillEnding, at: &mut At<'_>) {
        match self.drills.get_mut(&ending.drill) {
            Some(drill) if drill.progress == Progress::Running => drill.progress = Progress::Ended,
            Some(_) => at.flag(Rule::Drill, format!("the drill {} ended before", ending.drill)),
            None => at.flag(Rule::Drill, format!("the drill {} was not started", ending.drill)),
        }
    }

    pub(super) fn earn(&mut self, evidence: &Evidence, now: UnixMillis, hosts: &Hosts, runs: &Runs, at: &mut At<'_>) {
        let wrong = |at: &mut At<'_>, what: &str| at.flag(Rule::Evidence, format!("{what}: drill {}", evidence.drill));
        let Some(running) = self.drills.get(&evidence.drill) else {
            return wrong(at, "the evidence is of no drill");
        };
        let drill = &running.drill;
        if evidence.playbook != drill.playbook || evidence.fault != drill.fault {
            return wrong(at, "the evidence is for another playbook or fault than the drill's");
        }
        if evidence.scenarios.is_none() || evidence.scenarios != running.scenarios {
            return wrong(at, "the evidence does not name the scenarios that passed before the drill");
        }
        let of_drill = |run: RunId| runs.ending_of(run).filter(|ended| ended.drill == Some(evidence.drill));
        let succeeded = |run: RunId| of_drill(run).filter(|ended| ended.ending == Ending::Succeeded);
        let (Some(healing), Some(injection)) = (succeeded(evidence.healing), succeeded(evidence.injection)) else {
            return wrong(at, "the drill has no such runs that succeeded");
        };
        if Some(healing.permit) != running.healing || Some(injection.permit) != running.injection {
            return wrong(at, "the runs did not inject and heal the drill's fault");
        }
        let Some(repetition) = evidence.repetition.and_then(of_drill) else {
            return wrong(at, "the drill has no second run");
        };
        if !matches!(repetition.ending, Ending::Succeeded | Ending::Superseded) || repetition.changes > 0 {
            return wrong(at, "the drill's second run did not end well, or changed something");
        }
        if Some(repetition.permit) != running.repetition || !running.stages.contains(&DrillStage::Repeated) {
            return wrong(at, "the run was not the drill's second, or its stage was not passed");
        }
        let killed = evidence.killed.and_then(|killed| Some((killed, succeeded(killed.healing)?)));
        let Some((named, killed)) = killed.filter(|(named, _)| succeeded(named.injection).is_some()) else {
            return wrong(at, "the drill has no run that was killed and succeeded");
        };
        if killed.resumed_at != Some(named.step) {
            return wrong(at, "the drill's killed run does not say that it was resumed at that step");
        }
        if Some(killed.permit) != running.killed || !running.stages.contains(&DrillStage::Killed) {
            return wrong(at, "the run was not the drill's to be killed, or its stage was not passed");
        }
        if healing.grants != evidence.grants {
            return wrong(at, "the evidence is for other grants than those of the drill");
        }
        if healing.parameters != evidence.parameters {
            return wrong(at, "the evidence is for other parameters than those of the drill");
        }
        let described = hosts.get(drill.host).and_then(|host| host.description.as_ref());
        if described.and_then(|described| HostClass::of(described, &drill.service)).as_ref() != Some(&evidence.class) {
            return wrong(at, "the evidence is for another class than that of the drill's host");
        }
        if evidence.observed.iter().any(|position| *position >= at.position) || evidence.expires_at <= now {
            return wrong(at, "the evidence rests on what came later, or had expired when it was earned");
        }
        let coverage = Coverage {
            playbook: evidence.playbook.digest,
            parameters: evidence.parameters,
            grants: evidence.grants.clone(),
            class: evidence.class.clone(),
        };
        let until = self.evidence.entry(coverage).or_default();
        *until = (*until).max(evidence.expires_at);
    }
}

impl RunningDrill {
    /// The check that it breaks.
    pub(super) fn check(&self) -> CheckRef {
        CheckRef { service: self.drill.service.clone(), check: self.drill.check.clone() }
    }
}

impl Breaker {
    /// What it lets through at this time.
    pub(super) fn passage(&self, now: UnixMillis) -> Passage {
        let half_open = |reason: &(OpenReason, Option<UnixMillis>)| reason.1.is_some_and(|from| now >= from);
        if self.reasons.iter().all(half_open) { Passage::Probe } else { Passage::Shut }
    }
}
