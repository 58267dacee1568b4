//! What people ask for.
//!
//! Cedar has answered outside. A denial becomes an action-refused record and a refusal; a request that
//! is allowed but makes no sense (a playbook that is not admitted, a drill in production) is only refused.

mod configuration;
mod drills;
mod freezes;
mod glass;
mod hosts;
mod keys;
mod login;
mod mutes;
mod orders;
mod publication;
mod refusal;
mod request;
mod revocation;
mod roles;
mod rollouts;
mod tokens;

pub(in crate::core) use configuration::sound as sound_configuration;
pub(in crate::core) use drills::{Wanted, start as start_drill};
pub use refusal::{AskEnd, Involvement, PersonRefusal, Tie};
pub use request::{OWN_CERTIFICATE, OWN_SIGNING_KEY, PersonRequest, SignedReport, VerifiedLogin};
pub(super) use roles::certified;
pub use tokens::{MAX_OPEN_TOKENS, MAX_TOKEN_VALIDITY};

use super::{Decision, Outcome};
use crate::core::authorisation::Authorisation;
use crate::core::now::Now;
use crate::core::state::State;
use fettle_model::name::PersonName;
use fettle_model::record::{ActionRefused, Body};

/// Longest reason that a person gives: a line on a wide screen, twice.
pub const MAX_WHY_BYTES: usize = 400;

/// A person's request with Cedar's answer to it.
#[derive(Debug, Clone)]
pub struct PersonCommand {
    /// Who.
    pub by: PersonName,
    /// What Cedar says of [`PersonRequest::action`] by this person.
    pub authorised: Authorisation,
    /// What.
    pub request: PersonRequest,
}

pub(super) fn decide(state: &State, now: Now, command: &PersonCommand) -> Decision {
    let refused = |refusal| Decision::nothing(Outcome::PersonRefused(refusal));
    match &command.authorised {
        Authorisation::Allowed => match accept(state, now, &command.by, &command.request) {
            Ok(bodies) if bodies.is_empty() => Decision::nothing(Outcome::Unchanged),
            Ok(bodies) => Decision::own(bodies),
            Err(refusal) => refused(refusal),
        },
        Authorisation::Denied { policies } => {
            let (by, action) = (command.by.clone(), command.request.action());
            let record = ActionRefused {
                by: by.clone(),
                action: action.as_str().to_owned(),
                resource: command.request.resource(),
                policies: policies.clone(),
            };
            let append = Decision::own(vec![Body::ActionRefused(Box::new(record))]).append;
            let refusal = PersonRefusal::NotAuthorised { by, action, policies: policies.clone() };
            Decision { append, outcome: Outcome::PersonRefused(refusal) }
        }
    }
}

/// The bodies to append; none when it is so already.
fn accept(state: &State, now: Now, by: &PersonName, request: &PersonRequest) -> Result<Vec<Body>, PersonRefusal> {
    match request {
        PersonRequest::CreateToken { token, environment, host, valid_for } => {
            tokens::create(state, now, by, *token, environment, host.as_ref(), *valid_for)
        }
        PersonRequest::SetConfiguration { declared, replaces } => configuration::set(state, by, declared, *replaces),
        PersonRequest::OrderRollout { order, seen, why } => rollouts::order(state, by, *order, *seen, why),
        PersonRequest::AdmitPlaybook { admission, report, key } => {
            publication::admit(state, by, admission, report.as_deref(), key)
        }
        PersonRequest::TrustPublisher { publisher, key } => Ok(publication::trust(state, by, publisher, key)),
        PersonRequest::GrantRole { person, role } => roles::grant(state, by, person, role),
        PersonRequest::AddPerson { person, role, certificate, signing_key } => {
            roles::add(state, by, person, role, certificate, signing_key)
        }
        PersonRequest::SetSigningKey { shown, signing_key } => keys::set_own(state, by, shown, signing_key),
        PersonRequest::RegisterPerson { person, role, identity } => login::register(state, by, person, role, identity),
        PersonRequest::LogIn { login, certificate } => login::log_in(state, now, by, login, certificate),
        PersonRequest::RenewCertificate { shown, certificate } => roles::renew(state, by, shown, certificate),
        PersonRequest::RevokePerson { person, why } => revocation::decide(state, by, person, why),
        PersonRequest::RevokeRole { person, role, why } => revocation::end_role(state, by, person, role, why),
        PersonRequest::CloseBreakGlass { ask, why } => glass::close(state, now, by, *ask, why),
        PersonRequest::Stop { scope, why } => orders::stop(state, by, scope, why),
        PersonRequest::Resume { scope, why } => orders::resume(state, by, scope, why),
        PersonRequest::Freeze { freeze, scope, lasts, why } => {
            freezes::declare(state, now, by, *freeze, scope, *lasts, why)
        }
        PersonRequest::LiftFreeze { freeze, scope, why } => freezes::lift(state, now, by, *freeze, scope, why),
        PersonRequest::Mute { mute, scope, lasts, why } => mutes::start(state, now, by, *mute, scope, *lasts, why),
        PersonRequest::LiftMute { mute, scope, why } => mutes::lift(state, now, by, *mute, scope, why),
        PersonRequest::StartDrill { drill, host, check, fault, rung } => {
            let (drill, host, rung) = (*drill, *host, *rung);
            drills::start(state, now, Wanted { drill, host, check, fault, rung, by, scheduled: None })
        }
        PersonRequest::WishRun { host, check } => drills::wish(state, by, *host, check),
        PersonRequest::SetHostState { host, state: wanted, why } => hosts::set_state(state, by, *host, *wanted, why),
    }
}

fn unless(known: bool, body: Body) -> Vec<Body> {
    if known { Vec::new() } else { vec![body] }
}

pub(super) fn sound(why: &str) -> Result<String, PersonRefusal> {
    let sound = !why.trim().is_empty() && why.len() <= MAX_WHY_BYTES && !why.chars().any(char::is_control);
    if sound { Ok(why.to_owned()) } else { Err(PersonRefusal::Why) }
}

#[cfg(test)]
mod tests;
