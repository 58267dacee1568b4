//! The pure core of the control plane: one state machine over one append-only log.
//!
//! The rim (journal, gateway, operator API) calls [`Core::decide`] with a [`Command`], appends what the
//! [`Decision`] lists as one atomic batch, and then gives every appended record to [`Core::apply`].
//! Nothing here reads a clock, draws a random number or touches a file or socket: time, ids and the
//! outcome of Cedar come in with the command, signatures are verified before.
//!
//! | module | holds |
//! |---|---|
//! | `entry`, `now` | a record with its place in the log; the two clocks |
//! | `state` | [`State`], the projection of the log, and how a record changes it |
//! | `hosts`, `statuses`, `trail`, `groups`, `tallies`, `people`, `break_glass`, `playbooks`, `drills`, `runs`, `attempts`, `turns`, `budgets`, `ramps`, `breakers`, `sickness`, `conditions`, `stops`, `freezes`, `mutes`, `answers`, `proposals`, `promotions`, `incidents`, `rollout` | the parts of the state, by noun |
//! | `coverage` | what hosts outside staging need to have proved, and what evidence says of it |
//! | `reclaim` | when the slot of a lost run is given back |
//! | `authorisation` | the facts that the rim hands to Cedar, and Cedar's answer |
//! | `governor` | every rule between a request and a permit |
//! | `simulation` | what an edited rule would have done with the faults of the past |
//! | `decide` | commands, and what is appended because of them |
//! | [`views`] | read-only questions for the API |

mod answers;
mod attempts;
mod authorisation;
mod break_glass;
mod breakers;
mod budgets;
mod conditions;
mod coverage;
mod decide;
mod descriptions;
mod drills;
mod entry;
mod foresight;
mod freezes;
mod governor;
mod groups;
mod hosts;
mod identities;
mod incidents;
mod mutes;
mod now;
mod people;
mod playbooks;
mod promotions;
mod proposals;
mod ramps;
mod reclaim;
mod rollout;
mod runs;
mod said;
mod schedules;
mod sickness;
mod simulation;
mod state;
mod statuses;
mod stops;
mod tallies;
mod trail;
mod turns;
pub mod views;

pub use answers::{Answer, Given, KnownRefusal, MAX_ANSWERS_PER_HOST, MAX_REFUSALS_PER_CHECK};
pub use attempts::{Attempts, Fingerprint};
pub use authorisation::{
    Authorisation, AuthorisationFacts, FLOOR_APPROVED, PersonAction, PlaybookFacts, PurposeKind, Resource, Subject,
    facts_for_authorisation,
};
pub use break_glass::{Glass, GlassStanding, Holding, KnownGlass, Opened};
pub use breakers::{OpenBreaker, Probe, Standing};
pub use conditions::{Heard, Senses};
pub use coverage::coverage;
pub use decide::agent::{AgentRecord, Fresh, RecordRefusal};
pub use decide::approvals::GiveApproval;
pub use decide::break_glass::SayBreakGlass;
pub use decide::enrolment::{
    DeadCertificate, Enrol, EnrolmentRefusal, NewCertificate, NewestCertificate, RotateCertificate,
};
pub use decide::people::{
    AskEnd, Involvement, MAX_OPEN_TOKENS, MAX_TOKEN_VALIDITY, MAX_WHY_BYTES, OWN_CERTIFICATE, OWN_SIGNING_KEY,
    PersonCommand, PersonRefusal, PersonRequest, SignedReport, Tie, VerifiedLogin,
};
pub use decide::rollouts::Wait;
pub use decide::{Append, Command, Core, Decision, Initialise, Outcome, decide};
pub use drills::{DRILL_ALLOWANCE, EVIDENCE_VALID_FOR, EndedDrill, RunningDrill};
pub use entry::{ApplyError, Entry, Stamp};
pub use foresight::{Foreseen, Wondering};
pub use governor::{EFFECT_WITHIN, INJECTION_WITHIN, LEASE};
pub use groups::Group;
pub use hosts::{Certificates, ChainHead, Host, Place};
pub use identities::KnownIdentity;
pub use incidents::KnownIncident;
pub use now::{Monotonic, Now};
pub use people::Token;
pub use playbooks::{Admitted, KnownEvidence, Proof, SaidOfScenarios};
pub use proposals::{GivenApproval, KnownProposal, MAX_OPEN_PROPOSALS, ProposalState};
pub use reclaim::{RECLAIM_MARGIN, Reclaims, hold};
pub use rollout::{InForce, Rejection, Rollout, RolloutStanding};
pub use runs::{Run, RunState};
pub use schedules::{Handled, How};
pub use simulation::{MAX_PAST_FAULTS, Past, Replay, ReplayError, Terms, TooManyFaults, grounds};
pub use state::State;
pub use statuses::{CheckState, Statuses};
pub use stops::{Order, OrderKind};
pub use trail::MAX_RECENT_RECORDS;
pub use turns::Due;
