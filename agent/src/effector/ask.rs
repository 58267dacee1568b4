//! Transitions become records, and critical ones become requests for permits.
//!
//! The leader decides; what is decided here is only whether asking makes sense: the link stands, nothing runs,
//! and no answer is awaited. Where this host could not run the playbook, it says so instead (`withhold.rs`).

use super::library::Need;
use super::serve::{Compiling, DrillRun, Effector, EffectorError, LinkState, Wanted};
use super::store::{CheckHead, Value};
use crate::check::resolve_check;
use crate::ipc::daemon::{Nudge, ResolvedCheck, ToDaemon};
use fettle_model::check::{CheckRef, Status, Transition};
use fettle_model::evidence::Drill;
use fettle_model::host::Binding;
use fettle_model::id::{DrillId, RequestId, RunId};
use fettle_model::permit::{BoundTarget, PermitRequest, Purpose};
use fettle_model::record::Body;
use fettle_model::refusal::{Reason, Refusal};
use fettle_model::remediation::Remediation;
use fettle_model::time::UnixMillis;
use fettle_model::withheld::{Hindrance, Unbound};
use std::collections::BTreeMap;

/// The checks of this host.
#[derive(Debug, Default)]
pub(super) struct Checks {
    resolved: Vec<ResolvedCheck>,
    /// Those that cannot run here, and why.
    unresolved: Vec<(CheckRef, crate::check::Reason)>,
}

/// Not before anything changes.
const NEVER: UnixMillis = UnixMillis(u64::MAX);

impl Effector {
    /// The checks of the services that this host carries and the configuration selects it for.
    pub(super) fn resolved_checks(&self) -> Checks {
        let config = self.capabilities.config();
        let mut checks = Checks::default();
        for service in self.configuration.services() {
            let Some(settings) = config.services.get(&service.name) else { continue };
            if !service.hosts.selects(&config.host.name, &config.host.environment) {
                continue;
            }
            for check in &service.checks {
                let of = CheckRef { service: service.name.clone(), check: check.name.clone() };
                match resolve_check(&service.name, check, &settings.host_values) {
                    Ok(check) => {
                        let last = self.heads.get(&of).map(|head| head.status);
                        checks.resolved.push(ResolvedCheck { of, check, last });
                    }
                    Err(error) => {
                        let why = format!("{:#}", anyhow::Error::from(error));
                        tracing::error!(check = %of, error = why, "a check cannot run on this host");
                        checks.unresolved.push((of, crate::check::Reason::new(&why)));
                    }
                }
            }
        }
        checks
    }

    /// Whether a check is one of those that [`Self::resolved_checks`] resolves.
    pub(super) fn carries(&self, check: &CheckRef) -> bool {
        let host = &self.capabilities.config().host;
        self.capabilities.config().services.contains_key(&check.service)
            && self.configuration.services().iter().any(|service| {
                service.name == check.service
                    && service.hosts.selects(&host.name, &host.environment)
                    && service.checks.iter().any(|known| known.name == check.check)
            })
    }

    /// Has the daemon run the checks. One that cannot run here is unknown, whatever it was: nobody looks.
    pub(super) async fn tell_checks(&mut self) -> Result<(), EffectorError> {
        let Checks { resolved, unresolved } = self.resolved_checks();
        self.tell_daemon(&ToDaemon::Checks { checks: resolved }).await;
        let now = self.clocks.now().wall;
        for (check, why) in unresolved {
            self.changed(check, None, Status::Unknown, now, why.into_string()).await?;
        }
        Ok(())
    }

    /// Which playbooks the configuration assigns to this host.
    pub(super) fn assign(&mut self) {
        let carried = &self.capabilities.config().services;
        let assigned = self.configuration.remediations().iter().filter(|r| carried.contains_key(&r.service));
        self.assigned = assigned.flat_map(Remediation::playbooks).map(|version| version.digest).collect();
    }

    /// Requests of an earlier boot get no permit that would be good on this one: they are asked anew. One for a budget
    /// stays: what it is answered with holds the host for hours, unless it is refused here.
    pub(super) fn forget_other_boots(&mut self) -> Result<(), EffectorError> {
        let boot = self.clocks.now().boot;
        let before = self.requests.values().filter(|request| request.boot != boot && !asks_for_budget(request));
        let before: Vec<RequestId> = before.map(|request| request.request).collect();
        before.into_iter().try_for_each(|request| self.forget(request))
    }

    /// What the owner bound for each assigned playbook; one that cannot be bound is left out.
    pub(super) fn bindings(&self) -> Vec<Binding> {
        let config = self.capabilities.config();
        let remediations = self.configuration.remediations().iter().flat_map(Remediation::rungs);
        let carried = remediations.map(|(_, at)| at).filter(|r| config.services.contains_key(&r.service));
        carried
            .filter_map(|remediation| {
                let manifest = self.library.manifest(remediation.playbook.digest)?;
                let targets = config.bound_targets(manifest, &remediation.service, Some(&remediation.check)).ok()?;
                let playbook = remediation.playbook.name.clone();
                Some(Binding { playbook, service: remediation.service.clone(), targets })
            })
            .collect()
    }

    /// Fetches and compiles what is assigned and not ready.
    pub(super) async fn supply(&mut self) -> Result<(), EffectorError> {
        for need in self.library.needs(&self.assigned) {
            match need {
                Need::Fetch(digest) if self.link == LinkState::Up && self.fetching.insert(digest) => {
                    self.tell_daemon(&ToDaemon::Fetch { digest }).await;
                }
                Need::Compile(digest) if self.compiling.is_none() => {
                    let worker = self.start_worker()?;
                    self.compiling = Some(Compiling { digest, worker });
                }
                Need::Fetch(_) | Need::Compile(_) => {}
            }
        }
        // A manifest that came may make a binding possible.
        self.describe().await?;
        self.request_drill().await
    }

    /// Asks for everything that can be asked for now.
    pub(super) async fn take_up(&mut self) -> Result<(), EffectorError> {
        self.request_drill().await?;
        self.request_all().await?;
        self.make_plans().await?;
        self.tend_budget().await
    }

    /// A check changed: a record with the next epoch, then perhaps a request.
    pub(super) async fn changed(
        &mut self,
        check: CheckRef,
        from: Option<Status>,
        to: Status,
        at: UnixMillis,
        reason: String,
    ) -> Result<(), EffectorError> {
        let known = self.heads.get(&check);
        let unchanged = known.is_some_and(|head| head.status == to);
        // One that was taken away meanwhile, or that the daemon made up: heads and records are only for checks.
        if unchanged || self.recorder.host().is_none() || !self.carries(&check) {
            return Ok(());
        }
        // The daemon's clock is this host's, so nothing has happened later than now.
        let at = at.min(self.clocks.now().wall);
        let epoch = known.map(|head| head.epoch).unwrap_or_default().next();
        let from = known.map(|head| head.status).or(from).unwrap_or(Status::Unknown);
        let head = CheckHead { check: check.clone(), epoch, status: to, at, reason: reason.clone() };
        let transition = Transition { of: check.clone(), epoch, from, to, at, reason };
        tracing::info!(check = %check, from = from.as_str(), to = to.as_str(), epoch = epoch.0, "a check changed");
        let ahead = self.record_ahead(Body::TransitionSeen(Box::new(transition)), |store, sealed| {
            store.append_transition(sealed.as_new(), &head)
        })?;
        self.heads.insert(check.clone(), head);
        self.withdraw(&check)?;
        if to == Status::Critical {
            self.request(&check).await?;
        }
        self.send_ahead(ahead).await?;
        self.tend_budget().await
    }

    /// A request answers one transition. After the next one its permit would be void: nothing waits for
    /// it, and it is refused when it comes.
    fn withdraw(&mut self, check: &CheckRef) -> Result<(), EffectorError> {
        self.retry_at.remove(check);
        self.climbs.forget_waits(check);
        self.plans_wanted.retain(|request| !asks_for(request, check));
        let void: Vec<RequestId> =
            self.requests.values().filter(|request| asks_for(request, check)).map(|request| request.request).collect();
        void.into_iter().try_for_each(|request| self.forget(request))
    }

    /// The run has seen that the fault is gone; damping will see it a little later. Until then nothing is
    /// asked for.
    pub(super) fn let_settle(&mut self, check: CheckRef) {
        let services = self.configuration.services();
        let service = services.iter().find(|service| service.name == check.service);
        let Some(known) = service.and_then(|service| service.checks.iter().find(|known| known.name == check.check))
        else {
            return;
        };
        let recovery =
            known.interval.saturating_mul(known.recover_after.saturating_add(1)).saturating_add(known.timeout);
        let until = self.clocks.now().wall.plus(recovery);
        self.retry_at.insert(check, until);
    }

    /// Asks for every check that is critical.
    pub(super) async fn request_all(&mut self) -> Result<(), EffectorError> {
        let critical: Vec<CheckRef> =
            self.heads.values().filter(|head| head.status == Status::Critical).map(|head| head.check.clone()).collect();
        for check in critical {
            self.request(&check).await?;
        }
        Ok(())
    }

    /// Asks for a permit for a critical check, if that makes sense now.
    pub(super) async fn request(&mut self, check: &CheckRef) -> Result<(), EffectorError> {
        let now = self.clocks.now();
        let quiet = self.link == LinkState::Down
            || self.active.is_some()
            || self.retry_at.get(check).is_some_and(|at| *at > now.wall)
            || self.requests.values().any(|request| asks_for(request, check));
        let (Some(host), false) = (self.recorder.host(), quiet) else { return Ok(()) };
        let Some(head) = self.heads.get(check).filter(|head| head.status == Status::Critical) else { return Ok(()) };
        let (epoch, answer) = (head.epoch, self.configuration.answer_to(check).cloned());
        match answer {
            Some(answer) => self.climb(host, check, epoch, &answer).await,
            None => Ok(()),
        }
    }

    pub(super) async fn ask(
        &mut self,
        host: fettle_model::id::HostId,
        purpose: Purpose,
        playbook: Option<fettle_model::digest::PlaybookDigest>,
        targets: Vec<BoundTarget>,
    ) -> Result<(), EffectorError> {
        // The host gets no other permit while it holds a budget; their records stand in this order.
        self.give_budget_back().await?;
        let now = self.clocks.now();
        let request = PermitRequest {
            request: RequestId::from_uuid(fresh()),
            run: RunId::from_uuid(fresh()),
            host,
            boot: now.boot,
            sent_at: now.on_boot,
            purpose,
            playbook,
            targets,
            configuration: self.configuration.generation(),
        };
        let document = serde_json::to_string(&request).map_err(EffectorError::Json)?;
        let id = request.request;
        self.requests.insert(id, request.clone());
        self.record(Body::PermitRequested(Box::new(request)), |store, sealed| {
            store.append_request(sealed.as_new(), id, &document)
        })
        .await
    }

    /// A refusal: the agent asks again by itself only when it is told a time. One because of the mode asks
    /// for a plan.
    pub(super) async fn refused(&mut self, refusal: &Refusal) -> Result<(), EffectorError> {
        let Some(request) = self.requests.get(&refusal.request).cloned() else { return Ok(()) };
        let rules: Vec<&str> = refusal.reasons.iter().map(Reason::rule).collect();
        tracing::info!(rules = rules.join(", "), "a permit was refused");
        self.forget(refusal.request)?;
        // Decided between the new configuration and its arrival here: nothing else would bring it up again.
        let stale = refusal.reasons.iter().all(|reason| matches!(reason, Reason::ConfigurationStale { .. }));
        let overtaken = request.configuration < self.configuration.generation();
        match &request.purpose {
            Purpose::Remediate { check, .. } => {
                if self.told_due(check, refusal) || (stale && overtaken) {
                    return self.request(check).await;
                }
                // Without a time nothing but a change, a nudge or a new configuration brings another request.
                self.retry_at.insert(check.clone(), refusal.retry_at.unwrap_or(NEVER));
                // A plan that people look at already is not made again.
                if refusal.reasons.iter().any(|reason| matches!(reason, Reason::Mode { proposal: None, .. })) {
                    self.want_plan(request);
                }
            }
            Purpose::Offline { .. } => self.budget_refused(refusal.retry_at),
            Purpose::InjectFault { drill, .. } | Purpose::Repeat { drill, .. } => {
                let at_once = (stale && overtaken).then(|| self.clocks.now().wall);
                let run = drill_run(&request.purpose);
                self.drill_wanted =
                    refusal.retry_at.or(at_once).zip(run).map(|(at, (_, run))| Wanted { drill: *drill, run, at });
            }
        }
        self.make_plans().await
    }

    /// A new configuration is in force: what was refused under the one before may be asked for again.
    pub(super) fn reconsider(&mut self) {
        self.retry_at.retain(|_, at| *at != NEVER);
        self.offline.reconsider();
    }

    pub(super) fn forget(&mut self, request: RequestId) -> Result<(), EffectorError> {
        self.requests.remove(&request);
        Ok(self.store.drop_request(request)?)
    }

    pub(super) async fn nudged(&mut self, nudge: Nudge) -> Result<(), EffectorError> {
        match nudge {
            Nudge::Remediate { check } => {
                self.retry_at.remove(&check);
                self.request(&check).await
            }
            Nudge::Inject { drill } => self.want(drill, DrillRun::Injection).await,
            Nudge::Repeat { drill } => self.want(drill, DrillRun::Repetition).await,
            // A refusal because of the mode has asked for it already; another one is none of this agent's.
            Nudge::Plan { request: _ } => self.make_plans().await,
        }
    }

    /// A drill of this host began, or is told again after a reconnection.
    pub(super) async fn drill_started(&mut self, drill: Drill) -> Result<(), EffectorError> {
        if self.recorder.host() != Some(drill.host) {
            return Ok(());
        }
        let known = self.drill.as_ref().is_some_and(|known| known.drill == drill.drill);
        if !known {
            self.keep(Value::Drill, &drill)?;
            let at = self.clocks.now().wall;
            self.drill_wanted = Some(Wanted { drill: drill.drill, run: DrillRun::Injection, at });
            self.drill = Some(drill);
        }
        self.request_drill().await
    }

    async fn want(&mut self, drill: DrillId, run: DrillRun) -> Result<(), EffectorError> {
        self.drill_wanted = Some(Wanted { drill, run, at: self.clocks.now().wall });
        self.request_drill().await
    }

    /// Asks for the permit of the wanted drill's run, once the playbook that it is about is ready.
    async fn request_drill(&mut self) -> Result<(), EffectorError> {
        let now = self.clocks.now().wall;
        let (Some(wanted), Some(host)) = (self.drill_wanted, self.recorder.host()) else { return Ok(()) };
        let this = Some((wanted.drill, wanted.run));
        let asked = self.requests.values().any(|request| drill_run(&request.purpose) == this);
        let running = self.active.as_ref().is_some_and(|active| drill_run(&active.permit.purpose) == this);
        if asked || running {
            // The answer says whether, and when, it is asked for again.
            self.drill_wanted = None;
            return Ok(());
        }
        let quiet = self.link == LinkState::Down || self.active.is_some();
        if quiet || wanted.at > now {
            return Ok(());
        }
        let known = self.drill.as_ref().filter(|known| known.drill == wanted.drill && known.deadline > now);
        let Some((known, purpose)) = known.and_then(|known| Some((known, self.purpose_of(known, wanted.run)?))) else {
            self.drill_wanted = None;
            return Ok(());
        };
        let (playbook, on) = (known.playbook.clone(), known.fault.on.clone());
        let check = CheckRef { service: known.service.clone(), check: known.check.clone() };
        let bound = self.runnable(playbook.digest, &check).and_then(|targets| match wanted.run {
            DrillRun::Repetition => Ok((Some(playbook.digest), targets)),
            // A fault is on one thing, and no playbook runs.
            DrillRun::Injection => {
                let target = targets.into_iter().find(|target| target.label == on);
                let nothing = || vec![Hindrance::Unbound { label: on.clone(), how: Unbound::Nothing }];
                target.map(|target| (None, vec![target])).ok_or_else(nothing)
            }
        });
        match bound {
            Ok((digest, targets)) => {
                self.drill_wanted = None;
                self.ask(host, purpose, digest, targets).await
            }
            Err(because) => {
                // What passes may do so before the drill's deadline; the drill waits for it.
                if !because.iter().all(Hindrance::passes) {
                    self.drill_wanted = None;
                }
                self.withhold(purpose, playbook, because).await
            }
        }
    }

    /// What a drill's run is for; `None` where the configuration does not answer its check any more.
    fn purpose_of(&self, drill: &Drill, run: DrillRun) -> Option<Purpose> {
        let id = drill.drill;
        match run {
            DrillRun::Injection => Some(Purpose::InjectFault { drill: id, fault: drill.fault.clone() }),
            DrillRun::Repetition => {
                let check = CheckRef { service: drill.service.clone(), check: drill.check.clone() };
                let remediation = self.configuration.answer_to(&check)?.name.clone();
                Some(Purpose::Repeat { drill: id, check, remediation })
            }
        }
    }

    /// When the wanted drill's run is to be asked for; `None` also while something else must happen first,
    /// which asks then.
    pub(super) fn drill_due(&self) -> Option<UnixMillis> {
        let at = self.drill_wanted.filter(|_| self.active.is_none())?.at;
        let hindered = self.drill.as_ref().is_some_and(|known| self.library.hindrance(known.playbook.digest).is_some());
        (!hindered).then_some(at)
    }

    /// What has come due on the wall clock.
    pub(super) async fn retry_due(&mut self) -> Result<(), EffectorError> {
        let now = self.clocks.now().wall;
        let due: BTreeMap<CheckRef, UnixMillis> =
            self.retry_at.iter().filter(|(_, at)| **at <= now).map(|(check, at)| (check.clone(), *at)).collect();
        for check in due.into_keys() {
            self.retry_at.remove(&check);
            self.request(&check).await?;
        }
        for check in self.climbs.ended(now) {
            self.request(&check).await?;
        }
        self.request_drill().await?;
        self.tend_budget().await
    }
}

pub(super) fn asks_for(request: &PermitRequest, check: &CheckRef) -> bool {
    match &request.purpose {
        Purpose::Remediate { check: asked, .. } => asked == check,
        Purpose::InjectFault { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. } => false,
    }
}

fn asks_for_budget(request: &PermitRequest) -> bool {
    match &request.purpose {
        Purpose::Offline { .. } => true,
        Purpose::Remediate { .. } | Purpose::InjectFault { .. } | Purpose::Repeat { .. } => false,
    }
}

/// The drill's run that a purpose is for; `None` for what answers a fault.
fn drill_run(purpose: &Purpose) -> Option<(DrillId, DrillRun)> {
    match purpose {
        Purpose::InjectFault { drill, .. } => Some((*drill, DrillRun::Injection)),
        Purpose::Repeat { drill, .. } => Some((*drill, DrillRun::Repetition)),
        Purpose::Remediate { .. } | Purpose::Offline { .. } => None,
    }
}

#[expect(clippy::disallowed_methods, reason = "the rim: the effector mints the ids of its requests and runs here")]
fn fresh() -> uuid::Uuid {
    uuid::Uuid::new_v4()
}
