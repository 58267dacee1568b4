//! The agents' service: opens sessions, gives packages, rotates certificates.

use super::admission::Admitted;
use super::enrolment::refused;
use super::session::Session;
use super::{Shared, as_new, gone, internal};
use crate::authority::AgentAction;
use crate::core::{Command, NewestCertificate, Outcome, RotateCertificate};
use crate::server::Peer;
use fettle_certs::authority::Subject;
use fettle_certs::csr::ProvenKey;
use fettle_model::counter::CertificateGeneration;
use fettle_model::digest::PlaybookDigest;
use fettle_model::record::Body;
use fettle_proto::session::{CHUNK_BYTES, MAX_MESSAGE_BYTES};
use fettle_proto::v1::agents_server::{Agents, AgentsServer};
use fettle_proto::v1::{Chunk, FetchPlaybookRequest, FromAgent, RotateReply, RotateRequest, ToAgent};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Messages that wait for one agent's network: a briefing's worth.
const OUT: usize = 64;
/// Chunks of a package that wait: below HTTP/2's window.
const CHUNKS: usize = 4;
/// Packages that are held in memory at once: of 8 MiB each, 128 MiB at worst. Others wait their turn.
const MAX_FETCHES: usize = 16;

/// The service.
#[derive(Debug)]
pub struct AgentsService {
    shared: Shared,
    fetches: Arc<Semaphore>,
}

impl AgentsService {
    /// The service as tonic takes it.
    #[must_use]
    pub fn server(shared: Shared) -> AgentsServer<Self> {
        let fetches = Arc::new(Semaphore::new(MAX_FETCHES));
        AgentsServer::new(Self { shared, fetches })
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl Agents for AgentsService {
    type SessionStream = ReceiverStream<Result<ToAgent, Status>>;
    type FetchPlaybookStream = ReceiverStream<Result<Chunk, Status>>;

    async fn session(&self, request: Request<Streaming<FromAgent>>) -> Result<Response<Self::SessionStream>, Status> {
        let peer = Peer::of(&request)?;
        let admitted = self.shared.admit(&peer, AgentAction::OpenSession).await?;
        let (out, stream) = mpsc::channel(OUT);
        let session = Session::new(self.shared.clone(), peer, &admitted, out)?;
        // Ends with the stream, at the latest after the silence limit.
        drop(tokio::spawn(session.run(request.into_inner())));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn fetch_playbook(
        &self,
        request: Request<FetchPlaybookRequest>,
    ) -> Result<Response<Self::FetchPlaybookStream>, Status> {
        let peer = Peer::of(&request)?;
        let admitted = self.shared.admit(&peer, AgentAction::FetchPlaybook).await?;
        let digest: PlaybookDigest =
            request.into_inner().digest.parse().map_err(|_| Status::invalid_argument("this is no digest"))?;
        if !is_assigned(&self.shared, &admitted, digest).await? {
            return Err(Status::permission_denied("the configuration does not assign this playbook to this host"));
        }
        let turn = Arc::clone(&self.fetches).acquire_owned().await.map_err(internal)?;
        let package = self.shared.packages.read(digest).await.map_err(internal)?;
        let (out, stream) = mpsc::channel(CHUNKS);
        // Ends with the package, or when the caller goes.
        drop(tokio::spawn(async move {
            let _turn = turn;
            for data in package.chunks(CHUNK_BYTES) {
                if out.send(Ok(Chunk { data: data.to_vec() })).await.is_err() {
                    return;
                }
            }
        }));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn rotate(&self, request: Request<RotateRequest>) -> Result<Response<RotateReply>, Status> {
        let peer = Peer::of(&request)?;
        let Admitted { host, presented, newest, .. } = self.shared.admit(&peer, AgentAction::RotateCertificate).await?;
        let RotateRequest { csr, generation } = request.into_inner();
        // Zero: the agent keeps no count; the certificate that it shows has one.
        if generation != 0 && CertificateGeneration(generation) != presented {
            return Err(Status::failed_precondition(format!(
                "the certificate that is shown has generation {presented}, not {generation}"
            )));
        }
        let key = ProvenKey::from_csr(&csr).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let issued = self.shared.certify(&key, Subject::Agent(host)).map_err(internal)?;
        let newest = if presented == newest { NewestCertificate::Used } else { NewestCertificate::NotSeen };
        let rotate = RotateCertificate { host, presented, newest, certificate: as_new(&issued) };
        let done = self.shared.leader.command(Command::RotateCertificate(rotate)).await.map_err(gone)?;
        match done.outcome {
            Outcome::Done => {}
            Outcome::EnrolmentRefused(refusal) => return Err(refused(&refusal)),
            other @ (Outcome::Unchanged
            | Outcome::AlreadyKnown { .. }
            | Outcome::Answered { .. }
            | Outcome::AlreadyInitialised
            | Outcome::TooLarge
            | Outcome::RecordRefused(_)
            | Outcome::PersonRefused(_)) => {
                return Err(internal(anyhow::anyhow!("a rotation was answered with {other:?}")));
            }
        }
        let generation = done.entries.iter().find_map(|entry| {
            if let Body::CertificateIssued(issued) = &entry.signed.record().body {
                Some(issued.generation.0)
            } else {
                None
            }
        });
        let generation = generation.ok_or_else(|| internal(anyhow::anyhow!("a rotation left no record")))?;
        tracing::info!(%host, generation, "a certificate was rotated");
        Ok(Response::new(RotateReply { chain: issued.chain_pem().into_bytes(), generation }))
    }
}

/// Whether a remediation of a service that selects this host uses the version.
async fn is_assigned(shared: &Shared, admitted: &Admitted, digest: PlaybookDigest) -> Result<bool, Status> {
    let host = admitted.host;
    let assigned = shared.leader.inspect(move |view| {
        let state = view.core.state();
        let Some(known) = state.host(host) else { return false };
        let configuration = state.configuration_of(known);
        configuration.remediations().iter().any(|remediation| {
            remediation.playbooks().any(|version| version.digest == digest)
                && configuration
                    .service(&remediation.service)
                    .is_some_and(|service| service.hosts.selects(&known.name, &known.environment))
        })
    });
    assigned.await.map_err(gone)
}
