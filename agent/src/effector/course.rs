//! The course of a run as the effector carries it out: permit in, machine driven, record out.

use super::admission::{Occupation, PlaybookTrust, Situation, admit, in_scope};
use super::injections::drilled_by;
use super::offline::permit_of;
use super::run::{FromHands, Hands, Outcome, Watching};
use super::serve::{Active, Effector, EffectorError, Written};
use super::store::{Opening, StoreError, Value};
use crate::capability::{Deed, Done, NotOpened};
use fettle_audit::published::Published;
use fettle_model::counter::ConfigurationGeneration;
use fettle_model::digest::EnvelopeDigest;
use fettle_model::host::DrillConsent;
use fettle_model::permit::{BoundTarget, Permit, PermitRejection, Purpose};
use fettle_model::record::{Body, PermitRejected};
use fettle_model::run::{Ending, RunRecord};
use fettle_sandbox::call::ActError;
use fettle_sandbox::journal::{Durability, Entry};
use fettle_sandbox::machine::{Action, Broken, Charter, Event, Machine};
use std::time::Duration;

impl Effector {
    /// A permit that is proven to be in the log.
    pub(super) async fn granted(&mut self, permit: Permit, document: &str) -> Result<(), EffectorError> {
        // One that was lost with its answer and came again while its run is in progress is no replay.
        let running = self.active.as_ref().is_some_and(|active| active.permit.permit == permit.permit);
        if running || (permit.unit.is_none() && self.holds_budget(&permit)) {
            return Ok(());
        }
        if let Err(because) = self.judge(&permit)? {
            let late = matches!(because, PermitRejection::Expired { .. });
            self.reject(&permit, document, because).await?;
            // The fault is still there, and nothing was done about it.
            return match (&permit.purpose, permit.unit) {
                (Purpose::Remediate { check, .. }, _) if late => self.request(check).await,
                // What this host does not allow now it does not allow in a minute.
                (Purpose::Offline { .. }, Some(_)) => self.give_budget_back().await,
                (Purpose::Offline { .. }, None) => {
                    self.budget_refused(None);
                    Ok(())
                }
                (Purpose::Remediate { .. } | Purpose::InjectFault { .. } | Purpose::Repeat { .. }, _) => Ok(()),
            };
        }
        if permit.is_offline() && permit.unit.is_none() {
            return self.keep_budget(permit, document);
        }
        let manifest = permit.playbook.as_ref().and_then(|playbook| self.library.manifest(playbook.digest));
        let Ok(charter) = Charter::new(permit.clone(), manifest) else {
            return self.reject(&permit, document, PermitRejection::PlaybookUntrusted).await;
        };
        let hands = match self.open_hands(&permit).await {
            Ok(hands) => hands,
            Err(error) => {
                tracing::error!(%error, "a permit's targets cannot be opened");
                let label = permit.targets.first().map(|target| target.label.clone());
                let because =
                    label.map_or(PermitRejection::OtherRequest, |label| PermitRejection::TargetsDiffer { label });
                return self.reject(&permit, document, because).await;
            }
        };
        let now = self.clocks.now();
        let run = permit.run;
        let (machine, actions) = Machine::open(charter, now).map_err(|source| EffectorError::Broken { run, source })?;
        let Some(Action::Journal(first)) = actions.first() else { return Ok(()) };
        let entry = serde_json::to_string(first).map_err(EffectorError::Json)?;
        // From here on no crash makes the permit good again.
        self.store.open_run(&Opening {
            permit: permit.permit,
            request: permit.request,
            run,
            fence: permit.fence,
            at: now.wall,
            published: document,
            entry: &entry,
        })?;
        self.requests.remove(&permit.request);
        tracing::info!(%run, "a run begins");
        self.active = Some(self.active_run(machine, permit, hands, Written::default().and(entry.len())));
        hold_point();
        self.carry_out(actions.into_iter().skip(1).collect()).await
    }

    fn active_run(&self, machine: Machine<Deed>, permit: Permit, hands: Hands, written: Written) -> Active {
        let fired = match &permit.purpose {
            Purpose::Remediate { check, .. } | Purpose::Repeat { check, .. } | Purpose::Offline { check, .. } => {
                self.heads.get(check).map(|head| head.at)
            }
            Purpose::InjectFault { .. } => None,
        };
        Active {
            machine,
            permit,
            hands,
            worker: None,
            watching: Watching::Nothing,
            ask_at: None,
            asked: None,
            written,
            announced: None,
            fired: fired.unwrap_or(self.clocks.now().wall),
            wants_worker: false,
        }
    }

    fn judge(&self, permit: &Permit) -> Result<Result<(), PermitRejection>, EffectorError> {
        let config = self.capabilities.config();
        let Some(host) = self.recorder.host() else { return Ok(Err(PermitRejection::OtherHost)) };
        let request = self.requests.get(&permit.request);
        let bound = match (permit.unit, &permit.purpose, &permit.playbook) {
            // What was bound when the budget was asked for may have been unbound since.
            (Some(_), Purpose::Offline { check, .. }, Some(playbook)) => {
                self.runnable(playbook.digest, check).unwrap_or_default()
            }
            _ => request.map(|request| request.targets.clone()).unwrap_or_default(),
        };
        let playbook = match &permit.playbook {
            Some(playbook) if self.library.ready(playbook.digest).is_some() => PlaybookTrust::Trusted,
            Some(_) | None => PlaybookTrust::Untrusted,
        };
        let now = self.clocks.now();
        let situation = Situation {
            host,
            environment: &config.host.environment,
            boot: now.boot,
            now: now.on_boot,
            request,
            used: self.store.is_used(permit.permit)?,
            highest_fence: self.store.highest_fence()?,
            stops: self.stops.all(),
            playbook,
            bound: &bound,
            ceiling: &config.ceiling,
            drills: match &permit.purpose {
                Purpose::InjectFault { fault, .. } => bound
                    .iter()
                    .map(|target| config.consents_to(fault.kind, &target.target))
                    .find(|consent| *consent == DrillConsent::Refused)
                    .unwrap_or(config.host.drills),
                Purpose::Remediate { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. } => config.host.drills,
            },
            drill: self.drill.as_ref(),
            occupation: if self.active.is_some() { Occupation::Busy } else { Occupation::Free },
            log: self.log,
        };
        let budget = if permit.is_offline() { self.judge_budget(permit) } else { Ok(()) };
        Ok(admit(permit, &situation).and(budget))
    }

    async fn reject(&mut self, permit: &Permit, document: &str, because: PermitRejection) -> Result<(), EffectorError> {
        tracing::warn!(permit = %permit.permit, ?because, "a permit is refused");
        let envelope = Published::parse(document.as_bytes()).map_or_else(
            |_| EnvelopeDigest::of(document.as_bytes()),
            |published| EnvelopeDigest::of(&published.envelope),
        );
        let rejected = PermitRejected { permit: Some(permit.permit), run: Some(permit.run), envelope, because };
        self.requests.remove(&permit.request);
        self.record(Body::PermitRejected(Box::new(rejected)), |store, sealed| {
            store.append_answered(sealed.as_new(), permit.request)
        })
        .await
    }

    async fn open_hands(&self, permit: &Permit) -> Result<Hands, NotOpened> {
        let targets: Vec<BoundTarget> = permit
            .targets
            .iter()
            .map(|target| BoundTarget { label: target.label.clone(), target: target.target.clone() })
            .collect();
        let opened = self.capabilities.open(&targets).await?;
        Ok(Hands::new(
            opened,
            permit.run,
            permit.effect_within,
            self.longest_fault(permit),
            self.channels.outcomes.clone(),
        ))
    }

    /// How long a fault lasts that does not end by itself, when nothing heals it: to the end of its drill.
    fn longest_fault(&self, permit: &Permit) -> Duration {
        let drill = self.drill.as_ref().filter(|drill| permit.drill == Some(drill.drill));
        drill.map_or(permit.run_within, |drill| drill.deadline.since(self.clocks.now().wall))
    }

    /// Takes up what a crash interrupted.
    pub(super) async fn resume_runs(&mut self) -> Result<(), EffectorError> {
        for stored in self.store.open_runs()? {
            let run = stored.run;
            let malformed = |what| EffectorError::Store(StoreError::Malformed { what });
            let published = Published::parse(stored.published.as_bytes()).map_err(|_| malformed("published permit"))?;
            let pins = self.pins.as_ref().ok_or_else(|| malformed("run before enrolment"))?;
            let record = pins.believe(&published).map_err(|_| malformed("published permit"))?.record;
            let Body::PermitGranted(permit) = record.body else { return Err(malformed("published permit")) };
            let permit = permit_of(run, *permit).ok_or_else(|| malformed("published permit"))?;
            let entries: Vec<Entry<Deed>> = stored
                .entries
                .iter()
                .map(|entry| serde_json::from_str(entry).map_err(|_| malformed("journal entry")))
                .collect::<Result<_, _>>()?;
            let written = stored.entries.iter().fold(Written::default(), |written, entry| written.and(entry.len()));
            let manifest = permit.playbook.as_ref().and_then(|playbook| self.library.manifest(playbook.digest));
            let charter = Charter::new(permit.clone(), manifest).map_err(|_| malformed("manifest"))?;
            let hands = match self.open_hands(&permit).await {
                Ok(hands) => hands,
                // Without its things nothing can be done or looked at: the run ends by itself, in doubt
                // where a step was in progress. It must not keep the agent from starting.
                Err(error) => {
                    tracing::error!(%run, %error, "an interrupted run has lost what it was about");
                    let nothing = self.capabilities.open(&[]).await.map_err(|_| malformed("empty list of targets"))?;
                    let (within, hold) = (permit.effect_within, permit.run_within);
                    Hands::new(nothing, run, within, hold, self.channels.outcomes.clone())
                }
            };
            let now = self.clocks.now();
            let broken = |source| EffectorError::Broken { run, source };
            let (mut machine, mut actions) = Machine::resume(charter, entries, now).map_err(broken)?;
            // It may have been kept when the crash came, and the run not yet told.
            if let Some(why) = self.stop_of(&permit) {
                actions.extend(machine.handle(now, Event::StopOrdered { why }).map_err(broken)?);
            }
            tracing::warn!(%run, entries = written.entries, "an interrupted run is taken up");
            self.active = Some(self.active_run(machine, permit, hands, written));
            self.carry_out(actions).await?;
        }
        Ok(())
    }

    /// Why the run of a permit has to stop, where a stop order that came after the permit says so.
    pub(super) fn stop_of(&self, permit: &Permit) -> Option<String> {
        let environment = &self.capabilities.config().host.environment;
        let newer = self.stops.all().iter().filter(|order| permit.stop_epoch < order.epoch);
        let mut stopping = newer.filter(|order| in_scope(&order.scope, permit, environment, self.drill.as_ref()));
        let order = stopping.next()?;
        Some(format!("stopped in scope {} by {}: {}", order.scope, order.by, order.why))
    }

    /// Gives the machine an event and carries out what it says.
    pub(super) async fn drive(&mut self, event: Event<Deed>) -> Result<(), EffectorError> {
        let now = self.clocks.now();
        let Some(active) = &mut self.active else { return Ok(()) };
        let run = active.permit.run;
        let actions =
            active.machine.handle(now, event).map_err(|source: Broken| EffectorError::Broken { run, source })?;
        self.carry_out(actions).await
    }

    async fn carry_out(&mut self, actions: Vec<Action<Deed>>) -> Result<(), EffectorError> {
        for action in actions {
            match action {
                Action::Journal(entry) => self.write(&entry)?,
                Action::RerunCheck(check) => self.watch(Watching::Once(check)).await,
                Action::WatchCheck(check) => self.watch(Watching::Confirmation(check)).await,
                Action::StopWatching => self.watch(Watching::Nothing).await,
                Action::StartWorker => self.give_job().await?,
                Action::Reply(reply) => self.reply(reply).await,
                Action::Look(call) => self.look(call).await,
                Action::PlanFault(fault) => self.with_hands(|hands| hands.plan_fault(fault)),
                Action::Before(deed) => self.look_before(deed),
                Action::Publish(intent) => self.publish(*intent).await?,
                Action::Perform { deed, before } => self.with_hands(|hands| hands.perform(deed, before)),
                Action::LookAfterCrash { deed, before } => {
                    self.with_hands(|hands| hands.look_after_crash(deed, before));
                }
                Action::EndProcess => return Err(EffectorError::Killed),
                Action::KillWorker => {
                    if let Some(active) = &mut self.active {
                        active.worker = None;
                        active.wants_worker = false;
                    }
                }
                Action::End(record) => return self.end(*record).await,
            }
        }
        Ok(())
    }

    fn look_before(&self, deed: Deed) {
        let now = self.clocks.now().wall;
        let room = match &deed {
            Deed::SetFlag { .. } => self.holds.room().map_err(|full| full.to_string()),
            Deed::Inject { .. } => self.injections.room().map_err(|full| full.to_string()),
            Deed::Service { .. } | Deed::Kill { .. } | Deed::Activate { .. } | Deed::PutFlagBack { .. } => Ok(()),
        };
        self.with_hands(|hands| match room {
            Ok(()) => hands.before(deed, now),
            Err(full) => hands.tell(Outcome::Prepared(Err(ActError::Exhausted(full)))),
        });
    }

    pub(super) fn with_hands(&self, act: impl FnOnce(&Hands)) {
        if let Some(active) = &self.active {
            act(&active.hands);
        }
    }

    fn write(&mut self, entry: &Entry<Deed>) -> Result<(), EffectorError> {
        let Some(active) = &mut self.active else { return Ok(()) };
        let text = serde_json::to_string(entry).map_err(EffectorError::Json)?;
        let (run, number, drill) = (active.permit.run, active.written.entries, drilled_by(&active.permit));
        active.written = active.written.and(text.len());
        if let Some(pending) = self.injected_by(entry) {
            // With the intent, so that no crash leaves a fault that nobody takes back.
            self.injections.begin(pending);
            let injections = serde_json::to_string(&self.injections).map_err(EffectorError::Json)?;
            self.store.journal_with(run, number, &text, (Value::Injections, &injections))?;
            hold_point();
            return Ok(());
        }
        match done_by(entry) {
            Some(done) => {
                self.holds.apply(done.hold.clone(), drill);
                let holds = serde_json::to_string(&self.holds).map_err(EffectorError::Json)?;
                self.store.journal_with(run, number, &text, (Value::Holds, &holds))?;
            }
            None => match entry.durability() {
                Durability::AtOnce => self.store.journal(run, number, &text)?,
                Durability::WithNext => self.store.ahead(|store| store.journal(run, number, &text))?,
            },
        }
        hold_point();
        Ok(())
    }

    async fn end(&mut self, record: RunRecord) -> Result<(), EffectorError> {
        let (run, ending) = (record.run, record.ending);
        tracing::info!(%run, ending = record.ending.as_str(), summary = record.summary, "a run has ended");
        let healed = match (&record.purpose, record.ending) {
            (
                Purpose::Remediate { check, .. } | Purpose::Offline { check, .. },
                Ending::Succeeded | Ending::Superseded,
            ) => Some(check.clone()),
            (
                Purpose::Remediate { .. }
                | Purpose::InjectFault { .. }
                | Purpose::Repeat { .. }
                | Purpose::Offline { .. },
                Ending::Succeeded
                | Ending::Superseded
                | Ending::Ineffective
                | Ending::Failed
                | Ending::Reverted
                | Ending::Cancelled
                | Ending::Expired
                | Ending::InDoubt,
            ) => None,
        };
        self.record(Body::RunEnded(Box::new(record)), |store, sealed| {
            store.append_run_end(sealed.as_new(), run)?;
            hold_point();
            Ok(())
        })
        .await?;
        if let Some(ended) = self.active.take() {
            self.over_after(&ended.permit, ending)?;
            if ended.permit.is_offline() {
                self.rest();
            }
        }
        if let Some(check) = healed {
            self.let_settle(check);
        }
        self.ensure_spare()?;
        self.take_up().await
    }

    /// What the hands of a run have to say. A look of a run that has ended meanwhile is void.
    pub(super) async fn outcome(&mut self, from: FromHands) -> Result<(), EffectorError> {
        let FromHands { run, outcome } = from;
        if self.active.as_ref().is_none_or(|active| active.permit.run != run) {
            return match outcome {
                Outcome::Looked(reply) => self.plan_looked(run, reply).await,
                Outcome::Prepared(_) | Outcome::Acted(_) | Outcome::LookedAfterCrash(_) | Outcome::FaultPlanned(_) => {
                    Ok(())
                }
            };
        }
        let event = match outcome {
            Outcome::Looked(reply) => Event::Looked(reply),
            Outcome::Prepared(before) => Event::Prepared(before),
            Outcome::Acted(result) => Event::Acted(result),
            Outcome::LookedAfterCrash(look) => Event::LookedAfterCrash(look),
            Outcome::FaultPlanned(planned) => Event::FaultPlanned(planned),
        };
        self.drive(event).await
    }
}

/// Where a test stops the effector after a journal record; nothing in a production build.
pub(super) fn hold_point() {
    #[cfg(feature = "hold-points")]
    super::hold_point::reached();
}

/// Where a test stops the effector between receiving a configuration and keeping it; nothing in a production build.
pub(super) fn hold_point_of(generation: ConfigurationGeneration) {
    #[cfg(feature = "hold-points")]
    super::hold_point::received(generation);
    #[cfg(not(feature = "hold-points"))]
    let _: ConfigurationGeneration = generation;
}

/// The deed that an entry says was done.
fn done_by(entry: &Entry<Deed>) -> Option<&Done> {
    use fettle_sandbox::journal::Look;
    match entry {
        Entry::Outcome { result: Ok(done), .. } | Entry::UndoOutcome { result: Ok(done), .. } => Some(done),
        Entry::Resolved { look: Look::Applied(done), .. } | Entry::UndoResolved { look: Look::Applied(done), .. } => {
            Some(done)
        }
        Entry::Outcome { result: Err(_), .. }
        | Entry::UndoOutcome { result: Err(_), .. }
        | Entry::Resolved { look: Look::NotApplied | Look::CannotTell(_), .. }
        | Entry::UndoResolved { look: Look::NotApplied | Look::CannotTell(_), .. }
        | Entry::Opened { .. }
        | Entry::Resumed { .. }
        | Entry::Checked { .. }
        | Entry::Read { .. }
        | Entry::Slept { .. }
        | Entry::Refused { .. }
        | Entry::Intent { .. }
        | Entry::Returned { .. }
        | Entry::Halted { .. }
        | Entry::Confirming { .. }
        | Entry::Confirmed { .. }
        | Entry::UndoIntent { .. }
        | Entry::Ended { .. } => None,
    }
}
