//! The operators' API: what people order, ask, publish and take away.
//!
//! | module | holds |
//! |---|---|
//! | `execute` | commands, and what the leader is asked because of them |
//! | `query` | questions |
//! | `rows` | answers, from the state |
//! | `broken_glass` | who asked to break the glass, and what whoever did is told with every answer |
//! | `summary` | one line about a record |
//! | `publish` | a playbook's admission |
//! | `export` | the whole log as a bundle |
//! | `simulate` | the log's history against an edited rule |
//! | `login` | people without a certificate, by the word of an OpenID provider |
//! | `problem` | why something was not done, for a person |
//!
//! Every call is authorised by Cedar, and a denial is a record. Decides nothing: the leader does.

mod broken_glass;
mod execute;
mod export;
mod login;
mod problem;
mod publish;
mod query;
mod rollouts;
mod rows;
mod simulate;
mod summary;

pub use login::{LoginProvider, LoginService, OidcProblem};

use crate::authority::{Petition, Reading};
use crate::core::{Authorisation, Command, Holding, PersonAction, Resource, Subject};
use crate::gateway::{Shared, gone, internal};
use crate::server::Peer;
use fettle_model::identity::Principal;
use fettle_model::name::PersonName;
use fettle_model::record::ActionRefused;
use fettle_proto::operator::{BreakGlassNotice, Command as Order, MAX_DOCUMENT_BYTES, Problem, ProblemCode, Query};
use fettle_proto::v1::operators_server::{Operators, OperatorsServer};
use fettle_proto::v1::{BundlePart, Document, ExportLogRequest, PlaybookPart};
use problem::status;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Packages that are checked at once: each takes a core for up to a second and 8 MiB.
const MAX_PUBLISHES: usize = 2;
/// Exports that run at once: each reads the disk as fast as its caller takes it.
const MAX_EXPORTS: usize = 4;

/// The service.
#[derive(Debug)]
pub struct OperatorsService {
    shared: Shared,
    publishes: Arc<Semaphore>,
    exports: Arc<Semaphore>,
    simulations: Arc<Semaphore>,
}

impl OperatorsService {
    /// The service as tonic takes it.
    #[must_use]
    pub fn server(shared: Shared) -> OperatorsServer<Self> {
        let publishes = Arc::new(Semaphore::new(MAX_PUBLISHES));
        let exports = Arc::new(Semaphore::new(MAX_EXPORTS));
        let simulations = Arc::new(Semaphore::new(simulate::MAX_SIMULATIONS));
        OperatorsServer::new(Self { shared, publishes, exports, simulations })
            .max_decoding_message_size(MAX_DOCUMENT_BYTES)
            .max_encoding_message_size(MAX_DOCUMENT_BYTES)
    }
}

#[tonic::async_trait]
impl Operators for OperatorsService {
    type ExportLogStream = ReceiverStream<Result<BundlePart, Status>>;

    async fn execute(&self, request: Request<Document>) -> Result<Response<Document>, Status> {
        let mut caller = Caller::of(&self.shared, &*Peer::of(&request)?)?;
        let answer = self.carry_out(&mut caller, request.into_inner()).await;
        caller.told(answer)
    }

    async fn query(&self, request: Request<Document>) -> Result<Response<Document>, Status> {
        let mut caller = Caller::of(&self.shared, &*Peer::of(&request)?)?;
        let answer = self.look(&mut caller, request.into_inner()).await;
        caller.told(answer)
    }

    async fn publish_playbook(&self, request: Request<Streaming<PlaybookPart>>) -> Result<Response<Document>, Status> {
        let mut caller = Caller::of(&self.shared, &*Peer::of(&request)?)?;
        let answer = self.publish(&mut caller, request.into_inner()).await;
        caller.told(answer)
    }

    async fn export_log(&self, request: Request<ExportLogRequest>) -> Result<Response<Self::ExportLogStream>, Status> {
        let mut caller = Caller::of(&self.shared, &*Peer::of(&request)?)?;
        let answer = self.export(&mut caller).await;
        caller.told(answer)
    }
}

impl OperatorsService {
    async fn carry_out(&self, caller: &mut Caller<'_>, order: Document) -> Result<Response<Document>, Status> {
        let order: Order = parse(&order.json)?;
        caller.authorise(execute::asked(&order)).await?;
        let reply = execute::execute(caller, order).await?;
        answer(&reply)
    }

    async fn look(&self, caller: &mut Caller<'_>, query: Document) -> Result<Response<Document>, Status> {
        let query: Query = parse(&query.json)?;
        caller.may_read(query::reading(&query)).await?;
        let reply = if let Query::Simulate { edit, since_ms, assume } = query {
            let turn = Arc::clone(&self.simulations).try_acquire_owned().map_err(|_| simulate::busy())?;
            simulate::simulate(caller, turn, *edit, Duration::from_millis(since_ms), assume).await?
        } else {
            query::query(&self.shared, query).await?
        };
        answer(&reply)
    }

    async fn publish(
        &self,
        caller: &mut Caller<'_>,
        parts: Streaming<PlaybookPart>,
    ) -> Result<Response<Document>, Status> {
        let (action, subject) = (PersonAction::AdmitPlaybook, Subject::Installation);
        caller.authorise(Asked { action, subject, resource: "playbook".to_owned() }).await?;
        let turn = Arc::clone(&self.publishes).acquire_owned().await.map_err(internal)?;
        let reply = publish::publish(caller, parts).await?;
        drop(turn);
        answer(&reply)
    }

    async fn export(&self, caller: &mut Caller<'_>) -> Result<Response<<Self as Operators>::ExportLogStream>, Status> {
        caller.may_read(Reading::ExportLog).await?;
        let turn = Arc::clone(&self.exports).acquire_owned().await.map_err(internal)?;
        let bundle = export::export(&self.shared, turn).await?;
        Ok(Response::new(ReceiverStream::new(bundle)))
    }
}

fn parse<T: serde::de::DeserializeOwned>(json: &[u8]) -> Result<T, Status> {
    serde_json::from_slice(json).map_err(|error| {
        status(Problem {
            code: ProblemCode::Invalid,
            message: format!("the document is malformed: {error}"),
            remedy: "use a client of the same version as the control plane".to_owned(),
        })
    })
}

fn answer<T: serde::Serialize>(reply: &T) -> Result<Response<Document>, Status> {
    let json = serde_json::to_vec(reply).map_err(internal)?;
    Ok(Response::new(Document { json }))
}

/// How a person stands with the certificate that they show. Asked for every call, because TLS looks at a
/// certificate only once, at the handshake.
enum Standing {
    /// It was withdrawn.
    Withdrawn,
    /// What they hold, what the question is about, and the glass that is broken for them.
    Has { holding: Holding, on: Resource, glass: Option<BreakGlassNotice> },
}

/// What a command asks policies for.
pub(super) struct Asked {
    pub(super) action: PersonAction,
    pub(super) subject: Subject,
    /// What it is about, as the record of a denial names it.
    pub(super) resource: String,
}

/// A person who calls.
#[derive(Debug, Clone)]
pub(super) struct Caller<'a> {
    pub(super) shared: &'a Shared,
    pub(super) person: PersonName,
    /// The serial number of the certificate that they show.
    pub(super) serial: String,
    /// The glass that is broken for them: they are told with the answer.
    glass: Option<BreakGlassNotice>,
}

impl<'a> Caller<'a> {
    fn of(shared: &'a Shared, peer: &Peer) -> Result<Self, Status> {
        let identity = peer.identity.as_ref().ok_or_else(|| Status::unauthenticated("a certificate is needed"))?;
        // TLS looked at it once, when the connection began.
        identity.validity.check(shared.wall()).map_err(|error| Status::unauthenticated(error.to_string()))?;
        match &identity.id.principal {
            Principal::Person(person) => {
                Ok(Self { shared, person: person.clone(), serial: identity.serial.to_string(), glass: None })
            }
            Principal::Agent(_) | Principal::ControlPlane(_) => {
                Err(Status::permission_denied("this port is for people"))
            }
        }
    }

    async fn standing(&self, subject: Subject) -> Result<Standing, Status> {
        let (person, serial) = (self.person.clone(), self.serial.clone());
        let wall = self.shared.clocks.now().wall;
        let look = self.shared.leader.inspect(move |view| {
            let state = view.core.state();
            if state.is_withdrawn(&person, &serial) {
                Standing::Withdrawn
            } else {
                let (holding, on) = (state.holding(&person, wall), state.resource(&subject));
                Standing::Has { holding, on, glass: broken_glass::notice(state, &person, wall) }
            }
        });
        look.await.map_err(gone)
    }

    /// Asks Cedar whether this person may do something. The leader asks once more, at the state in which it
    /// decides; here it is asked before anything is looked up or read for them.
    async fn authorise(&mut self, asked: Asked) -> Result<(), Status> {
        let Asked { action, subject, resource } = asked;
        let authorised = match self.standing(subject).await? {
            Standing::Withdrawn => return self.refuse_withdrawn(action.as_str(), resource).await,
            Standing::Has { holding, on, glass } => {
                self.glass = glass;
                self.shared.policies.person(&Petition { by: &self.person, holding: &holding, action, on: &on })
            }
        };
        self.unless_denied(authorised, action.as_str(), resource).await
    }

    async fn may_read(&mut self, reading: Reading) -> Result<(), Status> {
        let (action, resource) = (reading.action(), "installation".to_owned());
        let authorised = match self.standing(Subject::Installation).await? {
            Standing::Withdrawn => return self.refuse_withdrawn(action, resource).await,
            Standing::Has { holding, glass, .. } => {
                self.glass = glass;
                self.shared.policies.reader(&self.person, &holding, reading)
            }
        };
        self.unless_denied(authorised, action, resource).await
    }

    /// Every answer says that glass is broken for whoever gets it.
    fn told<T>(&self, answer: Result<Response<T>, Status>) -> Result<Response<T>, Status> {
        broken_glass::tell(self.glass.as_ref(), answer)
    }

    async fn unless_denied(
        &self,
        authorised: Authorisation,
        action: &'static str,
        resource: String,
    ) -> Result<(), Status> {
        let Authorisation::Denied { policies } = authorised else { return Ok(()) };
        let problem = problem::denied(&self.person, action, &policies);
        self.refuse(action, resource, policies, problem).await
    }

    async fn refuse_withdrawn(&self, action: &'static str, resource: String) -> Result<(), Status> {
        let because = vec!["the certificate was withdrawn".to_owned()];
        self.refuse(action, resource, because, problem::withdrawn(&self.person, action)).await
    }

    async fn refuse(
        &self,
        action: &'static str,
        resource: String,
        policies: Vec<String>,
        problem: Problem,
    ) -> Result<(), Status> {
        let refused = ActionRefused { by: self.person.clone(), action: action.to_owned(), resource, policies };
        self.shared.leader.command(Command::Refuse(refused)).await.map_err(gone)?;
        Err(status(problem))
    }
}
