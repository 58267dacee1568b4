//! Enrolment and certificates of hosts.
//!
//! The proof of the token (an HMAC over the session) and the certificate's template are the rim's; here
//! the token is used up, once, and generations are compared and set.
//!
//! A host is enrolled once. When its certificate has expired, or was lost, the holder of its record key gets
//! the next one under a new token: same host, same chain of records, and no second enrolment.

use super::{Append, Decision, Outcome};
use crate::core::hosts::Host;
use crate::core::now::Now;
use crate::core::people::Token;
use crate::core::state::State;
use fettle_model::counter::CertificateGeneration;
use fettle_model::host::HostState;
use fettle_model::id::{HostId, TokenId};
use fettle_model::identity::{Principal, SpiffeId};
use fettle_model::name::{EnvironmentName, HostName};
use fettle_model::record::{Body, CertificateIssued, HostEnrolled, HostStateSet};
use fettle_model::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// A certificate that the rim would issue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewCertificate {
    /// Its serial number in lower-case hexadecimal.
    pub serial: String,
    /// When it ends.
    pub not_after: UnixMillis,
}

/// A host that proved to hold a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrol {
    /// The id that the rim minted for it, or the one that the record key's holder has.
    pub host: HostId,
    /// Its name for people.
    pub name: HostName,
    /// The environment that its owner wrote down.
    pub environment: EnvironmentName,
    /// The 32 public bytes of its record key, base64.
    pub record_key: String,
    /// The token.
    pub token: TokenId,
    /// Its certificate.
    pub certificate: NewCertificate,
    /// The certificate's count, as the rim has written it into its answer: 1 for a new host.
    pub generation: CertificateGeneration,
}

/// A host that asks for its next certificate with its present one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotateCertificate {
    /// The host.
    pub host: HostId,
    /// The generation of the certificate that it presented.
    pub presented: CertificateGeneration,
    /// Whether the newest certificate was ever presented.
    pub newest: NewestCertificate,
    /// The next one.
    pub certificate: NewCertificate,
}

/// A host presented a certificate that is not live any more: there is a copy of its disk, or it was
/// restored from a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadCertificate {
    /// The host.
    pub host: HostId,
    /// The serial number of what it presented.
    pub serial: String,
}

/// Whether a host has been seen with the newest certificate that was issued to it. The rim knows it from
/// the connections; it is not in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewestCertificate {
    /// It has: an older one is a clone's, or comes from a backup.
    Used,
    /// Not yet: the answer that carried it may have been lost, and the one before may ask again.
    NotSeen,
}

/// Why a host is not enrolled, or gets no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnrolmentRefusal {
    /// The log is not open yet.
    #[error("the control plane is not initialised")]
    NotInitialised,
    /// No such token, or it has expired.
    #[error("the token {0} is unknown or has expired")]
    TokenUnknown(TokenId),
    /// The token was used.
    #[error("the token {0} was used before")]
    TokenUsed(TokenId),
    /// The token enrols another host name.
    #[error("the token enrols only the host {expected}")]
    OtherName {
        /// The name that it enrols.
        expected: HostName,
    },
    /// The token enrols into another environment.
    #[error("the token enrols into the environment {expected}")]
    OtherEnvironment {
        /// The environment.
        expected: EnvironmentName,
    },
    /// Another host that is not revoked has the name.
    #[error("the name {0} belongs to another host, with another record key; revoke that one if it is gone for good")]
    NameTaken(HostName),
    /// The id, or the record key, belongs to a host of another name or in another environment.
    #[error("the host id or the record key is known already, under another name or in another environment")]
    IdentityKnown,
    /// The host got another certificate meanwhile.
    #[error("another certificate was issued to the host at the same time; ask again")]
    Overtaken,
    /// The host was never enrolled.
    #[error("the host {0} is not enrolled")]
    UnknownHost(HostId),
    /// The host's identity is withdrawn.
    #[error("the host {0} is revoked")]
    Revoked(HostId),
    /// The host presented another certificate than its newest: it is a clone, or was restored from a
    /// backup. It is quarantined.
    #[error("certificate {presented} was presented, and {newest} is the newest")]
    GenerationStale {
        /// What it presented.
        presented: CertificateGeneration,
        /// Its newest.
        newest: CertificateGeneration,
    },
    /// The host presented a certificate that is not live. It is quarantined.
    #[error("the certificate {serial} was replaced")]
    CertificateDead {
        /// Its serial number.
        serial: String,
    },
}

pub(super) fn enrol(state: &State, now: Now, enrol: &Enrol) -> Decision {
    let admitted = subject(state, enrol.host).and_then(|subject| {
        let token = usable(state, now, enrol)?;
        Ok((subject, token, place(state, enrol)?))
    });
    let (subject, token, place) = match admitted {
        Ok(found) => found,
        Err(refusal) => return Decision::nothing(Outcome::EnrolmentRefused(refusal)),
    };
    let under = match place {
        HostPlace::New => None,
        HostPlace::Back => Some(enrol.token),
    };
    let issued = issued(subject, enrol.generation, &enrol.certificate, under);
    if place == HostPlace::Back {
        return Decision::own(vec![issued]);
    }
    let enrolled = HostEnrolled {
        host: enrol.host,
        name: enrol.name.clone(),
        environment: token.created.environment.clone(),
        record_key: enrol.record_key.clone(),
        token: enrol.token,
    };
    Decision::own(vec![Body::HostEnrolled(Box::new(enrolled)), issued])
}

fn usable<'a>(state: &'a State, now: Now, enrol: &Enrol) -> Result<&'a Token, EnrolmentRefusal> {
    let token = state
        .token(enrol.token)
        .filter(|token| token.created.expires_at > now.wall)
        .ok_or(EnrolmentRefusal::TokenUnknown(enrol.token))?;
    if token.used.is_some() {
        return Err(EnrolmentRefusal::TokenUsed(enrol.token));
    }
    match &token.created.host {
        Some(expected) if expected != &enrol.name => {
            return Err(EnrolmentRefusal::OtherName { expected: expected.clone() });
        }
        Some(_) | None => {}
    }
    if token.created.environment != enrol.environment {
        return Err(EnrolmentRefusal::OtherEnvironment { expected: token.created.environment.clone() });
    }
    Ok(token)
}

/// Whether a host that enrols is a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HostPlace {
    New,
    /// It is enrolled, and needs a certificate.
    Back,
}

fn place(state: &State, enrol: &Enrol) -> Result<HostPlace, EnrolmentRefusal> {
    let (place, newest) = match state
        .host(enrol.host)
        .filter(|host| host.is_known_as(&enrol.record_key, &enrol.name, &enrol.environment))
    {
        Some(host) if host.state == HostState::Revoked => return Err(EnrolmentRefusal::Revoked(host.id)),
        Some(host) => (HostPlace::Back, host.certificates.newest),
        None => {
            has_no_double(state, enrol)?;
            (HostPlace::New, CertificateGeneration(0))
        }
    };
    if enrol.generation == newest.next() { Ok(place) } else { Err(EnrolmentRefusal::Overtaken) }
}

fn has_no_double(state: &State, enrol: &Enrol) -> Result<(), EnrolmentRefusal> {
    let same_identity = |host: &Host| host.id == enrol.host || host.record_key == enrol.record_key;
    if state.hosts().any(same_identity) {
        return Err(EnrolmentRefusal::IdentityKnown);
    }
    let same_name = |host: &Host| host.name == enrol.name && host.state != HostState::Revoked;
    if state.hosts().any(same_name) {
        return Err(EnrolmentRefusal::NameTaken(enrol.name.clone()));
    }
    Ok(())
}

pub(super) fn rotate(state: &State, rotate: &RotateCertificate) -> Decision {
    let refused = |refusal| Decision::nothing(Outcome::EnrolmentRefused(refusal));
    let subject = match subject(state, rotate.host) {
        Ok(subject) => subject,
        Err(refusal) => return refused(refusal),
    };
    let Some(host) = state.host(rotate.host) else {
        return refused(EnrolmentRefusal::UnknownHost(rotate.host));
    };
    if host.state == HostState::Revoked {
        return refused(EnrolmentRefusal::Revoked(rotate.host));
    }
    let (presented, newest) = (rotate.presented, host.certificates.newest);
    let answer_lost = rotate.newest == NewestCertificate::NotSeen && presented.next() == newest;
    if presented == newest || answer_lost {
        // Whose answer was lost gets the same count again: however often that happens, it falls no further
        // behind.
        return Decision::own(vec![issued(subject, presented.next(), &rotate.certificate, None)]);
    }
    let why = format!("certificate {presented} was presented, and {newest} is the newest");
    let append = quarantined(host, why);
    Decision { append, outcome: Outcome::EnrolmentRefused(EnrolmentRefusal::GenerationStale { presented, newest }) }
}

/// Quarantines the holder of a certificate that is not live any more.
pub(super) fn dead(state: &State, dead: &DeadCertificate) -> Decision {
    let Some(host) = state.host(dead.host) else {
        return Decision::nothing(Outcome::EnrolmentRefused(EnrolmentRefusal::UnknownHost(dead.host)));
    };
    let serial = dead.serial.clone();
    let append = quarantined(host, format!("the certificate {serial} was presented, and it was replaced"));
    Decision { append, outcome: Outcome::EnrolmentRefused(EnrolmentRefusal::CertificateDead { serial }) }
}

fn quarantined(host: &Host, why: String) -> Vec<Append> {
    match host.state {
        HostState::Active => {
            let set = HostStateSet { host: host.id, state: HostState::Quarantined, by: None, why };
            vec![Append::Own(Body::HostStateSet(Box::new(set)))]
        }
        HostState::Quarantined | HostState::Revoked => Vec::new(),
    }
}

fn subject(state: &State, host: HostId) -> Result<SpiffeId, EnrolmentRefusal> {
    let opened = state.log().ok_or(EnrolmentRefusal::NotInitialised)?;
    Ok(SpiffeId { trust_domain: opened.trust_domain.clone(), principal: Principal::Agent(host) })
}

fn issued(
    subject: SpiffeId,
    generation: CertificateGeneration,
    certificate: &NewCertificate,
    token: Option<TokenId>,
) -> Body {
    Body::CertificateIssued(Box::new(CertificateIssued {
        subject,
        serial: certificate.serial.clone(),
        generation,
        not_after: certificate.not_after,
        token,
    }))
}
