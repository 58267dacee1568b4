//! An agent as the control plane sees it: an identity, a record key, a chain of signed records.

use crate::site::{Person, Site, fresh, name};
use crate::wire;
use fettle_audit::checkpoint::LogVerifier;
use fettle_audit::key::{PublicKey, SigningKey};
use fettle_audit::published::Published;
use fettle_audit::signed_record::SignedRecord;
use fettle_certs::csr::certificate_request;
use fettle_certs::enrol::{EnrolDraft, EnrolRequest, SessionBinding};
use fettle_certs::identity::Identity;
use fettle_certs::key::PrivateKey;
use fettle_certs::root::Root;
use fettle_certs::token::JoinToken;
use fettle_model::counter::AgentSequence;
use fettle_model::digest::EnvelopeDigest;
use fettle_model::host::{CarriedService, DrillConsent, HostDescription, Isolation, ManagerKind, OperatingSystem};
use fettle_model::id::HostId;
use fettle_model::record::{Author, Body, Record};
use fettle_proto::enrolment::IdentityDocument;
use fettle_proto::operator::{Command, CommandReply};
use fettle_proto::session::MAX_MESSAGE_BYTES;
use fettle_proto::v1::agents_client::AgentsClient;
use fettle_proto::v1::enrolment_client::EnrolmentClient;
use fettle_proto::v1::{
    AgentRecord, EnrolRequest as EnrolMessage, FetchPlaybookRequest, FromAgent, Heartbeat, Hello, RotateRequest,
    ToAgent, Welcome, from_agent, to_agent,
};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// How long anything may take that is to happen at once.
const SOON: Duration = Duration::from_secs(20);

/// What an agent brings to its enrolment; the same for every attempt.
pub(crate) struct Applicant {
    pub(crate) token: JoinToken,
    pub(crate) host: &'static str,
    pub(crate) environment: &'static str,
    key: PrivateKey,
    csr: Vec<u8>,
    record_seed: [u8; 32],
}

impl Applicant {
    pub(crate) fn new(token: JoinToken, host: &'static str, environment: &'static str) -> Self {
        let key = PrivateKey::generate().expect("a key");
        let csr = certificate_request(&key).expect("a request");
        let mut record_seed = [7; 32];
        record_seed[..16].copy_from_slice(fresh().as_bytes());
        Self { token, host, environment, key, csr, record_seed }
    }

    /// The same host, with its record key, another TLS key and another token.
    pub(crate) fn again(&self, token: JoinToken) -> Self {
        Self { record_seed: self.record_seed, ..Self::new(token, self.host, self.environment) }
    }

    /// The request for one TLS session.
    pub(crate) fn request(&self, binding: &SessionBinding) -> EnrolRequest {
        let key = SigningKey::from_seed(&self.record_seed);
        let draft = EnrolDraft {
            token: self.token.id(),
            host: name(self.host),
            environment: name(self.environment),
            csr: self.csr.clone(),
            record_key: *key.public().as_bytes(),
            nonce: *fresh().as_bytes().repeat(2).first_chunk().expect("32 bytes"),
        };
        let proof = key.sign(&draft.record_key_statement(binding));
        draft.prove(*proof.as_bytes(), &self.token.verifier(), binding)
    }

    /// Enrols over a connection of its own.
    pub(crate) async fn enrol(&self, site: &Site) -> Result<IdentityDocument, Status> {
        let (channel, binding) = wire::pinned(site.listening.enrol, site.made.ca_pin).await.expect("a connection");
        send(channel, &self.request(&binding)).await
    }

    /// What became of it.
    pub(crate) fn agent(self, site: &Site, document: &IdentityDocument) -> Agent {
        let root = Root::pinned_from_pem(document.root.as_bytes(), site.made.ca_pin).expect("the pinned root");
        let identity = Identity::from_pem(document.chain.as_bytes(), self.key, root).expect("an identity");
        Agent {
            host: document.host,
            identity,
            key: SigningKey::from_seed(&self.record_seed),
            sequence: AgentSequence(0),
            previous: None,
            log: document.log_key.parse().expect("the log's key"),
            permit_key: document.permit_key.parse().expect("the permit key"),
        }
    }
}

pub(crate) async fn send(channel: Channel, request: &EnrolRequest) -> Result<IdentityDocument, Status> {
    let document = serde_json::to_vec(request).expect("JSON");
    let answer = EnrolmentClient::new(channel).enrol(EnrolMessage { document }).await?.into_inner();
    Ok(serde_json::from_slice(&answer.document).expect("an identity document"))
}

/// A join token for an environment.
pub(crate) async fn token(person: &Person, environment: &str, host: Option<&str>, ttl: Duration) -> JoinToken {
    let command = Command::CreateToken {
        environment: name(environment),
        host: host.map(name),
        ttl_ms: u64::try_from(ttl.as_millis()).expect("a time to live"),
    };
    match person.execute(command).await.expect("a token") {
        CommandReply::Token { secret, .. } => secret.parse().expect("a token's text"),
        other => unreachable!("{other:?}"),
    }
}

/// An enrolled agent.
pub(crate) struct Agent {
    pub(crate) host: HostId,
    pub(crate) identity: Identity,
    pub(crate) key: SigningKey,
    pub(crate) sequence: AgentSequence,
    previous: Option<EnvelopeDigest>,
    pub(crate) log: LogVerifier,
    pub(crate) permit_key: PublicKey,
}

impl Agent {
    pub(crate) async fn enrolled(site: &Site, host: &'static str, environment: &'static str) -> Self {
        let token = token(&site.alice().await, environment, None, Duration::from_secs(600)).await;
        let applicant = Applicant::new(token, host, environment);
        let document = applicant.enrol(site).await.expect("it is enrolled");
        applicant.agent(site, &document)
    }

    /// Its next record, in the chain.
    pub(crate) fn record(&mut self, body: Body) -> AgentRecord {
        let sequence = self.sequence.next();
        let author = Author::Agent { host: self.host, sequence, previous: self.previous };
        let record = Record { author, at: crate::site::now(), body };
        let signed = SignedRecord::seal(record, &self.key).expect("sealed");
        (self.sequence, self.previous) = (sequence, Some(signed.envelope().digest()));
        AgentRecord { sequence: sequence.0, envelope: signed.envelope().as_bytes().to_vec() }
    }

    pub(crate) async fn client(&self, site: &Site) -> AgentsClient<Channel> {
        let channel = wire::channel(site.listening.agents, &self.identity).await.expect("a connection");
        AgentsClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub(crate) fn hello() -> Hello {
        Hello {
            agent_version: "test".to_owned(),
            boot: "00000000-0000-4000-8000-0000000000b0".to_owned(),
            ..Hello::default()
        }
    }

    /// Opens a session and waits for its Welcome.
    pub(crate) async fn session(&self, site: &Site) -> (Session, Welcome) {
        self.session_with(site, Self::hello()).await
    }

    pub(crate) async fn session_with(&self, site: &Site, hello: Hello) -> (Session, Welcome) {
        let mut session = Session::open(self.client(site).await).await.expect("a session");
        session.say(from_agent::Message::Hello(hello)).await;
        match session.hear().await {
            to_agent::Message::Welcome(welcome) => (session, welcome),
            other => unreachable!("{other:?}"),
        }
    }

    /// A record of the control plane, verified as an agent does it.
    pub(crate) fn believed(&self, document: &[u8]) -> Record {
        let published = Published::parse(document).expect("a published record");
        let (signed, _) = published.verify(&self.log, &self.permit_key).expect("it is in the log");
        signed.record().clone()
    }

    /// Its own record, verified as an agent does it.
    pub(crate) fn own(&self, document: &[u8]) -> Record {
        let published = Published::parse(document).expect("a published record");
        let (signed, _) = published.verify(&self.log, &self.key.public()).expect("it is in the log");
        signed.record().clone()
    }

    pub(crate) async fn rotate(&self, site: &Site, generation: u64) -> Result<(Identity, u64), Status> {
        let key = PrivateKey::generate().expect("a key");
        let csr = certificate_request(&key).expect("a request");
        let reply = self.client(site).await.rotate(RotateRequest { csr, generation }).await?.into_inner();
        let identity = Identity::from_pem(&reply.chain, key, self.identity.root().clone()).expect("an identity");
        Ok((identity, reply.generation))
    }

    pub(crate) async fn fetch(&self, site: &Site, digest: String) -> Result<Vec<u8>, Status> {
        let mut chunks = self.client(site).await.fetch_playbook(FetchPlaybookRequest { digest }).await?.into_inner();
        let mut package = Vec::new();
        while let Some(chunk) = chunks.message().await? {
            package.extend_from_slice(&chunk.data);
        }
        Ok(package)
    }
}

/// What an agent says of its host: it carries the service `web`.
pub(crate) fn description(host: &str, environment: &str) -> Body {
    Body::HostDescribed(Box::new(HostDescription {
        name: name(host),
        environment: name(environment),
        agent_version: "test".to_owned(),
        os: OperatingSystem { id: "debian".to_owned(), version: "12".to_owned() },
        architecture: "x86_64".to_owned(),
        services: [CarriedService {
            name: name("web"),
            manager: ManagerKind::Command,
            faults: std::collections::BTreeSet::new(),
        }]
        .into(),
        drills: DrillConsent::Allowed,
        isolation: Isolation::Full,
        bindings: [].into(),
    }))
}

/// An agent's session.
pub(crate) struct Session {
    up: mpsc::Sender<FromAgent>,
    down: Streaming<ToAgent>,
}

impl Session {
    pub(crate) async fn open(mut client: AgentsClient<Channel>) -> Result<Self, Status> {
        let (up, outgoing) = mpsc::channel(64);
        let down = client.session(ReceiverStream::new(outgoing)).await?.into_inner();
        Ok(Self { up, down })
    }

    pub(crate) async fn say(&self, message: from_agent::Message) {
        self.up.send(FromAgent { message: Some(message) }).await.expect("the session stands");
    }

    pub(crate) async fn send(&self, record: AgentRecord) {
        self.say(from_agent::Message::Record(record)).await;
    }

    pub(crate) async fn beat(&self, tree_size: u64) {
        self.say(from_agent::Message::Heartbeat(Heartbeat { tree_size, sequence: 0, configuration: 0 })).await;
    }

    /// The next message.
    pub(crate) async fn hear(&mut self) -> to_agent::Message {
        self.next().await.expect("no error").expect("the session goes on")
    }

    /// The next message, the stream's end, or its error.
    pub(crate) async fn next(&mut self) -> Result<Option<to_agent::Message>, Status> {
        let next = tokio::time::timeout(SOON, self.down.message()).await.expect("something happens soon");
        next.map(|message| message.and_then(|message| message.message))
    }

    /// Messages until the first that is wanted.
    pub(crate) async fn until<T>(&mut self, wanted: impl Fn(to_agent::Message) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.hear().await) {
                return found;
            }
        }
    }

    pub(crate) async fn acknowledged(&mut self, sequence: u64) -> Vec<u8> {
        self.until(|message| match message {
            to_agent::Message::Acknowledged(acknowledged) if acknowledged.sequence == sequence => {
                Some(acknowledged.published)
            }
            _ => None,
        })
        .await
    }

    pub(crate) async fn published(&mut self) -> Vec<u8> {
        self.until(|message| match message {
            to_agent::Message::Published(published) => Some(published.document),
            _ => None,
        })
        .await
    }

    /// The reason for which the session ends; nothing comes after it.
    pub(crate) async fn rejected(&mut self) -> (u64, String) {
        let reason = self
            .until(|message| match message {
                to_agent::Message::Rejected(rejected) => Some((rejected.sequence, rejected.problem)),
                _ => None,
            })
            .await;
        assert!(matches!(self.next().await, Ok(None)), "the session ends after its reason");
        reason
    }
}
