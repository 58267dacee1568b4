//! A stand-in for the control plane: real TLS and gRPC, scripted answers, a list of what was asked.

use fettle_certs::authority::{Authority, Life, Subject, Template};
use fettle_certs::csr::{ProvenKey, certificate_request};
use fettle_certs::identity::Identity;
use fettle_certs::key::PrivateKey;
use fettle_certs::serial::Serial;
use fettle_certs::tls::{DefaultTimeProvider, server_config};
use fettle_cli::context::wall_clock;
use fettle_cli::profile::Profile;
use fettle_model::time::UnixMillis;
use fettle_proto::operator::{Command, CommandReply, Problem, ProblemCode, Query, QueryReply};
use fettle_proto::v1::operators_server::{Operators, OperatorsServer};
use fettle_proto::v1::{BundlePart, Document, ExportLogRequest, PlaybookPart, playbook_part};
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Code, Request, Response, Status, Streaming};

/// What a command line asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Asked {
    Command(Command),
    Query(Query),
    Publish { publication: Vec<u8>, scenarios: Vec<u8>, package: Vec<u8> },
    Export,
}

/// What the stand-in answers.
pub(crate) enum Said {
    Reply(CommandReply),
    Answer(QueryReply),
    /// Pieces of a bundle; an error breaks the stream there.
    Bundle(Vec<Result<Vec<u8>, Problem>>),
    Problem(Problem),
    /// It goes away instead of an answer.
    Gone,
}

pub(crate) fn problem(code: ProblemCode) -> Problem {
    Problem { code, message: format!("it is {code:?}"), remedy: "mend it".to_owned() }
}

type Script = dyn Fn(&Asked) -> Said + Send + Sync;

#[derive(Clone)]
struct Service {
    script: Arc<Script>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Service {
    fn said(&self, asked: Asked) -> Said {
        let said = (self.script)(&asked);
        self.asked.lock().expect("no test panics in here").push(asked);
        said
    }

    fn document(&self, asked: Asked) -> Result<Response<Document>, Status> {
        let json = match self.said(asked) {
            Said::Reply(reply) => serde_json::to_vec(&reply),
            Said::Answer(answer) => serde_json::to_vec(&answer),
            Said::Problem(problem) => return Err(status(&problem)),
            Said::Gone => return Err(Status::unavailable("shutting down")),
            Said::Bundle(_) => unreachable!("a bundle is no document"),
        };
        Ok(Response::new(Document { json: json.expect("JSON") }))
    }
}

fn status(problem: &Problem) -> Status {
    // The code is not looked at where there are details.
    Status::with_details(Code::Unknown, "see the details", serde_json::to_vec(problem).expect("JSON").into())
}

#[tonic::async_trait]
impl Operators for Service {
    async fn execute(&self, request: Request<Document>) -> Result<Response<Document>, Status> {
        self.document(Asked::Command(serde_json::from_slice(&request.into_inner().json).expect("a command")))
    }

    async fn query(&self, request: Request<Document>) -> Result<Response<Document>, Status> {
        self.document(Asked::Query(serde_json::from_slice(&request.into_inner().json).expect("a query")))
    }

    async fn publish_playbook(&self, request: Request<Streaming<PlaybookPart>>) -> Result<Response<Document>, Status> {
        let mut parts = request.into_inner();
        let (mut publication, mut scenarios, mut package) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(part) = parts.message().await? {
            match part.part.expect("a part") {
                playbook_part::Part::Publication(bytes) => publication = bytes,
                playbook_part::Part::Scenarios(bytes) => scenarios = bytes,
                playbook_part::Part::Data(bytes) => package.extend(bytes),
            }
        }
        self.document(Asked::Publish { publication, scenarios, package })
    }

    type ExportLogStream = tokio_stream::Iter<std::vec::IntoIter<Result<BundlePart, Status>>>;

    async fn export_log(&self, _: Request<ExportLogRequest>) -> Result<Response<Self::ExportLogStream>, Status> {
        match self.said(Asked::Export) {
            Said::Bundle(pieces) => {
                let parts: Vec<_> = pieces
                    .into_iter()
                    .map(|piece| piece.map(|data| BundlePart { data }).map_err(|problem| status(&problem)))
                    .collect();
                Ok(Response::new(tokio_stream::iter(parts)))
            }
            Said::Problem(problem) => Err(status(&problem)),
            Said::Gone => Err(Status::unavailable("shutting down")),
            Said::Reply(_) | Said::Answer(_) => unreachable!("a document is no bundle"),
        }
    }
}

struct Connection(TlsStream<TcpStream>);

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// An installation's authority.
pub(crate) fn authority() -> Authority {
    let founded = UnixMillis(wall_clock().0 - 864_000_000);
    Authority::create(&"fettle.test".parse().expect("a trust domain"), founded, Serial::from_random([9; 16]))
        .expect("an authority")
}

/// The same authority again, for a stand-in that issues certificates.
pub(crate) fn authority_from(authority: &Authority) -> Authority {
    Authority::from_pem(authority.to_pem().as_bytes()).expect("its own text")
}

/// Somebody's identity, issued so long ago.
pub(crate) fn identity(authority: &Authority, subject: Subject, age: Duration) -> Identity {
    let key = PrivateKey::generate().expect("a key");
    let proof = ProvenKey::from_csr(&certificate_request(&key).expect("a request")).expect("our own request");
    let at = UnixMillis(wall_clock().0 - u64::try_from(age.as_millis()).expect("a short time"));
    let template = Template { subject, life: Life::DAY };
    let issued = authority.issue(&proof, &template, at, Serial::from_random([3; 16])).expect("a certificate");
    Identity::new(vec![issued.der], key, authority.root().clone()).expect("an identity")
}

pub(crate) fn alice() -> Subject {
    Subject::Person("alice".parse().expect("a name"))
}

/// A running stand-in, and a folder with alice's profile in `profile`.
pub(crate) struct StandIn {
    asked: Arc<Mutex<Vec<Asked>>>,
    pub(crate) folder: TempDir,
    pub(crate) address: String,
    _runtime: Runtime,
}

impl StandIn {
    pub(crate) fn start(script: impl Fn(&Asked) -> Said + Send + Sync + 'static) -> Self {
        Self::start_under(&authority(), script)
    }

    pub(crate) fn start_under(authority: &Authority, script: impl Fn(&Asked) -> Said + Send + Sync + 'static) -> Self {
        let subject = Subject::ControlPlane { name: "cp-1".parse().expect("a name"), server_names: Vec::new() };
        let config = server_config(&identity(authority, subject, Duration::ZERO), Arc::new(DefaultTimeProvider))
            .expect("a configuration");
        let service = Service { script: Arc::new(script), asked: Arc::default() };
        let asked = Arc::clone(&service.asked);
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        runtime.spawn(serve(listener, TlsAcceptor::from(config), service));
        let folder = tempfile::tempdir().expect("a folder");
        let identity = identity(authority, alice(), Duration::ZERO);
        Profile::create(&folder.path().join("profile"), &address, &identity).expect("a profile");
        Self { asked, folder, address, _runtime: runtime }
    }

    /// Runs `fettle` as alice.
    #[track_caller]
    pub(crate) fn fettle(&self, arguments: &[&str]) -> crate::fettle::Ended {
        crate::fettle::fettle(self.folder.path(), &[&["--profile", "profile"], arguments].concat())
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no test panics in here").clone()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).expect("written");
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, service: Service) {
    let (sender, incoming) = tokio::sync::mpsc::channel::<io::Result<Connection>>(1);
    let accepting = async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that is refused here is what some tests are about.
            if let Ok(stream) = acceptor.accept(stream).await {
                sender.send(Ok(Connection(stream))).await.expect("the server runs");
            }
        }
    };
    let serving =
        Server::builder().add_service(OperatorsServer::new(service)).serve_with_incoming(ReceiverStream::new(incoming));
    let (_, served) = tokio::join!(accepting, serving);
    served.expect("served");
}
