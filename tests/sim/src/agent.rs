//! An agent's process: its state file, its chain of records, what it asks for and what it is told.
//!
//! State file, recorder, stop orders and admission are the effector's own. What stands here in place of its loop is
//! when it sends, and that it sends again. The run in progress is in [`crate::run`].

use crate::budget::Link;
use crate::fixture;
use crate::flaw::Flaw;
use crate::host::{Due, Host, Timer};
use crate::run::Active;
use crate::scene::{Down, Event, Scene, Up};
use anyhow::Context as _;
use fettle_agent::effector::admission::{LogView, Occupation, PlaybookTrust, Situation, admit, in_scope};
use fettle_agent::effector::recorder::{Recorder, Sealed};
use fettle_agent::effector::store::{CheckHead, Store, StoreError, Use, Value};
use fettle_agent::effector::trust::Stops;
use fettle_model::breaker::StopOrder;
use fettle_model::check::{Status, Transition};
use fettle_model::counter::{AgentSequence, ConfigurationGeneration, TransitionEpoch};
use fettle_model::digest::EnvelopeDigest;
use fettle_model::escalation::Rung;
use fettle_model::host::DrillConsent;
use fettle_model::id::{RequestId, RunId};
use fettle_model::permit::{Permit, PermitRejection, PermitRequest, Purpose};
use fettle_model::record::{Body, PermitRejected, Record};
use fettle_model::time::BootInstant;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Between two times that an agent says it is here, in milliseconds.
const HELLO: std::ops::Range<u64> = 4_000..8_000;
/// After a refusal, in milliseconds; in the product the refusal says when, or somebody nudges.
const AGAIN: std::ops::Range<u64> = 6_000..25_000;
/// A host that holds a budget and may not act alone yet looks again after so long.
const UNHEARD: Duration = Duration::from_secs(4);
/// Records that are sent again at once.
const RESENT: u32 = 16;

/// One life of the process.
pub(crate) struct Life {
    pub(crate) store: Store,
    recorder: Recorder,
    pub(crate) stops: Stops,
    pub(crate) requests: BTreeMap<RequestId, PermitRequest>,
    pub(crate) head: Option<CheckHead>,
    acknowledged: AgentSequence,
    pub(crate) run: Option<Active>,
    /// Held in advance.
    pub(crate) budget: Option<Permit>,
    /// None is asked for before, on the boot clock.
    pub(crate) budget_at: BootInstant,
    /// When the control plane was last heard, on the boot clock.
    pub(crate) heard: BootInstant,
}

/// Whether a stop order that was given after a permit covers it.
pub(crate) fn covers(order: &StopOrder, permit: &Permit) -> anyhow::Result<bool> {
    let environment = fixture::description(0)?.environment;
    Ok(permit.stop_epoch < order.epoch && in_scope(&order.scope, permit, &environment, None))
}

impl Life {
    /// The place of its newest record.
    pub(crate) const fn sequence(&self) -> AgentSequence {
        self.recorder.sequence()
    }
}

impl Host {
    /// The process starts: everything that it knows is read from the disk.
    pub(crate) fn begin(&mut self, scene: &mut Scene) -> anyhow::Result<()> {
        let store = Store::open(&self.state_file())?;
        let recorder = Recorder::new(fixture::record_key(self.number), Some(self.id()), store.chain_head()?);
        let stops = store.value(Value::StopOrders)?.map(|text| serde_json::from_str(&text)).transpose()?;
        let (boot, heard) = (self.now(scene).boot, self.now(scene).on_boot);
        let mut requests = BTreeMap::new();
        for text in store.requests()? {
            let request: PermitRequest = serde_json::from_str(&text)?;
            if request.boot == boot {
                requests.insert(request.request, request);
            } else {
                store.drop_request(request.request)?;
            }
        }
        let head = store.check_heads()?.pop();
        let (first, acknowledged) = (recorder.sequence() == AgentSequence(0), AgentSequence(0));
        let stops = stops.unwrap_or_default();
        let kept = store.value(Value::Offline)?.filter(|document| !document.is_empty());
        let budget = kept.map(|document| serde_json::from_str(&document)).transpose()?;
        let (run, budget_at) = (None, BootInstant(0));
        self.life = Some(Life { store, recorder, stops, requests, head, acknowledged, run, budget, budget_at, heard });
        if first {
            let described = Body::HostDescribed(Box::new(fixture::description(self.number)?));
            self.record(scene, described, |store, sealed| store.append(sealed.as_new()))?;
        }
        self.resume(scene)?;
        self.later_in_life(scene, Duration::ZERO, Due::Hello);
        self.later(scene, Duration::ZERO, Timer::Probe);
        Ok(())
    }

    pub(crate) fn later_in_life(&self, scene: &mut Scene, delay: Duration, due: Due) {
        self.later(scene, delay, Timer::Of { life: self.life_number(), due });
    }

    pub(crate) fn of_agent(&mut self, scene: &mut Scene, due: Due) -> anyhow::Result<()> {
        match due {
            Due::Hello => self.hello(scene),
            Due::Ask => self.ask(scene),
            Due::Of { run, what } => self.of_run(scene, run, what),
        }
    }

    /// Signs a record, keeps it, and sends it.
    pub(crate) fn record(
        &mut self,
        scene: &mut Scene,
        body: Body,
        keep: impl FnOnce(&mut Store, &Sealed) -> Result<(), StoreError>,
    ) -> anyhow::Result<()> {
        let at = self.now(scene).wall;
        let Some(Life { store, recorder, .. }) = &mut self.life else { return Ok(()) };
        let sealed = recorder.append(at, body, |sealed| keep(store, sealed))?;
        let envelope = Arc::new(sealed.signed.envelope().as_bytes().to_vec());
        self.send(scene, Up::Record(envelope));
        Ok(())
    }

    fn send(&self, scene: &mut Scene, message: Up) {
        scene.send(self.number, &Event::Up { process: self.leader, host: self.number, message });
    }

    fn hello(&mut self, scene: &mut Scene) -> anyhow::Result<()> {
        let Some(life) = &self.life else { return Ok(()) };
        let unanswered = life.requests.keys().copied().collect();
        let kept = life.store.outbox_after(life.acknowledged, RESENT)?;
        self.send(scene, Up::Hello { unanswered });
        for (_, envelope) in kept {
            self.send(scene, Up::Record(Arc::new(envelope)));
        }
        let next = scene.within(HELLO);
        self.later_in_life(scene, next, Due::Hello);
        self.tend_budget(scene)
    }

    /// The check is probed; a change is a transition.
    pub(crate) fn probed(&mut self, scene: &mut Scene) -> anyhow::Result<()> {
        let (status, at) = (self.thing.status, self.now(scene).wall);
        let Some(life) = &self.life else { return Ok(()) };
        let (epoch, from) =
            life.head.as_ref().map_or((TransitionEpoch(0), Status::Unknown), |head| (head.epoch, head.status));
        if from != status {
            let (check, epoch, reason) = (fixture::check()?, epoch.next(), "probed".to_owned());
            let head = CheckHead { check: check.clone(), epoch, status, at, reason: reason.clone() };
            let transition = Transition { of: check, epoch, from, to: status, at, reason };
            self.record(scene, Body::TransitionSeen(Box::new(transition)), |store, sealed| {
                store.append_transition(sealed.as_new(), &head)
            })?;
            if let Some(life) = &mut self.life {
                life.head = Some(head);
            }
        }
        self.ask(scene)
    }

    /// Asks for a permit, where the check is critical and nothing is under way.
    fn ask(&mut self, scene: &mut Scene) -> anyhow::Result<()> {
        self.tend_budget(scene)?;
        let Some(life) = &self.life else { return Ok(()) };
        let critical = life.head.as_ref().filter(|head| head.status == Status::Critical);
        let (Some(head), true, true) = (critical, life.run.is_none(), life.requests.is_empty()) else { return Ok(()) };
        let (check, epoch) = (head.check.clone(), head.epoch);
        if life.budget.is_some() {
            if self.link(scene) != Link::Up {
                self.later_in_life(scene, UNHEARD, Due::Ask);
                return Ok(());
            }
            // This host gets no other permit while it holds one.
            self.give_budget_back(scene)?;
        }
        self.request(
            scene,
            Purpose::Remediate { check, epoch, remediation: fixture::remediation()?, rung: Rung::FIRST },
        )
    }

    /// Asks for a permit of this purpose.
    pub(crate) fn request(&mut self, scene: &mut Scene, purpose: Purpose) -> anyhow::Result<()> {
        let now = self.now(scene);
        let request = PermitRequest {
            request: RequestId::from_uuid(scene.mint()),
            run: RunId::from_uuid(scene.mint()),
            host: self.id(),
            boot: now.boot,
            sent_at: now.on_boot,
            purpose,
            playbook: Some(fixture::version(scene.setting.way)?.digest),
            targets: fixture::targets()?,
            configuration: ConfigurationGeneration(1),
        };
        let document = serde_json::to_string(&request)?;
        self.record(scene, Body::PermitRequested(Box::new(request.clone())), |store, sealed| {
            store.append_request(sealed.as_new(), request.request, &document)
        })?;
        if let Some(life) = &mut self.life {
            life.requests.insert(request.request, request);
        }
        Ok(())
    }

    /// Takes what the control plane says.
    pub(crate) fn hear(&mut self, scene: &mut Scene, message: Down) -> anyhow::Result<()> {
        let now = self.now(scene).on_boot;
        let Some(life) = &mut self.life else { return Ok(()) };
        life.heard = now;
        match message {
            Down::Acknowledged(sequence) => {
                if sequence > life.acknowledged && sequence <= life.recorder.sequence() {
                    life.acknowledged = sequence;
                    life.store.drop_published(sequence)?;
                }
                self.logged(scene, sequence)
            }
            Down::Published(record) => self.published(scene, &record),
        }
    }

    fn published(&mut self, scene: &mut Scene, record: &Record) -> anyhow::Result<()> {
        let now = self.now(scene).on_boot;
        if let Body::PermitGranted(permit) = &record.body {
            return self.granted(scene, permit);
        }
        let Some(life) = &mut self.life else { return Ok(()) };
        if let Body::PermitRefused(refusal) = &record.body {
            let Some(request) = life.requests.remove(&refusal.request) else { return Ok(()) };
            life.store.drop_request(refusal.request)?;
            let again = scene.within(AGAIN);
            if matches!(request.purpose, Purpose::Offline { .. }) {
                life.budget_at = now.plus(again);
            }
            self.later_in_life(scene, again, Due::Ask);
            return self.plan(scene, &request, refusal);
        }
        if let Body::AutomationStopped(order) = &record.body {
            let known = life.stops.clone();
            life.stops.stop((**order).clone());
            if life.stops == known {
                return Ok(());
            }
            life.store.set_value(Value::StopOrders, &serde_json::to_string(&life.stops)?)?;
            self.tend_budget(scene)?;
            return self.halt(scene);
        }
        Ok(())
    }

    pub(crate) fn granted(&mut self, scene: &mut Scene, permit: &Permit) -> anyhow::Result<()> {
        let Some(life) = &self.life else { return Ok(()) };
        let known = life.run.as_ref().is_some_and(|run| run.permit().permit == permit.permit)
            || life.budget.as_ref().is_some_and(|budget| budget.permit == permit.permit);
        if permit.host != self.id() || known {
            return Ok(());
        }
        match self.judge(scene, permit)? {
            Ok(()) if permit.is_offline() && permit.unit.is_none() => self.keep_budget(permit),
            Ok(()) => {
                if let Some(life) = &mut self.life {
                    life.requests.remove(&permit.request);
                }
                self.open(scene, permit)
            }
            Err(because) => {
                scene.truth.counts.rejected += 1;
                let late = matches!(because, PermitRejection::Expired { .. });
                let envelope = EnvelopeDigest::of(permit.permit.as_uuid().as_bytes());
                let rejected = PermitRejected { permit: Some(permit.permit), run: Some(permit.run), envelope, because };
                self.record(scene, Body::PermitRejected(Box::new(rejected)), |store, sealed| {
                    store.append_answered(sealed.as_new(), permit.request)
                })?;
                if let Some(life) = &mut self.life {
                    life.requests.remove(&permit.request);
                }
                if permit.unit.is_some() {
                    return self.give_budget_back(scene);
                }
                if late { self.ask(scene) } else { Ok(()) }
            }
        }
    }

    fn judge(&self, scene: &Scene, permit: &Permit) -> anyhow::Result<Result<(), PermitRejection>> {
        let life = self.life.as_ref().context("a process that judges")?;
        let (now, description, ceiling) = (self.now(scene), fixture::description(self.number)?, fixture::ceiling()?);
        let request = life.requests.get(&permit.request);
        let bound = if permit.unit.is_some() {
            fixture::targets()?
        } else {
            request.map(|request| request.targets.clone()).unwrap_or_default()
        };
        let at = if scene.has(Flaw::LeaseFromReceipt) { permit.sent_at } else { now.on_boot };
        let again = scene.has(Flaw::UnitUsedTwice) && permit.unit.is_some();
        let used = if again { Use::Never } else { life.store.is_used(permit.permit)? };
        let stops = if scene.has(Flaw::StopIgnored) { &[] } else { life.stops.all() };
        Ok(admit(
            permit,
            &Situation {
                host: self.id(),
                environment: &description.environment,
                boot: now.boot,
                now: at,
                request,
                used,
                highest_fence: life.store.highest_fence()?,
                stops,
                playbook: PlaybookTrust::Trusted,
                bound: &bound,
                ceiling: &ceiling,
                drills: DrillConsent::Refused,
                drill: None,
                occupation: if life.run.is_some() { Occupation::Busy } else { Occupation::Free },
                log: LogView::Consistent,
            },
        ))
    }

    /// Requests that have no answer.
    pub(crate) fn unanswered(&self) -> usize {
        self.life.as_ref().map_or(0, |life| life.requests.len())
    }
}
