//! Enrolment: turns the join token into an identity, once in a host's life.
//!
//! The token proves itself by a MAC and is never sent. The record key stays in the effector, which
//! signs the statement that goes with the request.

use super::connect::{self, ConnectError};
use super::{Link, LinkCommand, LinkEvent, LoopGone, generation};
use crate::ipc::daemon::JoinTokenText;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fettle_certs::csr::{MAX_CSR_BYTES, certificate_request};
use fettle_certs::enrol::EnrolDraft;
use fettle_certs::identity::{Identity, InvalidIdentity};
use fettle_certs::key::{KeyProblem, PrivateKey};
use fettle_certs::root::{InvalidRoot, Root};
use fettle_certs::store::{StoreProblem, read_private, write_private};
use fettle_certs::token::{InvalidToken, JoinToken};
use fettle_model::digest::CaPin;
use fettle_proto::enrolment::{IdentityDocument, MAX_DOCUMENT_BYTES};
use fettle_proto::v1::EnrolRequest as EnrolMessage;
use fettle_proto::v1::enrolment_client::EnrolmentClient;
use std::path::Path;
use std::time::Duration;

/// How long the effector may take for a signature, and for the token.
const PROOF_TIMEOUT: Duration = Duration::from_secs(5);
/// One durable append of the control plane, many times over.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

const KEY_FILE: &str = "enrolment.key";
const REQUEST_FILE: &str = "enrolment.csr";
/// A P-256 key in PEM has 240 bytes.
const MAX_KEY_BYTES: usize = 4 * 1024;

/// Why the host was not enrolled.
#[derive(Debug, thiserror::Error)]
pub(super) enum EnrolError {
    #[error("the join token is no token")]
    Token(#[source] InvalidToken),
    #[error("ca-pin is no pin")]
    Pin,
    #[error("no connection to the enrolment port")]
    Connect(#[source] ConnectError),
    #[error("a key could not be made")]
    Key(#[source] KeyProblem),
    #[error("no random bytes")]
    Random(#[source] getrandom::Error),
    #[error("the effector did not say whether there is a join token")]
    NoAnswer,
    #[error("the effector did not prove the record key")]
    Proof,
    #[error("the daemon ends")]
    Gone(#[source] LoopGone),
    #[error("the request could not be written")]
    Document(#[source] serde_json::Error),
    #[error("the control plane refused: {}", .0.message())]
    Refused(Box<tonic::Status>),
    #[error("the control plane did not answer within {ANSWER_TIMEOUT:?}")]
    Silent,
    #[error("the request or the answer could not be kept")]
    Keep(#[source] StoreProblem),
    #[error("the control plane's answer makes no sense")]
    Answer(#[source] serde_json::Error),
    #[error("the answered root is not the pinned one")]
    Root(#[source] InvalidRoot),
    #[error("the answered identity cannot be used")]
    Identity(#[source] InvalidIdentity),
}

pub(super) async fn enrol(link: &mut Link, token: &JoinTokenText) -> Result<Identity, EnrolError> {
    let token: JoinToken = token.0.parse().map_err(EnrolError::Token)?;
    let pin: CaPin = link.start.ca_pin.parse().map_err(|_| EnrolError::Pin)?;
    let (channel, binding) = connect::with_pin(&link.start.enrol_address, pin, &link.start.trust_domain)
        .await
        .map_err(EnrolError::Connect)?;
    let Attempt { key, csr } = Attempt::take_up(&link.start.state)?;
    let mut nonce = [0_u8; 32];
    getrandom::fill(&mut nonce).map_err(EnrolError::Random)?;
    let draft = EnrolDraft {
        token: token.id(),
        host: link.start.host.clone(),
        environment: link.start.environment.clone(),
        csr,
        record_key: decode(&link.start.record_key).ok_or(EnrolError::Proof)?,
        nonce,
    };
    let proof = prove(link, &draft.record_key_statement(&binding)).await?;
    let request = draft.prove(proof, &token.verifier(), &binding);
    let document = serde_json::to_vec(&request).map_err(EnrolError::Document)?;
    let mut client = EnrolmentClient::new(channel).max_decoding_message_size(MAX_DOCUMENT_BYTES);
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, client.enrol(EnrolMessage { document }))
        .await
        .map_err(|_elapsed| EnrolError::Silent)?
        .map_err(|status| EnrolError::Refused(Box::new(status)))?
        .into_inner();
    let answer: IdentityDocument = serde_json::from_slice(&answer.document).map_err(EnrolError::Answer)?;
    let root = Root::pinned_from_pem(answer.root.as_bytes(), pin).map_err(EnrolError::Root)?;
    let identity = Identity::from_pem(answer.chain.as_bytes(), key, root).map_err(EnrolError::Identity)?;
    generation::keep(&link.start.state, None, (identity.holder().serial, answer.generation))
        .map_err(EnrolError::Keep)?;
    // The effector pins the keys before the identity is used; a crash in between enrols again with the
    // same token and the same request, which the control plane answers again within its window.
    let enrolled = LinkEvent::Enrolled { host: answer.host, log_key: answer.log_key, permit_key: answer.permit_key };
    link.tell(enrolled).await.map_err(EnrolError::Gone)?;
    Ok(identity)
}

/// The key and the certificate request of an enrolment, kept until there is an identity: after a crash the
/// very same request is sent again, and the control plane answers it again.
pub(super) struct Attempt {
    key: PrivateKey,
    csr: Vec<u8>,
}

impl Attempt {
    fn take_up(state: &Path) -> Result<Self, EnrolError> {
        let (key_file, request_file) = (state.join(KEY_FILE), state.join(REQUEST_FILE));
        // Written last: where it is, the key is there too.
        if request_file.exists() {
            let csr = read_private(&request_file, MAX_CSR_BYTES).map_err(EnrolError::Keep)?.to_vec();
            let key = read_private(&key_file, MAX_KEY_BYTES).map_err(EnrolError::Keep)?;
            return Ok(Self { key: PrivateKey::from_pem(&key).map_err(EnrolError::Key)?, csr });
        }
        let key = PrivateKey::generate().map_err(EnrolError::Key)?;
        let csr = certificate_request(&key).map_err(EnrolError::Key)?;
        write_private(&key_file, key.to_pem().as_bytes()).map_err(EnrolError::Keep)?;
        write_private(&request_file, &csr).map_err(EnrolError::Keep)?;
        Ok(Self { key, csr })
    }

    /// The identity is installed: the key lives there now.
    pub(super) fn forget(state: &Path) -> std::io::Result<()> {
        for name in [REQUEST_FILE, KEY_FILE] {
            match std::fs::remove_file(state.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

/// The join token as its file holds it at this moment, where there is one.
pub(super) async fn token(link: &mut Link) -> Result<Option<JoinTokenText>, EnrolError> {
    link.tell(LinkEvent::TokenWanted).await.map_err(EnrolError::Gone)?;
    let answered = async {
        loop {
            match link.inbox.recv().await {
                Some(LinkCommand::JoinToken(token)) => return Some(token),
                // Nothing else is worth anything before there is an identity.
                Some(_) => {}
                None => return None,
            }
        }
    };
    tokio::time::timeout(PROOF_TIMEOUT, answered).await.ok().flatten().ok_or(EnrolError::NoAnswer)
}

async fn prove(link: &mut Link, statement: &[u8]) -> Result<[u8; 64], EnrolError> {
    link.tell(LinkEvent::ProveRecordKey(STANDARD.encode(statement))).await.map_err(EnrolError::Gone)?;
    let answered = async {
        loop {
            match link.inbox.recv().await {
                Some(LinkCommand::RecordKeyProof(signature)) => return decode(&signature),
                // Nothing else is worth anything before there is an identity.
                Some(_) => {}
                None => return None,
            }
        }
    };
    tokio::time::timeout(PROOF_TIMEOUT, answered).await.ok().flatten().ok_or(EnrolError::Proof)
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}
