//! Commands, and what is appended because of them.
//!
//! [`decide`] looks and answers; it changes nothing. What it lists is appended as one atomic batch, so
//! that an agent's record and everything that follows from it are in the log together or not at all.

pub(in crate::core) mod agent;
pub(in crate::core) mod approvals;
pub(in crate::core) mod break_glass;
pub(in crate::core) mod endings;
pub(in crate::core) mod enrolment;
pub(in crate::core) mod people;
mod proposals;
pub(in crate::core) mod rollouts;
mod tick;

use super::authorisation::{Authorisation, AuthorisationFacts};
use super::conditions::Senses;
use super::entry::{ApplyError, Entry};
use super::foresight::{Foreseen, Wondering, foresee};
use super::now::Now;
use super::reclaim::Reclaims;
use super::state::State;
use agent::{AgentRecord, RecordRefusal};
use approvals::GiveApproval;
use break_glass::SayBreakGlass;
use enrolment::{DeadCertificate, Enrol, EnrolmentRefusal, NewCertificate, RotateCertificate};
use fettle_model::counter::LogPosition;
use fettle_model::digest::DocumentDigest;
use fettle_model::id::{DrillId, IncidentId};
use fettle_model::identity::Role;
use fettle_model::name::PersonName;
use fettle_model::record::{ActionRefused, Body, LogOpened, RoleGranted};
use people::{PersonCommand, PersonRefusal};

/// What the control plane is asked to do. Signatures, HMACs and certificates have been verified.
#[derive(Debug, Clone)]
pub enum Command {
    /// Open a new log.
    Initialise(Initialise),
    /// Take an agent's record in.
    AgentRecord(Box<AgentRecord>),
    /// Enrol a host that proved a token.
    Enrol(Enrol),
    /// Issue a host its next certificate.
    RotateCertificate(RotateCertificate),
    /// Quarantine the holder of a certificate that is not live any more.
    DeadCertificate(DeadCertificate),
    /// Do what a person asks.
    Person(Box<PersonCommand>),
    /// Take a person's signed yes or no in.
    Approval(Box<GiveApproval>),
    /// Take a person's signed ask for a role for a while in, or a second person's confirmation.
    BreakGlass(Box<SayBreakGlass>),
    /// Record that a person got a certificate at the control plane's own console. Whoever is there holds the
    /// authority's key, so there is nothing to decide; the log must say that it happened.
    CertifiedAtConsole {
        /// Who.
        person: PersonName,
        /// The certificate.
        certificate: NewCertificate,
    },
    /// Record that a person was refused a question, which needs no decision here: Cedar has answered.
    Refuse(ActionRefused),
    /// Look whether a time has come: a lost run's slot, a drill's deadline, a proposal that does not stand any more. One thing per command;
    /// the rim repeats it, with a new id, until nothing is appended.
    Tick {
        /// For the incident that a lost run opens.
        incident: IncidentId,
        /// For the drill that a schedule begins.
        drill: DrillId,
        /// What the log does not say.
        senses: Senses,
        /// SHA-256 over the policies by which is decided.
        policies: DocumentDigest,
    },
}

/// The first records of a log.
#[derive(Debug, Clone)]
pub struct Initialise {
    /// The log's name and keys.
    pub opened: LogOpened,
    /// Who is administrator and operator from the start: nobody else could grant a role.
    pub operator: PersonName,
}

/// One record to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Append {
    /// The envelope that the person sent, byte for byte.
    PersonEnvelope,
    /// The envelope that the agent sent, byte for byte.
    AgentEnvelope,
    /// A record of the control plane with this body, to be signed by its permit key.
    Own(Body),
}

/// What is to be appended, in this order and as one batch at [`State::next_position`], and what to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Decision {
    /// The records. Empty: nothing changes.
    pub append: Vec<Append>,
    /// What to tell whoever asked, once the batch is durable.
    pub outcome: Outcome,
}

/// What to tell whoever asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It was so already.
    Unchanged,
    /// The agent's record is in the log already. Where it was a permit request, its answer stands here.
    AlreadyKnown {
        /// Its position, while it is one of the newest of its chain.
        at: Option<LogPosition>,
        /// The position of the permit or refusal.
        answer: Option<LogPosition>,
    },
    /// The permit request is answered at this position, in this batch or earlier.
    Answered {
        /// The position of the permit or refusal.
        answer: LogPosition,
    },
    /// A record that would follow is too large; nothing was appended. Only the leader says so, which seals them.
    TooLarge,
    /// The log is open already.
    AlreadyInitialised,
    /// The agent's record is not taken.
    RecordRefused(RecordRefusal),
    /// The host is not enrolled, or gets no certificate.
    EnrolmentRefused(EnrolmentRefusal),
    /// The person is refused.
    PersonRefused(PersonRefusal),
}

impl Decision {
    pub(in crate::core) fn own(bodies: Vec<Body>) -> Self {
        Self { append: bodies.into_iter().map(Append::Own).collect(), outcome: Outcome::Done }
    }

    pub(in crate::core) const fn nothing(outcome: Outcome) -> Self {
        Self { append: Vec::new(), outcome }
    }
}

/// Decides. Pure: the same state, deadlines, time and command give the same decision.
pub fn decide(state: &State, reclaims: &Reclaims, now: Now, command: &Command) -> Decision {
    match command {
        Command::Initialise(initialise) => open_log(state, initialise),
        Command::AgentRecord(record) => agent::decide(state, reclaims, now, record),
        Command::Enrol(enrol) => enrolment::enrol(state, now, enrol),
        Command::RotateCertificate(rotate) => enrolment::rotate(state, rotate),
        Command::DeadCertificate(dead) => enrolment::dead(state, dead),
        Command::Person(command) => people::decide(state, now, command),
        Command::CertifiedAtConsole { person, certificate } => {
            Decision::own(people::certified(state, person, certificate).into_iter().collect())
        }
        Command::Refuse(refused) => Decision::own(vec![Body::ActionRefused(Box::new(refused.clone()))]),
        Command::Approval(given) => approvals::decide(state, now, given),
        Command::BreakGlass(said) => break_glass::decide(state, now, said),
        Command::Tick { incident, drill, senses, policies } => {
            tick::decide(state, reclaims, now, *incident, *drill, senses, policies)
        }
    }
}

fn open_log(state: &State, initialise: &Initialise) -> Decision {
    if state.next_position() != LogPosition(0) {
        return Decision::nothing(Outcome::AlreadyInitialised);
    }
    let granted = [Role::Administrator, Role::Operator].map(|role| {
        let granted = RoleGranted { person: initialise.operator.clone(), role, team: None, by: None };
        Body::RoleGranted(Box::new(granted))
    });
    Decision::own(std::iter::once(Body::LogOpened(Box::new(initialise.opened.clone()))).chain(granted).collect())
}

/// The state of one control-plane process: the projection and this process's deadlines, kept together.
#[derive(Debug, Clone)]
pub struct Core {
    state: State,
    reclaims: Reclaims,
}

impl Core {
    /// Starts with the state that the log gives. Every permit in flight is held for its full length
    /// from now.
    #[must_use]
    pub fn on_start(state: State, now: Now) -> Self {
        let reclaims = Reclaims::on_start(&state, now);
        Self { state, reclaims }
    }

    /// The projection.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The deadlines of lost runs.
    #[must_use]
    pub const fn reclaims(&self) -> &Reclaims {
        &self.reclaims
    }

    /// What the governor would say now of a playbook on the hosts that carry a service; `None` where the service is
    /// not configured. `authorise` is Cedar.
    pub fn foresee(
        &self,
        now: Now,
        authorise: &dyn Fn(&AuthorisationFacts) -> Authorisation,
        wondering: &Wondering<'_>,
    ) -> Option<Foreseen> {
        foresee(&self.state, &self.reclaims, now, authorise, wondering)
    }

    /// Decides.
    pub fn decide(&self, now: Now, command: &Command) -> Decision {
        decide(&self.state, &self.reclaims, now, command)
    }

    /// Takes an appended record in. `now` is read after the append.
    ///
    /// # Errors
    /// When it cannot be the next record; nothing is changed.
    pub fn apply(&mut self, now: Now, entry: &Entry<'_>) -> Result<(), ApplyError> {
        self.state.apply(entry)?;
        let touched = match &entry.record.body {
            Body::PermitGranted(permit) => Some(permit.permit),
            Body::PermitRejected(rejected) => rejected.permit,
            Body::RunEnded(ended) => Some(ended.permit),
            Body::RunUnresolved(unresolved) => Some(unresolved.permit),
            Body::OfflineReturned(returned) => Some(returned.permit),
            Body::OfflineExpired(expired) => Some(expired.permit),
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
            | Body::HostStateSet(_)
            | Body::HostDescribed(_)
            | Body::PublisherTrusted(_)
            | Body::PlaybookAdmitted(_)
            | Body::ScenariosPassed(_)
            | Body::ConfigurationSet(_)
            | Body::TransitionSeen(_)
            | Body::PermitRequested(_)
            | Body::PermitRefused(_)
            | Body::PlanMade(_)
            | Body::StepIntended(_)
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
            | Body::DrillStarted(_)
            | Body::DrillStagePassed(_)
            | Body::ScheduleRefused(_)
            | Body::DrillEnded(_)
            | Body::EvidenceEarned(_)
            | Body::IncidentOpened(_)
            | Body::ActionRefused(_)
            | Body::ForkSeen(_)
            | Body::RunWished(_)
            | Body::RequestWithheld(_) => None,
        };
        if let Some(permit) = touched {
            self.reclaims.follow(&self.state, now, permit);
        }
        Ok(())
    }
}
