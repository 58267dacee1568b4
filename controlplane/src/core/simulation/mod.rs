//! What an edited rule would have done: the log's own records folded anew, with the edit in force from some moment on.
//!
//! Called by the operators' API on a thread of its own, beside the leader: [`grounds`] looks at the leader's state once,
//! [`Past`] is told the records of the time in question, [`Replay`] then every record from the first. Neither can write
//! anything: what the replay decides are records of a state that nobody else sees. The governor judges; no rule stands
//! here a second time.
//!
//! What follows from the edited rules follows anew: answers to the faults that they touch, ends of the runs that these
//! would have had, breakers that open on failures or on a storm. Everything else stands as it was: checks, descriptions,
//! people's orders, evidence, drills, the runs of other rules.
//!
//! | module | holds |
//! |---|---|
//! | `past` | what did happen to each fault |
//! | `course` | what becomes of each kind of record |
//! | `replay` | the state, the clock and what comes due |
//! | `asking` | what the agents would ask, and what becomes of the answers |
//! | `rows` | what is told of it |

mod asking;
mod course;
mod past;
mod replay;
mod rows;

pub use past::{MAX_PAST_FAULTS, Past, TooManyFaults};
pub use replay::{Replay, ReplayError};

use super::authorisation::{Authorisation, AuthorisationFacts};
use super::decide::people::{PersonRefusal, sound_configuration};
use super::playbooks::Admitted;
use super::state::State;
use fettle_model::configuration::InconsistentConfiguration;
use fettle_model::digest::DocumentDigest;
use fettle_model::name::PersonName;
use fettle_model::record::Body;
use fettle_model::remediation::{PlaybookVersion, Remediation};
use fettle_model::simulation::{Assume, Edit, answers};
use fettle_model::time::UnixMillis;
use std::collections::BTreeSet;

/// What is asked.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// The edit.
    pub edit: &'a Edit,
    /// What becomes of a run of which the log has no like.
    pub assume: Assume,
    /// From when on the edit counts.
    pub from: UnixMillis,
    /// Until when.
    pub until: UnixMillis,
    /// Who asks: the edited configuration is theirs.
    pub by: &'a PersonName,
    /// Cedar.
    pub authorise: &'a dyn Fn(&AuthorisationFacts) -> Authorisation,
    /// SHA-256 over its policies.
    pub policies: DocumentDigest,
}

/// What is known today of the playbooks that the edit uses: their admissions and their evidence. They count as if they had
/// been there from the beginning: what is asked about is the rule, not since when its playbook is proven.
///
/// # Errors
/// When the edit could not be set as a part of the configuration in force, as if it were applied.
pub fn grounds(state: &State, edit: &Edit) -> Result<Vec<Body>, PersonRefusal> {
    let current = state.configuration();
    let configuration = sound_configuration(state, &edit.onto(&current.declared()), current.generation().next())?;
    if let Some(lost) = edit.remediations.iter().find(|ours| configuration.remediation(&ours.name).is_none()) {
        let (remediation, check) = (lost.name.clone(), answers(lost));
        return Err(PersonRefusal::Configuration(InconsistentConfiguration::MissingCheck { remediation, check }));
    }
    let versions: BTreeSet<&PlaybookVersion> = edit.remediations.iter().flat_map(Remediation::playbooks).collect();
    let admitted = versions.into_iter().filter_map(|version| state.playbooks.version(version));
    Ok(admitted.flat_map(known_of).collect())
}

fn known_of(admitted: &Admitted) -> impl Iterator<Item = Body> {
    let evidence = admitted.evidence.iter().map(|known| Body::EvidenceEarned(Box::new(known.evidence.clone())));
    std::iter::once(Body::PlaybookAdmitted(Box::new(admitted.admission.clone()))).chain(evidence)
}
