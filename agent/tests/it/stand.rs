//! Everything that a test of permits needs: a control plane that it plays, a host, a playbook, and waiting.

use crate::control_plane::{ControlPlane, Heard};
use crate::host::Host;
use crate::log::Log;
use fettle_agent::effector::store::Store;
use fettle_audit::envelope::Envelope;
use fettle_audit::key::{PublicKey, SigningKey};
use fettle_audit::published::Published;
use fettle_model::breaker::{Scope, StopOrder};
use fettle_model::check::{Check, CheckRef, Probe};
use fettle_model::configuration::{Configuration, Declared};
use fettle_model::counter::{ConfigurationGeneration, Fence, StopEpoch, TreeSize};
use fettle_model::escalation::{Escalation, Further};
use fettle_model::evidence::{Drill, Fault, FaultKind};
use fettle_model::guard::{Amount, Guard};
use fettle_model::id::{HostId, PermitId};
use fettle_model::offline::{Offline, Units};
use fettle_model::permit::{Permit, PermitRequest, PermittedTarget, Purpose};
use fettle_model::playbook::{Action, PUBLICATION_PAYLOAD_TYPE, Publication};
use fettle_model::record::{Body, ConfigurationSet, PlaybookAdmitted};
use fettle_model::remediation::{Mode, Parameters, PlaybookVersion, Remediation};
use fettle_model::rollout::Reach;
use fettle_model::service::{Selector, Service, Tier};
use fettle_model::time::UnixMillis;
use fettle_proto::v1::{Nudge, nudge, to_agent};
use fettle_sandbox::package::Package;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[path = "../../../sandbox/tests/it/support.rs"]
#[expect(dead_code, reason = "only the component is used here, not the manifest")]
pub(crate) mod by_hand;

/// Longest wait for anything: a machine that compiles something else beside takes ten seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) const MANIFEST: &str = r#"
manifest = 1
[playbook]
name = "by-hand"
version = "1.0.0"
summary = "Does nothing, and says so."
owners = ["tests"]
host = "fettle:host@0.1.0"
[[grant]]
label = "flag"
kind = "flag"
actions = ["set"]
why = "test"
[[grant]]
label = "health"
kind = "health"
why = "test"
[limits]
actions = 1
duration = "10s"
[confirm]
health = "health"
stable = "100ms"
within = "1s"
[on-failure]
undo = "automatic"
[[drill]]
fault = "flag-on"
on = "flag"
"#;

/// The text of a name or an id, parsed.
pub(crate) fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("it is sound")
}

/// An id that ends in these digits.
pub(crate) fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(last: u8) -> T {
    parsed(&format!("00000000-0000-4000-8000-0000000000{last:02x}"))
}

/// The check of the only service.
pub(crate) fn check() -> CheckRef {
    CheckRef { service: parsed("web"), check: parsed("probe") }
}

/// All of it.
pub(crate) struct Stand {
    pub(crate) control_plane: ControlPlane,
    pub(crate) host: Host,
    pub(crate) package: Package,
    fence: u64,
}

impl Stand {
    /// An agent that is connected and has no configuration yet.
    pub(crate) async fn new() -> Self {
        Self::with_lives(DAY, DAY).await
    }

    /// The same, with lives for its first certificate and the next.
    pub(crate) async fn with_lives(first: Duration, next: Duration) -> Self {
        Self::begun(first, next, &publisher().public(), |_, _, _| ()).await
    }

    /// The same as `new`, of an owner who trusts another key of the publisher.
    pub(crate) async fn trusting(key: &PublicKey) -> Self {
        Self::begun(DAY, DAY, key, |_, _, _| ()).await
    }

    /// The same as `new`, with more tables in the agent's configuration.
    pub(crate) async fn with_tables(tables: &str) -> Self {
        Self::begun(DAY, DAY, &publisher().public(), |_, _, more| more.push_str(tables)).await
    }

    /// The same as `new`, after `prepare` left something in the agent's state and in the log.
    pub(crate) async fn prepared(prepare: impl FnOnce(&mut Store, &mut Log)) -> Self {
        Self::begun(DAY, DAY, &publisher().public(), |store, log, _| prepare(store, log)).await
    }

    async fn begun(
        first: Duration,
        next: Duration,
        publisher: &PublicKey,
        prepare: impl FnOnce(&mut Store, &mut Log, &mut String),
    ) -> Self {
        let host = id::<HostId>(1);
        let control_plane = ControlPlane::start(host, next).await;
        let prepare = |store: &mut Store, more: &mut String| prepare(store, &mut control_plane.shared().log, more);
        let host = Host::start_prepared(&control_plane, host, publisher, first, prepare);
        let package = Package::build(&by_hand::component(by_hand::Parts::default()), MANIFEST).expect("a package");
        let mut stand = Self { control_plane, host, package, fence: 0 };
        stand.heard(|heard| matches!(heard, Heard::Connected { .. }).then_some(())).await;
        stand
    }

    /// The same, with the playbook admitted, a configuration that uses it, and the package there to fetch.
    pub(crate) async fn configured() -> Self {
        let mut stand = Self::new().await;
        let package = stand.package.bytes().to_vec();
        stand.control_plane.shared().packages.insert(stand.package.digest(), package);
        stand.configure().await;
        stand
    }

    /// Admits the playbook, sets a configuration, and waits until the host has described what is bound.
    pub(crate) async fn configure(&mut self) {
        self.assign().await;
        self.recorded(|body| {
            if let Body::HostDescribed(description) = body
                && !description.bindings.is_empty()
            {
                Some(())
            } else {
                None
            }
        })
        .await;
    }

    /// Admits the playbook and sets a configuration that uses it.
    pub(crate) async fn assign(&mut self) {
        let admitted = Body::PlaybookAdmitted(Box::new(admitted(&self.package)));
        self.say(admitted).await;
        self.set_configuration(1).await;
    }

    /// Sets the configuration under another generation.
    pub(crate) async fn set_configuration(&mut self, generation: u64) {
        self.set_check(generation, Probe::Command { command: parsed("probe") }).await;
    }

    /// A configuration with a field that this agent does not know.
    pub(crate) fn newer_than_this_agent(&mut self, generation: u64) -> Published {
        let probe = Probe::Command { command: parsed("probe") };
        let configuration = configuration(&self.version(), ConfigurationGeneration(generation), probe);
        let set = ConfigurationSet { configuration, by: parsed("alice"), reach: Reach::Everywhere };
        let mut shared = self.control_plane.shared();
        shared.log.say_more(Body::ConfigurationSet(Box::new(set)), "/body/body/configuration", "zeal")
    }

    /// The same, with the service's check redefined.
    pub(crate) async fn set_check(&mut self, generation: u64, probe: Probe) {
        let configuration = configuration(&self.version(), ConfigurationGeneration(generation), probe);
        let set = ConfigurationSet { configuration, by: parsed("alice"), reach: Reach::Everywhere };
        self.say(Body::ConfigurationSet(Box::new(set))).await;
    }

    /// Sets the configuration with this version first in its list, and the stand's own playbook after it.
    pub(crate) async fn set_list(&mut self, first: PlaybookVersion, timeout: Duration) {
        let probe = Probe::Command { command: parsed("probe") };
        let generation = ConfigurationGeneration(2);
        let mut declared = configuration(&first, generation, probe).declared();
        for remediation in &mut declared.remediations {
            let modes = remediation.modes.clone();
            let second = Further { playbook: self.version(), parameters: Parameters::default(), modes, timeout };
            remediation.escalation = Escalation { timeout, then: vec![second] };
        }
        let configuration = Configuration::new(generation, declared).expect("it holds together");
        self.say(Body::ConfigurationSet(Box::new(ConfigurationSet {
            configuration,
            by: parsed("alice"),
            reach: Reach::Everywhere,
        })))
        .await;
    }

    /// Sets a configuration that gives so many runs in advance, one right after the other.
    pub(crate) async fn set_offline(&mut self, generation: u64, units: Units) {
        let probe = Probe::Command { command: parsed("probe") };
        let generation = ConfigurationGeneration(generation);
        let mut declared = configuration(&self.version(), generation, probe).declared();
        for remediation in &mut declared.remediations {
            remediation.offline = Some(Offline { hosts: Amount::Count(1), units, lasts: DAY });
            remediation.guard.cooldown = Duration::ZERO;
        }
        let configuration = Configuration::new(generation, declared).expect("it holds together");
        let set = ConfigurationSet { configuration, by: parsed("alice"), reach: Reach::Everywhere };
        self.say(Body::ConfigurationSet(Box::new(set))).await;
    }

    pub(crate) fn version(&self) -> PlaybookVersion {
        PlaybookVersion { name: parsed("by-hand"), digest: self.package.digest() }
    }

    /// The control plane says something, with its proof.
    pub(crate) async fn say(&mut self, body: Body) {
        let published = self.control_plane.shared().log.say(body);
        self.control_plane.publish(&published).await;
    }

    /// Waits for the next thing that the agent does of which `wanted` makes something; drops the others.
    pub(crate) async fn heard<T>(&mut self, mut wanted: impl FnMut(&Heard) -> Option<T>) -> T {
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let heard = self.control_plane.heard.recv().await.expect("the service runs");
                if let Some(found) = wanted(&heard) {
                    return found;
                }
            }
        })
        .await;
        match waited {
            Ok(found) => found,
            Err(_elapsed) => unreachable!("what was waited for did not come; ended: {}", self.host.has_ended()),
        }
    }

    /// Waits for the next record of which `wanted` makes something.
    pub(crate) async fn recorded<T>(&mut self, mut wanted: impl FnMut(&Body) -> Option<T>) -> T {
        self.heard(|heard| match heard {
            Heard::Recorded(record) => wanted(&record.body),
            Heard::Connected { .. } | Heard::Fetched | Heard::Rotated { .. } => None,
        })
        .await
    }

    /// Waits for the next request for a permit.
    pub(crate) async fn request(&mut self) -> PermitRequest {
        self.recorded(|body| if let Body::PermitRequested(request) = body { Some((**request).clone()) } else { None })
            .await
    }

    /// Asks the agent to ask for the check's remediation.
    pub(crate) async fn nudge(&self) {
        let about = Some(nudge::About::Remediate(check().to_string()));
        self.control_plane.send(to_agent::Message::Nudge(Nudge { about })).await;
    }

    /// A permit that holds in every respect.
    pub(crate) fn permit(&mut self, request: &PermitRequest) -> Permit {
        self.fence += 1;
        let targets = request.targets.iter().map(|bound| {
            let actions = match (&request.purpose, bound.label.as_str()) {
                (Purpose::Remediate { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. }, "flag") => {
                    BTreeSet::from([Action::Set])
                }
                (
                    Purpose::Remediate { .. }
                    | Purpose::InjectFault { .. }
                    | Purpose::Repeat { .. }
                    | Purpose::Offline { .. },
                    _,
                ) => BTreeSet::new(),
            };
            PermittedTarget { label: bound.label.clone(), target: bound.target.clone(), actions }
        });
        Permit {
            permit: PermitId::from_uuid(uuid::Uuid::from_u128(u128::from(self.fence))),
            request: request.request,
            run: request.run,
            host: request.host,
            boot: request.boot,
            sent_at: request.sent_at,
            lease: Duration::from_secs(600),
            run_within: Duration::from_secs(20),
            effect_within: Duration::from_secs(20),
            fence: Fence(self.fence),
            stop_epoch: StopEpoch(0),
            configuration: ConfigurationGeneration(1),
            purpose: request.purpose.clone(),
            playbook: request.playbook.map(|_| self.version()),
            parameters: Parameters::default(),
            targets: targets.collect(),
            actions: 1,
            units: Units::ONE,
            unit: None,
            drill: None,
            kill: None,
            approved: None,
            policies: fettle_model::digest::DocumentDigest::of(b"policies"),
            grounds: Vec::new(),
        }
    }

    /// From the next heartbeat on the agent is shown another log under the same key; its head.
    pub(crate) fn show_another_log(&self) -> String {
        let second = another_log(40);
        let given = second.checkpoint();
        self.control_plane.shared().second = Some(second);
        given
    }

    /// Waits until the agent holds the head of the log; its size. Nothing may be on its way into the log.
    pub(crate) async fn head_held(&self) -> TreeSize {
        let (size, mut held) = {
            let shared = self.control_plane.shared();
            (shared.log.size(), shared.held.subscribe())
        };
        let seen = tokio::time::timeout(PATIENCE, held.wait_for(|held| *held == size));
        seen.await.expect("it is held in time").expect("the service runs");
        size
    }

    /// Starts a drill that turns the flag on.
    pub(crate) async fn start_drill(&mut self) {
        self.start_drill_of(Fault { kind: FaultKind::FlagOn, on: parsed("flag") }).await;
    }

    /// Starts a drill.
    pub(crate) async fn start_drill_of(&mut self, fault: Fault) {
        let drill = Drill {
            drill: id(9),
            playbook: self.version(),
            host: id(1),
            service: parsed("web"),
            check: parsed("probe"),
            fault,
            by: parsed("alice"),
            scheduled: None,
            deadline: UnixMillis(u64::MAX >> 12),
        };
        self.say(Body::DrillStarted(Box::new(drill))).await;
    }
}

/// A log of so many other records under the same keys.
pub(crate) fn another_log(size: u64) -> Log {
    let mut second = Log::new(10);
    for epoch in 1..=size {
        let (by, why) = (parsed("mallory"), String::new());
        let order = StopOrder { scope: Scope::Global, epoch: StopEpoch(epoch), by, why };
        second.say(Body::AutomationStopped(Box::new(order)));
    }
    second
}

pub(crate) fn publisher() -> SigningKey {
    SigningKey::from_seed(&[77; 32])
}

/// The admission of a package, as the control plane publishes it.
pub(crate) fn admitted(package: &Package) -> PlaybookAdmitted {
    let key = publisher();
    let publication = Publication {
        name: package.manifest().playbook.name.clone(),
        version: "1.0.0".to_owned(),
        digest: package.digest(),
        publisher: parsed("tests"),
        key: key.public().key_id(),
    };
    let payload = serde_json::to_vec(&publication).expect("JSON");
    let envelope = Envelope::seal(PUBLICATION_PAYLOAD_TYPE, &payload, &key).expect("sealed");
    PlaybookAdmitted {
        digest: package.digest(),
        manifest: package.manifest().clone(),
        publisher: parsed("tests"),
        key: key.public().key_id(),
        publication: String::from_utf8(envelope.into_bytes()).expect("JSON is text"),
        imports: Vec::new(),
        size_bytes: 1,
        by: parsed("alice"),
    }
}

fn configuration(playbook: &PlaybookVersion, generation: ConfigurationGeneration, probe: Probe) -> Configuration {
    let staging = parsed("staging");
    let service = Service {
        name: parsed("web"),
        owner: parsed("team-web"),
        tier: Tier(1),
        hosts: Selector::new(BTreeSet::from([parsed("staging")]), BTreeSet::new()).expect("it selects"),
        checks: vec![Check {
            name: parsed("probe"),
            probe,
            interval: Duration::from_millis(200),
            timeout: Duration::from_secs(10),
            fail_after: 1,
            recover_after: 1,
        }],
    };
    let remediation = Remediation {
        name: parsed("heal-web"),
        service: parsed("web"),
        check: parsed("probe"),
        playbook: playbook.clone(),
        parameters: Parameters::default(),
        modes: BTreeMap::from([(staging, Mode::Auto)]),
        guard: Guard::default(),
        escalation: Escalation::default(),
        offline: None,
    };
    Configuration::new(
        generation,
        Declared { services: vec![service], remediations: vec![remediation], ..Declared::default() },
    )
    .expect("it holds together")
}
