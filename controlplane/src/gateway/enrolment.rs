//! Enrolment: a join token, proven and never sent, becomes an identity.
//!
//! The token is used up in the leader's decision, which is one record; the vault keeps the answer beside it,
//! written before, so that a crash between the two neither wastes the token nor uses it twice. The same
//! request within [`fettle_certs::token::REPEAT_WINDOW`] gets the same certificate.

use super::pace::Pace;
use super::{Shared, as_new, gone, internal};
use crate::core::{Command, Enrol, EnrolmentRefusal, NewCertificate, Outcome};
use crate::mint;
use crate::server::Peer;
use crate::time_text::utc;
use crate::vault::{Answer, Use};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fettle_certs::authority::Subject;
use fettle_certs::enrol::{EnrolRefused, EnrolRequest, ProvenEnrolment};
use fettle_certs::token::{Redemption, TokenRefused, TokenUse, redeem};
use fettle_model::counter::CertificateGeneration;
use fettle_model::digest::DocumentDigest;
use fettle_model::id::HostId;
use fettle_proto::enrolment::{IdentityDocument, MAX_DOCUMENT_BYTES};
use fettle_proto::v1::enrolment_server::{Enrolment, EnrolmentServer};
use fettle_proto::v1::{EnrolReply, EnrolRequest as EnrolMessage};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tonic::{Request, Response, Status};

/// The enrolment port's service for hosts.
#[derive(Debug)]
pub struct EnrolmentService {
    shared: Shared,
    /// Its lock is held for a look-up, never across a wait.
    pace: Mutex<Pace>,
}

impl EnrolmentService {
    /// The service as tonic takes it.
    #[must_use]
    pub fn server(shared: Shared) -> EnrolmentServer<Self> {
        EnrolmentServer::new(Self { shared, pace: Mutex::default() }).max_decoding_message_size(MAX_DOCUMENT_BYTES)
    }
}

impl EnrolmentService {
    fn pace(&self) -> MutexGuard<'_, Pace> {
        // Every change is one statement; a panic between them leaves nothing half done.
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tonic::async_trait]
impl Enrolment for EnrolmentService {
    async fn enrol(&self, request: Request<EnrolMessage>) -> Result<Response<EnrolReply>, Status> {
        let peer = Peer::of(&request)?;
        let (address, now) = (peer.address.ip(), self.shared.clocks.now().monotonic);
        self.pace().may_try(address, now).map_err(|error| Status::resource_exhausted(error.to_string()))?;
        let request: EnrolRequest = serde_json::from_slice(&request.into_inner().document)
            .map_err(|error| Status::invalid_argument(format!("the enrolment document is malformed: {error}")))?;
        let (host, token) = (request.draft.host.clone(), request.draft.token);
        match enrol(&self.shared, &peer, &request).await {
            Ok(answer) => {
                tracing::info!(%host, %token, id = %answer.host, "a host was enrolled");
                Ok(Response::new(EnrolReply { document: answer.document.into_bytes() }))
            }
            Err(status) => {
                self.pace().failed(address, now);
                tracing::warn!(%host, %token, address = %peer.address, why = status.message(), "an enrolment was refused");
                Err(status)
            }
        }
    }
}

/// Most times that a request finds its token changed under it: by the request that used it up, and by
/// that one's failure.
const MAX_ROUNDS: usize = 3;

async fn enrol(shared: &Shared, peer: &Peer, request: &EnrolRequest) -> Result<Box<Answer>, Status> {
    let digest = request.digest();
    for _ in 0..MAX_ROUNDS {
        let now = shared.wall();
        let token = shared.vault.token(request.draft.token).await.map_err(internal)?;
        let token = token.ok_or_else(|| Status::unauthenticated("the join token is unknown, or expired long ago"))?;
        let proven = request.check(&token.verifier, &peer.binding).map_err(|error| unproven(&error))?;
        let (used, answer) = token.used.unzip();
        let redemption = redeem(token.expires_at, used.as_ref(), now, digest).map_err(|error| unredeemed(&error))?;
        match (redemption, answer) {
            (Redemption::First, None) => {
                let answer = Box::new(prepare(shared, request, &proven).await?);
                let used = TokenUse { at: now, request: digest };
                match shared.vault.use_token(request.draft.token, used, &answer).await.map_err(internal)? {
                    Use::Taken => return conclude(shared, request, digest, answer).await,
                    Use::TakenBefore => {}
                }
            }
            (Redemption::Again, Some(answer)) => return conclude(shared, request, digest, answer).await,
            // The vault keeps both or none.
            (Redemption::First, Some(_)) | (Redemption::Again, None) => {
                return Err(internal(anyhow::anyhow!("the vault holds a token that is used by halves")));
            }
        }
    }
    Err(Status::unavailable("the join token is being used by another request"))
}

/// Makes the answer: a certificate for the proven key, and the keys to pin. A host that the holder of the
/// record key is already gets its next certificate, every other one a new id.
async fn prepare(shared: &Shared, request: &EnrolRequest, proven: &ProvenEnrolment) -> Result<Answer, Status> {
    let draft = &request.draft;
    let (name, environment) = (draft.host.clone(), draft.environment.clone());
    let record_key = STANDARD.encode(draft.record_key);
    let known = shared.leader.inspect(move |view| {
        let mut hosts = view.core.state().hosts();
        let known = hosts.find(|host| host.is_known_as(&record_key, &name, &environment));
        known.map(|host| (host.id, host.certificates.newest.next()))
    });
    let known = known.await.map_err(gone)?;
    let (host, generation) =
        known.unwrap_or_else(|| (HostId::from_uuid(mint::uuid()), CertificateGeneration(0).next()));
    let issued = shared.certify(&proven.tls_key, Subject::Agent(host)).map_err(internal)?;
    let opened = shared.leader.inspect(|view| view.core.state().log().cloned()).await.map_err(gone)?;
    let opened = opened.ok_or_else(|| internal(anyhow::anyhow!("the log is not open")))?;
    let document = IdentityDocument {
        host,
        trust_domain: opened.trust_domain,
        chain: issued.chain_pem(),
        root: shared.authority.root().to_pem(),
        generation,
        log_key: opened.log_key,
        permit_key: opened.permit_key,
    };
    let document = serde_json::to_string(&document).map_err(internal)?;
    let NewCertificate { serial, not_after } = as_new(&issued);
    Ok(Answer { host, generation, serial, not_after, document })
}

/// Brings the enrolment into the log, unless it is there, and then gives the answer.
async fn conclude(
    shared: &Shared,
    request: &EnrolRequest,
    digest: DocumentDigest,
    answer: Box<Answer>,
) -> Result<Box<Answer>, Status> {
    if is_recorded(shared, &answer).await? {
        return Ok(answer);
    }
    let enrol = Enrol {
        host: answer.host,
        name: request.draft.host.clone(),
        environment: request.draft.environment.clone(),
        record_key: STANDARD.encode(request.draft.record_key),
        token: request.draft.token,
        certificate: NewCertificate { serial: answer.serial.clone(), not_after: answer.not_after },
        generation: answer.generation,
    };
    match shared.leader.command(Command::Enrol(enrol)).await.map_err(gone)?.outcome {
        Outcome::Done => Ok(answer),
        Outcome::EnrolmentRefused(refusal) => {
            // The same request at the same time may have been faster.
            if is_recorded(shared, &answer).await? {
                return Ok(answer);
            }
            shared.vault.give_back(request.draft.token, digest).await.map_err(internal)?;
            Err(refused(&refusal))
        }
        other @ (Outcome::Unchanged
        | Outcome::AlreadyKnown { .. }
        | Outcome::Answered { .. }
        | Outcome::AlreadyInitialised
        | Outcome::TooLarge
        | Outcome::RecordRefused(_)
        | Outcome::PersonRefused(_)) => Err(internal(anyhow::anyhow!("an enrolment was answered with {other:?}"))),
    }
}

/// Whether the log has the answer's certificate, and it may be live.
async fn is_recorded(shared: &Shared, answer: &Answer) -> Result<bool, Status> {
    let (host, serial) = (answer.host, answer.serial.clone());
    let recorded = shared.leader.inspect(move |view| {
        view.core.state().host(host).is_some_and(|host| host.certificates.generation(&serial).is_some())
    });
    recorded.await.map_err(gone)
}

fn unproven(error: &EnrolRefused) -> Status {
    let with_cause = format!("{:#}", anyhow::Error::from(error.clone()));
    match error {
        EnrolRefused::Mac | EnrolRefused::RecordKeyProof => Status::unauthenticated(with_cause),
        EnrolRefused::RecordKey | EnrolRefused::Csr(_) => Status::invalid_argument(with_cause),
    }
}

fn unredeemed(error: &TokenRefused) -> Status {
    let text = |at| format!("{error} at {}; create a new one", utc(at));
    match error {
        TokenRefused::Expired => Status::unauthenticated("the join token has expired; create a new one"),
        TokenRefused::UsedByAnother { at } | TokenRefused::UsedUp { at } => Status::unauthenticated(text(*at)),
    }
}

/// Why the leader refuses, for whoever proved the token.
pub(super) fn refused(refusal: &EnrolmentRefusal) -> Status {
    let text = refusal.to_string();
    match refusal {
        EnrolmentRefusal::NotInitialised | EnrolmentRefusal::Overtaken => Status::unavailable(text),
        EnrolmentRefusal::TokenUnknown(_)
        | EnrolmentRefusal::TokenUsed(_)
        | EnrolmentRefusal::GenerationStale { .. }
        | EnrolmentRefusal::CertificateDead { .. } => Status::unauthenticated(text),
        EnrolmentRefusal::OtherName { .. } | EnrolmentRefusal::OtherEnvironment { .. } => {
            Status::failed_precondition(text)
        }
        EnrolmentRefusal::NameTaken(_) | EnrolmentRefusal::IdentityKnown => Status::already_exists(text),
        EnrolmentRefusal::UnknownHost(_) | EnrolmentRefusal::Revoked(_) => Status::permission_denied(text),
    }
}
