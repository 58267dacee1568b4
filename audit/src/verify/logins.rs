//! Logins at an OpenID provider: whether the identity was the person's there, the token young and new, and the
//! certificate the one that was issued. What the provider signed is not in the log; its verification is the control plane's.

use super::finding::{At, Rule};
use fettle_model::counter::LogPosition;
use fettle_model::digest::DocumentDigest;
use fettle_model::identity::Principal;
use fettle_model::login::{IdentityRegistered, MAX_CLOCK_LEAD, MAX_TOKEN_AGE, OidcIdentity, PersonLoggedIn};
use fettle_model::name::PersonName;
use fettle_model::record::{Body, CertificateIssued};
use fettle_model::time::UnixMillis;
use std::collections::BTreeMap;

/// Whose identities are good, and which tokens are used up.
#[derive(Debug, Clone, Default)]
pub(super) struct Logins {
    good: BTreeMap<OidcIdentity, PersonName>,
    /// Until when a token that was used would be young enough to be used again.
    used: BTreeMap<DocumentDigest, UnixMillis>,
    /// The newest login, whose certificate comes next.
    awaited: Option<(LogPosition, PersonLoggedIn)>,
}

impl Logins {
    /// Takes the next record, whatever it is.
    pub(super) fn see(&mut self, body: &Body, now: UnixMillis, at: &mut At<'_>) {
        if let Some((login, given)) = self.awaited.take()
            && !matches!(body, Body::CertificateIssued(issued) if is_of(issued, &given))
        {
            let words = format!("the login of {} at record {login} is not followed by its certificate", given.person);
            at.flag(Rule::Login, words);
        }
        if let Body::IdentityRegistered(registered) = body {
            self.register(registered, at);
        } else if let Body::PersonRevoked(revoked) = body {
            self.good.retain(|_, person| person != &revoked.person);
        } else if let Body::PersonLoggedIn(login) = body {
            self.log_in(login, now, at);
            self.awaited = Some((at.position, (**login).clone()));
        }
    }

    /// One identity is one person, and one person has one.
    fn register(&mut self, registered: &IdentityRegistered, at: &mut At<'_>) {
        let IdentityRegistered { person, identity, .. } = registered;
        if self.good.get(identity).is_some_and(|other| other != person) {
            at.flag(Rule::Login, format!("the identity {identity} was another person's, and became that of {person}"));
        }
        if self.good.iter().any(|(other, of)| of == person && other != identity) {
            at.flag(Rule::Login, format!("{person} had another identity, and {identity} became theirs"));
        }
        self.good.insert(identity.clone(), person.clone());
    }

    fn log_in(&mut self, login: &PersonLoggedIn, now: UnixMillis, at: &mut At<'_>) {
        let PersonLoggedIn { person, identity, token, issued_at, not_after, .. } = login;
        if self.good.get(identity) != Some(person) {
            at.flag(Rule::Login, format!("{person} logged in by {identity}, which was not registered as theirs"));
        }
        self.used.retain(|_, until| *until >= now);
        if self.used.insert(*token, issued_at.plus(MAX_TOKEN_AGE)).is_some() {
            at.flag(Rule::Login, format!("{person} logged in by a token that was used before"));
        }
        if issued_at.plus(MAX_TOKEN_AGE) < now || *issued_at > now.plus(MAX_CLOCK_LEAD) {
            at.flag(Rule::Login, format!("{person} logged in by a token that was too old, or from the future"));
        }
        if *not_after <= now {
            at.flag(Rule::Login, format!("{person} logged in for a certificate that had ended"));
        }
    }
}

fn is_of(issued: &CertificateIssued, login: &PersonLoggedIn) -> bool {
    issued.subject.principal == Principal::Person(login.person.clone())
        && issued.serial == login.serial
        && issued.not_after == login.not_after
}
