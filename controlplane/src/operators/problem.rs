//! Why something was not done, with what a person can do about it.

use crate::core::PersonRefusal;
use crate::time_text::utc;
use fettle_model::login::OidcIdentity;
use fettle_model::name::PersonName;
use fettle_oidc::token::TokenRefused;
use fettle_proto::operator::{Problem, ProblemCode};
use tonic::{Code, Status};

/// A problem as it travels: its JSON in the status's details.
pub(super) fn status(problem: Problem) -> Status {
    let code = match problem.code {
        ProblemCode::Invalid => Code::InvalidArgument,
        ProblemCode::NotFound => Code::NotFound,
        ProblemCode::Conflict => Code::Aborted,
        ProblemCode::Denied => Code::PermissionDenied,
        ProblemCode::Refused => Code::FailedPrecondition,
        ProblemCode::Unavailable => Code::Unavailable,
        ProblemCode::Internal => Code::Internal,
    };
    // Without its details a status still has code and message.
    let details = serde_json::to_vec(&problem).unwrap_or_default();
    Status::with_details(code, problem.message, details.into())
}

/// The document itself is wrong.
pub(super) fn invalid(message: impl Into<String>, remedy: impl Into<String>) -> Status {
    status(Problem { code: ProblemCode::Invalid, message: message.into(), remedy: remedy.into() })
}

/// A thing that it names does not exist.
pub(super) fn not_found(message: impl Into<String>, remedy: impl Into<String>) -> Status {
    status(Problem { code: ProblemCode::NotFound, message: message.into(), remedy: remedy.into() })
}

/// It may go in a while.
pub(super) fn unavailable(message: impl Into<String>, remedy: impl Into<String>) -> Status {
    status(Problem { code: ProblemCode::Unavailable, message: message.into(), remedy: remedy.into() })
}

/// What helps whose certificate was withdrawn.
const ADDED_ANEW: &str = "ask an administrator to add you anew: fettle person add";

/// What helps where the log does not have it that a version's scenarios passed.
const SCENARIOS_RUN: &str =
    "mend what fails (fettle playbook test), then publish it, which runs its scenarios: fettle playbook publish";

/// The caller's certificate was withdrawn, whatever roles they have.
pub(super) fn withdrawn(by: &PersonName, action: &str) -> Problem {
    let message = format!("{by} may not {action}: their certificate was withdrawn");
    Problem { code: ProblemCode::Denied, message, remedy: ADDED_ANEW.to_owned() }
}

/// Cedar says no.
pub(super) fn denied(by: &PersonName, action: &str, policies: &[String]) -> Problem {
    let because = match policies {
        [] => "no policy permits it".to_owned(),
        policies => format!("forbidden by {}", policies.join(", ")),
    };
    Problem {
        code: ProblemCode::Denied,
        message: format!("{by} may not {action}: {because}"),
        remedy: "ask an administrator for the role that permits it: fettle person grant".to_owned(),
    }
}

/// No provider is configured.
pub(super) fn no_provider() -> Status {
    status(Problem {
        code: ProblemCode::Refused,
        message: "this control plane has no OpenID provider".to_owned(),
        remedy: "name one in [oidc] in its controlplane.toml and start it again; until then people get in by \
                 certificate: fettle person add NAME --role ROLE --out DIR"
            .to_owned(),
    })
}

/// Nobody is let in by this identity.
pub(super) fn unknown_identity(identity: &OidcIdentity) -> Problem {
    Problem {
        code: ProblemCode::Denied,
        message: format!("nobody is let in as {identity}"),
        remedy: format!(
            "an administrator registers it: fettle person add NAME --role ROLE --oidc-subject {}",
            identity.subject
        ),
    }
}

/// A token does not prove what is wanted.
pub(super) fn token_refused(refused: &TokenRefused) -> Problem {
    let (code, remedy) = match refused {
        TokenRefused::TooLong { .. } | TokenRefused::Malformed | TokenRefused::Other { .. } => {
            (ProblemCode::Invalid, "let `fettle login` ask for the token; have the provider put less into it")
        }
        TokenRefused::UnknownKey | TokenRefused::Signature | TokenRefused::Subject(_) => {
            (ProblemCode::Denied, "see that [oidc] in controlplane.toml names the provider that people log in at")
        }
        TokenRefused::Issuer { .. } | TokenRefused::Audience { .. } => {
            (ProblemCode::Denied, "see issuer and client-id in [oidc] in controlplane.toml, and log in again")
        }
        TokenRefused::OtherKey => (ProblemCode::Denied, "log in again: a token is good for one key only"),
        TokenRefused::Expired => {
            (ProblemCode::Denied, "log in again; compare the clocks of the provider and the control plane")
        }
        TokenRefused::Context { .. } => {
            (ProblemCode::Denied, "log in with what the provider asks for then, such as a second factor")
        }
        TokenRefused::AuthenticationAge { .. } => {
            (ProblemCode::Denied, "log out at the provider, and log in again with your credentials")
        }
    };
    Problem { code, message: format!("{:#}", anyhow::Error::from(refused.clone())), remedy: remedy.to_owned() }
}

/// The leader's refusal.
pub(super) fn refused(refusal: &PersonRefusal) -> Status {
    use PersonRefusal as Refusal;
    if let Refusal::NotAuthorised { by, action, policies } = refusal {
        return status(denied(by, action.as_str(), policies));
    }
    if let Refusal::IdentityUnknown(identity) = refusal {
        return status(unknown_identity(identity));
    }
    if let Refusal::TokensOpen { clears_at } = refusal {
        let remedy = format!(
            "enrol hosts with those that are there, or wait: the first expires at {}; \
             give the next ones a shorter life: fettle token create --ttl 10m",
            utc(*clears_at)
        );
        return status(Problem { code: ProblemCode::Refused, message: refusal.to_string(), remedy });
    }
    let (code, remedy) = remedy(refusal);
    let message = format!("{:#}", anyhow::Error::from(refusal.clone()));
    status(Problem { code, message, remedy: remedy.to_owned() })
}

/// What kind of refusal it is, and what helps.
fn remedy(refusal: &PersonRefusal) -> (ProblemCode, &'static str) {
    use PersonRefusal as Refusal;
    match refusal {
        Refusal::NotAuthorised { .. } | Refusal::IdentityUnknown(_) => (ProblemCode::Denied, "ask an administrator"),
        Refusal::CertificateWithdrawn(_) => (ProblemCode::Denied, ADDED_ANEW),
        Refusal::SigningKeyStands(_) => (
            ProblemCode::Refused,
            "use the profile that has the key; where it is lost, an administrator adds you anew: fettle person add",
        ),
        Refusal::SigningKeyKnown => (ProblemCode::Conflict, "let `fettle person` make a new key"),
        Refusal::LogInAgain(_) => (ProblemCode::Refused, "log in again: fettle login"),
        Refusal::IdentityTaken { .. } => {
            (ProblemCode::Conflict, "register the person's own identity, or revoke the other person first")
        }
        Refusal::PersonHasIdentity { .. } => {
            (ProblemCode::Conflict, "revoke the person first, which ends the other identity: fettle person revoke")
        }
        Refusal::TokenUsed => (ProblemCode::Denied, "log in again: a token logs in once"),
        Refusal::TokenAge { .. } => {
            (ProblemCode::Denied, "log in again; compare the clocks of the provider and the control plane")
        }
        Refusal::NoSigningKey(_) => (ProblemCode::Refused, "make and register one: fettle person key"),
        Refusal::OtherSigningKey(_) => (
            ProblemCode::Denied,
            "use the profile whose signing key is registered, or have an administrator add you anew",
        ),
        Refusal::NoApproval(_) => (ProblemCode::Invalid, "let `fettle approve` or `fettle reject` make and sign it"),
        Refusal::UnknownProposal(_) => (ProblemCode::NotFound, "see: fettle proposal list"),
        Refusal::ProposalOver { .. } => (
            ProblemCode::Refused,
            "see what waits: fettle proposal list; where the fault is still there, fettle run start has it planned anew",
        ),
        Refusal::ProposalGranted { .. } => (ProblemCode::Refused, "see what came of it: fettle run list"),
        Refusal::OtherRequest { .. } => (ProblemCode::Conflict, "look at the proposal again: fettle proposal show"),
        Refusal::NotIndependent { .. } => (ProblemCode::Denied, "ask another approver of the service's team"),
        Refusal::ApprovedAlready { .. } => {
            (ProblemCode::Refused, "it waits for another approver: fettle proposal show")
        }
        Refusal::UnknownPerson(_) => (ProblemCode::NotFound, "see who was given a role: fettle log list"),
        Refusal::NoBreakGlass(_) => (ProblemCode::Invalid, "let `fettle break-glass` make and sign it"),
        Refusal::AskWaits => (ProblemCode::Invalid, "let `fettle break-glass ask` make it; compare the clocks"),
        Refusal::AskKnown(_) => (ProblemCode::Conflict, "ask anew: fettle break-glass ask"),
        Refusal::AskStands(_) => (
            ProblemCode::Refused,
            "there is no extension: let it end, or close it (fettle break-glass close), and ask anew",
        ),
        Refusal::RoleHeld { .. } => (ProblemCode::Refused, "use it; nothing needs to be broken"),
        Refusal::UnknownAsk(_) => (ProblemCode::NotFound, "see: fettle break-glass list"),
        Refusal::AskOver { .. } => (ProblemCode::Refused, "they ask anew: fettle break-glass ask"),
        Refusal::OtherAsk(_) => (ProblemCode::Conflict, "look at it again: fettle break-glass list"),
        Refusal::NoSecondPerson { .. } => {
            (ProblemCode::Denied, "somebody else confirms it, whom neither registered nor was registered by who asks")
        }
        Refusal::AskerLost(_) => (ProblemCode::Refused, "they ask anew, with the key that stands for them"),
        Refusal::RoleNotHeld { .. } => (ProblemCode::NotFound, "see what they hold: fettle log list"),
        Refusal::LastAdministrator(_) => (
            ProblemCode::Refused,
            "add another administrator first: fettle person add NAME --role administrator; where no good key is left, \
             fettle-controlplane operator writes a fresh profile at the control plane's console",
        ),
        Refusal::RoleHasNoTeam(_) => {
            (ProblemCode::Invalid, "leave --team out: nothing that it allows is about a service")
        }
        Refusal::Why => (ProblemCode::Invalid, "give a short reason in one line"),
        Refusal::TokenValidity => (ProblemCode::Invalid, "give a shorter validity, such as 1h"),
        Refusal::TokensOpen { .. } => (ProblemCode::Refused, "wait until one expires"),
        Refusal::TokenKnown(_) => (ProblemCode::Conflict, "try again"),
        Refusal::ConfigurationChanged { .. } => {
            (ProblemCode::Conflict, "look at the configuration in force, and apply again")
        }
        Refusal::NoRollout | Refusal::RolloutRuns => (ProblemCode::Refused, "see where it is: fettle rollout show"),
        Refusal::Configuration(_) => (ProblemCode::Invalid, "correct the files and apply again"),
        Refusal::PlaybookNotAdmitted { .. } => (ProblemCode::NotFound, "publish the playbook first"),
        Refusal::Parameters { .. } => (ProblemCode::Invalid, "see the playbook's parameters: fettle playbook show"),
        Refusal::PublisherNotTrusted(_) => {
            (ProblemCode::Refused, "an administrator trusts the key first: fettle publisher trust NAME PUBLIC_KEY")
        }
        Refusal::PublisherDiffers { .. } => (ProblemCode::Refused, "publish it under another name"),
        Refusal::ScenarioReport(_) | Refusal::NoScenarios(_) => (ProblemCode::Refused, SCENARIOS_RUN),
        Refusal::NotStopped(_) => (ProblemCode::Refused, "see what is stopped: fettle status"),
        Refusal::FreezeLength { .. } => (ProblemCode::Invalid, "declare a longer one as [[freeze]]: fettle apply"),
        Refusal::TooManyFreezes => (ProblemCode::Refused, "lift one first: fettle freeze list"),
        Refusal::NotFrozen(_) => (ProblemCode::NotFound, "see what is frozen: fettle freeze list"),
        Refusal::MuteLength { .. } => (ProblemCode::Invalid, "mute it for a shorter time, and again when that is over"),
        Refusal::TooManyMutes => (ProblemCode::Refused, "lift one first: fettle mute list"),
        Refusal::NotMuted(_) => (ProblemCode::NotFound, "see what is muted: fettle mute list"),
        Refusal::UnknownHost(_) => (ProblemCode::NotFound, "see the hosts: fettle host list"),
        Refusal::HostNotActive(_) => (ProblemCode::Refused, "see why: fettle host show"),
        Refusal::Revoked(_) => (ProblemCode::Refused, "enrol the host anew with a join token"),
        Refusal::NoRemediation(_) => (ProblemCode::NotFound, "apply a remediation that answers this check"),
        Refusal::DrillsRefused(_) => {
            (ProblemCode::Refused, "drill a staging host that carries the service and whose agent.toml allows drills")
        }
        Refusal::FaultRefused { .. } => (
            ProblemCode::Refused,
            "choose another drill of the playbook, or let the owner add [service.NAME.faults] to agent.toml",
        ),
        Refusal::DrillMode(_) => (ProblemCode::Refused, "set the remediation's mode in staging to auto"),
        Refusal::UndeclaredFault => (ProblemCode::NotFound, "see the playbook's drills: fettle playbook show"),
        Refusal::DrillRuns(_) => (ProblemCode::Refused, "wait until the drill that runs has ended"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::time::UnixMillis;

    #[test]
    fn too_many_open_tokens_are_a_refusal_with_limit_time_and_command() {
        let told = refused(&PersonRefusal::TokensOpen { clears_at: UnixMillis(1_795_731_481_000) });
        assert_eq!(told.code(), Code::FailedPrecondition);
        let problem: Problem = serde_json::from_slice(told.details()).expect("a problem");
        assert_eq!(problem.code, ProblemCode::Refused);
        assert_eq!(problem.message, "20000 join tokens are open, and no more may be");
        for part in ["2026-11-26T22:18:01Z", "fettle token create --ttl"] {
            assert!(problem.remedy.contains(part), "{}", problem.remedy);
        }
    }
}
