//! A person's ask for a role for a while, and a second person's confirmation. Signatures were verified with the keys
//! that stand for them.
//!
//! Policies say who may ask and confirm; here it is decided whether they are two people, and whether what was confirmed
//! is what was asked. Closing one is a [`super::people::PersonRequest`].

use super::people::{AskEnd, PersonRefusal, Tie, sound};
use super::{Append, Decision, Outcome};
use crate::core::authorisation::{Authorisation, PersonAction};
use crate::core::break_glass::{GlassStanding, KnownGlass};
use crate::core::now::Now;
use crate::core::state::State;
use fettle_model::break_glass::{BREAK_GLASS_LASTS, BreakGlassAsked, BreakGlassOpened, MAX_ASK_WAITS};
use fettle_model::id::IncidentId;
use fettle_model::identity::Reach;
use fettle_model::incident::{IncidentCause, IncidentOpened};
use fettle_model::name::PersonName;
use fettle_model::record::{ActionRefused, Author, Body, Record};

/// A person's record, signed by the key that stands for them.
#[derive(Debug, Clone)]
pub struct SayBreakGlass {
    /// Who brings it.
    pub by: PersonName,
    /// What Cedar says of [`PersonAction::AskBreakGlass`] or [`PersonAction::ConfirmBreakGlass`] by this person.
    pub authorised: Authorisation,
    /// The record.
    pub record: Record,
    /// For the incident that a confirmation opens.
    pub incident: IncidentId,
}

pub(super) fn decide(state: &State, now: Now, said: &SayBreakGlass) -> Decision {
    let by = &said.by;
    let mine = matches!(&said.record.author, Author::Person { person } if person == by);
    let body = &said.record.body;
    let (action, resource, accepted) = if let (Body::BreakGlassAsked(asked), true) = (body, mine) {
        let resource = format!("person:{by}/{}", asked.held());
        (PersonAction::AskBreakGlass, resource, ask(state, now, by, asked).map(|()| None))
    } else if let (Body::BreakGlassOpened(opened), true) = (body, mine) {
        let resource = format!("break-glass:{}", opened.ask);
        let incident = confirm(state, now, by, opened).map(|known| Some(called(now, said.incident, known, by)));
        (PersonAction::ConfirmBreakGlass, resource, incident)
    } else {
        return Decision::nothing(Outcome::PersonRefused(PersonRefusal::NoBreakGlass(by.clone())));
    };
    let on_record = |policies: Vec<String>, refusal| {
        let record = ActionRefused { by: by.clone(), action: action.as_str().to_owned(), resource, policies };
        let append = Decision::own(vec![Body::ActionRefused(Box::new(record))]).append;
        Decision { append, outcome: Outcome::PersonRefused(refusal) }
    };
    if let Authorisation::Denied { policies } = &said.authorised {
        let refusal = PersonRefusal::NotAuthorised { by: by.clone(), action, policies: policies.clone() };
        return on_record(policies.clone(), refusal);
    }
    match accepted {
        Ok(incident) => {
            let append = std::iter::once(Append::PersonEnvelope).chain(incident.map(Append::Own)).collect();
            Decision { append, outcome: Outcome::Done }
        }
        // An auditor will look for these.
        Err(PersonRefusal::NoSecondPerson { by, because }) => {
            let refusal = PersonRefusal::NoSecondPerson { by, because };
            on_record(vec![because.rule().to_owned()], refusal)
        }
        Err(refusal) => Decision::nothing(Outcome::PersonRefused(refusal)),
    }
}

fn ask(state: &State, now: Now, by: &PersonName, asked: &BreakGlassAsked) -> Result<(), PersonRefusal> {
    sound(&asked.why)?;
    let at = state.glasses.time(now.wall);
    if asked.expires_at <= at || asked.expires_at > at.plus(MAX_ASK_WAITS) {
        return Err(PersonRefusal::AskWaits);
    }
    match (asked.role.reach(), &asked.team) {
        (Reach::Installation, Some(_)) => return Err(PersonRefusal::RoleHasNoTeam(asked.role)),
        (Reach::Installation, None) | (Reach::Team, None | Some(_)) => {}
    }
    if state.roles(by).contains(&asked.held()) {
        return Err(PersonRefusal::RoleHeld { person: by.clone(), role: asked.held() });
    }
    if state.glass(asked.ask).is_some() {
        return Err(PersonRefusal::AskKnown(asked.ask));
    }
    state.glasses.live(by, now.wall).map_or(Ok(()), |live| Err(PersonRefusal::AskStands(live.asked.ask)))
}

/// The ask that is confirmed.
fn confirm<'a>(
    state: &'a State,
    now: Now,
    by: &PersonName,
    opened: &BreakGlassOpened,
) -> Result<&'a KnownGlass, PersonRefusal> {
    let ask = opened.ask;
    let known = state.glass(ask).ok_or(PersonRefusal::UnknownAsk(ask))?;
    let over = |because| PersonRefusal::AskOver { ask, because };
    match state.glass_standing(known, now.wall) {
        GlassStanding::Waiting => {}
        GlassStanding::Expired => return Err(over(AskEnd::Expired)),
        GlassStanding::Open { .. } | GlassStanding::Over => return Err(over(AskEnd::Confirmed)),
        GlassStanding::Closed => return Err(over(AskEnd::Closed)),
    }
    if opened.asked != known.envelope {
        return Err(PersonRefusal::OtherAsk(ask));
    }
    let tie = |because| PersonRefusal::NoSecondPerson { by: by.clone(), because };
    if *by == known.by || state.signing_key(by) == Some(known.key.as_str()) {
        return Err(tie(Tie::Same));
    }
    if state.vouched(by, &known.by) {
        return Err(tie(Tie::Registered));
    }
    // Whoever asked, and nobody who came into their place since.
    if state.roles(&known.by).is_empty() || state.signing_key(&known.by) != Some(known.key.as_str()) {
        return Err(PersonRefusal::AskerLost(known.by.clone()));
    }
    Ok(known)
}

/// People are called: nobody breaks the glass in silence.
fn called(now: Now, incident: IncidentId, known: &KnownGlass, confirmed_by: &PersonName) -> Body {
    let cause = IncidentCause::BrokenGlass {
        ask: known.asked.ask,
        person: known.by.clone(),
        role: known.asked.held(),
        confirmed_by: confirmed_by.clone(),
        until: now.wall.plus(BREAK_GLASS_LASTS),
    };
    Body::IncidentOpened(Box::new(IncidentOpened { incident, host: None, check: None, cause }))
}
