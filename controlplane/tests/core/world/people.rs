//! The people of the tests: what they ask for, and what they sign.

use super::*;
use crate::signing_keys::signing_key;
use fettle_controlplane::core::{GiveApproval, SayBreakGlass};
use fettle_model::identity::HeldRole;
use fettle_model::name::PersonName;
use fettle_model::proposal::Approval;

pub(crate) fn name(person: &str) -> PersonName {
    person.parse().expect("a name")
}

impl World {
    /// Somebody else than alice asks, and policies allow it.
    pub(crate) fn person_by(&mut self, by: &str, request: PersonRequest) -> Outcome {
        let (by, authorised) = (name(by), Authorisation::Allowed);
        self.run(&Command::Person(Box::new(PersonCommand { by, authorised, request })))
    }

    /// The request to add somebody with a key of this text.
    pub(crate) fn addition(&self, person: &str, role: HeldRole, key: &str) -> PersonRequest {
        let not_after = self.now.wall.plus(Duration::from_hours(24));
        let certificate = NewCertificate { serial: format!("of {key}"), not_after };
        PersonRequest::AddPerson { person: name(person), role, certificate, signing_key: signing_key(key) }
    }

    /// A record that somebody signed as an approval.
    pub(crate) fn brings(&mut self, person: &str, record: Record, authorised: Authorisation) -> Outcome {
        let given = GiveApproval { by: name(person), authorised, record, policies: self.policies };
        self.run(&Command::Approval(Box::new(given)))
    }

    /// Somebody's yes or no.
    pub(crate) fn approves(&mut self, person: &str, approval: Approval, authorised: Authorisation) -> Outcome {
        let author = Author::Person { person: name(person) };
        let record = Record { author, at: self.now.wall, body: Body::ApprovalGiven(Box::new(approval)) };
        self.brings(person, record, authorised)
    }

    /// Somebody's ask to break the glass, or their confirmation of another's.
    pub(crate) fn of_glass(&mut self, person: &str, body: Body, authorised: Authorisation) -> Outcome {
        let author = Author::Person { person: name(person) };
        let record = Record { author, at: self.now.wall, body };
        let incident = IncidentId::from_uuid(self.mint());
        self.run(&Command::BreakGlass(Box::new(SayBreakGlass { by: name(person), authorised, record, incident })))
    }
}
