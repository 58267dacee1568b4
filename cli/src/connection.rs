//! The connection to a control plane: gRPC over TLS 1.3 with the profile's identity.
//!
//! Carries documents and knows none of them; every failure gets its exit code and remedy here.

mod door;

pub use door::Door;

use crate::answer::Answer;
use crate::break_glass;
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::profile::{Profile, RENEW};
use crate::terminal::{self, Format};
use crate::when::span;
use fettle_certs::tls::{self, DefaultTimeProvider, HandshakeProblem};
use fettle_proto::operator::{
    BREAK_GLASS_HEADER, BreakGlassNotice, Command, CommandReply, MAX_DOCUMENT_BYTES, Problem, Query, QueryReply,
};
use fettle_proto::session::CHUNK_BYTES;
use fettle_proto::v1::operators_client::OperatorsClient;
use fettle_proto::v1::{BundlePart, Document, ExportLogRequest, PlaybookPart, playbook_part};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Response, Status, Streaming};

/// To connect: three lost packets and a handshake on a slow line.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// For one answer: the leader answers after a durable append, some milliseconds; a new one is elected in seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// For a simulation: the control plane gives one up after a minute.
const SIMULATE_WITHIN: Duration = Duration::from_secs(75);
/// To bring a package: 8 MiB at 1 Mbit/s take 67 s, and the control plane reads it before it answers.
const PUBLISH_WITHIN: Duration = Duration::from_secs(180);

/// A connection.
#[derive(Debug)]
pub struct Connection {
    client: OperatorsClient<Channel>,
    address: String,
    /// For whom it is said that glass is broken.
    format: Format,
    /// What was said of it last: one command may take several calls.
    told: Option<BreakGlassNotice>,
}

impl Connection {
    /// Connects as the profile's holder.
    ///
    /// # Errors
    /// When the control plane cannot be reached, or does not accept the certificate.
    pub async fn open(profile: &Profile, format: Format) -> Result<Self, Failure> {
        let config = tls::client_config(&profile.identity, Arc::new(DefaultTimeProvider)).map_err(|error| {
            Failure::caused(Exit::Invalid, &error, "use the profile of a person, not that of a control plane")
        })?;
        let connector = TlsConnector::from(config);
        let address = profile.address.clone();
        let connect = tower::service_fn(move |_: Uri| {
            let (connector, address) = (connector.clone(), address.clone());
            async move {
                let stream = TcpStream::connect(&address).await?;
                stream.set_nodelay(true)?;
                // Not looked at: the server is whoever holds a control plane's identity under our root.
                let name = ServerName::try_from("controlplane").map_err(io::Error::other)?;
                connector.connect(name, stream).await.map(TokioIo::new)
            }
        });
        let endpoint = Endpoint::from_static("http://controlplane").connect_timeout(CONNECT_WITHIN);
        let channel =
            endpoint.connect_with_connector(connect).await.map_err(|error| unreachable(&profile.address, &error))?;
        let client = OperatorsClient::new(channel)
            .max_decoding_message_size(MAX_DOCUMENT_BYTES)
            .max_encoding_message_size(MAX_DOCUMENT_BYTES);
        Ok(Self { client, address: profile.address.clone(), format, told: None })
    }

    /// Has a command carried out.
    ///
    /// # Errors
    /// The control plane's problem, or that of the connection.
    pub async fn execute(&mut self, command: &Command) -> Result<CommandReply, Failure> {
        let request = within(ANSWER_WITHIN, document(command)?);
        let reply = self.client.execute(request).await;
        read(&self.answered(reply, Asked::Change)?)
    }

    /// Has a command carried out that answers with its place in the log, and says so in words.
    ///
    /// # Errors
    /// The control plane's problem, or that of the connection.
    pub async fn carry_out(&mut self, command: &Command, text: &str) -> Result<Answer, Failure> {
        let reply = self.execute(command).await?;
        let CommandReply::Done { position } = reply else { return unexpected("a log position") };
        Answer::new(&reply, format!("{text}; log position {position}\n"))
    }

    /// Asks a question.
    ///
    /// # Errors
    /// The control plane's problem, or that of the connection.
    pub async fn query(&mut self, query: &Query) -> Result<QueryReply, Failure> {
        let limit = if matches!(query, Query::Simulate { .. }) { SIMULATE_WITHIN } else { ANSWER_WITHIN };
        let request = within(limit, document(query)?);
        let reply = self.client.query(request).await;
        read(&self.answered(reply, Asked::Question)?)
    }

    /// Brings a package with its publisher's envelopes over it and over the report on its scenarios.
    ///
    /// # Errors
    /// The control plane's problem, or that of the connection.
    pub async fn publish(
        &mut self,
        publication: Vec<u8>,
        scenarios: Vec<u8>,
        package: &[u8],
    ) -> Result<CommandReply, Failure> {
        let part = |part| PlaybookPart { part: Some(part) };
        let mut parts =
            vec![part(playbook_part::Part::Publication(publication)), part(playbook_part::Part::Scenarios(scenarios))];
        parts.extend(package.chunks(CHUNK_BYTES).map(|chunk| part(playbook_part::Part::Data(chunk.to_vec()))));
        let reply = self.client.publish_playbook(within(PUBLISH_WITHIN, tokio_stream::iter(parts))).await;
        read(&self.answered(reply, Asked::Change)?)
    }

    /// Begins to export the whole log.
    ///
    /// # Errors
    /// The control plane's problem, or that of the connection.
    pub async fn export(&mut self) -> Result<Export, Failure> {
        let reply = tokio::time::timeout(ANSWER_WITHIN, self.client.export_log(ExportLogRequest {}))
            .await
            .map_err(|_| silent(&self.address))?;
        let parts = self.answered(reply, Asked::Question)?;
        Ok(Export { parts, address: self.address.clone() })
    }

    /// The answer or the failure; says beside either that glass is broken for whoever gets it.
    fn answered<T>(&mut self, reply: Result<Response<T>, Status>, asked: Asked) -> Result<T, Failure> {
        let headers = match &reply {
            Ok(response) => response.metadata(),
            Err(status) => status.metadata(),
        };
        let notice = headers.get(BREAK_GLASS_HEADER).and_then(|value| serde_json::from_slice(value.as_bytes()).ok());
        if let Some(notice) = notice.filter(|notice| self.told.as_ref() != Some(notice)) {
            terminal::warn(&break_glass::warning(&notice), self.format);
            self.told = Some(notice);
        }
        reply.map(Response::into_inner).map_err(|status| failed(&status, &self.address, asked))
    }
}

/// A log that is coming in.
#[derive(Debug)]
pub struct Export {
    parts: Streaming<BundlePart>,
    address: String,
}

impl Export {
    /// The next piece of the bundle; `None` after the last.
    ///
    /// # Errors
    /// The control plane's problem, or that of the connection.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let part = tokio::time::timeout(ANSWER_WITHIN, self.parts.message())
            .await
            .map_err(|_| silent(&self.address))?
            .map_err(|status| failed(&status, &self.address, Asked::Question))?;
        Ok(part.map(|part| part.data))
    }
}

fn within<T>(limit: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}

fn document<T: Serialize>(content: &T) -> Result<Document, Failure> {
    let json = serde_json::to_vec(content).map_err(|error| Failure::internal(format!("no document: {error}")))?;
    if json.len() > MAX_DOCUMENT_BYTES {
        let message =
            format!("the document has {} bytes, more than the {MAX_DOCUMENT_BYTES} that are sent", json.len());
        return Err(Failure::new(Exit::Invalid, message, "send less at once"));
    }
    Ok(Document { json })
}

fn read<T: DeserializeOwned>(document: &Document) -> Result<T, Failure> {
    serde_json::from_slice(&document.json).map_err(|error| {
        let message = format!("the control plane's answer is not understood: {error}");
        Failure::new(Exit::Internal, message, "use the command line of the control plane's version")
    })
}

/// The answer is of another kind than the one that the question has.
pub fn unexpected<T>(asked: &str) -> Result<T, Failure> {
    let message = format!("the control plane answered something else than {asked}");
    Err(Failure::new(Exit::Internal, message, "use the command line of the control plane's version"))
}

/// What a lost answer leaves open.
#[derive(Debug, Clone, Copy)]
enum Asked {
    /// Nothing: it can be asked again.
    Question,
    /// Whether it was done.
    Change,
}

fn failed(status: &Status, address: &str, asked: Asked) -> Failure {
    if let Ok(problem) = serde_json::from_slice::<Problem>(status.details()) {
        return problem.into();
    }
    if let Some(problem) = tls::handshake_problem(status) {
        return refused_handshake(address, &problem);
    }
    let said = status.message();
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => {
            Failure::new(Exit::Denied, format!("{address} denied it: {said}"), "use the profile of a person who may")
        }
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted | Code::ResourceExhausted => {
            unavailable(address, said, asked)
        }
        // A connection that breaks in the middle has no code of its own.
        Code::Unknown if status.source().is_some() => unavailable(address, &chain(status), asked),
        Code::Ok
        | Code::Unknown
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss => Failure::new(
            Exit::Internal,
            format!("{address} failed: {said} ({:?})", status.code()),
            "look into the control plane's own log; use the command line of its version",
        ),
    }
}

fn unavailable(address: &str, said: &str, asked: Asked) -> Failure {
    let remedy = match asked {
        Asked::Question => "try again; look into the control plane's own log",
        Asked::Change => "whether it was done is not known: look before you repeat it",
    };
    Failure::new(Exit::Unavailable, format!("the control plane at {address} did not answer: {said}"), remedy)
}

fn silent(address: &str) -> Failure {
    let message = format!("the control plane at {address} was silent for {}", span(ANSWER_WITHIN));
    Failure::new(Exit::Unavailable, message, "try again; look into the control plane's own log")
}

fn unreachable(address: &str, error: &(dyn Error + 'static)) -> Failure {
    match tls::handshake_problem(error) {
        Some(problem) => refused_handshake(address, &problem),
        None => Failure::new(
            Exit::Unavailable,
            format!("the control plane at {address} cannot be reached: {}", root_cause(error)),
            "check the address in profile.toml, the network, and that `fettle-controlplane run` runs there",
        ),
    }
}

fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

fn refused_handshake(address: &str, problem: &HandshakeProblem) -> Failure {
    match problem {
        HandshakeProblem::PeerExpired { late, .. } => Failure::new(
            Exit::Unavailable,
            format!(
                "the certificate of the control plane at {address} ended {} ago, or the clock here is fast",
                span(*late)
            ),
            "compare the clocks of both machines; restart the control plane",
        ),
        HandshakeProblem::PeerNotYetValid { early, .. } => Failure::new(
            Exit::Unavailable,
            format!("the certificate of the control plane at {address} is not valid for another {}", span(*early)),
            "set the clock of this machine",
        ),
        HandshakeProblem::PeerUnknownAuthority => Failure::new(
            Exit::Denied,
            format!("{address} is not the control plane of this profile: another authority issued its certificate"),
            "check the address in profile.toml; after a new `fettle-controlplane init` take its new profile",
        ),
        HandshakeProblem::PeerRefused(why) => Failure::new(
            Exit::Denied,
            format!("{address} is not a control plane: {}", chain(why)),
            "check the address in profile.toml",
        ),
        HandshakeProblem::OwnExpired => {
            Failure::new(Exit::Denied, format!("{address} says that your certificate has ended"), RENEW)
        }
        HandshakeProblem::OwnRefused => Failure::new(
            Exit::Denied,
            format!("{address} does not accept your certificate"),
            "check that the profile is of this control plane; ask an administrator for `fettle person add`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::time::UnixMillis;

    #[test]
    fn every_reason_of_a_refused_handshake_has_its_exit_and_its_remedy() {
        let then = UnixMillis(0);
        for (problem, exit, remedy) in [
            (HandshakeProblem::PeerExpired { not_after: then, late: CONNECT_WITHIN }, Exit::Unavailable, "restart"),
            (HandshakeProblem::PeerNotYetValid { not_before: then, early: CONNECT_WITHIN }, Exit::Unavailable, "clock"),
            (HandshakeProblem::PeerUnknownAuthority, Exit::Denied, "profile.toml"),
            (HandshakeProblem::PeerRefused(fettle_certs::peer::PeerRefused::Pin), Exit::Denied, "profile.toml"),
            (HandshakeProblem::OwnExpired, Exit::Denied, "fettle-controlplane operator"),
            (HandshakeProblem::OwnRefused, Exit::Denied, "fettle person add"),
        ] {
            let failure = refused_handshake("cp:7445", &problem);
            assert_eq!(failure.exit, exit, "{problem:?}");
            assert!(failure.message.contains("cp:7445") && failure.remedy.contains(remedy), "{failure}");
        }
    }

    #[test]
    fn a_status_without_details_ends_by_its_code() {
        for (code, exit) in [
            (Code::PermissionDenied, Exit::Denied),
            (Code::Unauthenticated, Exit::Denied),
            (Code::DeadlineExceeded, Exit::Unavailable),
            (Code::Unimplemented, Exit::Internal),
            (Code::Unknown, Exit::Internal),
        ] {
            assert_eq!(failed(&Status::new(code, "said"), "cp:7445", Asked::Question).exit, exit, "{code:?}");
        }
    }

    #[test]
    fn a_document_that_is_too_large_is_not_sent() {
        let failure = document(&"x".repeat(MAX_DOCUMENT_BYTES)).expect_err("two quotes too many");
        assert_eq!(failure.exit, Exit::Invalid);
    }
}
