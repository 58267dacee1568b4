//! Plans: what a run would do, made of real looks and predicted effects, for a request that was refused
//! because of its remediation's mode.
//!
//! One at a time, beside runs and without their authority: nothing here can change the host, since the
//! predictor answers every changing call itself. The result is a record.

use super::run::{Hands, Worker, WorkerSaid};
use super::serve::{Effector, EffectorError};
use super::watch::{bound_check, report};
use super::work::{Job, hand_over, trigger};
use crate::ipc::daemon::Ask;
use fettle_model::check::Status;
use fettle_model::id::RunId;
use fettle_model::permit::{PermitRequest, PermittedTarget, Purpose};
use fettle_model::record::Body;
use fettle_model::remediation::{Parameters, PlaybookVersion};
use fettle_model::run::Plan;
use fettle_model::time::BootInstant;
use fettle_sandbox::authority::Authority;
use fettle_sandbox::call::{Call, HealthCall, Reply};
use fettle_sandbox::execution::{Execution, Trigger};
use fettle_sandbox::predict::{Asked, Predictor};
use std::collections::BTreeSet;
use std::time::Duration;

/// Plans that may wait: one per check that can fail at once; the oldest is dropped.
const MAX_WANTED: usize = 16;

/// A plan cannot change anything, so its deed's time and hold are never used.
const NO_EFFECT: Duration = Duration::ZERO;

/// The plan that is being made.
#[derive(Debug)]
pub(super) struct Planning {
    request: PermitRequest,
    playbook: PlaybookVersion,
    pub(super) worker: Worker,
    hands: Hands,
    predictor: Predictor,
    trigger: Trigger,
    within: Duration,
    asked: Option<Ask>,
    /// It is given up then, on the boot clock.
    pub(super) until: BootInstant,
}

impl Effector {
    /// Notes that a plan is wanted for a request.
    pub(super) fn want_plan(&mut self, request: PermitRequest) {
        while self.plans_wanted.len() >= MAX_WANTED {
            self.plans_wanted.pop_front();
        }
        self.plans_wanted.push_back(request);
    }

    /// Begins the next wanted plan when nothing else runs.
    pub(super) async fn make_plans(&mut self) -> Result<(), EffectorError> {
        while self.planning.is_none() && self.active.is_none() {
            let Some(request) = self.plans_wanted.pop_front() else { return Ok(()) };
            if let Some(planning) = self.begin_plan(request).await? {
                let ready = planning.worker.engine.is_some();
                self.planning = Some(planning);
                if ready {
                    self.hand_over_plan().await;
                }
            }
        }
        Ok(())
    }

    async fn begin_plan(&mut self, request: PermitRequest) -> Result<Option<Planning>, EffectorError> {
        let Purpose::Remediate { check, rung, .. } = &request.purpose else { return Ok(None) };
        let answer = self.configuration.answer_to(check);
        let Some(remediation) = answer.and_then(|answer| answer.at(*rung)) else { return Ok(None) };
        let (playbook, parameters) = (remediation.playbook.clone(), remediation.parameters.clone());
        let Some(manifest) = self.library.ready(playbook.digest).map(|ready| ready.manifest.clone()) else {
            return Ok(None);
        };
        let opened = match self.capabilities.open(&request.targets).await {
            Ok(opened) => opened,
            Err(error) => {
                tracing::warn!(%check, %error, "no plan can be made");
                return Ok(None);
            }
        };
        let (now, within) = (self.clocks.now(), manifest.limits.duration.0);
        let authority = Authority::new(&manifest, &self.permittable(&request, &manifest), manifest.limits.actions);
        Ok(Some(Planning {
            hands: Hands::new(opened, request.run, NO_EFFECT, NO_EFFECT, self.channels.outcomes.clone()),
            predictor: Predictor::new(authority, request.run, now.wall, within),
            trigger: self.trigger_of(&request, &parameters),
            worker: self.take_worker()?,
            until: now.on_boot.plus(within),
            asked: None,
            within,
            playbook,
            request,
        }))
    }

    fn trigger_of(&self, request: &PermitRequest, parameters: &Parameters) -> Trigger {
        let fired = match &request.purpose {
            Purpose::Remediate { check, .. } => self.heads.get(check).map(|head| head.at),
            Purpose::InjectFault { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. } => None,
        };
        let fired = fired.unwrap_or(self.clocks.now().wall);
        trigger(request.run, &request.purpose, parameters, fired, self.capabilities.config())
    }

    /// What a permit could allow at most: what the manifest asks for and the owner allows.
    fn permittable(
        &self,
        request: &PermitRequest,
        manifest: &fettle_model::playbook::Manifest,
    ) -> Vec<PermittedTarget> {
        let config = self.capabilities.config();
        let permitted = |bound: &fettle_model::permit::BoundTarget| {
            let asked = manifest.grant(&bound.label).map(|grant| grant.actions.clone()).unwrap_or_default();
            let actions: BTreeSet<_> =
                asked.into_iter().filter(|action| config.allows(&bound.target, *action)).collect();
            PermittedTarget { label: bound.label.clone(), target: bound.target.clone(), actions }
        };
        request.targets.iter().map(permitted).collect()
    }

    async fn hand_over_plan(&mut self) {
        let Some(planning) = &mut self.planning else { return };
        let job =
            Job { playbook: planning.playbook.digest, trigger: planning.trigger.clone(), within: planning.within };
        if let Err(why) = hand_over(&self.library, &self.keys, &mut planning.worker, job).await {
            self.give_up_plan(&why);
        }
    }

    /// No plan: the refusal stands without one.
    pub(super) fn give_up_plan(&mut self, why: &str) {
        if let Some(planning) = self.planning.take() {
            tracing::warn!(request = %planning.request.request, why, "a plan could not be made");
        }
    }

    pub(super) async fn planner_said(&mut self, said: WorkerSaid) -> Result<(), EffectorError> {
        match said {
            WorkerSaid::Ready { engine, .. } => {
                if let Some(planning) = &mut self.planning {
                    planning.worker.engine = Some(engine);
                }
                self.hand_over_plan().await;
            }
            WorkerSaid::Call(call) => {
                let now = self.clocks.now().wall;
                let Some(planning) = &mut self.planning else { return Ok(()) };
                let asked = planning.predictor.called(now, call);
                self.plan_asks(asked).await;
            }
            WorkerSaid::Returned(execution) => return self.plan_returned(execution).await,
            WorkerSaid::Failed(why) | WorkerSaid::Gone(why) => self.give_up_plan(&why),
            WorkerSaid::Compiled(_) => self.give_up_plan("the worker compiled when it was to run"),
        }
        if self.planning.is_none() { self.after_plan().await } else { Ok(()) }
    }

    async fn plan_asks(&mut self, asked: Asked) {
        let Some(planning) = &mut self.planning else { return };
        match asked {
            Asked::Answer(reply) => {
                if let Err(error) = planning.worker.reply(reply).await {
                    // Its reader tells that it is gone.
                    tracing::debug!(%error, "a worker could not be answered");
                }
            }
            Asked::Look(Call::Health { label, op: HealthCall::Probe | HealthCall::WaitHealthy { .. } }) => {
                match bound_check(planning.request.targets.iter().map(|bound| (&bound.label, &bound.target)), &label) {
                    Some(check) => {
                        let ask = self.probe(check).await;
                        if let Some(planning) = &mut self.planning {
                            planning.asked = Some(ask);
                        }
                    }
                    None => self.give_up_plan("it asks for the health of something that is not bound"),
                }
            }
            Asked::Look(call) => planning.hands.look(call),
            Asked::TooMany => self.give_up_plan("it asked more than a run may ask"),
        }
    }

    /// The host's answer to a look of the plan.
    pub(super) async fn plan_looked(&mut self, run: RunId, reply: Reply) -> Result<(), EffectorError> {
        let now = self.clocks.now().wall;
        let Some(planning) = self.planning.as_mut().filter(|planning| planning.request.run == run) else {
            return Ok(());
        };
        let asked = planning.predictor.looked(now, reply);
        self.plan_asks(asked).await;
        if self.planning.is_none() { self.after_plan().await } else { Ok(()) }
    }

    /// The daemon's answer about a check. A plan does not wait for health: it takes what is there.
    pub(super) async fn plan_probed(&mut self, ask: Ask, status: Status, reason: String) -> Result<(), EffectorError> {
        let Some(planning) = self.planning.as_mut().filter(|planning| planning.asked == Some(ask)) else {
            return Ok(());
        };
        planning.asked = None;
        let run = planning.request.run;
        self.plan_looked(run, Reply::Health(Ok(report(status, reason)))).await
    }

    async fn plan_returned(&mut self, execution: Execution) -> Result<(), EffectorError> {
        let Some(planning) = self.planning.take() else { return Ok(()) };
        match execution.claim {
            Ok(claim) => {
                let predicted = planning.predictor.finish(claim);
                let request = planning.request;
                tracing::info!(request = %request.request, steps = predicted.steps.len(), "a plan is made");
                let plan = Plan {
                    request: request.request,
                    run: request.run,
                    host: request.host,
                    purpose: request.purpose,
                    playbook: planning.playbook,
                    made_at: self.clocks.now().wall,
                    steps: predicted.steps,
                    claim: predicted.claim,
                };
                let body = Body::PlanMade(Box::new(plan));
                self.record(body, |store, sealed| store.append(sealed.as_new())).await?;
            }
            Err(stop) => {
                tracing::warn!(request = %planning.request.request, %stop, "a plan could not be made");
            }
        }
        self.after_plan().await
    }

    async fn after_plan(&mut self) -> Result<(), EffectorError> {
        self.ensure_spare()?;
        Box::pin(self.make_plans()).await
    }
}
