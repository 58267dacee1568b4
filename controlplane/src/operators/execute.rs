//! Commands: names become ids, secrets are minted, and the leader is asked.

use super::problem::{invalid, no_provider, not_found, refused, unavailable};
use super::{Asked, Caller};
use crate::core::{NewCertificate, OWN_CERTIFICATE, OWN_SIGNING_KEY, Outcome, PersonAction, PersonRequest, Subject};
use crate::gateway::{Shared, as_new, gone, internal};
use crate::leader::Done;
use crate::mint;
use crate::vault::VaultError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fettle_audit::key::PublicKey;
use fettle_audit::person_key;
use fettle_audit::signed_record::UnverifiedRecord;
use fettle_certs::authority::Subject as Holder;
use fettle_certs::csr::{MAX_CSR_BYTES, ProvenKey};
use fettle_certs::token::JoinToken;
use fettle_model::breaker::Scope;
use fettle_model::check::CheckRef;
use fettle_model::counter::LogPosition;
use fettle_model::escalation::Rung;
use fettle_model::evidence::Fault;
use fettle_model::host::HostState;
use fettle_model::id::{DrillId, FreezeId, HostId, MuteId, TokenId};
use fettle_model::identity::HeldRole;
use fettle_model::login::OidcIdentity;
use fettle_model::name::{EnvironmentName, HostName, PersonName, PlaybookName, RemediationName};
use fettle_model::person_key::SigningKeyProof;
use fettle_model::record::Body;
use fettle_proto::operator::{Command, CommandReply};
use std::time::Duration;
use tonic::Status;

/// Longest record of a person: a hash, an id, a reason of 400 bytes, and an envelope around them in base64.
const MAX_SAID_BYTES: usize = 4 * 1024;

/// What a command asks policies for.
pub(super) fn asked(command: &Command) -> Asked {
    use Subject::{Installation, Person};
    let of_scope = |scope: &Scope| match scope {
        Scope::Service(service) => Subject::Service(service.clone()),
        Scope::Global | Scope::Environment(_) | Scope::Playbook(_) => Installation,
    };
    let (action, subject, resource) = match command {
        Command::CreateToken { environment, .. } => {
            (PersonAction::CreateToken, Installation, format!("environment:{environment}"))
        }
        Command::SetConfiguration { .. } => (PersonAction::SetConfiguration, Installation, "configuration".to_owned()),
        Command::OrderRollout { order, .. } => {
            (PersonAction::SetConfiguration, Installation, format!("configuration/{}", order.as_str()))
        }
        Command::TrustPublisher { publisher, .. } => {
            (PersonAction::TrustPublisher, Installation, format!("publisher:{publisher}"))
        }
        Command::StartDrill { host, remediation, .. } => {
            (PersonAction::StartDrill, Subject::Remediation(remediation.clone()), format!("host:{host}/{remediation}"))
        }
        Command::WishRun { host, check } => {
            (PersonAction::WishRun, Subject::Service(check.service.clone()), format!("host:{host}/{check}"))
        }
        Command::Stop { scope, .. } => (PersonAction::Stop, of_scope(scope), scope.to_string()),
        Command::Resume { scope, .. } => (PersonAction::Resume, of_scope(scope), scope.to_string()),
        Command::Freeze { scope, .. } => (PersonAction::Freeze, of_scope(scope), scope.to_string()),
        Command::LiftFreeze { scope, .. } => (PersonAction::LiftFreeze, of_scope(scope), scope.to_string()),
        Command::Mute { scope, .. } => (PersonAction::Mute, of_scope(scope), scope.to_string()),
        Command::LiftMute { scope, .. } => (PersonAction::LiftMute, of_scope(scope), scope.to_string()),
        Command::SetHostState { host, state, .. } => {
            (PersonAction::SetHostState, Installation, format!("host:{host}/{}", state.as_str()))
        }
        Command::RevokePerson { person, .. } => {
            (PersonAction::RevokePerson, Person(person.clone()), format!("person:{person}"))
        }
        Command::RevokeRole { person, role, team, .. } => {
            let held = HeldRole { role: *role, team: team.clone() };
            (PersonAction::RevokeRole, Person(person.clone()), format!("person:{person}/{held}"))
        }
        Command::AskBreakGlass { .. } => (PersonAction::AskBreakGlass, Installation, "break-glass".to_owned()),
        Command::ConfirmBreakGlass { ask, .. } => {
            (PersonAction::ConfirmBreakGlass, Subject::BreakGlass(*ask), format!("break-glass:{ask}"))
        }
        Command::CloseBreakGlass { ask, .. } => {
            (PersonAction::CloseBreakGlass, Subject::BreakGlass(*ask), format!("break-glass:{ask}"))
        }
        Command::RenewCertificate { .. } => (PersonAction::RenewCertificate, Installation, OWN_CERTIFICATE.to_owned()),
        Command::GiveApproval { proposal, .. } => {
            (PersonAction::Approve, Subject::Proposal(*proposal), format!("proposal:{proposal}"))
        }
        Command::SetSigningKey { .. } => (PersonAction::SetSigningKey, Installation, OWN_SIGNING_KEY.to_owned()),
        Command::AddPerson { person, role, team, .. }
        | Command::RegisterPerson { person, role, team, .. }
        | Command::GrantRole { person, role, team } => {
            let held = HeldRole { role: *role, team: team.clone() };
            (PersonAction::GrantRole, Person(person.clone()), format!("person:{person}/{held}"))
        }
    };
    Asked { action, subject, resource }
}

/// Does what a person orders.
pub(super) async fn execute(caller: &Caller<'_>, command: Command) -> Result<CommandReply, Status> {
    match command {
        Command::CreateToken { environment, host, ttl_ms } => create_token(caller, environment, host, ttl_ms).await,
        Command::SetConfiguration { declared, replaces } => {
            ask(caller, PersonRequest::SetConfiguration { declared, replaces }).await
        }
        Command::OrderRollout { order, seen, why } => {
            ask(caller, PersonRequest::OrderRollout { order, seen, why }).await
        }
        Command::TrustPublisher { publisher, key } => {
            let key: PublicKey = key.parse().map_err(|error: fettle_audit::key::InvalidPublicKey| {
                invalid(
                    format!("the publisher's key is refused: {error}"),
                    "give the line that fettle playbook keygen printed",
                )
            })?;
            ask(caller, PersonRequest::TrustPublisher { publisher, key: key.to_string() }).await
        }
        Command::StartDrill { playbook, host, remediation, drill } => {
            start_drill(caller, &playbook, &host, &remediation, drill).await
        }
        Command::WishRun { host, check } => {
            let host = host_id(caller, &host).await?;
            ask(caller, PersonRequest::WishRun { host, check }).await
        }
        Command::Stop { scope, why } => ask(caller, PersonRequest::Stop { scope, why }).await,
        Command::Resume { scope, why } => ask(caller, PersonRequest::Resume { scope, why }).await,
        Command::Freeze { scope, lasts_ms, why } => {
            let (freeze, lasts) = (FreezeId::from_uuid(mint::uuid()), Duration::from_millis(lasts_ms));
            ask(caller, PersonRequest::Freeze { freeze, scope, lasts, why }).await
        }
        Command::LiftFreeze { freeze, scope, why } => {
            ask(caller, PersonRequest::LiftFreeze { freeze, scope, why }).await
        }
        Command::Mute { scope, lasts_ms, why } => {
            let (mute, lasts) = (MuteId::from_uuid(mint::uuid()), Duration::from_millis(lasts_ms));
            ask(caller, PersonRequest::Mute { mute, scope, lasts, why }).await
        }
        Command::LiftMute { mute, scope, why } => ask(caller, PersonRequest::LiftMute { mute, scope, why }).await,
        Command::SetHostState { host, state, why } => {
            let host = host_id(caller, &host).await?;
            ask(caller, PersonRequest::SetHostState { host, state, why }).await
        }
        Command::AddPerson { person, role, team, csr, signing_key } => {
            let role = HeldRole { role, team };
            proven(caller, &person, &signing_key)?;
            certified(caller, person.clone(), &csr, |certificate| PersonRequest::AddPerson {
                person,
                role,
                certificate,
                signing_key,
            })
            .await
        }
        Command::RegisterPerson { person, role, team, subject } => {
            let provider = caller.shared.provider.as_deref().ok_or_else(no_provider)?;
            let identity = OidcIdentity { issuer: provider.issuer().clone(), subject };
            ask(caller, PersonRequest::RegisterPerson { person, role: HeldRole { role, team }, identity }).await
        }
        Command::RenewCertificate { csr } => {
            certified(caller, caller.person.clone(), &csr, |certificate| PersonRequest::RenewCertificate {
                shown: caller.serial.clone(),
                certificate,
            })
            .await
        }
        Command::GiveApproval { proposal: _, record }
        | Command::AskBreakGlass { record }
        | Command::ConfirmBreakGlass { ask: _, record } => said(caller, record).await,
        Command::CloseBreakGlass { ask: of, why } => ask(caller, PersonRequest::CloseBreakGlass { ask: of, why }).await,
        Command::SetSigningKey { signing_key } => {
            proven(caller, &caller.person, &signing_key)?;
            ask(caller, PersonRequest::SetSigningKey { shown: caller.serial.clone(), signing_key }).await
        }
        Command::RevokePerson { person, why } => ask(caller, PersonRequest::RevokePerson { person, why }).await,
        Command::RevokeRole { person, role, team, why } => {
            ask(caller, PersonRequest::RevokeRole { person, role: HeldRole { role, team }, why }).await
        }
        Command::GrantRole { person, role, team } => {
            ask(caller, PersonRequest::GrantRole { person, role: HeldRole { role, team } }).await
        }
    }
}

/// Asks the leader, and says where the first record is; the end of the log, when it is so already.
async fn ask(caller: &Caller<'_>, request: PersonRequest) -> Result<CommandReply, Status> {
    let done = decided(caller, request).await?;
    placed(caller, &done).await
}

/// Brings what a person signed to the leader.
async fn said(caller: &Caller<'_>, record: String) -> Result<CommandReply, Status> {
    let wrong =
        |what: String| invalid(what, "let `fettle approve`, `fettle reject` or `fettle break-glass` make and sign it");
    if record.len() > MAX_SAID_BYTES {
        return Err(wrong(format!("what a person signs has at most {MAX_SAID_BYTES} bytes")));
    }
    let given = UnverifiedRecord::parse(record.into_bytes())
        .map_err(|error| wrong(format!("{:#}", anyhow::Error::from(error))))?;
    let done = caller.shared.leader.person_record(caller.person.clone(), given).await.map_err(gone)?;
    placed(caller, &accepted(done)?).await
}

/// Where the first record is.
async fn placed(caller: &Caller<'_>, done: &Done) -> Result<CommandReply, Status> {
    let position = match done.entries.first() {
        Some(entry) => entry.published.position,
        None => {
            let size = caller.shared.leader.inspect(|view| view.size()).await.map_err(gone)?;
            LogPosition(size.0.saturating_sub(1))
        }
    };
    Ok(CommandReply::Done { position })
}

/// Asks the leader.
pub(super) async fn decided(caller: &Caller<'_>, request: PersonRequest) -> Result<Done, Status> {
    decided_for(caller.shared, caller.person.clone(), request).await
}

/// Asks the leader for somebody who is known by something else than a certificate.
pub(super) async fn decided_for(shared: &Shared, person: PersonName, request: PersonRequest) -> Result<Done, Status> {
    accepted(shared.leader.person(person, request).await.map_err(gone)?)
}

/// What a person is told when it was not done.
fn accepted(done: Done) -> Result<Done, Status> {
    match &done.outcome {
        Outcome::Done | Outcome::Unchanged => Ok(done),
        Outcome::PersonRefused(refusal) => Err(refused(refusal)),
        Outcome::TooLarge => {
            Err(invalid("the record of it would be too large", "give less: a record has at most 8 MiB"))
        }
        other @ (Outcome::AlreadyKnown { .. }
        | Outcome::Answered { .. }
        | Outcome::AlreadyInitialised
        | Outcome::RecordRefused(_)
        | Outcome::EnrolmentRefused(_)) => Err(internal(anyhow::anyhow!("a person was answered with {other:?}"))),
    }
}

async fn create_token(
    caller: &Caller<'_>,
    environment: EnvironmentName,
    host: Option<HostName>,
    ttl_ms: u64,
) -> Result<CommandReply, Status> {
    let token = TokenId::from_uuid(mint::uuid());
    let secret = JoinToken::from_random(token, *mint::secret().map_err(internal)?);
    let valid_for = Duration::from_millis(ttl_ms);
    let done = decided(caller, PersonRequest::CreateToken { token, environment, host, valid_for }).await?;
    let created = done.entries.iter().find_map(|entry| {
        if let Body::TokenCreated(created) = &entry.signed.record().body { Some(created.expires_at) } else { None }
    });
    let expires_at = created.ok_or_else(|| internal(anyhow::anyhow!("a token left no record")))?;
    // Crash here: the token is in the log and enrols nobody; the person makes another.
    caller.shared.vault.keep_token(token, secret.verifier(), expires_at).await.map_err(|error| match error {
        VaultError::Full => unavailable(error.to_string(), "try again in a few minutes, when used ones are forgotten"),
        VaultError::Sqlite(_)
        | VaultError::File(_)
        | VaultError::Thread(_)
        | VaultError::Malformed { .. }
        | VaultError::Gone => internal(error),
    })?;
    let addresses = &caller.shared.addresses;
    Ok(CommandReply::Token {
        token,
        secret: secret.expose().to_string(),
        ca_pin: caller.shared.authority.ca_pin().to_string(),
        enrol_address: addresses.enrol.clone(),
        agents_address: addresses.agents.clone(),
        expires_at,
    })
}

/// What a drill's names stand for.
struct Drill {
    host: HostId,
    check: CheckRef,
    fault: Fault,
    rung: Rung,
}

async fn start_drill(
    caller: &Caller<'_>,
    playbook: &PlaybookName,
    host: &HostName,
    remediation: &RemediationName,
    number: u32,
) -> Result<CommandReply, Status> {
    let host = host_id(caller, host).await?;
    let (playbook, remediation) = (playbook.clone(), remediation.clone());
    let found = caller.shared.leader.inspect(move |view| {
        let state = view.core.state();
        let configured = state.configuration().remediation(&remediation).ok_or_else(|| {
            not_found(format!("the configuration has no remediation {remediation}"), "see: fettle service show")
        })?;
        let Some((rung, placed)) = configured.rungs().find(|(_, placed)| placed.playbook.name == playbook) else {
            let uses: Vec<&str> = configured.playbooks().map(|version| version.name.as_str()).collect();
            return Err(invalid(
                format!("remediation {remediation} uses {}, not {playbook}", uses.join(", ")),
                "name a remediation that uses the playbook",
            ));
        };
        let declared = state
            .playbook(&placed.playbook.digest)
            .and_then(|admitted| admitted.admission.manifest.drills.get(usize::try_from(number).unwrap_or(usize::MAX)));
        let declared = declared
            .ok_or_else(|| not_found(format!("{playbook} declares no drill {number}"), "see: fettle playbook show"))?;
        let check = CheckRef { service: configured.service.clone(), check: configured.check.clone() };
        Ok(Drill { host, check, fault: Fault { kind: declared.fault, on: declared.on.clone() }, rung })
    });
    let Drill { host, check, fault, rung } = found.await.map_err(gone)??;
    let drill = DrillId::from_uuid(mint::uuid());
    decided(caller, PersonRequest::StartDrill { drill, host, check, fault, rung }).await?;
    Ok(CommandReply::Drill { drill })
}

/// Makes a person's certificate and asks the leader whether they get it.
async fn certified(
    caller: &Caller<'_>,
    person: PersonName,
    csr: &str,
    request: impl FnOnce(NewCertificate) -> PersonRequest,
) -> Result<CommandReply, Status> {
    let key = proven_key(csr)?;
    let issued = caller.shared.certify(&key, Holder::Person(person)).map_err(internal)?;
    decided(caller, request(as_new(&issued))).await?;
    Ok(CommandReply::Person { chain: issued.chain_pem(), root: caller.shared.authority.root().to_pem() })
}

/// Checks that whoever made a signing key for this person has its secret half.
fn proven(caller: &Caller<'_>, person: &PersonName, given: &SigningKeyProof) -> Result<(), Status> {
    let trust_domain = caller.shared.authority.root().trust_domain();
    person_key::check(given, trust_domain, person).map(drop).map_err(|error| {
        invalid(format!("{:#}", anyhow::Error::from(error)), "let `fettle person` make the signing key")
    })
}

/// The key of a certificate request in base64.
pub(super) fn proven_key(csr: &str) -> Result<ProvenKey, Status> {
    /// Base64 writes four characters for three bytes, the last group padded.
    const MAX_CSR_CHARS: usize = MAX_CSR_BYTES.div_ceil(3) * 4;
    let wrong = |what: String| invalid(what, "let `fettle` make the certificate request");
    let csr = Some(csr).filter(|csr| csr.len() <= MAX_CSR_CHARS).and_then(|csr| STANDARD.decode(csr).ok());
    let csr = csr.ok_or_else(|| wrong("the certificate request is not base64, or too long".to_owned()))?;
    ProvenKey::from_csr(&csr).map_err(|error| wrong(error.to_string()))
}

/// The host of this name that is not revoked; a revoked one, where there is no other.
async fn host_id(caller: &Caller<'_>, name: &HostName) -> Result<HostId, Status> {
    let wanted = name.clone();
    let found = caller.shared.leader.inspect(move |view| {
        let hosts = view.core.state().hosts().filter(|host| host.name == wanted);
        hosts.min_by_key(|host| host.state == HostState::Revoked).map(|host| host.id)
    });
    found.await.map_err(gone)?.ok_or_else(|| not_found(format!("no host is named {name}"), "see: fettle host list"))
}
