//! A control plane in a folder of its own, and people who speak with it.

use crate::wire;
use fettle_certs::authority::{Life, Subject, Template};
use fettle_certs::csr::{ProvenKey, certificate_request};
use fettle_certs::identity::Identity;
use fettle_certs::key::PrivateKey;
use fettle_certs::serial::Serial;
use fettle_certs::store::{IdentityStore, load_authority};
use fettle_controlplane::config::{Advertise, Listen};
use fettle_controlplane::init::{Made, Plan, init};
use fettle_controlplane::leader::{Ahead, Clocks};
use fettle_controlplane::server::{Listening, ServeError, start};
use fettle_controlplane::state_dir::StateDir;
use fettle_model::counter::LogPosition;
use fettle_model::record::Kind;
use fettle_model::service::Service;
use fettle_proto::operator::{
    BREAK_GLASS_HEADER, BreakGlassNotice, Command, CommandReply, LogRow, MAX_DOCUMENT_BYTES, Problem, Query, QueryReply,
};
use fettle_proto::v1::operators_client::OperatorsClient;
use fettle_proto::v1::{Document, ExportLogRequest, PlaybookPart};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

pub(crate) const TRUST_DOMAIN: &str = "fettle.test";

/// A name of any kind.
pub(crate) fn name<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("a name")
}

pub(crate) fn now() -> fettle_model::time::UnixMillis {
    Clocks::start().now().wall
}

/// A fresh id.
#[expect(clippy::disallowed_methods, reason = "a test mints its own ids")]
pub(crate) fn fresh() -> uuid::Uuid {
    uuid::Uuid::new_v4()
}

/// A control plane that serves.
pub(crate) struct Site {
    pub(crate) state: StateDir,
    pub(crate) made: Made,
    pub(crate) listening: Listening,
    pub(crate) ahead: Ahead,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), ServeError>>,
    _folder: tempfile::TempDir,
}

/// A control plane that does not serve.
pub(crate) struct Down {
    pub(crate) state: StateDir,
    made: Made,
    folder: tempfile::TempDir,
}

pub(crate) fn plan(state: StateDir) -> Plan {
    let any = "127.0.0.1:0".parse().expect("an address");
    Plan {
        state,
        trust_domain: name(TRUST_DOMAIN),
        operator: name("alice"),
        listen: Listen { agents: any, enrol: any, operators: any },
        advertise: Advertise::default(),
    }
}

impl Site {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::at(folder.path().join("state"));
        let made = init(&plan(state.clone()), &Clocks::start()).await.expect("it is made");
        Down { state, made, folder }.up().await
    }

    /// Stops it in order.
    pub(crate) async fn down(self) -> Down {
        self.stop.cancel();
        self.serving.await.expect("it does not panic").expect("it ends in order");
        Down { state: self.state, made: self.made, folder: self._folder }
    }

    /// The first operator.
    pub(crate) async fn alice(&self) -> Person {
        let identity = IdentityStore::at(self.state.operator()).load().expect("loaded").expect("an identity");
        Person::connect(self.listening.operators, &identity).await
    }

    /// Somebody with a certificate and no role.
    pub(crate) async fn stranger(&self, person: &str) -> Person {
        let identity = self.certify(Subject::Person(name(person)));
        Person::connect(self.listening.operators, &identity).await
    }

    /// An identity that the authority issues behind the control plane's back.
    pub(crate) fn certify(&self, subject: Subject) -> Identity {
        let authority = load_authority(&self.state.authority()).expect("the authority");
        let key = PrivateKey::generate().expect("a key");
        let csr = certificate_request(&key).expect("a request");
        let proven = ProvenKey::from_csr(&csr).expect("our own request");
        let serial = Serial::from_random(*fresh().as_bytes());
        let issued = authority.issue(&proven, &Template { subject, life: Life::DAY }, now(), serial).expect("issued");
        Identity::new(vec![issued.der], key, authority.root().clone()).expect("an identity")
    }
}

impl Down {
    pub(crate) async fn up(self) -> Site {
        self.up_ahead(Duration::ZERO).await
    }

    /// Serves again, with a clock that is ahead.
    pub(crate) async fn up_ahead(self, by: Duration) -> Site {
        let (ahead, stop) = (Ahead::default(), CancellationToken::new());
        ahead.set(by);
        let running = start(self.state.clone(), Clocks::start_with(ahead.clone()), stop.clone()).await;
        let running = running.expect("it starts");
        let listening = running.listening;
        let serving = tokio::spawn(running.wait());
        Site { state: self.state, made: self.made, listening, ahead, stop, serving, _folder: self.folder }
    }

    /// Why it does not start.
    pub(crate) async fn refuses(&self) -> ServeError {
        let started = start(self.state.clone(), Clocks::start(), CancellationToken::new()).await;
        started.expect_err("it must not start")
    }
}

/// A person with a connection.
#[derive(Clone)]
pub(crate) struct Person {
    client: OperatorsClient<Channel>,
}

/// What a caller gets: an answer, or the problem in the status.
pub(crate) type Answer<T> = Result<T, Problem>;

impl Person {
    pub(crate) async fn connect(address: std::net::SocketAddr, identity: &Identity) -> Self {
        let channel = wire::channel(address, identity).await.expect("a connection");
        let client = OperatorsClient::new(channel).max_decoding_message_size(MAX_DOCUMENT_BYTES);
        Self { client }
    }

    pub(crate) async fn execute(&self, command: Command) -> Answer<CommandReply> {
        let json = serde_json::to_vec(&command).expect("JSON");
        let answer = self.client.clone().execute(Document { json }).await;
        answer.map(|answer| parsed(&answer.into_inner())).map_err(|status| problem(&status))
    }

    pub(crate) async fn done(&self, command: Command) -> LogPosition {
        match self.execute(command).await.expect("it is done") {
            CommandReply::Done { position } => position,
            other => unreachable!("{other:?}"),
        }
    }

    pub(crate) async fn query(&self, query: Query) -> Answer<QueryReply> {
        let json = serde_json::to_vec(&query).expect("JSON");
        let answer = self.client.clone().query(Document { json }).await;
        answer.map(|answer| parsed(&answer.into_inner())).map_err(|status| problem(&status))
    }

    /// What an order is answered with, and whether glass is said to be broken beside it.
    pub(crate) async fn execute_told(&self, command: Command) -> (Answer<CommandReply>, Option<BreakGlassNotice>) {
        let json = serde_json::to_vec(&command).expect("JSON");
        match self.client.clone().execute(Document { json }).await {
            Ok(answer) => (Ok(parsed(answer.get_ref())), notice(answer.metadata())),
            Err(status) => (Err(problem(&status)), notice(status.metadata())),
        }
    }

    /// Whether glass is said to be broken beside an answer.
    pub(crate) async fn notice(&self, query: Query) -> Option<BreakGlassNotice> {
        let json = serde_json::to_vec(&query).expect("JSON");
        let answer = self.client.clone().query(Document { json }).await.expect("an answer");
        notice(answer.metadata())
    }

    pub(crate) async fn log(&self) -> Vec<LogRow> {
        match self.query(Query::Log { from: Some(LogPosition(0)), limit: 1_000 }).await.expect("a log") {
            QueryReply::Log { records, .. } => records,
            other => unreachable!("{other:?}"),
        }
    }

    pub(crate) async fn kinds(&self) -> Vec<Kind> {
        self.log().await.iter().map(|row| row.kind).collect()
    }

    /// Brings a playbook, and nothing about its scenarios.
    pub(crate) async fn publish(&self, publication: Vec<u8>, package: &[u8]) -> Answer<CommandReply> {
        self.publish_with(publication, None, package).await
    }

    /// Brings a playbook in its parts.
    pub(crate) async fn publish_with(
        &self,
        publication: Vec<u8>,
        scenarios: Option<Vec<u8>>,
        package: &[u8],
    ) -> Answer<CommandReply> {
        let part = |part| PlaybookPart { part: Some(part) };
        let mut parts = vec![part(fettle_proto::v1::playbook_part::Part::Publication(publication))];
        parts.extend(scenarios.map(|said| part(fettle_proto::v1::playbook_part::Part::Scenarios(said))));
        for data in package.chunks(40_000) {
            parts.push(part(fettle_proto::v1::playbook_part::Part::Data(data.to_vec())));
        }
        let answer = self.client.clone().publish_playbook(tokio_stream::iter(parts)).await;
        answer.map(|answer| parsed(&answer.into_inner())).map_err(|status| problem(&status))
    }

    pub(crate) async fn export(&self) -> Answer<Vec<u8>> {
        let parts = self.client.clone().export_log(ExportLogRequest {}).await;
        let mut parts = parts.map_err(|status| problem(&status))?.into_inner();
        let mut bundle = Vec::new();
        while let Some(part) = parts.message().await.map_err(|status| problem(&status))? {
            bundle.extend_from_slice(&part.data);
        }
        Ok(bundle)
    }

    pub(crate) async fn policy(&self) -> String {
        match self.query(Query::Policy).await.expect("a policy") {
            QueryReply::Policy { policy } => policy,
            other => unreachable!("{other:?}"),
        }
    }
}

fn parsed<T: serde::de::DeserializeOwned>(document: &Document) -> T {
    serde_json::from_slice(&document.json).expect("a reply")
}

fn notice(headers: &tonic::metadata::MetadataMap) -> Option<BreakGlassNotice> {
    headers.get(BREAK_GLASS_HEADER).map(|value| serde_json::from_slice(value.as_bytes()).expect("a notice"))
}

fn problem(status: &tonic::Status) -> Problem {
    serde_json::from_slice(status.details()).unwrap_or_else(|_| unreachable!("no problem in {status:?}"))
}

/// One service with a check, in all environments that the tests use.
pub(crate) fn service() -> Service {
    let text = r#"
        [[service]]
        name = "web"
        owner = "team-web"
        tier = 1
        hosts = { environments = ["staging", "production"] }
        [[service.check]]
        name = "http"
        kind = "http"
        url = "http://127.0.0.1:1/"
        interval = "1s"
        timeout = "1s"
        fail-after = 1
        recover-after = 1
    "#;
    let source = fettle_model::config_file::Source { file: "web.toml", text };
    let parsed = fettle_model::config_file::parse(&[source]).unwrap_or_else(|wrong| unreachable!("{wrong:?}"));
    parsed.services().first().cloned().expect("a service")
}
