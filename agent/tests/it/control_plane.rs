//! The agents' port, played by a test: accepts one agent's sessions over TLS, passes everything that the
//! agent says on to the test, and says what the test wants. By itself it only greets, acknowledges records
//! and answers heartbeats, as a control plane does.

use crate::log::Log;
use fettle_audit::key::PublicKey;
use fettle_audit::signed_record::SignedRecord;
use fettle_certs::authority::{Authority, Life, Subject, Template};
use fettle_certs::csr::{ProvenKey, certificate_request};
use fettle_certs::enrol::{EnrolRequest, SessionBinding};
use fettle_certs::identity::Identity;
use fettle_certs::key::PrivateKey;
use fettle_certs::peer::peer_identity;
use fettle_certs::serial::Serial;
use fettle_certs::tls::{DefaultTimeProvider, enrolment_server_config, server_config};
use fettle_certs::token::TokenVerifier;
use fettle_model::counter::{AgentSequence, CertificateGeneration, TreeSize};
use fettle_model::digest::PlaybookDigest;
use fettle_model::id::HostId;
use fettle_model::record::Record;
use fettle_model::time::{UnixMillis, whole_millis};
use fettle_proto::enrolment::IdentityDocument;
use fettle_proto::v1::agents_server::{Agents, AgentsServer};
use fettle_proto::v1::enrolment_server::{Enrolment, EnrolmentServer};
use fettle_proto::v1::{
    Acknowledged, Chunk, EnrolReply, EnrolRequest as EnrolMessage, FetchPlaybookRequest, FromAgent, Head, Hello,
    Published, RotateReply, RotateRequest, ToAgent, Welcome, from_agent, to_agent,
};
use rustls::ServerConnection;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

/// More than any test's agent says before it is listened to.
const HEARD: usize = 1_024;
const TO_SAY: usize = 64;

/// What an agent did.
#[derive(Debug)]
pub(crate) enum Heard {
    /// It began a session with this certificate.
    Connected {
        /// Its serial number.
        serial: Serial,
        /// Its introduction.
        hello: Hello,
    },
    /// It signed a record.
    Recorded(Box<Record>),
    /// It asked for a package.
    Fetched,
    /// It rotated from the certificate of this generation.
    Rotated {
        /// As it claims.
        generation: u64,
    },
}

/// What the service and the test share.
pub(crate) struct Shared {
    pub(crate) log: Log,
    pub(crate) record_key: Option<PublicKey>,
    pub(crate) packages: BTreeMap<PlaybookDigest, Vec<u8>>,
    /// Another log, whose head is shown instead.
    pub(crate) second: Option<Log>,
    /// The size of the head that the agent said last that it holds.
    pub(crate) held: watch::Sender<TreeSize>,
    /// Whether records are appended without a word.
    pub(crate) acknowledgements: Acknowledgements,
    /// Enrolments that were refused.
    pub(crate) refused: watch::Sender<u32>,
    /// The join token that enrols.
    pub(crate) token: Option<TokenVerifier>,
    pub(crate) door: Door,
    sequence: u64,
    /// The agent's records by sequence.
    taken: BTreeMap<u64, fettle_audit::published::Published>,
    session: Option<mpsc::Sender<Result<ToAgent, Status>>>,
    serials: u8,
}

/// Whether sessions are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Open,
    /// An agent finds nobody there.
    Shut,
    /// Somebody is there, and does not take it.
    Barred,
}

/// Whether an agent hears that its records are in the log.
pub(crate) enum Acknowledgements {
    Given,
    Lost,
    /// They are put into this other log alone, whose proof is given.
    Forked(Box<Log>),
}

/// The control plane as the test holds it.
pub(crate) struct ControlPlane {
    pub(crate) address: String,
    pub(crate) enrol_address: String,
    pub(crate) authority: Arc<Authority>,
    shared: Arc<Mutex<Shared>>,
    pub(crate) heard: mpsc::Receiver<Heard>,
}

#[expect(clippy::disallowed_methods, reason = "the rim of a test: certificates are for now")]
pub(crate) fn now() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    UnixMillis(whole_millis(since.unwrap_or_default()))
}

/// An identity that this authority issues.
pub(crate) fn issue(authority: &Authority, subject: Subject, life: Duration, serial: u8) -> Identity {
    issue_at(now(), authority, subject, life, serial)
}

/// The same, at another time.
pub(crate) fn issue_at(
    at: UnixMillis,
    authority: &Authority,
    subject: Subject,
    life: Duration,
    serial: u8,
) -> Identity {
    let key = PrivateKey::generate().expect("a key");
    let proven = ProvenKey::from_csr(&certificate_request(&key).expect("a request")).expect("it is sound");
    let template = Template { subject, life: Life::new(life).expect("a life") };
    let issued = authority.issue(&proven, &template, at, Serial::from_random([serial; 16])).expect("it is issued");
    Identity::new(vec![issued.der], key, authority.root().clone()).expect("an identity")
}

impl ControlPlane {
    pub(crate) async fn start(host: HostId, next_life: Duration) -> Self {
        let domain = "fettle.test".parse().expect("a domain");
        let authority = Authority::create(&domain, now(), Serial::from_random([1; 16])).expect("an authority");
        let authority = Arc::new(authority);
        let own = Subject::ControlPlane { name: "cp".parse().expect("a name"), server_names: Vec::new() };
        let own = issue(&authority, own, Duration::from_secs(3_600), 2);
        let config = server_config(&own, Arc::new(DefaultTimeProvider)).expect("a configuration");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (tell, heard) = mpsc::channel(HEARD);
        let shared = Arc::new(Mutex::new(Shared {
            log: Log::new(10),
            record_key: None,
            packages: BTreeMap::new(),
            second: None,
            held: watch::Sender::new(TreeSize(0)),
            acknowledgements: Acknowledgements::Given,
            taken: BTreeMap::new(),
            refused: watch::Sender::new(0),
            token: None,
            door: Door::Open,
            sequence: 0,
            session: None,
            serials: 10,
        }));
        let enrolling = enrolment_server_config(&own, Arc::new(DefaultTimeProvider)).expect("a configuration");
        let enrol_listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let enrol_address = enrol_listener.local_addr().expect("an address").to_string();
        let (to, connections) = mpsc::channel(TO_SAY);
        drop(tokio::spawn(accept(enrol_listener, TlsAcceptor::from(enrolling), to, |session| {
            SessionBinding::of(session).ok()
        })));
        let enroller = Enroller { shared: Arc::clone(&shared), authority: Arc::clone(&authority), host, next_life };
        drop(tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(EnrolmentServer::new(enroller))
                .serve_with_incoming(ReceiverStream::new(connections)),
        ));
        let service = Service { shared: Arc::clone(&shared), tell, authority: Arc::clone(&authority), host, next_life };
        let (to, connections) = mpsc::channel(TO_SAY);
        drop(tokio::spawn(accept(listener, TlsAcceptor::from(config), to, |session| {
            peer_identity(session.peer_certificates().unwrap_or_default()).ok().map(|peer| peer.serial)
        })));
        drop(tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(AgentsServer::new(service))
                .serve_with_incoming(ReceiverStream::new(connections)),
        ));
        Self { address, enrol_address, authority, shared, heard }
    }

    pub(crate) fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("nobody panicked")
    }

    /// Sends something to the agent that is connected.
    pub(crate) async fn send(&self, message: to_agent::Message) {
        let session = self.shared().session.clone().expect("a session stands");
        session.send(Ok(ToAgent { message: Some(message) })).await.expect("the agent listens");
    }

    pub(crate) async fn publish(&self, published: &fettle_audit::published::Published) {
        self.publish_bytes(published.to_json().expect("JSON")).await;
    }

    pub(crate) async fn publish_bytes(&self, document: Vec<u8>) {
        self.send(to_agent::Message::Published(Published { document })).await;
    }

    /// Proves to the agent that the log holds this record of its own.
    pub(crate) async fn acknowledge(&self, sequence: AgentSequence) {
        let published = self.shared().taken.get(&sequence.0).expect("it was taken").to_json().expect("JSON");
        self.send(to_agent::Message::Acknowledged(Acknowledged { sequence: sequence.0, published })).await;
    }

    /// Ends the session that stands.
    pub(crate) fn hang_up(&self) {
        self.shared().session = None;
    }
}

async fn accept<I>(
    listener: TcpListener,
    tls: TlsAcceptor,
    to: mpsc::Sender<std::io::Result<Connection<I>>>,
    info: fn(&ServerConnection) -> Option<I>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let Ok(stream) = tls.accept(stream).await else { continue };
        let Some(info) = info(stream.get_ref().1) else { continue };
        if to.send(Ok(Connection { stream, info })).await.is_err() {
            return;
        }
    }
}

/// The enrolment port: gives the host its second certificate for the one token.
struct Enroller {
    shared: Arc<Mutex<Shared>>,
    authority: Arc<Authority>,
    host: HostId,
    next_life: Duration,
}

#[tonic::async_trait]
impl Enrolment for Enroller {
    async fn enrol(&self, request: Request<EnrolMessage>) -> Result<Response<EnrolReply>, Status> {
        let binding = request.extensions().get::<SessionBinding>().copied().expect("a session");
        let request: EnrolRequest = serde_json::from_slice(&request.into_inner().document).expect("a request");
        let mut shared = self.shared.lock().expect("nobody panicked");
        let verifier = shared.token.as_ref().ok_or_else(|| Status::unauthenticated("no token"))?;
        let proven = request.check(verifier, &binding).map_err(|error| {
            shared.refused.send_modify(|refused| *refused += 1);
            Status::unauthenticated(error.to_string())
        })?;
        shared.serials += 1;
        let serial = Serial::from_random([shared.serials; 16]);
        let life = Life::new(self.next_life).expect("a life");
        let template = Template { subject: Subject::Agent(self.host), life };
        let issued = self.authority.issue(&proven.tls_key, &template, now(), serial).expect("it is issued");
        let document = IdentityDocument {
            host: self.host,
            trust_domain: "fettle.test".parse().expect("a domain"),
            chain: issued.chain_pem(),
            root: self.authority.root().to_pem(),
            generation: CertificateGeneration(2),
            log_key: shared.log.log_key(),
            permit_key: shared.log.permit_key(),
        };
        Ok(Response::new(EnrolReply { document: serde_json::to_vec(&document).expect("JSON") }))
    }
}

struct Service {
    shared: Arc<Mutex<Shared>>,
    tell: mpsc::Sender<Heard>,
    authority: Arc<Authority>,
    host: HostId,
    next_life: Duration,
}

#[tonic::async_trait]
impl Agents for Service {
    type SessionStream = ReceiverStream<Result<ToAgent, Status>>;
    type FetchPlaybookStream = ReceiverStream<Result<Chunk, Status>>;

    async fn session(&self, request: Request<Streaming<FromAgent>>) -> Result<Response<Self::SessionStream>, Status> {
        let serial = request.extensions().get::<Serial>().copied().ok_or_else(|| Status::internal("no peer"))?;
        match self.shared.lock().expect("nobody panicked").door {
            Door::Open => {}
            Door::Shut => return Err(Status::unavailable("nobody is there")),
            Door::Barred => return Err(Status::permission_denied("this host's identity is withdrawn")),
        }
        let (out, stream) = mpsc::channel(TO_SAY);
        let player = Player { shared: Arc::clone(&self.shared), tell: self.tell.clone(), host: self.host, serial };
        // Held by the shared state alone, so that taking it away ends the session.
        self.shared.lock().expect("nobody panicked").session = Some(out);
        drop(tokio::spawn(player.play(request.into_inner())));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn fetch_playbook(
        &self,
        request: Request<FetchPlaybookRequest>,
    ) -> Result<Response<Self::FetchPlaybookStream>, Status> {
        let digest: PlaybookDigest = request.into_inner().digest.parse().expect("a digest");
        let package = self.shared.lock().expect("nobody panicked").packages.get(&digest).cloned();
        self.tell.send(Heard::Fetched).await.expect("the test listens");
        let (out, stream) = mpsc::channel(1);
        out.send(Ok(Chunk { data: package.ok_or_else(|| Status::not_found("no package"))? })).await.expect("room");
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn rotate(&self, request: Request<RotateRequest>) -> Result<Response<RotateReply>, Status> {
        let RotateRequest { csr, generation } = request.into_inner();
        let serial = {
            let mut shared = self.shared.lock().expect("nobody panicked");
            shared.serials += 1;
            Serial::from_random([shared.serials; 16])
        };
        let key = ProvenKey::from_csr(&csr).expect("a sound request");
        let life = Life::new(self.next_life).expect("a life");
        let template = Template { subject: Subject::Agent(self.host), life };
        let issued = self.authority.issue(&key, &template, now(), serial).expect("it is issued");
        self.tell.send(Heard::Rotated { generation }).await.expect("the test listens");
        Ok(Response::new(RotateReply { chain: issued.chain_pem().into_bytes(), generation: generation + 1 }))
    }
}

/// Plays one session.
struct Player {
    shared: Arc<Mutex<Shared>>,
    tell: mpsc::Sender<Heard>,
    host: HostId,
    serial: Serial,
}

impl Player {
    async fn play(self, mut incoming: Streaming<FromAgent>) {
        while let Ok(Some(FromAgent { message: Some(message) })) = incoming.message().await {
            let answer = match message {
                from_agent::Message::Hello(hello) => {
                    let sequence = self.shared.lock().expect("nobody panicked").sequence;
                    let heard = Heard::Connected { serial: self.serial, hello };
                    if self.tell.send(heard).await.is_err() {
                        return;
                    }
                    let host = self.host.to_string();
                    to_agent::Message::Welcome(Welcome { sequence, host, heartbeat_interval_ms: 5_000 })
                }
                from_agent::Message::Record(record) => {
                    let (record, acknowledged) = self.take(record.sequence, record.envelope);
                    if self.tell.send(Heard::Recorded(Box::new(record))).await.is_err() {
                        return;
                    }
                    let Some(acknowledged) = acknowledged else { continue };
                    to_agent::Message::Acknowledged(acknowledged)
                }
                from_agent::Message::Heartbeat(heartbeat) => self.head(TreeSize(heartbeat.tree_size)),
            };
            let Some(session) = self.shared.lock().expect("nobody panicked").session.clone() else { return };
            if session.send(Ok(ToAgent { message: Some(answer) })).await.is_err() {
                return;
            }
        }
    }

    /// Appends a record, or finds it where it is already.
    fn take(&self, sequence: u64, envelope: Vec<u8>) -> (Record, Option<Acknowledged>) {
        let mut shared = self.shared.lock().expect("nobody panicked");
        let key = shared.record_key.expect("the record key is known");
        let signed = SignedRecord::open(envelope, &key).expect("the agent signs its records");
        if sequence > shared.sequence {
            assert_eq!(sequence, shared.sequence + 1, "the chain has no gap");
            shared.sequence = sequence;
            let published = match &mut shared.acknowledgements {
                Acknowledgements::Forked(other) => other.append(&signed),
                Acknowledgements::Given | Acknowledgements::Lost => shared.log.append(&signed),
            };
            shared.taken.insert(sequence, published);
        }
        let known = shared.taken.get(&sequence).expect("it was taken");
        assert_eq!(known.envelope, signed.envelope().as_bytes(), "a record never changes");
        let acknowledged = match shared.acknowledgements {
            Acknowledgements::Given | Acknowledgements::Forked(_) => {
                Some(Acknowledged { sequence, published: known.to_json().expect("JSON") })
            }
            Acknowledgements::Lost => None,
        };
        (signed.record().clone(), acknowledged)
    }

    fn head(&self, held: TreeSize) -> to_agent::Message {
        let shared = self.shared.lock().expect("nobody panicked");
        shared.held.send_replace(held);
        let log = shared.second.as_ref().unwrap_or(&shared.log);
        let consistency = log.consistency(held).iter().map(|hash| hash.as_bytes().to_vec()).collect();
        to_agent::Message::Head(Head { checkpoint: log.checkpoint().into_bytes(), consistency })
    }
}

/// A connection with what its service must know of it: the serial number of the peer's certificate, or the
/// session's binding.
struct Connection<I> {
    stream: TlsStream<TcpStream>,
    info: I,
}

impl<I: Copy + Send + Sync + 'static> Connected for Connection<I> {
    type ConnectInfo = I;

    fn connect_info(&self) -> I {
        self.info
    }
}

impl<I: Unpin> AsyncRead for Connection<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<I: Unpin> AsyncWrite for Connection<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
