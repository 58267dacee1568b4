//! What the daemon says: transitions, the link, and everything that the control plane published.

use super::admission::LogView;
use super::library::Taken;
use super::serve::{Effector, EffectorError, LinkState};
use super::store::Value;
use super::trust::{Believed, Disbelief, Forked, Head, Progress, Unread, agrees, continues};
use crate::ipc::daemon::{DaemonStart, Introduction, ToDaemon, ToEffector};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fettle_audit::published::Published;
use fettle_model::counter::{AgentSequence, TreeSize};
use fettle_model::digest::{EnvelopeDigest, PlaybookDigest};
use fettle_model::host::{HostDescription, HostState};
use fettle_model::record::{Body, ForkSeen, PermitRejected};
use std::time::Duration;

/// What could not be fetched is asked for again after so long.
const FETCH_AGAIN: Duration = Duration::from_secs(5);
/// The daemon is started again after so long, times the number of starts, at most a minute.
const RESTART: Duration = Duration::from_millis(100);
const LONGEST_RESTART: Duration = Duration::from_mins(1);

impl Effector {
    /// Starts the daemon and tells it what it needs.
    pub(super) async fn start_daemon(&mut self) -> Result<(), EffectorError> {
        self.spawn_daemon()?;
        self.restart_daemon_at = None;
        let start = self.daemon_start();
        self.tell_daemon(&ToDaemon::Start(Box::new(start))).await;
        self.tell_checks().await
    }

    fn daemon_start(&self) -> DaemonStart {
        let config = self.capabilities.config();
        let control_plane = &config.control_plane;
        DaemonStart {
            state: config.host.state_dir.as_path().join(super::folders::DAEMON),
            address: control_plane.address.to_string(),
            enrol_address: control_plane.enrol_address.to_string(),
            ca_pin: control_plane.ca_pin.to_string(),
            trust_domain: control_plane.trust_domain.clone(),
            host: config.host.name.clone(),
            environment: config.host.environment.clone(),
            record_key: self.recorder.public().to_string(),
            commands: config.commands.iter().map(|(name, argv)| (name.clone(), argv.as_slice().to_vec())).collect(),
            boot: self.capabilities.facts().boot,
        }
    }

    pub(super) fn daemon_gone(&mut self, error: &crate::ipc::frame::FrameError) {
        tracing::warn!(%error, "the daemon is gone and is started again");
        self.daemon = None;
        self.unreachable();
        self.fetching.clear();
        if let Some(active) = &mut self.active {
            // Its question went with it; it is asked again when there is a daemon.
            active.asked = None;
        }
        let delay = RESTART.saturating_mul(self.daemon_starts).min(LONGEST_RESTART);
        self.restart_daemon_at = Some(self.clocks.now().on_boot.plus(delay));
    }

    pub(super) async fn daemon_said(&mut self, message: ToEffector) -> Result<(), EffectorError> {
        match message {
            ToEffector::Changed { check, from, to, at, reason } => {
                self.changed(check, from, to, at, reason.into_string()).await
            }
            ToEffector::Probed { ask, status, reason } => self.probed(ask, status, reason.into_string()).await,
            ToEffector::TokenWanted => {
                self.give_token().await;
                Ok(())
            }
            ToEffector::ProveRecordKey { ask, bytes } => self.prove(ask, &bytes).await,
            ToEffector::Enrolled { host, log_key, permit_key } => self.enrolled(host, &log_key, &permit_key).await,
            ToEffector::Connecting => {
                let introduction = Introduction {
                    tree_size: self.head.as_ref().map_or(TreeSize(0), |head| head.checkpoint.size),
                    configuration: self.configuration.generation(),
                    stop_epoch: self.stops.newest(),
                    unanswered: self.requests.keys().take(fettle_proto::session::MAX_UNANSWERED).copied().collect(),
                };
                self.tell_daemon(&ToDaemon::Introduce(introduction)).await;
                Ok(())
            }
            ToEffector::LinkUp { sequence } => self.link_up(sequence).await,
            ToEffector::LinkDown => {
                self.unreachable();
                self.fetching.clear();
                Ok(())
            }
            ToEffector::LinkRefused => {
                self.unreachable();
                self.fetching.clear();
                // Whoever is not trusted any more does not act alone either.
                self.give_budget_back().await
            }
            ToEffector::Acknowledged { sequence, published } => {
                // Dropped before more is sent, so that a crash in between leaves nothing behind the window.
                self.acknowledged(sequence, &published).await?;
                self.send_on(sequence).await
            }
            ToEffector::Published { document } => self.published(&document).await,
            ToEffector::Head { from, checkpoint, consistency } => self.new_head(from, checkpoint, &consistency).await,
            ToEffector::Nudged(nudge) => self.nudged(nudge).await,
            ToEffector::Fetched { digest, package } => self.fetched(digest, package).await,
        }
    }

    fn unreachable(&mut self) {
        self.link = LinkState::Down;
        self.offline.lost(self.clocks.now().on_boot);
    }

    async fn link_up(&mut self, sequence: AgentSequence) -> Result<(), EffectorError> {
        self.link = LinkState::Up;
        self.offline.reached();
        self.daemon_starts = 1;
        tracing::info!(sequence = sequence.0, "the control plane is reached");
        self.send_from(sequence).await?;
        self.describe().await?;
        self.supply().await?;
        self.take_up().await
    }

    async fn fetched(&mut self, digest: PlaybookDigest, package: Option<String>) -> Result<(), EffectorError> {
        let package = package.and_then(|text| STANDARD.decode(text).ok());
        let taken = match package {
            Some(package) => self.library.fetched(digest, package, &self.store)?,
            None => Taken::No,
        };
        match taken {
            Taken::Yes => {
                self.fetching.remove(&digest);
            }
            // It stays among those that are being fetched until then.
            Taken::No => {
                tracing::warn!(playbook = %digest.short(), "a playbook's package could not be had");
                self.supply_at = Some(self.clocks.now().on_boot.plus(FETCH_AGAIN));
            }
        }
        self.supply().await
    }

    async fn acknowledged(&mut self, sequence: AgentSequence, published: &str) -> Result<(), EffectorError> {
        let Some(pins) = &self.pins else { return Ok(()) };
        let Some(kept) = self.store.outbox_at(sequence)? else { return Ok(()) };
        let shown = Published::parse(published.as_bytes());
        let proven = shown.and_then(|shown| Ok((pins.own(&shown, &self.recorder.public())?, shown.checkpoint)));
        let proven = match proven {
            Ok(((signed, checkpoint), note)) => match agrees(self.head.as_ref(), &checkpoint) {
                Ok(()) => Ok(signed),
                Err(forked) => return self.forked(note, &forked).await,
            },
            Err(error) => Err(error),
        };
        match proven {
            Ok(signed) if signed.envelope().as_bytes() == kept => {
                self.store.drop_published(sequence)?;
                self.proven(sequence).await?;
            }
            Ok(_) => tracing::error!(sequence = sequence.0, "the log holds another record than this agent signed"),
            Err(error) => tracing::error!(sequence = sequence.0, %error, "an acknowledgement is not proven"),
        }
        self.tell_verified().await;
        Ok(())
    }

    pub(super) async fn tell_verified(&mut self) {
        let tree_size = self.head.as_ref().map_or(TreeSize(0), |head| head.checkpoint.size);
        let sequence = self.recorder.sequence();
        let configuration = self.configuration.generation();
        self.tell_daemon(&ToDaemon::Verified { tree_size, sequence, configuration }).await;
    }

    async fn new_head(&mut self, from: TreeSize, note: String, proof: &[String]) -> Result<(), EffectorError> {
        let Some(pins) = &self.pins else { return Ok(()) };
        let checkpoint = match pins.checkpoint(&note) {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                tracing::error!(%error, "a checkpoint does not verify");
                return Ok(());
            }
        };
        let Ok(proof) = proof.iter().map(|hash| hash.parse()).collect::<Result<Vec<_>, _>>() else { return Ok(()) };
        match continues(self.head.as_ref(), from, &checkpoint, &proof) {
            Ok(Progress::None) => Ok(()),
            Ok(Progress::Forward) => {
                self.store.set_value(Value::Checkpoint, &note)?;
                self.head = Some(Head { checkpoint, note });
                self.tell_verified().await;
                Ok(())
            }
            Err(forked) => self.forked(note, &forked).await,
        }
    }

    /// Two heads of the log contradict each other: this agent observes only, and says so.
    async fn forked(&mut self, given: String, forked: &Forked) -> Result<(), EffectorError> {
        tracing::error!(%forked, "the log forked; this agent only observes from now on");
        if self.log == LogView::Forked {
            return Ok(());
        }
        self.log = LogView::Forked;
        let held = self.head.as_ref().map(|head| head.note.clone()).unwrap_or_default();
        let body = Body::ForkSeen(Box::new(ForkSeen { held, given: given.clone() }));
        self.record(body, |store, sealed| store.append_with_value(sealed.as_new(), Value::Fork, &given)).await?;
        let why = "the log forked, and this agent only observes".to_owned();
        self.drive(fettle_sandbox::machine::Event::StopOrdered { why }).await
    }

    /// Something that the control plane published for this host.
    async fn published(&mut self, document: &str) -> Result<(), EffectorError> {
        let Some(pins) = &self.pins else { return Ok(()) };
        let published = match Published::parse(document.as_bytes()) {
            Ok(published) => published,
            Err(error) => return self.disbelieve(document, &Disbelief::Published(error)).await,
        };
        let record = match pins.believe(&published) {
            Ok(Believed { record, checkpoint }) => match agrees(self.head.as_ref(), &checkpoint) {
                Ok(()) => record,
                Err(forked) => return self.forked(published.checkpoint, &forked).await,
            },
            Err(disbelief) => {
                return match pins.unread(&published) {
                    Some(Unread { generation, why }) => self.unreadable_configuration(generation, &why).await,
                    None => self.disbelieve(document, &disbelief).await,
                };
            }
        };
        match record.body {
            Body::PermitGranted(permit) => self.granted(*permit, document).await,
            Body::PermitRefused(refusal) => self.refused(&refusal).await,
            Body::ConfigurationSet(set) => self.configured(set.configuration).await,
            Body::PlaybookAdmitted(admitted) => {
                let publishers = self.capabilities.config().publishers.clone();
                self.library.admit(*admitted, &publishers, &self.store)?;
                self.supply().await
            }
            Body::AutomationStopped(order) => self.stopped(*order).await,
            // Nothing that ends a budget on a host that hears of it is to wait for the end of its lease.
            Body::FreezeDeclared(declared) => self.end_budget_in(&declared.scope).await,
            Body::BreakerOpened(opened) => self.end_budget_in(&opened.scope).await,
            Body::HostStateSet(set) => match set.state {
                HostState::Active => Ok(()),
                HostState::Quarantined | HostState::Revoked => self.give_budget_back().await,
            },
            // Permits from before the stop stay void; new ones may be had again.
            Body::AutomationResumed(_) => self.take_up().await,
            Body::DrillStarted(drill) => self.drill_started(*drill).await,
            // Not for agents; harmless.
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
            | Body::ProposalMade(_)
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
            | Body::ScenariosPassed(_)
            | Body::TransitionSeen(_)
            | Body::PermitRequested(_)
            | Body::PermitRejected(_)
            | Body::RunEnded(_)
            | Body::RunUnresolved(_)
            | Body::PlanMade(_)
            | Body::BreakerClosed(_)
            | Body::BreakerEased(_)
            | Body::FreezeLifted(_)
            | Body::MuteStarted(_)
            | Body::MuteLifted(_)
            | Body::PromotionProposed(_)
            | Body::DrillStagePassed(_)
            | Body::ScheduleRefused(_)
            | Body::OfflineReturned(_)
            | Body::OfflineExpired(_)
            | Body::StepIntended(_)
            | Body::DrillEnded(_)
            | Body::EvidenceEarned(_)
            | Body::IncidentOpened(_)
            | Body::ActionRefused(_)
            | Body::ForkSeen(_)
            | Body::RunWished(_)
            | Body::RequestWithheld(_) => Ok(()),
        }
    }

    async fn disbelieve(&mut self, document: &str, disbelief: &Disbelief) -> Result<(), EffectorError> {
        tracing::error!(error = %disbelief, "something published is refused");
        let rejected = PermitRejected {
            permit: None,
            run: None,
            envelope: EnvelopeDigest::of(document.as_bytes()),
            because: disbelief.rejection(),
        };
        let body = Body::PermitRejected(Box::new(rejected));
        self.record(body, |store, sealed| store.append(sealed.as_new())).await
    }

    pub(super) fn keep<T: serde::Serialize>(&self, value: Value, document: &T) -> Result<(), EffectorError> {
        let text = serde_json::to_string(document).map_err(EffectorError::Json)?;
        Ok(self.store.set_value(value, &text)?)
    }

    async fn stopped(&mut self, order: fettle_model::breaker::StopOrder) -> Result<(), EffectorError> {
        self.stops.stop(order);
        self.keep(Value::StopOrders, &self.stops)?;
        self.end_all_injections()?;
        self.tend_budget().await?;
        // A run that has been told so already is told once more, which changes nothing.
        match self.active.as_ref().and_then(|active| self.stop_of(&active.permit)) {
            Some(why) => self.drive(fettle_sandbox::machine::Event::StopOrdered { why }).await,
            None => Ok(()),
        }
    }

    /// Tells the control plane what this host is, when it changed.
    pub(super) async fn describe(&mut self) -> Result<(), EffectorError> {
        if self.recorder.host().is_none() {
            return Ok(());
        }
        let config = self.capabilities.config();
        let bindings = self.bindings();
        let description: HostDescription =
            config.describe(self.capabilities.facts(), env!("CARGO_PKG_VERSION"), self.isolation.clone(), bindings);
        let text = serde_json::to_string(&description).map_err(EffectorError::Json)?;
        if self.store.value(Value::Description)?.as_deref() == Some(&text) {
            return Ok(());
        }
        let body = Body::HostDescribed(Box::new(description));
        // Crash between the two: it is described once more.
        self.record(body, |store, sealed| store.append(sealed.as_new())).await?;
        Ok(self.store.set_value(Value::Description, &text)?)
    }
}
