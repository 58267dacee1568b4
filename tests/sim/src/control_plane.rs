//! One control plane's process: the real core over the real journal, as the leader drives them.
//!
//! What the process knows dies with it; what is in the journal stays. Whether its batch may be appended is for the
//! journal to say, as in the product: a leader that was deposed learns it there and ends.

use crate::fixture::{self, Edition, PERSON};
use crate::flaw::Flaw;
use crate::people::{self, APPROVERS, person_key};
use crate::scene::{Down, Event, Rate, Scene, Up};
use crate::setting::{Setting, Way};
use anyhow::{Context as _, bail};
use fettle_audit::envelope::Envelope;
use fettle_audit::key::PublicKey;
use fettle_audit::leaf::leaf_for;
use fettle_audit::signed_record::SignedRecord;
use fettle_controlplane::core::{
    AgentRecord, Append, Authorisation, Command, Core, Decision, Entry, Fresh, GiveApproval, Monotonic, Now, Outcome,
    PersonCommand, PersonRequest, RecordRefusal, Senses, views,
};
use fettle_controlplane::journal::{AppendError, Journal, Row};
use fettle_controlplane::leader::read_state;
use fettle_model::breaker::Scope;
use fettle_model::counter::{LeaderEpoch, LogPosition, TreeSize};
use fettle_model::digest::DocumentDigest;
use fettle_model::id::{DrillId, IncidentId, PermitId, ProposalId, RequestId};
use fettle_model::identity::{HeldRole, Role};
use fettle_model::name::PersonName;
use fettle_model::record::{Author, Body, Record};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Records that are read at once when a process starts.
const READ_AT_ONCE: usize = 256;
/// Most ticks in a row that append something; the leader has the same.
const MAX_TICKS: usize = 64;
/// In so many of a thousand greetings an agent is told the orders in force.
const ORDERS_TOLD: u32 = 200;
/// After so many of a thousand grants the host is cut off before it hears, for longer than a lost slot is held.
const CUT_OFF: u32 = 120;
const LONG_GONE: std::ops::Range<u64> = 345_000..480_000;
/// The slot of a budget in advance is held for the two minutes of its lease longer.
const LONGER_GONE: std::ops::Range<u64> = 420_000..600_000;
/// So many of a thousand control planes that start come with other policies.
const UPGRADED: u32 = 200;
/// In so many of a thousand cases a person does not stop or resume anything, but comes or goes.
const COMES_OR_GOES: u32 = 500;
/// What a control plane with [`Flaw::HoldForgottenOnStart`] believes has passed since its start.
const FORGETFUL: Duration = Duration::from_hours(24);

/// A process.
pub(crate) struct Process {
    core: Core,
    journal: Journal,
    epoch: LeaderEpoch,
    started: Duration,
    ahead: Duration,
    rate: Rate,
    awake: Duration,
    policies: DocumentDigest,
}

/// Another process leads; this one ends.
#[derive(Debug)]
pub(crate) struct Deposed;

/// The log's records, as a process reads them.
pub(crate) fn read_log(journal: &Journal) -> anyhow::Result<Vec<Arc<Record>>> {
    let mut records: Vec<Arc<Record>> = Vec::new();
    loop {
        let rows = journal.read(LogPosition(u64::try_from(records.len())?), READ_AT_ONCE)?;
        if rows.is_empty() {
            return Ok(records);
        }
        for row in rows {
            records.push(Arc::new(read(row)?));
        }
    }
}

fn read(row: Row) -> anyhow::Result<Record> {
    let envelope = Envelope::parse(row.envelope)?;
    Ok(serde_json::from_slice(envelope.unverified_payload())?)
}

/// Writes the log that every history begins with.
pub(crate) fn found(folder: &Path, setting: Setting) -> anyhow::Result<()> {
    let mut journal = Journal::open(&folder.join("journal.db"))?;
    let epoch = journal.lead()?;
    let key = fixture::permit_key();
    let rows = fixture::first_records(setting)?
        .into_iter()
        .map(|record| Ok(row(&SignedRecord::seal(record, &key)?, fixture::BEGUN)))
        .collect::<anyhow::Result<Vec<Row>>>()?;
    Ok(journal.append(TreeSize(0), epoch, &rows)?)
}

fn row(signed: &SignedRecord, at: fettle_model::time::UnixMillis) -> Row {
    Row { leaf: leaf_for(signed, at).encode().to_vec(), envelope: signed.envelope().as_bytes().to_vec() }
}

impl Process {
    /// Starts over what the journal holds, and leads.
    pub(crate) fn start(folder: &Path, scene: &mut Scene) -> anyhow::Result<Self> {
        let mut journal = Journal::open(&folder.join("journal.db"))?;
        let epoch = journal.lead()?;
        let state = read_state(folder)?;
        let (ahead, rate) = (scene.within(0..3_000), scene.rate());
        let now = Now { wall: scene.wall(ahead), monotonic: Monotonic(Duration::ZERO) };
        let awake = if scene.has(Flaw::HoldForgottenOnStart) { FORGETFUL } else { Duration::ZERO };
        let core = Core::on_start(state, now);
        let upgraded = scene.setting.way == Way::Approve && scene.mishap(UPGRADED);
        let policies = fixture::policies(if upgraded { Edition::Second } else { Edition::First });
        Ok(Self { core, journal, epoch, started: scene.now, ahead, rate, awake, policies })
    }

    pub(crate) const fn core(&self) -> &Core {
        &self.core
    }

    fn now(&self, scene: &Scene) -> Now {
        let up = self.rate.shown(scene.now.saturating_sub(self.started));
        Now { wall: scene.wall(self.ahead), monotonic: Monotonic(self.awake + up) }
    }

    /// Decides a command, and makes durable what follows from it.
    fn decide(
        &mut self,
        scene: &mut Scene,
        command: &Command,
        mut brought: Option<SignedRecord>,
    ) -> anyhow::Result<Result<(Outcome, usize), Deposed>> {
        let now = self.now(scene);
        let size = TreeSize(self.core.state().next_position().0);
        let Decision { append, outcome } = self.core.decide(now, command);
        let (mut rows, mut proposals) = (Vec::new(), Vec::new());
        for append in append {
            let signed = match append {
                Append::AgentEnvelope | Append::PersonEnvelope => brought.take().context("what was brought")?,
                Append::Own(body) => {
                    let record = Record { author: Author::ControlPlane, at: now.wall, body };
                    SignedRecord::seal(record, &fixture::permit_key())?
                }
            };
            let entry = Entry {
                position: self.core.state().next_position(),
                envelope: signed.envelope().digest(),
                received_at: now.wall,
                record: signed.record(),
            };
            self.core.apply(now, &entry)?;
            if let Body::ProposalMade(proposal) = &signed.record().body {
                proposals.push(Arc::new((**proposal).clone()));
            }
            rows.push(row(&signed, now.wall));
        }
        let appended = rows.len();
        if appended > 0
            && let Err(Deposed) = self.append(scene, size, &rows)?
        {
            return Ok(Err(Deposed));
        }
        proposals.iter().for_each(|proposal| people::are_shown(scene, proposal));
        Ok(Ok((outcome, appended)))
    }

    fn append(&mut self, scene: &Scene, mut size: TreeSize, rows: &[Row]) -> anyhow::Result<Result<(), Deposed>> {
        // Once deposed and once behind: no third try is needed to write whatever the fence forbids.
        for _ in 0..3 {
            match self.journal.append(size, self.epoch, rows) {
                Ok(()) => return Ok(Ok(())),
                Err(AppendError::Deposed { current, .. }) if scene.has(Flaw::OldLeaderNotFenced) => {
                    self.epoch = current;
                }
                Err(AppendError::Position { found, .. }) if scene.has(Flaw::OldLeaderNotFenced) => size = found,
                Err(AppendError::Deposed { .. }) => return Ok(Err(Deposed)),
                Err(error @ (AppendError::Position { .. } | AppendError::Unknown(_))) => return Err(error.into()),
            }
        }
        Ok(Err(Deposed))
    }

    /// Takes a message of an agent, and answers it.
    pub(crate) fn hear(&mut self, scene: &mut Scene, host: usize, message: Up) -> anyhow::Result<Result<(), Deposed>> {
        match message {
            Up::Record(envelope) => {
                let signed = SignedRecord::open(envelope.to_vec(), &fixture::record_key(host).public())?;
                self.record(scene, host, signed)
            }
            Up::Hello { unanswered } => {
                self.brief(scene, host, &unanswered)?;
                Ok(Ok(()))
            }
        }
    }

    fn record(&mut self, scene: &mut Scene, host: usize, signed: SignedRecord) -> anyhow::Result<Result<(), Deposed>> {
        let fresh = Fresh {
            permit: PermitId::from_uuid(scene.mint()),
            incident: IncidentId::from_uuid(scene.mint()),
            proposal: ProposalId::from_uuid(scene.mint()),
        };
        let Author::Agent { sequence, .. } = signed.record().author else { bail!("an agent's record") };
        let body = &signed.record().body;
        let intended = if let Body::StepIntended(step) = body { Some((step.run, step.number)) } else { None };
        let command = Command::AgentRecord(Box::new(AgentRecord {
            host: fixture::host_id(host),
            record: signed.record().clone(),
            envelope: signed.envelope().digest(),
            fresh,
            authorised: Some(Authorisation::Allowed),
            policies: self.policies,
        }));
        let outcome = match self.decide(scene, &command, Some(signed))? {
            Ok((outcome, _)) => outcome,
            Err(Deposed) => return Ok(Err(Deposed)),
        };
        if let (Some((run, number)), Outcome::Done | Outcome::AlreadyKnown { .. }) = (intended, &outcome) {
            scene.truth.logs(run, number);
        }
        // Durable, and nobody was told: the agent asks again.
        if scene.mishap(10) {
            scene.after(Duration::ZERO, Event::Crash);
            return Ok(Ok(()));
        }
        match outcome {
            Outcome::Done => {}
            Outcome::Answered { answer } => {
                if let Body::PermitGranted(permit) = self.body_at(answer)?
                    && scene.mishap(CUT_OFF)
                {
                    let long = scene.within(if permit.is_offline() { LONGER_GONE } else { LONG_GONE });
                    scene.cut_off(host, long);
                }
                self.publish(scene, host, answer)?;
            }
            Outcome::AlreadyKnown { answer, .. } => {
                answer.into_iter().try_for_each(|answer| self.publish(scene, host, answer))?;
            }
            Outcome::RecordRefused(RecordRefusal::Gap { .. }) => return Ok(Ok(())),
            Outcome::RecordRefused(_)
            | Outcome::Unchanged
            | Outcome::TooLarge
            | Outcome::AlreadyInitialised
            | Outcome::EnrolmentRefused(_)
            | Outcome::PersonRefused(_) => {
                scene.truth.breaks("an honest agent's record is taken", format!("host {host}: {outcome:?}"));
            }
        }
        scene.tell(host, Down::Acknowledged(sequence));
        Ok(Ok(()))
    }

    fn body_at(&self, position: LogPosition) -> anyhow::Result<Body> {
        let row = self.journal.read(position, 1)?.pop().context("a record of the log")?;
        Ok(read(row)?.body)
    }

    /// Sends a record of the log, as it stands there.
    fn publish(&self, scene: &mut Scene, host: usize, position: LogPosition) -> anyhow::Result<()> {
        let row = self.journal.read(position, 1)?.pop().context("a record of the log")?;
        scene.tell(host, Down::Published(Arc::new(read(row)?)));
        Ok(())
    }

    fn brief(&self, scene: &mut Scene, host: usize, unanswered: &[RequestId]) -> anyhow::Result<()> {
        let (state, id) = (self.core.state(), fixture::host_id(host));
        let Some(briefing) = views::briefing(state, id) else { return Ok(()) };
        scene.tell(host, Down::Acknowledged(briefing.acknowledged));
        let answers = unanswered.iter().filter_map(|request| state.answer(id, *request));
        // In the product once for each connection; here connections are not played.
        let orders = if scene.chance(ORDERS_TOLD) { briefing.orders } else { Vec::new() };
        let positions: Vec<_> = orders.into_iter().chain(answers.map(|answer| answer.stamp.position)).collect();
        positions.into_iter().try_for_each(|position| self.publish(scene, host, position))
    }

    /// Looks what has come due.
    pub(crate) fn tick(&mut self, scene: &mut Scene) -> anyhow::Result<Result<(), Deposed>> {
        for _ in 0..MAX_TICKS {
            let incident = IncidentId::from_uuid(scene.mint());
            let drill = DrillId::from_uuid(scene.mint());
            let command = Command::Tick { incident, drill, senses: Senses::default(), policies: self.policies };
            match self.decide(scene, &command, None)? {
                Ok((_, 0)) => break,
                Ok(_) => {}
                Err(Deposed) => return Ok(Err(Deposed)),
            }
        }
        Ok(Ok(()))
    }

    /// Takes what a person signed, in somebody's name, as the operators' API does.
    pub(crate) fn approval(
        &mut self,
        scene: &mut Scene,
        by: usize,
        envelope: &[u8],
    ) -> anyhow::Result<Result<(), Deposed>> {
        let by: PersonName = fixture::name(APPROVERS.get(by).context("a person")?)?;
        let state = self.core.state();
        let key = state.signing_key(&by).context("a key that stands for them")?.parse::<PublicKey>()?;
        let opened = if scene.has(Flaw::SignatureNotChecked) {
            (0..APPROVERS.len()).find_map(|any| SignedRecord::open(envelope.to_vec(), &person_key(any).public()).ok())
        } else {
            SignedRecord::open(envelope.to_vec(), &key).ok()
        };
        let Some(signed) = opened else { return Ok(Ok(())) };
        let may = state.holding(&by, self.now(scene).wall).roles.contains(&HeldRole::from(Role::Approver));
        let denied = Authorisation::Denied { policies: Vec::new() };
        let authorised = if may { Authorisation::Allowed } else { denied };
        let record = signed.record().clone();
        let command = Command::Approval(Box::new(GiveApproval { by, authorised, record, policies: self.policies }));
        Ok(self.decide(scene, &command, Some(signed))?.map(|_| ()))
    }

    /// A person comes or goes, or stops or resumes a scope; every agent is told of that.
    pub(crate) fn person(&mut self, scene: &mut Scene) -> anyhow::Result<Result<(), Deposed>> {
        if scene.setting.way == Way::Approve && scene.mishap(COMES_OR_GOES) {
            let person = fixture::name(APPROVERS.get(scene.pick(APPROVERS.len())).context("a person")?)?;
            let role = HeldRole::from(Role::Approver);
            let held = self.core.state().roles(&person).contains(&role);
            let why = "another team".to_owned();
            let request = if held {
                PersonRequest::RevokeRole { person, role, why }
            } else {
                PersonRequest::GrantRole { person, role }
            };
            return self.order(scene, request);
        }
        let scopes = ["global", "environment:production", "service:web", "playbook:restart-service"];
        let chosen = scopes.get(scene.pick(scopes.len())).context("a scope")?;
        let scope: Scope = chosen.parse().context("a scope")?;
        let why = "a rehearsal".to_owned();
        let request =
            if scene.mishap(350) { PersonRequest::Stop { scope, why } } else { PersonRequest::Resume { scope, why } };
        self.order(scene, request)
    }

    /// A person lets everything go on.
    pub(crate) fn resume_all(&mut self, scene: &mut Scene) -> anyhow::Result<Result<(), Deposed>> {
        for scope in ["global", "environment:production", "service:web", "playbook:restart-service"] {
            let (scope, why) = (scope.parse().context("a scope")?, "go on".to_owned());
            if let Err(Deposed) = self.order(scene, PersonRequest::Resume { scope, why })? {
                return Ok(Err(Deposed));
            }
        }
        Ok(Ok(()))
    }

    fn order(&mut self, scene: &mut Scene, request: PersonRequest) -> anyhow::Result<Result<(), Deposed>> {
        let authorised = Authorisation::Allowed;
        let command = Command::Person(Box::new(PersonCommand { by: fixture::name(PERSON)?, authorised, request }));
        let appended = match self.decide(scene, &command, None)? {
            Ok((_, appended)) => appended,
            Err(Deposed) => return Ok(Err(Deposed)),
        };
        let to = self.core.state().next_position().0;
        for position in (to.saturating_sub(u64::try_from(appended)?)..to).map(LogPosition) {
            let row = self.journal.read(position, 1)?.pop().context("a record of the log")?;
            if let Body::AutomationStopped(_) | Body::AutomationResumed(_) = read(row)?.body {
                (0..fixture::HOSTS).try_for_each(|host| self.publish(scene, host, position))?;
            }
        }
        Ok(Ok(()))
    }
}
