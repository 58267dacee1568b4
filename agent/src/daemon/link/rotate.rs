//! Rotation: a new key and certificate at half-life, over the old identity.

use super::{Link, generation};
use fettle_certs::csr::certificate_request;
use fettle_certs::identity::{Identity, InvalidIdentity};
use fettle_certs::key::{KeyProblem, PrivateKey};
use fettle_certs::store::StoreProblem;
use fettle_model::counter::CertificateGeneration;
use fettle_proto::v1::RotateRequest;
use fettle_proto::v1::agents_client::AgentsClient;
use std::time::Duration;
use tonic::transport::Channel;

/// One durable append of the control plane, many times over.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no new certificate; the old one is good for as long again.
#[derive(Debug, thiserror::Error)]
pub(super) enum RotateError {
    #[error("a key could not be made")]
    Key(#[source] KeyProblem),
    #[error("the control plane refused: {}", .0.message())]
    Refused(Box<tonic::Status>),
    #[error("the control plane did not answer within {ANSWER_TIMEOUT:?}")]
    Silent,
    #[error("the generation of the certificate in use is not known; enrol this host again with a new join token")]
    Generation,
    #[error("the answered identity cannot be used")]
    Identity(#[source] InvalidIdentity),
    #[error("the new identity could not be kept")]
    Store(#[source] StoreProblem),
}

/// Spreads hosts that were enrolled together; drawn once per certificate in use.
pub(super) fn random() -> u32 {
    // Without randomness every host rotates at the same point of its life, which works too.
    getrandom::u32().unwrap_or(u32::MAX / 2)
}

/// Gets and keeps the next identity. It is used from the next connection on.
pub(super) async fn rotate(link: &Link, channel: Channel, identity: &Identity) -> Result<(), RotateError> {
    let key = PrivateKey::generate().map_err(RotateError::Key)?;
    let csr = certificate_request(&key).map_err(RotateError::Key)?;
    let in_use = identity.holder().serial;
    let generation = generation::of(&link.start.state, in_use).ok_or(RotateError::Generation)?;
    let mut client = AgentsClient::new(channel);
    let asked = client.rotate(RotateRequest { csr, generation: generation.0 });
    let reply = tokio::time::timeout(ANSWER_TIMEOUT, asked)
        .await
        .map_err(|_elapsed| RotateError::Silent)?
        .map_err(|status| RotateError::Refused(Box::new(status)))?
        .into_inner();
    let next = Identity::from_pem(&reply.chain, key, identity.root().clone()).map_err(RotateError::Identity)?;
    let numbered = (next.holder().serial, CertificateGeneration(reply.generation));
    generation::keep(&link.start.state, Some((in_use, generation)), numbered).map_err(RotateError::Store)?;
    link.store.install(&next).map_err(RotateError::Store)
}
